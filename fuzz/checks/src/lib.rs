//! What the fuzz targets check, for any bytes: each function panics if warpdot does something other than its
//! reference.
//!
//! `fuzz/` feeds them with what libFuzzer finds; the tests of this crate with seeded bytes.

mod bytes;
mod gguf;
mod weights;

pub use gguf::gguf;
pub use weights::{dequantize, dot};

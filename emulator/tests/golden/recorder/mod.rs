//! What devices compute, instruction by instruction: a list of small kernels, their inputs, a file of what a
//! device made of them, and the comparison with another device.
//!
//! Part of the recorder, which runs on hardware, and of the test, which repeats in the emulator what was recorded.

pub(crate) mod cases;
mod compare;
mod hex;
pub(crate) mod inputs;
mod kernel;
mod recording;

pub(crate) use compare::replay;
pub(crate) use kernel::Kernel;
pub(crate) use recording::{Recording, record};

//! Reads [GGUF](https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) files through a memory map, and writes
//! them tensor by tensor.
//!
//! ```no_run
//! # fn main() -> Result<(), warpdot_gguf::Error> {
//! let file = warpdot_gguf::Gguf::open("model.gguf")?;
//! for tensor in file.tensors() {
//!     let (rows, cols) = tensor.shape()?;
//!     println!("{} {} {rows} x {cols}", tensor.name(), tensor.ty());
//! }
//! let bytes = file.tensor("output.weight")?.bytes()?; // a view of the file: nothing was copied
//! # Ok(())
//! # }
//! ```
//!
//! A file is checked as a whole when it is opened. Files come from anywhere, so a corrupt one gets an
//! [`Error`] that names what was found and what was expected; it cannot make the reader panic, nor
//! allocate more than a small multiple of the file's own size.
//!
//! An [`Outline`] is what a file is to hold; [`Outline::create`] gives a [`Writer`] that takes the tensors' bytes
//! and puts the file in its place once it is complete:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.gguf");
//! use warpdot_gguf::{Gguf, Outline, TensorType, Value};
//!
//! let mut outline = Outline::new();
//! outline.set("general.architecture", Value::String("bert".into()));
//! outline.add_tensor("bias", TensorType::F32, &[2])?;
//! let mut writer = outline.create(&path)?;
//! writer.write("bias", &1.0f32.to_le_bytes())?; // as many calls as suit the caller
//! writer.write("bias", &2.0f32.to_le_bytes())?;
//! writer.finish()?;
//! assert_eq!(Gguf::open(&path)?.tensor("bias")?.bytes()?.len(), 8);
//! # Ok(())
//! # }
//! ```

mod cursor;
mod error;
mod field;
mod file;
mod outline;
mod tensor;
mod types;
mod value;
mod writer;

pub use error::Error;
pub use file::Gguf;
pub use outline::Outline;
pub use tensor::Tensor;
pub use types::TensorType;
pub use value::{Array, Value};
pub use writer::Writer;

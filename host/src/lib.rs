//! The CUDA driver API behind safe types, on `cust` and over a libcuda that is opened at run time.
//!
//! A program that uses this crate links against no CUDA library and starts everywhere; where there is no driver,
//! [`Device::all`] answers [`Error::NoDriver`]. See [`driver`] for how, and for putting another driver in its
//! place.
//!
//! ```no_run
//! use warpdot_host::{Device, Launch};
//!
//! # fn main() -> Result<(), warpdot_host::Error> {
//! # let (ptx, x) = ("", vec![1f32; 256]);
//! let context = Device::get(0)?.context()?;
//! let stream = context.stream()?;
//! let double = context.load_module(ptx)?.function("double")?;
//! let mut buffer = context.alloc::<f32>(x.len())?;
//! buffer.write(&x)?;
//! let launch = Launch { grid: [1, 1, 1], block: [256, 1, 1], shared_bytes: 0 };
//! // SAFETY: `double` takes a pointer to as many f32s as it has threads, and a factor.
//! unsafe { stream.launch(&double, launch, &[(&mut buffer).into(), 2f32.into()]) }?;
//! stream.synchronize()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//! All types are `Send` and `Sync`: every call makes its context current on its own thread and restores what was
//! there before.
//!
//! # Building
//! The build script of `cust_raw` asks for a CUDA folder, of which this crate uses nothing: without a toolkit, let
//! the environment variable `CUDA_LIBRARY_PATH` name any folder with a `lib64` in it.
//!
//! # Platforms
//! Linux on x86-64 and aarch64. Elsewhere this crate is empty, and those who depend on it leave it out.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod arch;
mod buffer;
mod context;
mod device;
pub mod driver;
mod error;
mod event;
mod graph;
mod module;
mod stream;

pub use arch::{Arch, ComputeCapability, Suffix, UnknownArch};
pub use buffer::Buffer;
pub use context::{Context, Memory};
pub use cust::sys::{CUcontext, CUdeviceptr, CUevent, CUfunction, CUstream};
pub use device::{Device, DriverVersion, driver_version};
pub use error::{DriverError, Error};
pub use event::Event;
pub use graph::Graph;
pub use module::{Function, Module};
pub use stream::{Argument, Launch, Stream};

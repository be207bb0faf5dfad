#![doc = include_str!("../README.md")]

#[cfg(all(
    feature = "cuda",
    not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))
))]
compile_error!("the feature `cuda` is supported on Linux on x86-64 and aarch64; build without it elsewhere");

mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod error;
mod experts;
pub mod import;
mod kernel;
mod matrix;
#[cfg(feature = "cuda")]
pub mod ptx;

pub use device::{Device, DeviceMatrix, Options, Run};
pub use error::Error;
pub use experts::Experts;
pub use kernel::{KernelId, Operation};
pub use matrix::QuantizedMatrix;
pub use warpdot_cpu::{Activation, Epilogue, Float, Isa, Numbers, NumbersMut, Product, Tensor, TensorMut};
pub use warpdot_formats::{F16, FloatType, GgmlType, Numerics};

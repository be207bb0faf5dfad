//! Products in the memory of a GPU, queued on a stream of the caller's: what an inference engine needs.
//!
//! [`DeviceMatrix::enqueue`](crate::DeviceMatrix::enqueue) takes device addresses and a stream as the driver knows
//! them, so memory and streams of candle, cudarc or cust can be used as they are, as long as they belong to the
//! device's primary context, which those libraries use, too. It launches two kernels and does nothing else: no
//! allocation, no copy, no wait, no loading of modules (that was done by [`Device::upload`](crate::Device::upload)). So
//! it can be captured into a CUDA graph, and called from several threads at once.
//!
//! ```no_run
//! use warpdot::cuda::{Epilogue, Product, Tensor, Workspace};
//! use warpdot::{Activation, Device, FloatType, QuantizedMatrix};
//!
//! # fn f(w: QuantizedMatrix) -> Result<(), warpdot::Error> {
//! let device = Device::cuda(0)?;
//! let w = device.upload(&w)?;
//! let (m, n, k) = (4, w.rows(), w.columns());
//!
//! // Here the memory and the stream are this library's own; raw handles of others do as well.
//! let context = device.cuda_context()?;
//! let stream = context.stream()?;
//! let (x, y) = (context.alloc::<u16>(m * k)?, context.alloc::<u16>(m * n)?);
//! let scratch = context.alloc::<u8>(w.workspace_bytes(m)?)?;
//!
//! let product = Product {
//!     epilogue: Epilogue { activation: Activation::Silu, ..Epilogue::default() },
//!     ..Product::new(
//!         Tensor::new(x.as_raw(), FloatType::Bf16, m, k),
//!         Tensor::new(y.as_raw(), FloatType::Bf16, m, n),
//!         Workspace { pointer: scratch.as_raw(), bytes: scratch.len() },
//!     )
//! };
//! // SAFETY: the buffers have these sizes, nobody else uses them, and they outlive the work on the stream.
//! unsafe { w.enqueue(stream.as_raw(), &product) }?;
//! stream.synchronize()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`DeviceMatrix::enqueue_gated`](crate::DeviceMatrix::enqueue_gated) does so with two matrices, one of which gives the
//! factors of the other; [`DeviceMatrix::enqueue_dequantize`](crate::DeviceMatrix::enqueue_dequantize),
//! [`DeviceMatrix::enqueue_rows`](crate::DeviceMatrix::enqueue_rows) and [`Quantizer`] convert weights in the same way.
//!
//! The bits of Y are those of [`formats::reproducible`](warpdot_formats::reproducible) for X as `f32`, through
//! [`formats::epilogue`](warpdot_formats::epilogue).

mod device;
mod enqueue;
mod experts;
mod gated;
mod kernels;
mod matrix;
mod packed;
mod product;
mod quantizer;
mod reader;
mod rows;

pub use crate::Experts;
pub use product::{Epilogue, Product, Tensor, Workspace};
pub use quantizer::{BlockRows, Quantizer};
pub use reader::Reader;
pub use warpdot_host::{Buffer, CUcontext, CUdeviceptr, CUstream, Context, Event, Graph, Stream};

pub(crate) use device::Cuda;
pub(crate) use kernels::LoadedKernel;
pub(crate) use matrix::{CudaMatrix, CudaPart};
pub(crate) use packed::packed_bytes;

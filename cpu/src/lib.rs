//! Quantized matrix multiplication on the CPU: `Y[m,n] = X[m,k] · W[n,k]ᵀ`, straight from ggml's blocks.
//!
//! There are two algorithms, `gemv.rs` for few rows of activations and `gemm.rs` for many, both with sixteen rows of
//! weights side by side, one in each lane. They are written against a handful of vector operations (`isa/lanes.rs`)
//! and the format contract of [`warpdot_formats`]: an instruction set contributes those operations, a format how its
//! words unpack, and neither knows of the other. A third, `tiles.rs`, is for many rows where there are tile registers.
//! Weights are read from ggml's blocks as they are, or from a [`PackedMatrix`], which takes as many bytes and is
//! quicker; all rows of a matrix or some of them (`weights.rs`), or for each row of activations those of an
//! [expert](Experts). Threads come from rayon's current pool.
//!
//! ```
//! use warpdot_cpu::{Isa, Numerics, Problem, Workspace, matmul};
//! use warpdot_formats::{Format, Q8_0};
//!
//! let weights = [Q8_0::quantize(&[0.5; 32]), Q8_0::quantize(&[-1.0; 32])]; // n = 2 rows of k = 32
//! let mut y = [0.0; 2];
//! let problem = Problem { m: 1, n: 2, k: 32 };
//! matmul(Isa::best(), Numerics::Fast, &mut Workspace::new(), problem, &weights, &[1.0; 32], &mut y)?;
//! assert!((y[0] - 16.0).abs() < 0.1 && (y[1] + 32.0).abs() < 0.1);
//! # Ok::<(), warpdot_cpu::Error>(())
//! ```

#![deny(unsafe_code)] // but for the instruction sets, and strips of columns

mod activations;
mod bytes;
#[doc(hidden)] // for benches
pub mod ceilings;
#[cfg(target_arch = "x86_64")]
mod columns;
mod dequantize;
mod epilogue;
mod error;
mod experts;
mod gemm;
mod gemv;
pub mod isa;
mod kernel;
mod matmul;
mod matrix;
mod memory;
mod multiply;
mod pack;
mod parallel;
mod plan;
mod quantize;
mod tensor;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod weights;

pub use activations::quantize;
pub use dequantize::{Float, dequantize, dequantize_bytes};
pub use epilogue::Epilogue;
pub use error::Error;
pub use experts::Experts;
pub use isa::Isa;
pub use kernel::{Kernel, Routine};
pub use matmul::{Problem, Product, Workspace, dot, matmul};
pub use matrix::{Matrix, MatrixRows};
pub use pack::PackedMatrix;
pub use quantize::{quantize_blocks, quantize_bytes};
pub use tensor::{Counted, Numbers, NumbersMut, Rows, Tensor, TensorMut};
pub use warpdot_formats::Numerics;
pub use warpdot_formats::epilogue::Activation;

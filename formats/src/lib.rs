//! The block formats of GGUF/ggml: their layouts and the one definition of their arithmetic.
//!
//! Everything that multiplies by these formats, on any device, goes through one contract, the [`Format`]
//! trait: a block unpacks into runs of 32 small integers (*codes*), and every group of 16 or 32 codes has
//! one `f32` scale and, in some formats, one `f32` offset:
//!
//! ```text
//! weight[i] = scale[i / GROUP] * code[i] + offset[i / GROUP]
//! ```
//!
//! Activations meet the codes as int8, 32 at a time ([`ActivationBlock`]), so that a product is an exact
//! integer dot product per group, a few `f32` operations per run, and nothing else. [`reproducible`] fixes
//! the order of those operations, which makes the result the same bits on every device.
//!
//! How a block unpacks is written once, in operations on 32-bit words ([`Word`]) of blocks that may lie in any way
//! ([`Blocks`]): the same function serves a GPU thread, a register of SIMD lanes and the portable code.
//!
//! The crate is `no_std`; the GPU kernels compile these very sources.
//!
//! ```
//! use warpdot_formats::{ActivationBlock, Format, Q4_0, reproducible};
//!
//! let weights: Vec<f32> = (0..32).map(|i| (i as f32 * 0.7).sin()).collect();
//! let block = Q4_0::quantize(&weights);
//! let activations = ActivationBlock::quantize(&[1.0; 32]);
//! let y = reproducible::dot(&[block], &[activations]);
//! assert!((y - weights.iter().sum::<f32>()).abs() < 2.0);
//! ```

#![no_std]
#![deny(unsafe_code)] // but for a view of blocks on GPUs, where bytemuck is not compiled
#![allow(clippy::needless_range_loop, reason = "groups, rows and lanes go by number")]
#![cfg_attr(target_arch = "nvptx64", feature(core_float_math, f16))]

#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!("ggml's blocks are little-endian and are read in place: big-endian targets are not supported");

pub mod activation;
mod affine;
#[macro_use]
mod blocks;
mod codebook;
pub mod codebooks;
pub mod epilogue;
mod f16;
#[macro_use]
mod format;
mod float4;
mod floats;
#[cfg(not(target_arch = "nvptx64"))]
mod from_codes;
mod importance;
mod iq1;
mod iq2;
mod iq3;
mod iq4;
mod kquant;
mod lanes;
mod legacy;
mod levels;
mod list;
mod pack;
pub mod reproducible;
mod rows;
mod scales;
mod signed_code;
mod super_block;
mod swar;
mod symmetric;
mod ternary;
mod ternary_code;
mod vector_code;
mod word;

pub use activation::ActivationBlock;
pub use blocks::{Blocks, Layout, One};
pub use f16::F16;
pub use float4::{Mxfp4, Nvfp4};
pub use floats::{Bf16, FloatType};
pub use format::{Codes, Format, FormatVisitor, NumberOf, RUN, RunScales, code_bytes};
#[cfg(not(target_arch = "nvptx64"))]
pub use from_codes::FromCodes;
pub use importance::{Equal, Importance, PerWeight};
pub use iq1::{Iq1M, Iq1S};
pub use iq2::{Iq2S, Iq2Xs, Iq2Xxs};
pub use iq3::{Iq3S, Iq3Xxs};
pub use iq4::{Iq4Nl, Iq4Xs};
pub use kquant::{AffineGroups, Q2K, Q3K, Q4K, Q5K, Q6K};
pub use legacy::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use list::GgmlType;
pub use reproducible::Numerics;
pub use super_block::{Found, Group, Grouped, Search, Units};
pub use ternary::{Q1_0, Q2_0, Tq1_0, Tq2_0};
pub use word::{Number, Word};

//! The GPU kernels, in Rust, generic over the block formats of `warpdot-formats`.
//!
//! These sources are compiled twice. For a GPU, `warpdot`'s build script compiles them to PTX, once per architecture
//! and *family* (`quantize`, `pack`, `gemv`, `gemv_id`, `gemm`, `rows`, `quantize_rows`, `read`), with the compiler's own
//! `nvptx64-nvidia-cuda` target; that is what [`gpu`] has bodies for. For the host, cargo compiles them like any
//! crate: everything type-checks there, and [`launch`] tells the host how a kernel is launched.
//!
//! | module | idea |
//! |---|---|
//! | [`gpu`] | threads, warps, shared and global memory: the only unsafe code |
//! | [`arguments`] | what kernels are given by value |
//! | [`activations`] | activation blocks in words |
//! | [`quantize`] | activations to int8 |
//! | [`packed`] | where packed weights lie, and why |
//! | [`pack`] | weights to that layout |
//! | [`feed`] | weights and activations on their way to the threads that multiply |
//! | [`gemv`] | up to 8 columns: four rows and every 32nd run a thread |
//! | [`gemv_wide`] | the same on tensor cores, for 4 columns and more |
//! | [`gemv_id`] | the same with an expert's weights for each column |
//! | [`gemm`] | more columns: tiles in shared memory |
//! | [`epilogue`] | from products to Y |
//! | [`rows`] | weights as plain numbers |
//! | [`quantize_rows`] | plain numbers to blocks |
//! | [`quantize_groups`] | the same for super-blocks: a group a thread |
//! | [`read`] | memory read and nothing else, as a ceiling |
//! | [`launch`] | grids, blocks and entry names |
//!
//! Every product has the bits that [`warpdot_formats::reproducible`] defines.

#![no_std]
#![allow(clippy::needless_range_loop, reason = "rows, words and lanes go by number")]
#![cfg_attr(target_arch = "nvptx64", allow(internal_features))]
#![cfg_attr(target_arch = "nvptx64", feature(abi_ptx, asm_experimental_arch, link_llvm_intrinsics))]
#![cfg_attr(all(target_arch = "nvptx64", ampere), feature(abi_unadjusted))]

pub mod activations;
pub mod arguments;
#[cfg(target_arch = "nvptx64")]
mod entries;
pub mod epilogue;
pub mod feed;
pub mod gemm;
pub mod gemv;
pub mod gemv_id;
pub mod gemv_wide;
pub mod gpu;
pub mod launch;
pub mod pack;
pub mod packed;
pub mod quantize;
pub mod quantize_groups;
pub mod quantize_rows;
pub mod read;
pub mod rows;

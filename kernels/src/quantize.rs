//! Activations to int8: [`ActivationBlock::quantize`](warpdot_formats::ActivationBlock::quantize) by warps.
//!
//! - **Roles.** A warp quantizes one block of 32 activations; lane i has activation i.
//! - **Shape.** Rows of X of any type and stride, and any number of blocks; a block's 40 bytes leave in one store by
//!   ten lanes.
//! - **Barriers.** None; the maximum and the sums go through shuffles.

use crate::activations::Activations;
use crate::gpu::global::{Matrix, Output};
use crate::gpu::{thread, warp};
use crate::launch::QUANTIZE_WARPS;
use warpdot_formats::RUN;
use warpdot_formats::activation::{Scaling, round};

/// Quantizes the activations of `x`, in rows of `runs` blocks, to `blocks`, which is as many [`Activations::WORDS`].
#[inline(always)]
pub fn quantize(x: Matrix, blocks: Output<u32>, runs: u32) {
    let lane = warp::lane_id();
    let warp = thread::thread_idx_x() / warp::SIZE;
    let block = thread::block_idx_x() * QUANTIZE_WARPS + warp;
    let Some(row) = block.checked_div(runs) else { return };
    // Rows are whole blocks: a warp has all of its activations or none.
    let Some(activation) = x.get(row, (block - row * runs) * RUN as u32 + lane) else { return };
    let block = block as usize;

    let largest = warp::reduce(activation.to_bits() & 0x7fff_ffff, 32, u32::max);
    let Scaling { scale, inverse } = Scaling::for_largest(largest);
    let code = round(activation * inverse);

    let half_sum = warp::reduce(code as u32, 16, u32::wrapping_add);
    let sums = warp::shuffle_idx(half_sum, 0) & 0xffff | warp::shuffle_idx(half_sum, 16) << 16;
    let codes = warp::reduce(u32::from(code as u8) << (8 * (lane % 4)), 4, |a, b| a | b);
    let codes = warp::shuffle_idx(codes, 4 * lane.wrapping_sub(2));

    let word = match lane {
        0 => scale.to_bits(),
        1 => sums,
        _ => codes,
    };
    if (lane as usize) < Activations::WORDS {
        blocks.set(block * Activations::WORDS + lane as usize, word);
    }
}

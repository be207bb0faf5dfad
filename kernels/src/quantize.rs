//! Activations to int8: [`ActivationBlock::quantize`](warpdot_formats::ActivationBlock::quantize) by warps.
//!
//! - **Roles.** A warp quantizes one block of 32 activations; lane i has activation i.
//! - **Shape.** Any number of blocks; a block's 40 bytes leave in one store by ten lanes.
//! - **Barriers.** None; the maximum and the sums go through shuffles.

use crate::activations::Activations;
use crate::gpu::global::Output;
use crate::gpu::{thread, warp};
use crate::launch::QUANTIZE_WARPS;
use warpdot_formats::RUN;
use warpdot_formats::activation::{Scaling, round};

/// Quantizes the blocks of `activations` to `blocks`, which is as many [`Activations::WORDS`].
#[inline(always)]
pub fn quantize(activations: &[f32], blocks: Output<u32>) {
    let lane = warp::lane_id();
    let warp = thread::thread_idx_x() / warp::SIZE;
    let block = thread::block_idx_x() as usize * QUANTIZE_WARPS as usize + warp as usize;
    // The length is a multiple of 32: a warp has all of its activations or none.
    let Some(&activation) = activations.get(block * RUN + lane as usize) else { return };

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

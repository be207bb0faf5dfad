//! Plain numbers to blocks in ggml's layout: rows of a cache of keys, for one.
//!
//! - **Roles.** A thread makes one block, with the quantizer that the CPU has, all in registers. A warp fetches the
//!   numbers of its 32 blocks, neighbouring lanes neighbouring numbers, and hands them over through shared memory.
//! - **Shape.** Any number of rows, of any type and stride; k a multiple of the block. Blocks of up to 64 weights: what
//!   larger ones need does not fit a thread's registers.
//! - **Barriers.** One, between the two.

use crate::gpu::global::{Matrix, Output};
use crate::gpu::shared::Words;
use crate::gpu::{thread, warp};
use warpdot_formats::{Equal, Format};

/// Threads of a block.
pub(crate) const THREADS: u32 = 64;

/// Words of shared memory for blocks of `weights`: one more for each, so that a warp's threads meet different banks.
pub const fn words(weights: usize) -> usize {
    THREADS as usize * (weights + 1)
}

/// Where rows of blocks go.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a, F> {
    /// The blocks, row after row.
    pub blocks: Output<F>,
    /// Rows that there is room for.
    pub rows: u32,
    /// For each row of numbers the row that it becomes; the same without a list. If there is no such row, nothing does.
    pub ids: Option<&'a [u32]>,
}

/// Quantizes the `m` rows of `x`, which are `row_blocks` blocks of `WEIGHTS` long.
///
/// `staging` is shared memory of [`words`] for these.
#[inline(always)]
pub fn quantize_rows<F: Format, const WEIGHTS: usize, const WORDS: usize>(
    x: Matrix,
    target: Target<'_, F>,
    staging: Words<WORDS>,
    m: u32,
    row_blocks: u32,
) {
    const { assert!(WEIGHTS == F::WEIGHTS && WORDS == words(WEIGHTS)) };
    let (lane, thread) = (warp::lane_id(), thread::thread_idx_x());
    let warp_start = thread - lane;
    let first = thread::block_idx_x() * THREADS + warp_start;
    let place = |block: u32| {
        let row = block.checked_div(row_blocks)?;
        Some((row, block - row * row_blocks))
    };
    let mut at = lane;
    while at < warp::SIZE * WEIGHTS as u32 {
        let (block, weight) = (at / WEIGHTS as u32, at % WEIGHTS as u32);
        let number = place(first + block)
            .and_then(|(row, of_row)| x.get(row, of_row * WEIGHTS as u32 + weight))
            .unwrap_or(0.0);
        staging.set((warp_start + block) * (WEIGHTS as u32 + 1) + weight, number.to_bits());
        at += warp::SIZE;
    }
    thread::sync_threads();

    let Some((row, of_row)) = place(first + lane) else { return };
    let to = match target.ids {
        None => row,
        Some(ids) => ids.get(row as usize).copied().unwrap_or(u32::MAX),
    };
    if row >= m || to >= target.rows {
        return;
    }
    let mut weights = [0.0; WEIGHTS];
    for (i, weight) in (0..).zip(&mut weights) {
        *weight = f32::from_bits(staging.get(thread * (WEIGHTS as u32 + 1) + i));
    }
    target.blocks.set(to as usize * row_blocks as usize + of_row as usize, F::quantize_with(&weights, Equal));
}

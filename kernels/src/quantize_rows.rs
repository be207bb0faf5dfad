//! Plain numbers to blocks in ggml's layout: rows of a cache of keys, for one.
//!
//! - **Roles.** A thread makes one block, with the quantizer that the CPU has, all in registers. A warp fetches the
//!   numbers of its 32 blocks, neighbouring lanes neighbouring numbers, and hands them over through shared memory.
//! - **Shape.** Any number of rows, of any type and stride; k a multiple of the block. Blocks of up to 64 weights: what
//!   larger ones need does not fit a thread's registers, so [`quantize_groups`](crate::quantize_groups) makes those.
//! - **Barriers.** One, between the two.

use crate::gpu::global::{Matrix, Output};
use crate::gpu::shared::Words;
use crate::gpu::{thread, warp};
use warpdot_formats::{Equal, Format};

/// Threads of a block.
pub(crate) const THREADS: u32 = 64;

/// Words of shared memory for pieces of `weights`, one a thread: one more for each, so that a warp's threads meet
/// different banks.
pub const fn words(weights: usize) -> usize {
    THREADS as usize * (weights + 1)
}

/// Where rows of blocks go.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a, T> {
    /// The blocks, row after row, or their half-words.
    pub blocks: Output<T>,
    /// Rows that there is room for.
    pub rows: u32,
    /// For each row of numbers the row that it becomes; the same without a list. If there is no such row, nothing does.
    pub ids: Option<&'a [u32]>,
}

impl<T> Target<'_, T> {
    /// The row that row `row` of `m` becomes, if there is one.
    #[inline(always)]
    pub(crate) fn row(&self, row: u32, m: u32) -> Option<usize> {
        let to = match self.ids {
            None => row,
            Some(ids) => ids.get(row as usize).copied().unwrap_or(u32::MAX),
        };
        (row < m && to < self.rows).then_some(to as usize)
    }
}

/// Rows of numbers in pieces, each of which a thread quantizes: the thread's own piece is in shared memory, which is
/// [`words`] for pieces of this many `WEIGHTS`.
#[derive(Clone, Copy)]
pub(crate) struct Pieces<const WEIGHTS: usize, const WORDS: usize> {
    staging: Words<WORDS>,
}

impl<const WEIGHTS: usize, const WORDS: usize> Pieces<WEIGHTS, WORDS> {
    /// Fetches the pieces of a block's threads from rows of `row_pieces`; zeros where there are none. Returns the
    /// thread's row as well, and which piece of it the thread has. All threads get here together.
    #[inline(always)]
    pub(crate) fn fetch(x: Matrix, staging: Words<WORDS>, row_pieces: u32) -> (Self, Option<(u32, u32)>) {
        const { assert!(WORDS == words(WEIGHTS)) };
        let (lane, thread) = (warp::lane_id(), thread::thread_idx_x());
        let warp_start = thread - lane;
        let first = thread::block_idx_x() * THREADS + warp_start;
        let place = |piece: u32| {
            let row = piece.checked_div(row_pieces)?;
            Some((row, piece - row * row_pieces))
        };
        let pieces = Self { staging };
        let mut at = lane;
        while at < warp::SIZE * WEIGHTS as u32 {
            let (piece, weight) = (at / WEIGHTS as u32, at % WEIGHTS as u32);
            let number = place(first + piece)
                .and_then(|(row, of_row)| x.get(row, of_row * WEIGHTS as u32 + weight))
                .unwrap_or(0.0);
            pieces.set(warp_start + piece, weight, number.to_bits());
            at += warp::SIZE;
        }
        thread::sync_threads();
        (pieces, place(first + lane))
    }

    /// The weights of a thread's piece.
    #[inline(always)]
    pub(crate) fn weights(self, thread: u32) -> [f32; WEIGHTS] {
        let mut weights = [0.0; WEIGHTS];
        for (i, weight) in (0..).zip(&mut weights) {
            *weight = f32::from_bits(self.get(thread, i));
        }
        weights
    }

    /// Writes word `index` of what a thread has, below `WEIGHTS`.
    #[inline(always)]
    pub(crate) fn set(self, thread: u32, index: u32, value: u32) {
        self.staging.set(thread * (WEIGHTS as u32 + 1) + index, value);
    }

    /// Word `index` of what a thread has, below `WEIGHTS`.
    #[inline(always)]
    pub(crate) fn get(self, thread: u32, index: u32) -> u32 {
        self.staging.get(thread * (WEIGHTS as u32 + 1) + index)
    }
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
    const { assert!(WEIGHTS == F::WEIGHTS) };
    let (pieces, place) = Pieces::<WEIGHTS, WORDS>::fetch(x, staging, row_blocks);
    let Some((row, of_row)) = place else { return };
    let Some(to) = target.row(row, m) else { return };
    let weights = pieces.weights(thread::thread_idx_x());
    target.blocks.set(to * row_blocks as usize + of_row as usize, F::quantize_with(&weights, Equal));
}

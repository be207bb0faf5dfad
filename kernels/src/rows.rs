//! Rows of weights as plain numbers: embeddings looked up, or a matrix dequantized.
//!
//! - **Roles.** A thread writes four consecutive weights, one word of codes, with a single store where the rows of the
//!   output allow it; eight threads make up a run, and each of them unpacks it. A block has 32 runs: of as many
//!   rows as there are, up to 32, so that the lines of a tile of packed weights are used up by one block.
//! - **Shape.** Any number of rows, in any order; k a multiple of the block.
//! - **Barriers.** None.

use crate::gemv::Part;
use crate::gpu::global::Matrix;
use crate::gpu::lanes::Lanes;
use crate::gpu::thread;
use crate::gpu::weights::Weights;
use crate::packed::TILE_ROWS;
use warpdot_formats::{Format, RUN};

/// Threads of a run: each has a word of codes.
const RUN_THREADS: u32 = RUN as u32 / 4;
/// Runs of a block.
const BLOCK_RUNS: u32 = 32;
/// Threads of a block.
pub(crate) const THREADS: u32 = RUN_THREADS * BLOCK_RUNS;

/// How many rows the runs of a block belong to, of `m` rows.
const fn block_rows(m: u32) -> u32 {
    if m < TILE_ROWS { m.next_power_of_two() } else { TILE_ROWS }
}

/// Blocks along m rows, and along `runs` runs.
pub(crate) const fn blocks(m: u32, runs: u32) -> (u32, u32) {
    let rows = block_rows(m);
    (m.div_ceil(rows), runs.div_ceil(BLOCK_RUNS / rows))
}

/// Writes `m` rows of `part` to `out`: its first ones, or those that `ids` names. A row that does not exist is left out,
/// and its place left as it is.
#[inline(always)]
pub fn rows<F: Format>(
    weights: Weights<F>,
    ids: Option<&[u32]>,
    out: Matrix,
    m: u32,
    Part { first_row, n, k }: Part,
) {
    let runs = k / RUN as u32;
    let (rows, (_, along_k)) = (block_rows(m), blocks(m, runs));
    let (block, thread) = (thread::block_idx_x(), thread::thread_idx_x());
    let Some(group) = block.checked_div(along_k) else { return };
    let (unit, place) = (thread / RUN_THREADS, (thread % RUN_THREADS) as usize);
    // A power of two: no division.
    let (row, unit) = (group * rows + unit % rows, unit >> rows.trailing_zeros());
    let run = (block - group * along_k) * (BLOCK_RUNS >> rows.trailing_zeros()) + unit;
    let id = match ids {
        None => row,
        Some(ids) => ids.get(row as usize).copied().unwrap_or(u32::MAX),
    };
    if row >= m || run >= runs || id >= n {
        return;
    }
    let Some(block) = weights.rows::<1>(first_row + id).and_then(|row| row.block(run / F::RUNS as u32))
    else {
        return;
    };

    // A selection, because an index that is not constant would put the words into local memory.
    let words = F::raw_codes(block, run as usize);
    let (mut word, scales) = (words[0], F::raw_scales(block, run as usize));
    for (i, candidate) in words.into_iter().enumerate() {
        word = if i == place { candidate } else { word };
    }
    let late = F::GROUP < RUN && place >= RUN / 8;
    let of_group = |pair: [Lanes<f32, 1>; 2]| if late { pair[1].0[0] } else { pair[0].0[0] };
    let (scale, offset) = (of_group(scales.scale), of_group(scales.offset));
    let weight = |code: u8| {
        let product = scale * (i32::from(code) - i32::from(F::ZERO)) as f32;
        if F::HAS_OFFSET { product + offset } else { product }
    };
    out.set4(row, run * RUN as u32 + 4 * place as u32, word.0[0].to_le_bytes().map(weight));
}

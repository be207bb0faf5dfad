//! Blocks in ggml's layout to the layout of [`packed`](crate::packed), some whole tiles of rows at a time.
//!
//! - **Roles.** A thread moves a word of four rows, with a single store; consecutive threads store consecutive 16
//!   bytes. The thread of a block's first word also moves the odd fields of its four rows.
//! - **Shape.** Rows from a multiple of 32 on, all of their tiles' rows or up to the last of the matrix. Rows that
//!   make up the last quad are zeros.
//! - **Barriers.** None. Loads are by half-words (or bytes), and meet in the cache.

use crate::gpu::global::Output;
use crate::gpu::thread;
use crate::launch::PACK_THREADS;
use crate::packed::{Packing, QUAD_ROWS, TILE_ROWS};
use core::array::from_fn;
use warpdot_formats::{Blocks, Format, One};

/// Four words, for loads and stores of 16 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Words4(pub [u32; 4]);

/// Packs `blocks`, which are `rows` whole rows of the matrix from row `first` on.
#[inline(always)]
pub fn pack<F: Format>(
    blocks: &[F],
    words: Output<Words4>,
    odd: Output<u32>,
    packing: Packing,
    first: u32,
    rows: u32,
) {
    const QUADS: u32 = TILE_ROWS / QUAD_ROWS;
    let thread = thread::block_idx_x() * PACK_THREADS + thread::thread_idx_x();
    let (row_blocks, block_words) = (packing.row_blocks(), F::LAYOUT.words as u32);
    let lines = row_blocks * block_words;
    let Some(tile) = thread.checked_div(QUADS * lines) else { return };
    let Some(left) = rows.checked_sub(tile * TILE_ROWS) else { return };
    let tile_quads = left.div_ceil(QUAD_ROWS).min(QUADS);
    let in_tile = thread - tile * QUADS * lines;
    let Some(line) = in_tile.checked_div(tile_quads) else { return };
    if line >= lines {
        return;
    }
    let row = tile * TILE_ROWS + (in_tile - line * tile_quads) * QUAD_ROWS;
    let (block, word) = (line / block_words, line % block_words);

    let of_rows: [Option<&F>; 4] =
        from_fn(|i| blocks.get((row as usize + i) * row_blocks as usize + block as usize));
    let place = packing.place(first + row);
    let start = place.word + line as usize * place.words_apart as usize;
    words
        .set(start / 4, Words4(of_rows.map(|block| block.map_or(0, |block| One(block).word(word as usize)))));

    if word == 0 && F::LAYOUT.odd > 0 {
        let start = (place.odd + block as usize * place.odds_apart as usize) / 4;
        let fields = of_rows.map(|block| block.map_or(0, |block| One(block).odd()));
        if F::LAYOUT.odd == 1 {
            odd.set(start, fields[0] | fields[1] << 8 | fields[2] << 16 | fields[3] << 24);
        } else {
            odd.set(start, fields[0] & 0xffff | fields[1] << 16);
            odd.set(start + 1, fields[2] & 0xffff | fields[3] << 16);
        }
    }
}

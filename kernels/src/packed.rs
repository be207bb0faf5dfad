//! Where packed weights lie in a GPU's memory: the one layout that all kernels read.
//!
//! A block of any format is some 32-bit words and at most one odd byte or half-word
//! ([`Layout`]); ggml's 17, 18, 34 or 110 bytes allow a GPU only loads of 1 or 2 bytes. Packing moves the words of
//! neighbouring rows next to each other and changes no bit, so that any format, whatever the length of its blocks, is
//! read in 16 bytes a lane.
//!
//! # The layout
//!
//! - **Tiles.** 32 consecutive rows are a tile; the last one may have fewer, in whole *quads* of four. A tile is
//!   walked along k, block by block, and in each block word by word: word w of block b of all its rows is one *line*
//!   of 128 bytes, the rows in order. Tile follows tile.
//! - **Odd fields** have a plane of their own behind all words: 16 rows at a time, block by block along k, the fields
//!   of the rows in order.
//!
//! ```text
//! word w of block b of row r    words plane, word  (r / 32 * 32) * B * W + (b * W + w) * min(32, N - r / 32 * 32) + r % 32
//! odd field of block b of row r odd plane, field   (r / 16 * 16) * B     + b * min(16, N - r / 16 * 16)           + r % 16
//! with B blocks in a row, W words in a block, N = n rounded up to a multiple of 4
//! ```
//!
//! - **Overhead.** None in any format if n is a multiple of 4, else one to three rows, of zeros. Both planes and all
//!   lines start at multiples of 16 bytes of their own accord: nothing is aligned by padding.
//!
//! # Who reads what
//!
//! - **Decode** ([`gemv`](crate::gemv)). The words of the 32 runs of a tile that a block takes at a time follow each
//!   other: threads copy 16 bytes each to shared memory, a warp four whole lines in one instruction, and nothing twice.
//!   Then a lane has a quad: 16 bytes are the same word of four rows.
//! - **Tensor cores** ([`gemv_wide`](crate::gemv_wide)). A lane has a quad here, too, and a warp eight quads by four
//!   runs: what lanes load is what they are to supply, and products come out in the lanes that have the scales.
//! - **Whole fragments**, for which nothing would be left over. In `mma.m16n8k32` with int8 weights as its A operand,
//!   lane 4g + t supplies, for matrix rows g and g + 8, the code words t and t + 4 of a run. Let matrix rows g and g + 8
//!   of two products be rows 4g to 4g + 3 of a tile, as a permutation of the rows of A permutes those of the product
//!   alike. Then code words t and t + 4 of quad g are the fragments of a 32 x 32 tile of W; where a code word is made of
//!   the words at its own place, as in Q4_0 (word t has both code words t and t + 4) or Q4_K (words t and t + 4 have them
//!   for two runs), a lane could load them, and a warp's load is four lines in a row: 512 bytes.
//!   [`gemm`](crate::gemm) has this order in shared memory, where it is the same for all formats.
//! - **Tiles in shared memory** ([`gemm`](crate::gemm)). Lane i has row i of a tile, and a warp's load is a line.
//! - **Single rows** ([`rows`](crate::rows)) read four bytes of each line.

use warpdot_formats::{Format, Layout};

/// Rows of a tile.
pub const TILE_ROWS: u32 = 32;
/// Rows whose odd fields lie together.
pub const ODD_ROWS: u32 = 16;
/// Rows that are read in one load.
pub const QUAD_ROWS: u32 = 4;

/// The layout of a packed matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    layout: Layout,
    /// A multiple of four.
    rows: u32,
    row_blocks: u32,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the row's first word.
    pub word: usize,
    /// From one word of the row to the next.
    pub words_apart: u32,
    /// The row's first odd field, in bytes from the start of the plane.
    pub odd: usize,
    /// From one odd field of the row to the next, in bytes: a multiple of four.
    pub odds_apart: u32,
}

impl Packing {
    /// The layout of `n` rows of `k` weights.
    #[inline(always)]
    pub const fn new<F: Format>(n: u32, k: u32) -> Self {
        Self { layout: F::LAYOUT, rows: n.div_ceil(QUAD_ROWS) * QUAD_ROWS, row_blocks: k / F::WEIGHTS as u32 }
    }

    /// Rows, those of zeros included.
    #[inline(always)]
    pub const fn rows(self) -> u32 {
        self.rows
    }

    /// Blocks of a row.
    #[inline(always)]
    pub const fn row_blocks(self) -> u32 {
        self.row_blocks
    }

    #[inline(always)]
    const fn blocks(self) -> usize {
        self.rows as usize * self.row_blocks as usize
    }

    /// Words of the first plane; the second one starts behind them.
    #[inline(always)]
    pub const fn plane_words(self) -> usize {
        self.blocks() * self.layout.words
    }

    /// Words of the plane of odd fields.
    #[inline(always)]
    pub const fn odd_words(self) -> usize {
        self.blocks() * self.layout.odd / 4
    }

    /// Where row `row` is, which is below [`rows`](Self::rows).
    #[inline(always)]
    pub const fn place(self, row: u32) -> Place {
        let (tile, words_apart) = self.group(row, TILE_ROWS);
        let (sixteen, odds_apart) = self.group(row, ODD_ROWS);
        let (row, row_blocks) = (row as usize, self.row_blocks as usize);
        Place {
            word: tile * row_blocks * self.layout.words + (row - tile),
            words_apart,
            odd: self.layout.odd * (sixteen * row_blocks + (row - sixteen)),
            odds_apart: self.layout.odd as u32 * odds_apart,
        }
    }

    /// The first row of `row`'s group of `size` rows, and how many rows the group has.
    #[inline(always)]
    const fn group(self, row: u32, size: u32) -> (usize, u32) {
        let first = row / size * size;
        let left = self.rows - first;
        (first as usize, if left < size { left } else { size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warpdot_formats::{FormatVisitor, GgmlType};

    struct Places {
        n: u32,
    }

    impl FormatVisitor for Places {
        type Output = ();

        fn visit<F: Format>(self) {
            let (n, row_blocks) = (self.n, 3);
            let packing = Packing::new::<F>(n, row_blocks * F::WEIGHTS as u32);
            assert_eq!(packing.row_blocks(), row_blocks);
            let words = packing.plane_words() + packing.odd_words();
            assert_eq!(4 * words, n.next_multiple_of(4) as usize * 3 * size_of::<F>(), "{}", F::NAME);
            let mut taken = [[0u8; 1 << 15]; 2];
            for row in 0..packing.rows() {
                let place = packing.place(row);
                for word in 0..row_blocks as usize * F::LAYOUT.words {
                    taken[0][place.word + word * place.words_apart as usize] += 1;
                }
                for block in 0..row_blocks as usize {
                    for byte in 0..F::LAYOUT.odd {
                        taken[1][place.odd + block * place.odds_apart as usize + byte] += 1;
                    }
                }
                // What quads are loaded by.
                if row % QUAD_ROWS == 0 {
                    assert!(place.word.is_multiple_of(4) && place.words_apart.is_multiple_of(4));
                    assert!(place.odd.is_multiple_of(4 * F::LAYOUT.odd.max(1)));
                    assert!(place.odds_apart.is_multiple_of(4 * F::LAYOUT.odd.max(1) as u32));
                }
            }
            assert!(taken[0][..packing.plane_words()].iter().all(|&count| count == 1));
            assert!(taken[1][..4 * packing.odd_words()].iter().all(|&count| count == 1));
        }
    }

    #[test]
    fn rows_share_the_planes_without_a_gap() {
        for n in [1, 4, 15, 16, 30, 32, 33, 50, 64, 101] {
            GgmlType::ALL.iter().for_each(|ty| ty.visit(Places { n }));
        }
    }
}

//! Packed weights in the GPU's memory, as blocks that formats unpack.

use core::marker::PhantomData;

use super::lanes::Lanes;
use crate::arguments::WeightRows;
use crate::packed::{Packing, Place};
use warpdot_formats::{Blocks, Format};

/// A packed matrix.
#[derive(Clone, Copy, Debug)]
pub struct Weights<F> {
    /// The words plane, and the plane of odd fields behind it.
    start: *const u32,
    packing: Packing,
    format: PhantomData<F>,
}

impl<F: Format> Weights<F> {
    /// The whole matrix that `rows` belong to, of rows of `k` weights.
    ///
    /// # Safety
    /// Its address is a multiple of 16 and valid for reads of both planes of the [`Packing`], all of them
    /// initialized, and nothing writes them while the kernel runs.
    #[inline(always)]
    pub unsafe fn new(rows: WeightRows, k: u32) -> Self {
        Self {
            start: rows.address as *const u32,
            packing: Packing::new::<F>(rows.of, k),
            format: PhantomData,
        }
    }

    /// The rows from `first` on, 1 or 4 of them; four only from a multiple of 4 on. `None` past the end.
    #[inline(always)]
    pub fn rows<const ROWS: usize>(self, first: u32) -> Option<Rows<F, ROWS>> {
        const { assert!(ROWS == 1 || ROWS == 4) };
        let packing = self.packing;
        let Place { word, words_apart, odd, odds_apart } = packing.place(first);
        (first < packing.rows() && first.is_multiple_of(ROWS as u32)).then(
            #[inline(always)]
            || Rows {
                words: self.start.wrapping_add(word),
                words_apart,
                odd: self.start.wrapping_add(packing.plane_words() + odd / 4),
                odds_apart: odds_apart / 4,
                odd_shift: odd as u32 % 4 * 8,
                row_blocks: packing.row_blocks(),
                format: PhantomData,
            },
        )
    }
}

impl<F: Format> Weights<F> {
    /// Blocks of the four rows from `first_row` on, a multiple of 4: block `first`, and others. None of rows past the end.
    #[inline(always)]
    pub fn steps(self, first_row: u32, first: u32) -> BlockSteps<F> {
        match self.rows::<4>(first_row) {
            Some(rows) => BlockSteps {
                next: rows.place(first),
                odds_apart: rows.odds_apart,
                left: rows.row_blocks.saturating_sub(first),
            },
            None => {
                let (words, odd) = (self.start, self.start);
                let next = Block { words, words_apart: 0, odd, odd_shift: 0, format: PhantomData };
                BlockSteps { next, odds_apart: 0, left: 0 }
            }
        }
    }
}

/// One row, or four rows side by side.
#[derive(Clone, Copy, Debug)]
pub struct Rows<F, const ROWS: usize> {
    words: *const u32,
    words_apart: u32,
    /// The word with the first row's odd field, which is `odd_shift` bits up.
    odd: *const u32,
    odds_apart: u32,
    odd_shift: u32,
    row_blocks: u32,
    format: PhantomData<F>,
}

impl<F: Format, const ROWS: usize> Rows<F, ROWS> {
    /// Block `index` of each row.
    #[inline(always)]
    pub fn block(self, index: u32) -> Option<Block<F, ROWS>> {
        (index < self.row_blocks).then(
            #[inline(always)]
            || self.place(index),
        )
    }

    /// Where block `index` of each row is, or would be.
    #[inline(always)]
    fn place(self, index: u32) -> Block<F, ROWS> {
        Block {
            words: self.words.wrapping_add(index as usize * F::LAYOUT.words * self.words_apart as usize),
            words_apart: self.words_apart,
            odd: self.odd.wrapping_add(index as usize * self.odds_apart as usize),
            odd_shift: self.odd_shift,
            format: PhantomData,
        }
    }
}

/// A block of each of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Block<F, const ROWS: usize> {
    words: *const u32,
    words_apart: u32,
    odd: *const u32,
    odd_shift: u32,
    format: PhantomData<F>,
}

impl<F, const ROWS: usize> Block<F, ROWS> {
    /// Words from one of a block to the next.
    #[inline(always)]
    pub(super) fn words_apart(self) -> u32 {
        self.words_apart
    }

    /// Where word `index` of the rows' blocks is, if words are so far apart.
    #[inline(always)]
    pub(super) fn word_address(self, index: u32, words_apart: u32) -> *const u32 {
        self.words.wrapping_add((index * words_apart) as usize)
    }

    /// Where the odd fields of the rows' blocks are.
    #[inline(always)]
    pub(super) fn odd_address(self) -> *const u32 {
        self.odd
    }
}

/// Some blocks of four rows, at a distance from each other.
#[derive(Clone, Copy, Debug)]
pub struct BlockSteps<F> {
    next: Block<F, 4>,
    odds_apart: u32,
    /// Blocks of the rows from the next one on.
    left: u32,
}

impl<F: Format> BlockSteps<F> {
    /// The next one; or, with no more blocks [`left`](Self::has_next), addresses where nothing is read.
    #[inline(always)]
    pub(super) fn block(self) -> Block<F, 4> {
        self.next
    }

    /// Whether there is such a block.
    #[inline(always)]
    pub(super) fn has_next(self) -> bool {
        self.left > 0
    }

    /// Goes `step` blocks on.
    #[inline(always)]
    pub(super) fn advance(&mut self, step: u32) {
        let Block { words, words_apart, odd, .. } = self.next;
        let words_of_step = step * F::LAYOUT.words as u32 * words_apart;
        self.next.words = words.wrapping_add(words_of_step as usize);
        self.next.odd = odd.wrapping_add((step * self.odds_apart) as usize);
        self.left = self.left.saturating_sub(step);
    }
}

impl<F: Format, const ROWS: usize> Blocks for Block<F, ROWS> {
    type Word = Lanes<u32, ROWS>;

    #[inline(always)]
    fn word(self, index: usize) -> Self::Word {
        // Known where the index is, and where it comes of a run's number.
        if index >= F::LAYOUT.words {
            return Lanes([0; ROWS]);
        }
        let address = self.word_address(index as u32, self.words_apart);
        // SAFETY: the rows and the block are some of the matrix, whose planes `new` was promised, and so is the word.
        // Four rows start at a multiple of four words.
        Lanes(unsafe { load(address) })
    }

    #[inline(always)]
    fn odd(self) -> Self::Word {
        if F::LAYOUT.odd == 0 {
            return Lanes([0; ROWS]);
        }
        if ROWS == 1 {
            // SAFETY: as above.
            let [word]: [u32; 1] = unsafe { load(self.odd) };
            return Lanes([word >> self.odd_shift; ROWS]) & if F::LAYOUT.odd == 1 { 0xff } else { u32::MAX };
        }
        let row = |row: usize| {
            if F::LAYOUT.odd == 1 {
                // SAFETY: as above: four bytes of four rows.
                let [word]: [u32; 1] = unsafe { load(self.odd) };
                word >> (8 * row) & 0xff
            } else {
                // SAFETY: as above: four half-words of four rows, which start at a multiple of two words.
                let words: [u32; 2] = unsafe { load(self.odd) };
                words[row / 2] >> (16 * (row % 2))
            }
        };
        Lanes(core::array::from_fn(row))
    }
}

/// `N` words in one load: 1, 2 or 4.
///
/// # Safety
/// `address` is a multiple of the words' size, and valid for reads of them; nothing writes them while the kernel runs.
#[inline(always)]
unsafe fn load<const N: usize>(address: *const u32) -> [u32; N] {
    const { assert!(N == 1 || N == 2 || N == 4) };
    gpu_only!((address), {
        let (a, b, c, d): (u32, u32, u32, u32);
        // SAFETY: the caller's. All device memory that kernels get is global.
        unsafe {
            match N {
                4 => core::arch::asm!(
                    "ld.global.nc.v4.b32 {{{}, {}, {}, {}}}, [{}];",
                    out(reg32) a, out(reg32) b, out(reg32) c, out(reg32) d, in(reg64) address,
                    options(pure, readonly, nostack)
                ),
                2 => {
                    core::arch::asm!(
                        "ld.global.nc.v2.b32 {{{}, {}}}, [{}];",
                        out(reg32) a, out(reg32) b, in(reg64) address,
                        options(pure, readonly, nostack)
                    );
                    (c, d) = (0, 0);
                }
                _ => {
                    core::arch::asm!(
                        "ld.global.nc.b32 {}, [{}];",
                        out(reg32) a, in(reg64) address,
                        options(pure, readonly, nostack)
                    );
                    (b, c, d) = (0, 0, 0);
                }
            }
        }
        let words = [a, b, c, d];
        core::array::from_fn(
            #[inline(always)]
            |i| words[i],
        )
    })
}

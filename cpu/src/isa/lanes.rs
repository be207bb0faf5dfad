//! What products ask of an instruction set: vectors whose lanes are rows of weights.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use warpdot_formats::{Blocks, Number, RUN, Word};

use super::Vectorize;
use crate::gemm::COLUMNS;

#[macro_use]
mod operators;
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod quantizing;

#[cfg(target_arch = "x86_64")]
pub(crate) use quantizing::Quantizing;

/// Rows of weights side by side, one in each lane.
pub(crate) const ROWS: usize = 16;

/// A word of each row, a cache line.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct RowWords(pub(crate) [u32; ROWS]);

/// The codes of a run of [`ROWS`] rows, four to a word, in an order that [`Lanes::store_codes`] chooses.
pub(crate) type RunCodes = [[u32; ROWS]; RUN / 4];

/// Vector operations on [`ROWS`] lanes; implemented by the tokens.
///
/// They are meant to be inlined into the work given to [`vectorize`](Vectorize::vectorize).
pub(crate) trait Lanes: Vectorize {
    /// 32 bits in each lane: codes, or an `i32`.
    type Words: Word<Number = Self::Numbers>;
    /// An `f32` in each lane.
    type Numbers: Number;
    /// Whether [`dot`](Self::dot) takes any unsigned bytes for codes. Otherwise it takes signed ones.
    const UNSIGNED: bool;
    /// Vectors of rows whose sums with four rows of activations fit the registers: 1 or 2.
    const VECTORS: usize;

    /// A word for each lane.
    fn load_words(self, words: &[u32; ROWS]) -> Self::Words;

    /// A half-word for each lane; the high halves of the words are zero.
    fn load_halves(self, halves: &[u16; ROWS]) -> Self::Words;

    /// A byte for each lane; the others of the words are zero.
    fn load_bytes(self, bytes: &[u8; ROWS]) -> Self::Words;

    /// Stores the lanes' words.
    fn store_words(self, words: Self::Words, to: &mut [u32; ROWS]);

    /// Brings four words of all rows side by side.
    #[inline(always)]
    fn transpose(self, rows: [&[u8; 16]; ROWS], words: &mut [RowWords; 4]) {
        for (lane, row) in rows.into_iter().enumerate() {
            for (words, bytes) in words.iter_mut().zip(row.as_chunks().0) {
                words.0[lane] = u32::from_le_bytes(*bytes);
            }
        }
    }

    /// The integer in all lanes.
    fn integers(self, value: i32) -> Self::Words;

    /// Adds to each lane's integer the dot product of the lane's four codes and four activations, which are signed
    /// bytes from -127 to 127. Codes are below 64 or, where `WIDE`, any bytes.
    fn dot<const WIDE: bool>(self, sums: Self::Words, codes: Self::Words, activations: u32) -> Self::Words;

    /// Stores a run's codes for [`dots`](Self::dots).
    #[inline(always)]
    fn store_codes(self, codes: &[Self::Words; RUN / 4], to: &mut RunCodes) {
        for (codes, to) in codes.iter().zip(to) {
            self.store_words(*codes, to);
        }
    }

    /// [`dot`](Self::dot) of some words of runs, an even number, by as many of each row of activations.
    #[inline(always)]
    fn dots<const WIDE: bool, const VECTORS: usize>(
        self,
        sums: &mut [[Self::Words; COLUMNS]; VECTORS],
        codes: [&RunCodes; VECTORS],
        activations: &[[u32; RUN / 4]; COLUMNS],
        words: Range<usize>,
    ) {
        for word in words {
            for (column, activations) in activations.iter().enumerate() {
                for (sums, codes) in sums.iter_mut().zip(codes) {
                    let codes = self.load_words(&codes[word]);
                    sums[column] = self.dot::<WIDE>(sums[column], codes, activations[word]);
                }
            }
        }
    }

    /// The integers as numbers, rounded to nearest.
    fn to_numbers(self, integers: Self::Words) -> Self::Numbers;

    /// The number in all lanes.
    fn numbers(self, value: f32) -> Self::Numbers;

    /// A number for each lane.
    fn load_numbers(self, values: &[f32; ROWS]) -> Self::Numbers;

    /// Stores the lanes' numbers.
    fn store_numbers(self, values: Self::Numbers, to: &mut [f32; ROWS]);

    /// `a + b`.
    fn sum(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;

    /// `a * b + c`, rounded once.
    fn multiply_add(self, a: Self::Numbers, b: Self::Numbers, c: Self::Numbers) -> Self::Numbers;
}

/// A block of each row: the words of the blocks, and their odd fields, side by side.
#[derive(Clone, Copy)]
pub(crate) struct BlocksOfRows<'a, I> {
    pub(crate) isa: I,
    pub(crate) words: &'a [RowWords],
    /// Half-words of the rows, or two rows' bytes in each.
    pub(crate) odd: &'a [u16],
}

impl<I: Lanes> Blocks for BlocksOfRows<'_, I> {
    type Word = I::Words;

    #[inline(always)]
    fn word(self, index: usize) -> I::Words {
        self.isa.load_words(&self.words[index].0)
    }

    #[inline(always)]
    fn odd(self) -> I::Words {
        match self.odd.first_chunk() {
            Some(halves) => self.isa.load_halves(halves),
            None => {
                let bytes: &[u16; ROWS / 2] = self.odd.first_chunk().expect("a byte of each row");
                self.isa.load_bytes(bytemuck::cast_ref(bytes))
            }
        }
    }
}

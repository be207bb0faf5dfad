//! What the tiled product asks of an instruction set: vectors whose lanes are rows of weights.

use warpdot_formats::{Format, RUN};

use super::Simd;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// Rows of weights side by side, one in each lane.
pub(crate) const ROWS: usize = 16;

/// Four-code words in a run.
pub(crate) const WORDS: usize = RUN / 4;

/// Vector operations on [`ROWS`] lanes; implemented by the tokens.
///
/// As those of [`Simd`], they are meant to be inlined into the work given to [`Simd::vectorize`].
pub(crate) trait Lanes: Simd {
    /// An `i32` in each lane.
    type Ints: Copy;
    /// An `f32` in each lane.
    type Floats: Copy;
    /// How codes are stored: as their own value, or above it by this much so that they have no sign.
    const BIAS: u8;
    /// Vectors of rows whose sums with four rows of activations fit the registers: 1 or 2.
    const VECTORS: usize;

    /// The biased codes of one run of an octet of `F`.
    fn words<F: Format>(self, codes: &Self::Codes, run: usize) -> [u32; WORDS];

    /// Brings the same words of all rows together.
    #[inline(always)]
    fn transpose(self, rows: &[[u32; WORDS]; ROWS], words: &mut [[u32; ROWS]; WORDS]) {
        for (i, words) in words.iter_mut().enumerate() {
            for (word, row) in words.iter_mut().zip(rows) {
                *word = row[i];
            }
        }
    }

    /// The integer in all lanes.
    fn ints(self, value: i32) -> Self::Ints;

    /// Adds to each lane the dot product of the lane's four codes, biased, and four activations, which are all
    /// signed bytes from -127 to 127.
    fn dot(self, sums: Self::Ints, codes: &[u32; ROWS], activations: u32) -> Self::Ints;

    /// The integers as floats, rounded to nearest.
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;

    /// The number in all lanes.
    fn floats(self, value: f32) -> Self::Floats;

    /// A number for each lane.
    fn load_lanes(self, values: &[f32; ROWS]) -> Self::Floats;

    /// Stores the lanes' numbers.
    fn store_lanes(self, values: Self::Floats, to: &mut [f32; ROWS]);

    /// `a + b`.
    fn add_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a * b`.
    fn mul_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a * b + c`, rounded once.
    fn fma_lanes(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

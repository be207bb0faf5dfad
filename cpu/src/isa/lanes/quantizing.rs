//! What quantizers ask of an instruction set beside what products do: vectors whose lanes are weights of a block, or
//! blocks.

use super::{Lanes, ROWS};

/// Vector operations of quantizers on [`ROWS`] lanes; implemented by the tokens.
///
/// They are meant to be inlined into the work given to [`vectorize`](super::Vectorize::vectorize).
pub(crate) trait Quantizing: Lanes {
    /// The bits of numbers.
    fn bits(self, numbers: Self::Numbers) -> Self::Words;

    /// The greater of each two unsigned words.
    fn greater(self, a: Self::Words, b: Self::Words) -> Self::Words;

    /// The lesser of each two unsigned words.
    fn lesser(self, a: Self::Words, b: Self::Words) -> Self::Words;

    /// All ones where the highest bit is set, else 0.
    fn signs(self, words: Self::Words) -> Self::Words;

    /// `yes` where `a > b`, unsigned, else `no`.
    fn select(self, a: Self::Words, b: Self::Words, yes: Self::Words, no: Self::Words) -> Self::Words;

    /// A bit for each lane that is not 0.
    fn non_zero(self, words: Self::Words) -> u16;

    /// In each lane i what `join`, commutative, makes of all lanes of vector i: of those 8 apart, then 2, then 1, then 4.
    fn across(
        self,
        vectors: [Self::Words; ROWS],
        join: impl Fn(Self::Words, Self::Words) -> Self::Words,
    ) -> Self::Words;

    /// `a / b`.
    fn quotient(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;

    /// `1 / numbers`, or 0 where that would not be finite.
    fn reciprocal(self, numbers: Self::Numbers) -> Self::Numbers;

    /// The integer parts of numbers that an `i32` holds.
    fn truncate(self, numbers: Self::Numbers) -> Self::Words;

    /// The nearest half-precision numbers, ties to even.
    fn halves(self, numbers: Self::Numbers) -> [u16; ROWS];

    /// The lowest byte of each lane.
    fn bytes(self, words: Self::Words) -> [u8; ROWS];
}

//! Four-bit numbers, eight to a word.

/// A matrix of four-bit numbers with n columns.
pub(super) trait Nibbles: Sync {
    /// Writes as many numbers of row `row` to `out` as it holds, from column `first` on. Both `first` and the
    /// length of `out` are multiples of 8.
    fn read(&self, row: usize, first: usize, out: &mut [u8]);
}

/// Words that hold eight rows of one column each, the first one in the lowest bits.
pub(super) struct AlongRows<'a> {
    pub(super) words: &'a [i32],
    pub(super) n: usize,
}

impl Nibbles for AlongRows<'_> {
    #[inline]
    fn read(&self, row: usize, first: usize, out: &mut [u8]) {
        let words = &self.words[row / 8 * self.n + first..][..out.len()];
        let shift = 4 * (row % 8);
        for (out, word) in out.iter_mut().zip(words) {
            *out = (word >> shift) as u8 & 0x0f;
        }
    }
}

/// Words that hold eight columns of one row each.
pub(super) struct AlongColumns<'a> {
    pub(super) words: &'a [i32],
    pub(super) n: usize,
    /// Which four bits of the word are column i of the eight.
    pub(super) places: [u8; 8],
}

impl AlongColumns<'_> {
    /// The first column in the lowest bits.
    pub(super) const IN_ORDER: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
    /// The even columns in the lower half.
    pub(super) const INTERLEAVED: [u8; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
}

impl Nibbles for AlongColumns<'_> {
    #[inline]
    fn read(&self, row: usize, first: usize, out: &mut [u8]) {
        let words = &self.words[row * (self.n / 8) + first / 8..];
        for (out, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            for (out, place) in out.iter_mut().zip(self.places) {
                *out = (word >> (4 * place)) as u8 & 0x0f;
            }
        }
    }
}

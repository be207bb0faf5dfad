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
    pub(super) order: WordOrder,
}

/// Which columns lie where in a word of eight.
#[derive(Clone, Copy)]
pub(super) enum WordOrder {
    /// 0 1 2 3 4 5 6 7, from the lowest bits on.
    Ascending,
    /// 0 2 4 6 1 3 5 7.
    EvenFirst,
}

impl Nibbles for AlongColumns<'_> {
    #[inline]
    fn read(&self, row: usize, first: usize, out: &mut [u8]) {
        let words = &self.words[row * (self.n / 8) + first / 8..];
        let words = out.as_chunks_mut::<8>().0.iter_mut().zip(words);
        match self.order {
            WordOrder::Ascending => words.for_each(|(out, word)| {
                let word = *word as u32;
                *out = (spread(word & 0x0f0f_0f0f) | spread(word >> 4 & 0x0f0f_0f0f) << 8).to_le_bytes();
            }),
            WordOrder::EvenFirst => words.for_each(|(out, word)| {
                let [even, odd] = [*word as u32 & 0xffff, *word as u32 >> 16].map(|four| {
                    let two_and_two = (four | four << 8) & 0x00ff_00ff;
                    (two_and_two | two_and_two << 4) & 0x0f0f_0f0f
                });
                *out = (spread(even) | spread(odd) << 8).to_le_bytes();
            }),
        }
    }
}

/// Every byte followed by an empty one.
fn spread(bytes: u32) -> u64 {
    let bytes = u64::from(bytes);
    let two_and_two = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
    (two_and_two | two_and_two << 8) & 0x00ff_00ff_00ff_00ff
}

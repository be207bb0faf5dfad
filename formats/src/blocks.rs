//! Blocks as formats read them: words, whatever the memory that holds them looks like.
//!
//! A block of any format is some 32-bit words and, in most formats, one byte or half-word at its start or its end,
//! which is *odd*. Packed matrices keep the words of several rows' blocks side by side, and the odd fields apart, so
//! that both are aligned; [`One`] reads a block where it lies.

use crate::{Format, RUN, Word};

/// A block in each lane.
pub trait Blocks: Copy {
    /// A word in each lane.
    type Word: Word;

    /// Word `index` of the blocks, not counting the odd field; no block has so few that the index is not there.
    fn word(self, index: usize) -> Self::Word;

    /// The odd field of the blocks. Of a half-word the high half of the word may be anything.
    fn odd(self) -> Self::Word;
}

/// Where the words of a format's blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Words of a block.
    pub words: usize,
    /// Bytes before the first word.
    pub first: usize,
    /// Bytes of the odd field: 0, 1 or 2.
    pub odd: usize,
}

impl Layout {
    /// The layout of blocks of `bytes` bytes, whose odd field, if any, comes last.
    pub(crate) const fn odd_last(bytes: usize) -> Self {
        Self { words: bytes / 4, first: 0, odd: bytes % 4 }
    }

    /// The layout of blocks of `bytes` bytes, whose odd field comes first.
    pub(crate) const fn odd_first(bytes: usize) -> Self {
        Self { words: bytes / 4, first: bytes % 4, odd: bytes % 4 }
    }

    /// Where the odd field begins.
    pub const fn odd_start(self) -> usize {
        if self.first == 0 { 4 * self.words } else { 0 }
    }
}

/// One block, in one lane.
#[derive(Debug)]
pub struct One<'a, F>(pub &'a F);

impl<F> Clone for One<'_, F> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for One<'_, F> {}

impl<F: Format> One<'_, F> {
    /// Half-word `index` of a block that is aligned to half-words.
    #[inline(always)]
    fn half(self, index: usize) -> u32 {
        // The check costs nothing where the index is known, and there is no panic to compile on a GPU.
        view::halves(self.0).get(index).map_or(0, |&half| u32::from(half))
    }

    #[inline(always)]
    fn byte(self, index: usize) -> u32 {
        view::bytes(self.0).get(index).map_or(0, |&byte| u32::from(byte))
    }
}

impl<F: Format> Blocks for One<'_, F> {
    type Word = u32;

    #[inline(always)]
    fn word(self, index: usize) -> u32 {
        let start = F::LAYOUT.first + 4 * index;
        if align_of::<F>() == 2 {
            // The widest load that blocks allow on a GPU.
            self.half(start / 2) | self.half(start / 2 + 1) << 16
        } else {
            self.byte(start)
                | self.byte(start + 1) << 8
                | self.byte(start + 2) << 16
                | self.byte(start + 3) << 24
        }
    }

    #[inline(always)]
    fn odd(self) -> u32 {
        match F::LAYOUT.odd {
            1 => self.byte(F::LAYOUT.odd_start()),
            _ => self.half(F::LAYOUT.odd_start() / 2),
        }
    }
}

/// A field of the blocks: words from a certain one on.
#[derive(Clone, Copy)]
pub(crate) struct Field<B> {
    blocks: B,
    first: usize,
}

impl<B: Blocks> Field<B> {
    /// The field that starts `offset` bytes into a block of `F`.
    #[inline(always)]
    pub(crate) fn at<F: Format>(blocks: B, offset: usize) -> Self {
        Self { blocks, first: (offset - F::LAYOUT.first) / 4 }
    }

    #[inline(always)]
    pub(crate) fn word(self, index: usize) -> B::Word {
        self.blocks.word(self.first + index)
    }

    #[inline(always)]
    pub(crate) fn half(self, index: usize) -> B::Word {
        self.word(index / 2) >> (16 * (index as u32 % 2)) & 0xffff
    }

    #[inline(always)]
    pub(crate) fn byte(self, index: usize) -> B::Word {
        self.word(index / 4) >> (8 * (index as u32 % 4)) & 0xff
    }
}

/// The [`Field`] of `Self`'s blocks that has this name in the block type.
macro_rules! field {
    ($blocks:ident.$name:ident) => {
        $crate::blocks::Field::at::<Self>($blocks, core::mem::offset_of!(Self, $name))
    };
}

/// The eight words of a run, of which `$word` computes number `$i`; all of it is inlined.
macro_rules! words {
    (|$i:ident| $word:expr) => {
        $crate::blocks::each_word(
            #[inline(always)]
            |$i: usize| $word,
        )
    };
}

/// `[word(0), word(1), ...]`
#[inline(always)]
pub(crate) fn each_word<W>(word: impl Fn(usize) -> W) -> [W; RUN / 4] {
    [word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7)]
}

/// A block's bytes and half-words.
#[cfg(not(target_arch = "nvptx64"))]
mod view {
    use crate::Format;

    #[inline(always)]
    pub(super) fn bytes<F: Format>(block: &F) -> &[u8] {
        bytemuck::bytes_of(block)
    }

    #[inline(always)]
    pub(super) fn halves<F: Format>(block: &F) -> &[u16] {
        bytemuck::cast_slice(bytes(block))
    }
}

/// A block's bytes and half-words, without bytemuck.
#[cfg(target_arch = "nvptx64")]
#[allow(unsafe_code, reason = "bytemuck is not compiled for GPUs")]
mod view {
    use crate::Format;

    #[inline(always)]
    pub(super) fn bytes<F: Format>(block: &F) -> &[u8] {
        // SAFETY: formats are plain bytes without padding (`Pod` on the host checks it), and the slice covers
        // exactly the block.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(block).cast(), size_of::<F>()) }
    }

    #[inline(always)]
    pub(super) fn halves<F: Format>(block: &F) -> &[u16] {
        if align_of::<F>() < 2 {
            return &[]; // such blocks are read by bytes
        }
        // SAFETY: as above; the block is aligned to half-words.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(block).cast(), size_of::<F>() / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FormatVisitor, GgmlType};

    struct WordsOfBytes;

    impl FormatVisitor for WordsOfBytes {
        type Output = ();

        fn visit<F: Format>(self) {
            let Layout { words, first, odd } = F::LAYOUT;
            assert_eq!(4 * words + odd, size_of::<F>(), "{}", F::NAME);
            assert!(first == 0 || first == odd);
            let bytes: std::vec::Vec<u8> = (0..size_of::<F>()).map(|i| i as u8).collect();
            let block: F = bytemuck::pod_read_unaligned(&bytes);
            for word in 0..words {
                let start = (first + 4 * word) as u32;
                assert_eq!(
                    One(&block).word(word).to_le_bytes().map(u32::from),
                    [0, 1, 2, 3].map(|i| start + i)
                );
            }
            let start = F::LAYOUT.odd_start() as u32;
            match odd {
                0 => {}
                1 => assert_eq!(One(&block).odd(), start),
                _ => assert_eq!(One(&block).odd() & 0xffff, start | (start + 1) << 8),
            }
        }
    }

    #[test]
    fn words_are_those_of_the_bytes() {
        GgmlType::ALL.iter().for_each(|ty| ty.visit(WordsOfBytes));
    }
}

//! Super-blocks of 256 weights whose groups have small integer scales: ggml's "k-quants".
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::search`]) for the smallest
//! squared error.

use crate::affine::AffineSearch;
use crate::blocks::{Blocks, Field, Layout};
use crate::pack::{bits_word, bytes_of_halves, four_bytes, halves_of_words, nibbles_word, pairs_word};
use crate::super_block::{Found, Grouped, SuperBlock, Units};
use crate::swar::splat;
use crate::symmetric::SymmetricSearch;
use crate::{F16, Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

/// Weights in a super-block.
pub(crate) const SUPER_BLOCK: usize = 256;

/// The half-words of the field of `Self`'s blocks that has this name in the block type, for what a search found.
macro_rules! halves_of {
    ($found:ident.$name:ident) => {
        halves_of_words(
            #[inline(always)]
            |i| Self::word($found, core::mem::offset_of!(Self, $name) / 4 + i),
        )
    };
}

/// Groups of 32 weights in a super-block.
const GROUPS_OF_32: usize = SUPER_BLOCK / 32;

/// Groups of 16 weights in a super-block.
const GROUPS_OF_16: usize = SUPER_BLOCK / 16;

/// 2 bits a weight: `scale * s * code - min_scale * m`, with 4-bit `s` and `m` per 16 weights. 84 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q2K {
    /// 16 bytes: the groups' scales in the low halves, their minima in the high ones.
    pub groups: [u16; GROUPS_OF_16 / 2],
    /// 64 bytes: of each 32, the bit pairs are four runs.
    pub pairs: [u16; SUPER_BLOCK / 8],
    /// The scale of the groups' scales.
    pub scale: F16,
    /// The scale of the groups' minima.
    pub min_scale: F16,
}

impl Format for Q2K {
    const TYPE: GgmlType = GgmlType::Q2K;
    const ID: u32 = 10;
    const NAME: &'static str = "Q2_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = true;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 0;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.pairs);
        words!(|i| pairs_of_run(field, run, i))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let (both, field) = (field!(blocks.scale).word(0), field!(blocks.groups));
        let (scale, min_scale) = (both.half_to_number(), (both >> 16).half_to_number());
        // The two bytes of a run.
        let groups = field.half(run % Self::RUNS);
        RunScales {
            scale: [scale * (groups & 0x0f).to_number(), scale * (groups >> 8 & 0x0f).to_number()],
            offset: [
                -(min_scale * (groups >> 4 & 0x0f).to_number()),
                -(min_scale * (groups >> 12).to_number()),
            ],
        }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        Self::block(&SuperBlock::<GROUPS_OF_16>::search::<Self, _, 16>(weights, importance))
    }
}

impl Grouped for Q2K {
    type Search = AffineSearch;
    const SEARCH: AffineSearch = AffineSearch::new(3, 15);

    #[inline(always)]
    fn block(found: impl Found) -> Self {
        let Units { scale, min_scale } = found.units();
        Self { groups: halves_of!(found.groups), pairs: halves_of!(found.pairs), scale, min_scale }
    }

    #[inline(always)]
    fn word(found: impl Found, index: usize) -> u32 {
        match index {
            0..4 => four_bytes(4 * index, |group| {
                let [scale, min] = found.levels(group);
                scale | min << 4
            }),
            4..20 => pairs_word(found, index - 4, 0),
            _ => found.units().word(),
        }
    }
}

/// 3 bits a weight: `scale * (s - 32) * (code - 4)`, with a 6-bit `s` per 16 weights. 110 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q3K {
    /// 32 bytes: bit k of byte i is the highest of code i of run k.
    pub high: [u16; SUPER_BLOCK / 16],
    /// 64 bytes, the low two bits of the codes, as in [`Q2K`].
    pub pairs: [u16; SUPER_BLOCK / 8],
    /// 12 bytes, the groups' scales: the low four bits of groups 0 to 7 in the low halves of bytes 0 to 7 and
    /// of groups 8 to 15 in the high ones; the two bits above, of groups i, i + 4, i + 8 and i + 12, in byte
    /// 8 + i.
    pub groups: [u16; 6],
    /// The scale of the groups' scales.
    pub scale: F16,
}

impl Q3K {
    /// The scales of the two groups of run `run`, with 32 added.
    #[inline(always)]
    fn groups<B: Blocks>(groups: Field<B>, run: usize) -> [B::Word; 2] {
        let low = groups.half(run % 4) >> (run as u32 / 4 * 4);
        let high = groups.half(4 + run % 2) >> (run as u32 / 2 * 2);
        [low & 0x0f | (high & 3) << 4, low >> 8 & 0x0f | (high >> 8 & 3) << 4]
    }

    /// The inverse of [`groups`](Self::groups): word `index` of the groups' scales.
    #[inline(always)]
    fn groups_word(found: impl Found, index: usize) -> u32 {
        let scale = |group: usize| found.levels(group)[0].wrapping_add(32);
        match index {
            0 | 1 => four_bytes(4 * index, |i| scale(i) & 0x0f | scale(i + 8) << 4),
            _ => four_bytes(0, |i| {
                let [a, b, c, d] = [0, 4, 8, 12].map(|group| scale(i + group) >> 4);
                a | b << 2 | c << 4 | d << 6
            }),
        }
    }
}

impl Format for Q3K {
    const TYPE: GgmlType = GgmlType::Q3K;
    const ID: u32 = 11;
    const NAME: &'static str = "Q3_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 4;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (pairs, high) = (field!(blocks.pairs), field!(blocks.high));
        words!(|i| pairs_of_run(pairs, run, i) | bits_of_run(high, run, i) << 2)
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let scale = blocks.odd().half_to_number();
        let [first, second] = Self::groups(field!(blocks.groups), run % Self::RUNS);
        RunScales::halves(scale * (first.to_number() - 32.0), scale * (second.to_number() - 32.0))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        Self::block(&SuperBlock::<GROUPS_OF_16>::search::<Self, _, 16>(weights, importance))
    }
}

impl Grouped for Q3K {
    type Search = SymmetricSearch;
    const SEARCH: SymmetricSearch = SymmetricSearch::new(4, 32);

    #[inline(always)]
    fn block(found: impl Found) -> Self {
        Self {
            high: halves_of!(found.high),
            pairs: halves_of!(found.pairs),
            groups: halves_of!(found.groups),
            scale: found.units().scale,
        }
    }

    #[inline(always)]
    fn word(found: impl Found, index: usize) -> u32 {
        match index {
            0..8 => bits_word(found, index, 2),
            8..24 => pairs_word(found, index - 8, 0),
            _ => Self::groups_word(found, index - 24),
        }
    }
}

/// 4 bits a weight: `scale * s * nibble - min_scale * m`, with 6-bit `s` and `m` per 32 weights. 144 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q4K {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// The scale of the groups' minima.
    pub min_scale: F16,
    /// The groups' scales and minima.
    pub groups: AffineGroups,
    /// 128 bytes: of each 32, the low halves are one run and the high halves the next.
    pub nibbles: [u16; SUPER_BLOCK / 4],
}

impl Format for Q4K {
    const TYPE: GgmlType = GgmlType::Q4K;
    const ID: u32 = 12;
    const NAME: &'static str = "Q4_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = true;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 0;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.nibbles);
        words!(|i| nibbles_of_run(field, run, i))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        AffineGroups::scales(field!(blocks.scale).word(0), field!(blocks.groups), run)
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        Self::block(&SuperBlock::<GROUPS_OF_32>::search::<Self, _, 32>(weights, importance))
    }
}

impl Grouped for Q4K {
    type Search = AffineSearch;
    const SEARCH: AffineSearch = AffineSearch::new(15, 63);

    #[inline(always)]
    fn block(found: impl Found) -> Self {
        let Units { scale, min_scale } = found.units();
        Self {
            scale,
            min_scale,
            groups: AffineGroups(halves_of!(found.groups)),
            nibbles: halves_of!(found.nibbles),
        }
    }

    #[inline(always)]
    fn word(found: impl Found, index: usize) -> u32 {
        match index {
            0 => found.units().word(),
            1..4 => AffineGroups::word(found, index - 1),
            _ => nibbles_word(found, index - 4, RUN),
        }
    }
}

/// 5 bits a weight: `scale * s * code - min_scale * m`, with 6-bit `s` and `m` per 32 weights. 176 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q5K {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// The scale of the groups' minima.
    pub min_scale: F16,
    /// The groups' scales and minima.
    pub groups: AffineGroups,
    /// 32 bytes: bit k of byte i is the highest of code i of run k.
    pub high: [u16; SUPER_BLOCK / 16],
    /// 128 bytes, the low four bits of the codes, as in [`Q4K`].
    pub nibbles: [u16; SUPER_BLOCK / 4],
}

impl Format for Q5K {
    const TYPE: GgmlType = GgmlType::Q5K;
    const ID: u32 = 13;
    const NAME: &'static str = "Q5_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = true;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 0;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (low, high) = (field!(blocks.nibbles), field!(blocks.high));
        words!(|i| nibbles_of_run(low, run, i) | bits_of_run(high, run, i) << 4)
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        AffineGroups::scales(field!(blocks.scale).word(0), field!(blocks.groups), run)
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        Self::block(&SuperBlock::<GROUPS_OF_32>::search::<Self, _, 32>(weights, importance))
    }
}

impl Grouped for Q5K {
    type Search = AffineSearch;
    const SEARCH: AffineSearch = AffineSearch::new(31, 63);

    #[inline(always)]
    fn block(found: impl Found) -> Self {
        let Units { scale, min_scale } = found.units();
        Self {
            scale,
            min_scale,
            groups: AffineGroups(halves_of!(found.groups)),
            high: halves_of!(found.high),
            nibbles: halves_of!(found.nibbles),
        }
    }

    #[inline(always)]
    fn word(found: impl Found, index: usize) -> u32 {
        match index {
            0 => found.units().word(),
            1..4 => AffineGroups::word(found, index - 1),
            4..12 => bits_word(found, index - 4, 4),
            _ => nibbles_word(found, index - 12, RUN),
        }
    }
}

/// 6 bits a weight: `scale * s * (code - 32)`, with an 8-bit `s` per 16 weights. 210 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q6K {
    /// 128 bytes, the low four bits of the codes. Each half super-block has 64: their low halves are its runs
    /// 0 and 1, their high halves its runs 2 and 3.
    pub low: [u16; SUPER_BLOCK / 4],
    /// 64 bytes, the high two bits. Each half super-block has 32, whose bit pairs are its runs 0 to 3.
    pub high: [u16; SUPER_BLOCK / 8],
    /// The scale of each 16 weights.
    pub groups: [i8; GROUPS_OF_16],
    /// The scale of the groups' scales.
    pub scale: F16,
}

impl Format for Q6K {
    const TYPE: GgmlType = GgmlType::Q6K;
    const ID: u32 = 14;
    const NAME: &'static str = "Q6_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 32;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (half, within) = (run / 4 % 2, run % 4);
        let (low, high) = (field!(blocks.low), field!(blocks.high));
        words!(|i| {
            let low = low.word(half * 16 + within % 2 * 8 + i) >> (within as u32 / 2 * 4);
            low & splat(0x0f) | pairs_of_run(high, run, i) << 4
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let (scale, run) = (blocks.odd().half_to_number(), run % Self::RUNS);
        // The two bytes of a run.
        let groups = field!(blocks.groups).half(run);
        RunScales::halves(scale * groups.signed_byte(0), scale * groups.signed_byte(1))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        Self::block(&SuperBlock::<GROUPS_OF_16>::search::<Self, _, 16>(weights, importance))
    }
}

impl Grouped for Q6K {
    type Search = SymmetricSearch;
    const SEARCH: SymmetricSearch = SymmetricSearch::new(32, 128);

    #[inline(always)]
    fn block(found: impl Found) -> Self {
        Self {
            low: halves_of!(found.low),
            high: halves_of!(found.high),
            groups: bytes_of_halves::<GROUPS_OF_16, 8>(&halves_of!(found.groups)).map(u8::cast_signed),
            scale: found.units().scale,
        }
    }

    #[inline(always)]
    fn word(found: impl Found, index: usize) -> u32 {
        match index {
            0..32 => nibbles_word(found, index, 64),
            32..48 => pairs_word(found, index - 32, 4),
            _ => four_bytes(4 * (index - 48), |group| found.levels(group)[0]),
        }
    }
}

/// The 6-bit scales and minima of eight groups: 12 bytes.
///
/// Bytes 0 to 3 hold the scales of groups 0 to 3 in their low six bits, bytes 4 to 7 their minima; groups 4 to
/// 7 have the low four bits of both in bytes 8 to 11, and the two bits above them on top of the bytes of groups
/// 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct AffineGroups(pub [u16; 6]);

impl AffineGroups {
    /// Word `index` of the three.
    #[inline(always)]
    fn word(found: impl Found, index: usize) -> u32 {
        four_bytes(0, |i| {
            let ([scale, min], [late_scale, late_min]) = (found.levels(i), found.levels(i + 4));
            match index {
                0 => scale | late_scale >> 4 << 6,
                1 => min | late_min >> 4 << 6,
                _ => late_scale & 0x0f | late_min << 4,
            }
        })
    }

    /// The scale and minimum of group `index`, modulo eight.
    #[inline(always)]
    fn group<B: Blocks>(groups: Field<B>, index: usize) -> (B::Word, B::Word) {
        let (scale, min) = (groups.byte(index % 4), groups.byte(index % 4 + 4));
        if index % GROUPS_OF_32 < 4 {
            (scale & 0x3f, min & 0x3f)
        } else {
            let low = groups.byte(index % 4 + 8);
            (low & 0x0f | scale >> 6 << 4, low >> 4 | min >> 6 << 4)
        }
    }

    /// The scales of run `run` in blocks whose scales of scales are the half-words of `both`.
    #[inline(always)]
    pub(crate) fn scales<B: Blocks>(both: B::Word, groups: Field<B>, run: usize) -> RunScales<NumberOf<B>> {
        let (s, m) = Self::group(groups, run);
        let (scale, min_scale) = (both.half_to_number(), (both >> 16).half_to_number());
        RunScales::whole(scale * s.to_number()).with_offset(-(min_scale * m.to_number()))
    }
}

/// Word `index` of the nibbles of run `run`: two runs share 32 bytes.
#[inline(always)]
fn nibbles_of_run<B: Blocks>(nibbles: Field<B>, run: usize, index: usize) -> B::Word {
    nibbles.word(run / 2 % 4 * 8 + index) >> (run as u32 % 2 * 4) & splat(0x0f)
}

/// Word `index` of the bit pairs of run `run`: four runs share 32 bytes.
#[inline(always)]
pub(crate) fn pairs_of_run<B: Blocks>(pairs: Field<B>, run: usize, index: usize) -> B::Word {
    pairs.word(run / 4 % 2 * 8 + index) >> (run as u32 % 4 * 2) & splat(0x03)
}

/// Word `index` of the single bits of run `run`: all eight runs share 32 bytes.
#[inline(always)]
fn bits_of_run<B: Blocks>(bits: Field<B>, run: usize, index: usize) -> B::Word {
    bits.word(index) >> (run as u32 % 8) & splat(0x01)
}

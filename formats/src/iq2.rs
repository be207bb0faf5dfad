//! About two bits a weight: eight weights at once from a codebook of three magnitudes, with signs apart.
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::vector_code`]).

use crate::blocks::{Blocks, Layout};
use crate::codebook::Codebook;
use crate::codebooks::{IQ2_S, IQ2_XS, IQ2_XXS};
use crate::kquant::SUPER_BLOCK;
use crate::pack::{halves, halves_of_words};
use crate::scales::Multiples;
use crate::signed_code::SignedSuperBlock;
use crate::swar::{splat, spread2};
use crate::{F16, Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

/// The magnitudes that the codebooks' levels stand for.
const VALUES: [i8; 3] = [8, 25, 43];

/// The groups' scales are odd multiples of an eighth of the super-block's.
const MULTIPLES: Multiples = Multiples::odd(0.125, 16);

/// Half `half` (four weights) of a codebook's point, with the signs of eight. The codes are raw.
#[inline(always)]
fn half_point<W: Word>(point: W, signs: W, half: usize) -> W {
    let levels = spread2(point >> (8 * half as u32));
    let magnitudes = levels * 17 + (levels >> 1 & splat(1)) + splat(8);
    magnitudes.raise_signed(signs >> (4 * half as u32))
}

/// Eight signs of which seven are stored, because the number of minus signs is even.
#[inline(always)]
fn even_signs<W: Word>(stored: W) -> W {
    let stored = stored & 0x7f;
    stored | stored.parity() << 7
}

/// The signs of a run, of which seven are stored for each eight, lowest first: the parities of all four fields at once.
#[inline(always)]
pub(crate) fn parities_of_run<W: Word>(stored: W) -> W {
    let pairs = stored ^ stored >> 1;
    (pairs ^ pairs >> 2) ^ (pairs >> 4 ^ stored >> 6)
}

/// Signs `8 * index` and following of a run whose `stored` signs have these [`parities_of_run`].
#[inline(always)]
pub(crate) fn signs_of_run<W: Word>(stored: W, parities: W, index: usize) -> W {
    let first = 7 * index as u32;
    stored >> first & 0x7f | (parities >> first & 1) << 7
}

/// `(2 * level + 1) * unit`.
#[inline(always)]
pub(crate) fn odd_multiple<W: Word>(unit: W::Number, level: W) -> W::Number {
    unit * ((level << 1) + 1).to_number()
}

/// The scales of a run whose groups of 16 have four bits each in one byte.
#[inline(always)]
fn scales_of_byte<W: Word>(scale: W::Number, groups: W) -> RunScales<W::Number> {
    let unit = scale * 0.125;
    RunScales::halves(odd_multiple(unit, groups & 0x0f), odd_multiple(unit, groups >> 4))
}

/// 2.0625 bits a weight, 8-bit indices, a scale per 32. 66 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq2Xxs {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// Two words per run: four indices; four times seven signs, and the run's scale in the highest four bits.
    pub runs: [u16; SUPER_BLOCK / 8],
}

impl Format for Iq2Xxs {
    const TYPE: GgmlType = GgmlType::Iq2Xxs;
    const ID: u32 = 16;
    const NAME: &'static str = "IQ2_XXS";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 128;
    const SATURATION: f32 = 3.875 * 43.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (field, run) = (field!(blocks.runs), run % Self::RUNS);
        let (indices, signs) = (field.word(2 * run), field.word(2 * run + 1));
        let parities = parities_of_run(signs);
        words!(|i| {
            let point = indices.byte(i / 2).look_up(IQ2_XXS);
            half_point(point, signs_of_run(signs, parities, i / 2), i % 2)
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let level = field!(blocks.runs).word(run % Self::RUNS * 2 + 1) >> 28;
        RunScales::whole(odd_multiple(blocks.odd().half_to_number() * 0.125, level))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        static CODEBOOK: Codebook<8, 3, 256, 12> = Codebook::new(IQ2_XXS, VALUES);
        let found = SignedSuperBlock::<8, 32>::search::<true, 2, _, _, _, _, _>(
            &CODEBOOK, MULTIPLES, weights, importance,
        );
        let word = |i: usize| {
            let run = i / 2;
            match i % 2 {
                0 => u32::from_le_bytes(core::array::from_fn(|k| found.points[run * 4 + k] as u8)),
                _ => found.signs_and_level(run),
            }
        };
        Self { scale: found.scales.scale, runs: halves_of_words(word) }
    }
}

/// 2.3125 bits a weight, 9-bit indices, a scale per 16. 74 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq2Xs {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// For each eight weights an index in the low nine bits and seven signs above.
    pub vectors: [u16; SUPER_BLOCK / 8],
    /// 8 bytes: the scales of each run's groups, four bits each.
    pub groups: [u16; SUPER_BLOCK / 64],
}

impl Format for Iq2Xs {
    const TYPE: GgmlType = GgmlType::Iq2Xs;
    const ID: u32 = 17;
    const NAME: &'static str = "IQ2_XS";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 128;
    const SATURATION: f32 = 3.875 * 43.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (field, run) = (field!(blocks.vectors), run % Self::RUNS);
        words!(|i| {
            let vector = field.half(run * 4 + i / 2);
            half_point(vector.look_up(IQ2_XS), even_signs(vector >> 9), i % 2)
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        scales_of_byte(blocks.odd().half_to_number(), field!(blocks.groups).byte(run % Self::RUNS))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        static CODEBOOK: Codebook<8, 3, 512, 22> = Codebook::new(IQ2_XS, VALUES);
        let found = SignedSuperBlock::<16, 32>::search::<true, 2, _, _, _, _, _>(
            &CODEBOOK, MULTIPLES, weights, importance,
        );
        let levels = &found.scales.levels;
        Self {
            scale: found.scales.scale,
            vectors: core::array::from_fn(|v| found.points[v] | u16::from(found.signs[v] & 0x7f) << 9),
            groups: halves(|i| levels[2 * i] | levels[2 * i + 1] << 4),
        }
    }
}

/// 2.5625 bits a weight, 10-bit indices and all signs, a scale per 16. 82 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq2S {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// 32 bytes, the low eight bits of the indices, one for each eight weights.
    pub low: [u16; SUPER_BLOCK / 16],
    /// 32 bytes of signs.
    pub signs: [u16; SUPER_BLOCK / 16],
    /// 8 bytes: the high two bits of each run's four indices.
    pub high: [u16; SUPER_BLOCK / 64],
    /// 8 bytes: the scales of each run's groups, four bits each.
    pub groups: [u16; SUPER_BLOCK / 64],
}

impl Format for Iq2S {
    const TYPE: GgmlType = GgmlType::Iq2S;
    const ID: u32 = 22;
    const NAME: &'static str = "IQ2_S";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 128;
    const SATURATION: f32 = 3.875 * 43.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let run = run % Self::RUNS;
        let (low, signs) = (field!(blocks.low).word(run), field!(blocks.signs).word(run));
        let high = field!(blocks.high).byte(run);
        words!(|i| {
            let index = low.byte(i / 2) | (high >> (i as u32 / 2 * 2) & 3) << 8;
            half_point(index.look_up(IQ2_S), signs >> (i as u32 / 2 * 8), i % 2)
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        scales_of_byte(blocks.odd().half_to_number(), field!(blocks.groups).byte(run % Self::RUNS))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        static CODEBOOK: Codebook<8, 3, 1024, 16> = Codebook::new(IQ2_S, VALUES);
        let found = SignedSuperBlock::<16, 32>::search::<false, 2, _, _, _, _, _>(
            &CODEBOOK, MULTIPLES, weights, importance,
        );
        let levels = &found.scales.levels;
        Self {
            scale: found.scales.scale,
            low: halves(|i| found.points[i] as u8),
            signs: halves(|i| found.signs[i]),
            high: halves(|i| {
                (0..4).fold(0, |bits, k| bits | ((found.points[4 * i + k] >> 8) as u8) << (2 * k))
            }),
            groups: halves(|i| levels[2 * i] | levels[2 * i + 1] << 4),
        }
    }
}

//! About three bits a weight: four weights at once from a codebook of eight magnitudes, with signs apart.
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::vector_code`]).

use crate::blocks::{Blocks, Layout};
use crate::codebook::Codebook;
use crate::codebooks::{IQ3_S, IQ3_XXS};
use crate::iq2::{odd_multiple, parities_of_run, signs_of_run};
use crate::kquant::SUPER_BLOCK;
use crate::pack::{halves, halves_of_words};
use crate::scales::Multiples;
use crate::signed_code::SignedSuperBlock;
use crate::swar::{splat, spread4};
use crate::{F16, Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

/// 3.0625 bits a weight, 8-bit indices, a scale per 32. 98 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq3Xxs {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// 64 bytes, an index for each four weights.
    pub indices: [u16; SUPER_BLOCK / 8],
    /// A word per run: four times seven signs, and the run's scale in the highest four bits.
    pub signs: [u16; SUPER_BLOCK / 16],
}

impl Format for Iq3Xxs {
    const TYPE: GgmlType = GgmlType::Iq3Xxs;
    const ID: u32 = 18;
    const NAME: &'static str = "IQ3_XXS";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 128;
    const SATURATION: f32 = 7.75 * 62.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (field, run) = (field!(blocks.indices), run % Self::RUNS);
        let signs = field!(blocks.signs).word(run);
        let parities = parities_of_run(signs);
        words!(|i| {
            let levels = spread4(field.byte(run * 8 + i).look_up(IQ3_XXS));
            let highest = levels & levels >> 1 & levels >> 2 & splat(1);
            let magnitudes = levels * 8 + (highest << 1) + splat(4);
            magnitudes.raise_signed(signs_of_run(signs, parities, i / 2) >> (i as u32 % 2 * 4))
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let level = field!(blocks.signs).word(run % Self::RUNS) >> 28;
        RunScales::whole(odd_multiple(blocks.odd().half_to_number() * 0.25, level))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        static CODEBOOK: Codebook<4, 8, 256, 64> = Codebook::new(IQ3_XXS, [4, 12, 20, 28, 36, 44, 52, 62]);
        const MULTIPLES: Multiples = Multiples::odd(0.25, 16);
        let found = SignedSuperBlock::<8, 64>::search::<true, 4, _, _, _, _, _>(
            &CODEBOOK, MULTIPLES, weights, importance,
        );
        Self {
            scale: found.scales.scale,
            indices: halves(|i| found.points[i] as u8),
            signs: halves_of_words(|run| found.signs_and_level(run)),
        }
    }
}

/// 3.4375 bits a weight, 9-bit indices and all signs, a scale per 32. 110 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq3S {
    /// The scale of the groups' scales, which are odd multiples of it.
    pub scale: F16,
    /// 64 bytes, the low eight bits of the indices, one for each four weights.
    pub low: [u16; SUPER_BLOCK / 8],
    /// 8 bytes: the highest bit of each run's eight indices.
    pub high: [u16; SUPER_BLOCK / 64],
    /// 32 bytes of signs.
    pub signs: [u16; SUPER_BLOCK / 16],
    /// 4 bytes: the scale of each run, four bits each.
    pub groups: [u16; SUPER_BLOCK / 128],
}

impl Format for Iq3S {
    const TYPE: GgmlType = GgmlType::Iq3S;
    const ID: u32 = 21;
    const NAME: &'static str = "IQ3_S";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 128;
    const SATURATION: f32 = 31.0 * 15.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (field, run) = (field!(blocks.low), run % Self::RUNS);
        let (high, signs) = (field!(blocks.high).byte(run), field!(blocks.signs).word(run));
        words!(|i| {
            let index = field.byte(run * 8 + i) | (high >> i as u32 & 1) << 8;
            let levels = spread4(index.look_up(IQ3_S));
            ((levels << 1) + splat(1)).raise_signed(signs >> (4 * i as u32))
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let level = field!(blocks.groups).word(0) >> (run as u32 % 8 * 4) & 0x0f;
        RunScales::whole(odd_multiple(blocks.odd().half_to_number(), level))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        static CODEBOOK: Codebook<4, 8, 512, 58> = Codebook::new(IQ3_S, [1, 3, 5, 7, 9, 11, 13, 15]);
        const MULTIPLES: Multiples = Multiples::odd(1.0, 16);
        let found = SignedSuperBlock::<8, 64>::search::<false, 4, _, _, _, _, _>(
            &CODEBOOK, MULTIPLES, weights, importance,
        );
        let levels = &found.scales.levels;
        Self {
            scale: found.scales.scale,
            low: halves(|i| found.points[i] as u8),
            high: halves(|i| (0..8).fold(0, |bits, k| bits | ((found.points[8 * i + k] >> 8) as u8) << k)),
            signs: halves(|i| found.signs[i]),
            groups: halves(|i| levels[2 * i] | levels[2 * i + 1] << 4),
        }
    }
}

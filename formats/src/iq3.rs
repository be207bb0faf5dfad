//! About three bits a weight: four weights at once from a codebook of eight magnitudes, with signs apart.
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::vector_code`]).

use crate::codebook::Codebook;
use crate::codebooks::{IQ3_S, IQ3_XXS};
use crate::iq2::even_signs;
use crate::kquant::SUPER_BLOCK;
use crate::pack::{halves, halves_of_words};
use crate::scales::Multiples;
use crate::signed_code::SignedSuperBlock;
use crate::swar::{byte, negate, splat, spread1, spread4, word};
use crate::{Codes, F16, Format, GgmlType, Importance, RunScales};

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
    const SATURATION: f32 = 7.75 * 62.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let run = run % Self::RUNS;
        let signs = word(&self.signs, run);
        core::array::from_fn(|i| {
            let levels = spread4(IQ3_XXS[usize::from(byte(&self.indices, run * 8 + i))]);
            let highest = levels & levels >> 1 & levels >> 2 & splat(1);
            let magnitudes = levels * 8 + (highest << 1) + splat(4);
            negate(magnitudes, spread1(even_signs(signs >> (i / 2 * 7)) >> (i % 2 * 4)))
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let level = word(&self.signs, run % Self::RUNS) >> 28;
        let unit = self.scale.to_f32() * 0.25;
        RunScales { scale: [unit * (2.0 * level as f32 + 1.0), 0.0], ..RunScales::default() }
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
    const SATURATION: f32 = 31.0 * 15.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let run = run % Self::RUNS;
        let (high, signs) = (byte(&self.high, run), word(&self.signs, run));
        core::array::from_fn(|i| {
            let index = usize::from(byte(&self.low, run * 8 + i)) | usize::from(high >> i & 1) << 8;
            let levels = spread4(IQ3_S[index % IQ3_S.len()]);
            negate((levels << 1) + splat(1), spread1(signs >> (4 * i)))
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let level = word(&self.groups, 0) >> (run % Self::RUNS * 4) & 0x0f;
        RunScales { scale: [self.scale.to_f32() * (2.0 * level as f32 + 1.0), 0.0], ..RunScales::default() }
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

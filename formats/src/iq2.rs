//! About two bits a weight: eight weights at once from a codebook of three magnitudes, with signs apart.
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::vector_code`]).

use crate::codebook::Codebook;
use crate::codebooks::{IQ2_S, IQ2_XS, IQ2_XXS};
use crate::kquant::SUPER_BLOCK;
use crate::pack::{halves, halves_of_words};
use crate::scales::Multiples;
use crate::signed_code::SignedSuperBlock;
use crate::swar::{byte, negate, splat, spread1, spread2, word};
use crate::{Codes, F16, Format, GgmlType, Importance, RunScales};

/// The magnitudes that the codebooks' levels stand for.
const VALUES: [i8; 3] = [8, 25, 43];

/// The groups' scales are odd multiples of an eighth of the super-block's.
const MULTIPLES: Multiples = Multiples::odd(0.125, 16);

/// Half `half` (four weights) of a codebook's point, with the signs of eight.
#[inline(always)]
fn half_point(point: u16, signs: u32, half: usize) -> u32 {
    let levels = spread2(point >> (8 * half));
    let magnitudes = levels * 17 + (levels >> 1 & splat(1)) + splat(8);
    negate(magnitudes, spread1(signs >> (4 * half)))
}

/// Eight signs of which seven are stored, because the number of minus signs is even.
#[inline(always)]
pub(crate) fn even_signs(stored: u32) -> u32 {
    let stored = stored & 0x7f;
    stored | (stored.count_ones() & 1) << 7
}

/// The scales of a run whose groups of 16 have four bits each in one byte.
#[inline(always)]
fn scales_of_byte(scale: F16, groups: u8) -> RunScales {
    let unit = scale.to_f32() * 0.125;
    RunScales {
        scale: [groups & 0x0f, groups >> 4].map(|group| unit * (2.0 * f32::from(group) + 1.0)),
        ..RunScales::default()
    }
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
    const SATURATION: f32 = 3.875 * 43.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let run = run % Self::RUNS;
        let (indices, signs) = (word(&self.runs, 2 * run), word(&self.runs, 2 * run + 1));
        core::array::from_fn(|i| {
            let point = IQ2_XXS[(indices >> (i / 2 * 8)) as usize % IQ2_XXS.len()];
            half_point(point, even_signs(signs >> (i / 2 * 7)), i % 2)
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let level = word(&self.runs, run % Self::RUNS * 2 + 1) >> 28;
        let unit = self.scale.to_f32() * 0.125;
        RunScales { scale: [unit * (2.0 * level as f32 + 1.0), 0.0], ..RunScales::default() }
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
    const SATURATION: f32 = 3.875 * 43.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| {
            let vector = self.vectors[run % Self::RUNS * 4 + i / 2];
            half_point(IQ2_XS[usize::from(vector) % IQ2_XS.len()], even_signs(u32::from(vector) >> 9), i % 2)
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        scales_of_byte(self.scale, byte(&self.groups, run % Self::RUNS))
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
    const SATURATION: f32 = 3.875 * 43.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let run = run % Self::RUNS;
        let (low, signs, high) = (word(&self.low, run), word(&self.signs, run), byte(&self.high, run));
        core::array::from_fn(|i| {
            let index = low >> (i / 2 * 8) & 0xff | (u32::from(high) >> (i / 2 * 2) & 3) << 8;
            half_point(IQ2_S[index as usize % IQ2_S.len()], signs >> (i / 2 * 8), i % 2)
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        scales_of_byte(self.scale, byte(&self.groups, run % Self::RUNS))
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

//! Formats of one or two bits a weight and one scale per block, for models that were trained that way.
//!
//! Layouts as in ggml's `ggml-common.h`. The ternary formats quantize as ggml does: with the largest magnitude
//! for the scale, which keeps ternary weights as they are and is coarse for all others.

use crate::kquant::{SUPER_BLOCK, pairs_of_run};
use crate::lanes::{Lanes, geometric, reciprocal};
use crate::legacy::{largest_magnitude, round_half_away};
use crate::levels::Levels;
use crate::pack::{bit_pairs, bits, halves};
use crate::rows::Rows;
use crate::scales::best_scale;
use crate::swar::{byte, spread1, spread2, sub, word};
use crate::{Codes, F16, Format, GgmlType, Importance, RunScales};

/// 1 bit a weight: `scale` or `-scale`. 128 weights, 18 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q1_0 {
    /// The block's scale.
    pub scale: F16,
    /// 128 bits, lowest first: set for a positive weight.
    pub positive: [u16; 8],
}

impl Format for Q1_0 {
    const TYPE: GgmlType = GgmlType::Q1_0;
    const ID: u32 = 41;
    const NAME: &'static str = "Q1_0";
    const WEIGHTS: usize = 128;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let positive = word(&self.positive, run % Self::RUNS);
        core::array::from_fn(|i| sub(spread1(positive >> (4 * i)) << 1, 1))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    /// The mean magnitude, weighted by importance, is the scale of smallest squared error.
    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let weights: &[f32; Self::WEIGHTS] = weights.try_into().expect("128 weights");
        let positive = weights.map(|weight| u8::from(weight >= 0.0));
        let (mut total, mut count) = (0.0, 0.0);
        for (i, weight) in weights.iter().enumerate() {
            total += weight.abs() * importance.of(i);
            count += importance.of(i);
        }
        Self { scale: F16::from_f32(total / count), positive: halves(|i| bits(&positive, 0, i)) }
    }
}

/// 2 bits a weight: `scale * (code - 1)`. 64 weights, 18 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q2_0 {
    /// The block's scale.
    pub scale: F16,
    /// 64 bit pairs, lowest first.
    pub pairs: [u16; 8],
}

impl Format for Q2_0 {
    const TYPE: GgmlType = GgmlType::Q2_0;
    const ID: u32 = 42;
    const NAME: &'static str = "Q2_0";
    const WEIGHTS: usize = 64;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| sub(spread2(u16::from(byte(&self.pairs, run % Self::RUNS * 8 + i))), 1))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        const TRIALS: [f32; 16] = geometric(0.25, 1.14);
        static LEVELS: Levels<4> = Levels::new(&[-1, 0, 1, 2]);
        assert_eq!(weights.len(), Self::WEIGHTS, "64 weights");
        let rows = Rows::<I, { Self::WEIGHTS }, 16>::repeated(weights, importance, 0);
        let inverse = (rows.largest().abs() / 2.0).reciprocal() / Lanes(TRIALS);
        let scale = best_scale(
            [inverse, -inverse],
            #[inline(always)]
            |inverse| LEVELS.fit(&rows, inverse),
        );
        let scale = F16::from_f32(scale);
        let inverse = reciprocal(scale.to_f32());
        let mut codes = [0; Self::WEIGHTS];
        for (code, weight) in codes.iter_mut().zip(weights) {
            *code = LEVELS.code(*weight, inverse);
        }
        Self { scale, pairs: halves(|i| (0..4).fold(0, |bits, k| bits | codes[4 * i + k] << (2 * k))) }
    }
}

/// 1.6 bits a weight, five to a byte: `scale * (digit - 1)` with digits of base three. 256 weights, 54 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Tq1_0 {
    /// 52 bytes, each a fraction of 256 with five digits of base three after the point. The digits at one
    /// place of bytes 0 to 31 are a run; so those of bytes 32 to 47 are half runs; those of bytes 48 to 51,
    /// which have only four digits, are the last 16 weights.
    pub digits: [u16; 26],
    /// The block's scale.
    pub scale: F16,
}

impl Tq1_0 {
    /// The word of bytes and the place that hold word `index` of run `run`.
    #[inline(always)]
    const fn place(run: usize, index: usize) -> (usize, usize) {
        match run % Self::RUNS {
            run @ 0..5 => (index, run),
            run @ 5..7 => (8 + index % 4, (run - 5) * 2 + index / 4),
            _ if index < 4 => (8 + index, 4),
            _ => (12, index - 4),
        }
    }
}

impl Format for Tq1_0 {
    const TYPE: GgmlType = GgmlType::Tq1_0;
    const ID: u32 = 34;
    const NAME: &'static str = "TQ1_0";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        const EVEN: u32 = 0x00ff_00ff;
        // An array would be kept in memory.
        const POWERS: u64 = u64::from_le_bytes([1, 3, 9, 27, 81, 0, 0, 0]);
        core::array::from_fn(|i| {
            let (source, place) = Self::place(run, i);
            let (word, power) = (word(&self.digits, source), POWERS >> (8 * place) & 0xff);
            // Drop the digits before the place, then take the one that three times the fraction carries out.
            let tripled = |bytes: u32| (((bytes & EVEN) * power as u32) & EVEN) * 3;
            let (even, odd) = (tripled(word), tripled(word >> 8));
            sub((even >> 8) & EVEN | odd & !EVEN, 1)
        })
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], _importance: I) -> Self {
        let (scale, codes) = ternary(weights);
        let mut values = [0u16; 52];
        for place in 0..5 {
            for run in 0..Self::RUNS {
                for index in 0..8 {
                    let (source, at) = Self::place(run, index);
                    for k in 0..4 {
                        if at == place {
                            let value = &mut values[4 * source + k];
                            *value = *value * 3 + u16::from(codes[32 * run + 4 * index + k]);
                        }
                    }
                }
            }
        }
        for value in &mut values[48..] {
            *value *= 3;
        }
        // The fraction is rounded up, so that the digits come out again.
        Self { digits: halves(|i| (values[i] * 256).div_ceil(243) as u8), scale }
    }
}

/// 2 bits a weight: `scale * (code - 1)`. 256 weights, 66 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Tq2_0 {
    /// 64 bytes: of each 32, the bit pairs are four runs.
    pub pairs: [u16; SUPER_BLOCK / 8],
    /// The block's scale.
    pub scale: F16,
}

impl Format for Tq2_0 {
    const TYPE: GgmlType = GgmlType::Tq2_0;
    const ID: u32 = 35;
    const NAME: &'static str = "TQ2_0";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| sub(pairs_of_run(&self.pairs, run, i), 1))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], _importance: I) -> Self {
        let (scale, codes) = ternary(weights);
        Self { pairs: halves(|i| bit_pairs(&codes, i)), scale }
    }
}

/// The nearest of -1, 0 and 1 times the largest magnitude, with 1 added.
fn ternary(weights: &[f32]) -> (F16, [u8; SUPER_BLOCK]) {
    let weights: &[f32; SUPER_BLOCK] = weights.try_into().expect("256 weights");
    let scale = largest_magnitude(weights);
    let inverse = reciprocal(scale);
    (F16::from_f32(scale), weights.map(|weight| (round_half_away(weight * inverse) + 1) as u8))
}

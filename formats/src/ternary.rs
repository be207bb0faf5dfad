//! Formats of one or two bits a weight and one scale per block, for models that were trained that way.
//!
//! Layouts as in ggml's `ggml-common.h`. The ternary formats quantize as ggml does: with the largest magnitude
//! for the scale, which keeps ternary weights as they are and is coarse for all others.

use crate::blocks::{Blocks, Layout};
use crate::kquant::{SUPER_BLOCK, pairs_of_run};
use crate::lanes::{Lanes, geometric, reciprocal};
use crate::legacy::{largest_magnitude, round_half_away};
use crate::levels::Levels;
use crate::pack::{bits, halves, halves_of_bytes};
use crate::rows::Rows;
use crate::scales::best_scale;
use crate::swar::{spread1, spread2};
use crate::{F16, Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

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
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 1;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let positive = field!(blocks.positive).word(run % Self::RUNS);
        words!(|i| spread1(positive >> (4 * i as u32)) << 1)
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
    }

    /// The mean magnitude, weighted by importance, is the scale of smallest squared error.
    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let weights: &[f32; Self::WEIGHTS] = weights.try_into().expect("128 weights");
        let mut positive = [0; Self::WEIGHTS];
        for (positive, weight) in positive.iter_mut().zip(weights) {
            *positive = u8::from(*weight >= 0.0);
        }
        let (mut total, mut count) = ([0.0; 16], [0.0; 16]);
        for (first, weights) in weights.as_chunks::<16>().0.iter().enumerate() {
            for lane in 0..16 {
                total[lane] += weights[lane].abs() * importance.of(16 * first + lane);
                count[lane] += importance.of(16 * first + lane);
            }
        }
        let mean = sum_of_lanes(total) / sum_of_lanes(count);
        Self { scale: F16::from_f32(mean), positive: halves(|i| bits(&positive, 0, i)) }
    }
}

/// The sum, in the order in which sixteen sums in vectors are added at once.
#[inline(always)]
fn sum_of_lanes(lanes: [f32; 16]) -> f32 {
    let mut eight = [0.0; 8];
    for (i, sum) in eight.iter_mut().enumerate() {
        *sum = lanes[i] + lanes[i + 8];
    }
    let [a, b, c, d, e, f, g, h] = eight;
    ((a + c) + (b + d)) + ((e + g) + (f + h))
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
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 1;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (field, run) = (field!(blocks.pairs), run % Self::RUNS);
        words!(|i| spread2(field.byte(run * 8 + i)))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
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

impl Format for Tq1_0 {
    const TYPE: GgmlType = GgmlType::Tq1_0;
    const ID: u32 = 34;
    const NAME: &'static str = "TQ1_0";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 1;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        const EVEN: u32 = 0x00ff_00ff;
        // An array would be kept in memory.
        const POWERS: u64 = u64::from_le_bytes([1, 3, 9, 27, 81, 0, 0, 0]);
        let (field, run) = (field!(blocks.digits), run % Self::RUNS);
        // Each word is read in one place, so that runs that are unpacked side by side read it together.
        let first = if run < 5 { 0 } else { 8 };
        let low = [field.word(first), field.word(first + 1), field.word(first + 2), field.word(first + 3)];
        let high = [field.word(4), field.word(5), field.word(6), field.word(7)];
        let last = field.word(12);
        words!(|i| {
            let (word, place) = match run {
                0..5 if i < 4 => (low[i], run),
                0..5 => (high[i - 4], run),
                5..7 => (low[i % 4], (run - 5) * 2 + i / 4),
                _ if i < 4 => (low[i], 4),
                _ => (last, i - 4),
            };
            let power = (POWERS >> (8 * place) & 0xff) as u32;
            // Drop the digits before the place, then take the one that three times the fraction carries out.
            let (even, odd) = ((word & EVEN) * power, (word >> 8 & EVEN) * power);
            let (even, odd) = ((even & EVEN) * 3, (odd & EVEN) * 3);
            even >> 8 & EVEN | odd & !EVEN
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], _importance: I) -> Self {
        let (scale, codes) = ternary(weights);
        let (wholes, rest) = codes.split_at(5 * 32);
        let (halves_of_runs, rest) = rest.split_at(5 * 16);
        let mut values = [0u16; 52];
        // The codes at each place, the highest first; see `place`.
        add_digits(&mut values[..32], wholes);
        add_digits(&mut values[32..48], halves_of_runs);
        add_digits(&mut values[48..], rest);
        for value in &mut values[48..] {
            *value *= 3;
        }
        // The fraction is rounded up, so that the digits come out again.
        let mut digits = [0; 52];
        for (digits, value) in digits.iter_mut().zip(values) {
            *digits = (value * 256).div_ceil(243) as u8;
        }
        Self { digits: halves_of_bytes(&digits), scale }
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
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 1;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.pairs);
        words!(|i| pairs_of_run(field, run, i))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], _importance: I) -> Self {
        let (scale, codes) = ternary(weights);
        let mut pairs = [0; SUPER_BLOCK / 4];
        for (pairs, codes) in pairs.chunks_exact_mut(32).zip(codes.chunks_exact(128)) {
            for (i, pairs) in pairs.iter_mut().enumerate() {
                *pairs = codes[i] | codes[i + 32] << 2 | codes[i + 64] << 4 | codes[i + 96] << 6;
            }
        }
        Self { pairs: halves_of_bytes(&pairs), scale }
    }
}

/// Adds a digit of base three to each value, as often as there are codes for all of them.
#[inline(always)]
fn add_digits(values: &mut [u16], codes: &[u8]) {
    for codes in codes.chunks_exact(values.len()) {
        for (value, code) in values.iter_mut().zip(codes) {
            *value = *value * 3 + u16::from(*code);
        }
    }
}

/// The nearest of -1, 0 and 1 times the largest magnitude, with 1 added.
#[inline(always)]
fn ternary(weights: &[f32]) -> (F16, [u8; SUPER_BLOCK]) {
    let weights: &[f32; SUPER_BLOCK] = weights.try_into().expect("256 weights");
    let scale = largest_magnitude(weights);
    let inverse = reciprocal(scale);
    let mut codes = [0; SUPER_BLOCK];
    for (code, weight) in codes.iter_mut().zip(weights) {
        *code = (round_half_away(weight * inverse) + 1) as u8;
    }
    (F16::from_f32(scale), codes)
}

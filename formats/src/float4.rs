//! Weights as 4-bit floating-point numbers (E2M1) with a floating-point scale per 16 or 32.
//!
//! Layouts as in ggml's `ggml-common.h`. An E2M1 number is 0, 0.5, 1, 1.5, 2, 3, 4 or 6 with a sign; codes are
//! twice that and the scales half.

use crate::blocks::{Blocks, Layout};
use crate::codebooks::E2M1;
use crate::lanes::Lanes;
use crate::legacy::largest_magnitude;
use crate::pack::{bytes_of_halves, halves, nibble_pairs};
use crate::rows::Fits;
use crate::swar::raised;
use crate::{Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

/// The doubled E2M1 numbers, raised by the zero point.
const RAISED: &[u8; 16] = &raised(E2M1, Mxfp4::ZERO);

/// `2^(exponent - 128)`. It may be less than the smallest normal number, or more than half the largest power: so it
/// is the product of two powers of half the exponent.
#[inline(always)]
fn half_power<W: Word>(exponent: W) -> W::Number {
    let [low, high] = power_by_two_factors(exponent);
    low * high
}

/// Two powers of two whose product is `2^(exponent - 128)`.
#[inline(always)]
fn power_by_two_factors<W: Word>(exponent: W) -> [W::Number; 2] {
    let power = |twice: W| (twice >> 1 << 23).to_bits_of_number();
    [power(exponent + 126), power(exponent + 127)]
}

/// The code of the nearest doubled E2M1 number; of equals that of the smaller magnitude.
#[inline(always)]
fn nearest(number: f32) -> u8 {
    let magnitude = number.abs();
    // From 1 on, codes count up with the exponent and the first bit of the mantissa. What is added rounds up all that
    // is beyond the middle.
    let large = (magnitude.to_bits().wrapping_sub(0x3f80_0000 - 0x001f_ffff) as i32) >> 22;
    let small = i32::from(magnitude > 0.5) + i32::from(magnitude > 1.5);
    let code = if large > small { large } else { small };
    let code = if code < 7 { code } else { 7 };
    let sign = (number.to_bits() >> 28 & 8) as i32;
    if small > 0 { (code | sign) as u8 } else { 0 }
}

/// The doubled E2M1 number nearest to each magnitude.
///
/// From 2 on such numbers have two significant bits, and the step between them is half the power of two below;
/// under 2 it is 1.
#[inline(always)]
fn nearest_magnitude(magnitude: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: see `lanes::round`
    let shift = f32::from_bits(magnitude.to_bits() & 0x7f80_0000) * (0.5 * SHIFT);
    let shift = if shift > SHIFT { shift } else { SHIFT };
    let rounded = (magnitude + shift) - shift;
    if rounded < 12.0 { rounded } else { 12.0 }
}

/// The code of the number nearest to a weight divided by its scale.
#[inline(always)]
fn code(scaled: f32) -> u8 {
    let bits = nearest_magnitude(scaled.abs()).to_bits();
    // The exponent and the mantissa's first bit count up from 2 on; the exponent's first bits tell 0, 1 and 2.
    let (ascending, first) = ((bits >> 22) as i32 - 254, (bits >> 29) as i32);
    let magnitude = if ascending > first { ascending } else { first } as u8;
    let sign = (scaled.to_bits() >> 28 & 8) as u8;
    if magnitude > 0 { magnitude | sign } else { 0 }
}

/// OCP microscaling: E2M1 numbers with a power of two per 32. 17 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Mxfp4 {
    /// The scale's exponent, with 127 added.
    pub exponent: u8,
    /// Weight i in the low half of byte i, weight i + 16 in the high half.
    pub nibbles: [u8; RUN / 2],
}

impl Format for Mxfp4 {
    const TYPE: GgmlType = GgmlType::Mxfp4;
    const ID: u32 = 39;
    const NAME: &'static str = "MXFP4";
    const WEIGHTS: usize = RUN;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 12;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, _run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.nibbles);
        words!(|i| field.word(i % 4).look_up_nibbles(i / 4, RAISED))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(half_power(blocks.odd()))
    }

    /// The scale is the one of the OCP specification: the power of two that brings the largest magnitude
    /// between 4 and 8.
    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], _importance: I) -> Self {
        let weights: &[f32; RUN] = weights.try_into().expect("32 weights");
        let largest = largest_magnitude(weights);
        // A subnormal's exponent counts as -127, far enough below -125 to be zero here.
        let exponent = (largest.to_bits() >> 23).saturating_sub(2) as u8;
        let mut block = Self { exponent, nibbles: [0; RUN / 2] };
        let up = power_by_two_factors(256 - u32::from(block.exponent));
        let mut codes = [0; RUN];
        for (code, weight) in codes.iter_mut().zip(weights) {
            *code = nearest(*weight * up[0] * up[1]);
        }
        block.nibbles = bytes_of_halves(&nibble_pairs::<{ RUN / 4 }>(&codes, RUN / 2));
        block
    }
}

/// NVIDIA's format: E2M1 numbers with an E4M3 number per 16. 64 weights, 36 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Nvfp4 {
    /// 4 bytes, the groups' scales: E4M3 without a sign, whose bit is ignored; 0x7f counts as zero.
    pub groups: [u16; 2],
    /// 8 bytes per group: weight i in the low half of byte i, weight i + 8 in the high half.
    pub nibbles: [u16; 16],
}

/// Half the value of an unsigned E4M3 number, as ggml reads it: 0x7f is zero instead of not-a-number, and the
/// highest bit only matters in that it makes that exception void.
#[inline(always)]
fn half_e4m3<W: Word>(bits: W) -> W::Number {
    let is_no_number = (((bits ^ 0x7f) + 0xff) >> 8) ^ 1;
    let bits = (bits & 0x7f) - is_no_number * 0x7f;
    // Shifted to the place of an f32's exponent and mantissa; the product corrects the bias.
    (bits << 20).to_bits_of_number() * f32::from_bits(0x7b00_0000) // 2^119
}

/// The E4M3 number, as its bits, of which half is `half` or as little as possible above it; 0x7e at most.
#[inline(always)]
fn e4m3_above(half: f32) -> u32 {
    let bits = (half * f32::from_bits(0x0400_0000)).to_bits(); // * 2^-119
    (bits.min(0x07e0_0000) + 0x000f_ffff) >> 20
}

impl Format for Nvfp4 {
    const TYPE: GgmlType = GgmlType::Nvfp4;
    const ID: u32 = 40;
    const NAME: &'static str = "NVFP4";
    const WEIGHTS: usize = 64;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 12;
    const SATURATION: f32 = 448.0 * 6.0;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let (field, run) = (field!(blocks.nibbles), run % Self::RUNS);
        words!(|i| field.word(run * 4 + i / 4 * 2 + i % 2).look_up_nibbles(i / 2 % 2, RAISED))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let groups = field!(blocks.groups).half(run % Self::RUNS);
        RunScales::halves(half_e4m3(groups.byte(0)), half_e4m3(groups.byte(1)))
    }

    /// Of the scales that bring the largest magnitude between 4 and 12, the one of smallest squared error.
    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        const GROUPS: usize = 4;
        const TRIALS: usize = 8;
        const LANES: usize = GROUPS * TRIALS;
        const TRIAL: [f32; LANES] = {
            let mut trial = [0.0; LANES];
            let mut lane = 0;
            while lane < LANES {
                trial[lane] = (lane / GROUPS) as f32;
                lane += 1;
            }
            trial
        };
        let weights: &[f32; Self::WEIGHTS] = weights.try_into().expect("64 weights");
        // Lane by lane the first trial of every group, then the second. Signs are stored apart, so magnitudes are
        // all that a search needs.
        let magnitudes = side_by_side(
            #[inline(always)]
            |i| weights[i].abs(),
        );
        let importances = side_by_side(
            #[inline(always)]
            |i| importance.of(i),
        );
        let mut largest = Lanes::ZERO;
        for magnitudes in magnitudes {
            largest = magnitudes.max(largest);
        }
        let least = largest / 12.0;
        let scales = least.repeat::<LANES>().zip(
            Lanes(TRIAL),
            #[inline(always)]
            |least, trial| half_e4m3(((e4m3_above(least) + trial as u32).max(2) - 2).min(0x7e)),
        );
        let inverse = scales.reciprocal();
        let mut fits = Fits::ZERO;
        for row in 0..16 {
            let magnitude = magnitudes[row].repeat();
            let code = (magnitude * inverse).map(nearest_magnitude);
            let factor = if I::EQUAL { code } else { code * importances[row].repeat() };
            fits.products += factor * magnitude;
            fits.squares += factor * code;
        }
        // Hidden from the compiler, which would take the loop apart, lane by lane, to suit what follows.
        let best = core::hint::black_box(fits).gain(scales).greatest_of::<GROUPS>(scales);
        let inverse = best.reciprocal();
        let mut codes = [0; Self::WEIGHTS];
        for (i, (code, weight)) in codes.iter_mut().zip(weights).enumerate() {
            *code = self::code(weight * inverse.0[i / 16]);
        }
        Self { groups: halves(|i| e4m3_above(best.0[i]) as u8), nibbles: nibble_pairs(&codes, 8) }
    }
}

/// The numbers of four groups of 16: rows of a number of each.
#[inline(always)]
fn side_by_side(number: impl Fn(usize) -> f32) -> [Lanes<4>; 16] {
    // Without gaps first, so that the compiler can transpose vectors.
    let mut flat = [0.0; 64];
    for row in 0..16 {
        flat[4 * row] = number(row);
        flat[4 * row + 1] = number(16 + row);
        flat[4 * row + 2] = number(32 + row);
        flat[4 * row + 3] = number(48 + row);
    }
    let mut rows = [Lanes::ZERO; 16];
    for (row, numbers) in rows.iter_mut().zip(flat.as_chunks().0) {
        row.0 = *numbers;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_right_just_below_powers_of_two() {
        for exponent in -125..=127 {
            let power = 2f32.powi(exponent);
            for (largest, expected) in [(power.next_down(), exponent - 1), (power, exponent)] {
                let mut weights = [0.0; 32];
                weights[11] = -largest;
                let stored = i32::from(Mxfp4::quantize(&weights).exponent);
                assert_eq!(stored, (expected - 2 + 127).max(0), "{largest:e}");
            }
        }
        assert_eq!(Mxfp4::quantize(&[1e-40; 32]).exponent, 0);
    }
}

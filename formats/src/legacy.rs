//! Blocks of 32 weights with one half-precision scale: ggml's first formats.
//!
//! Layouts and, unless importance differs, quantization as in ggml's `ggml-common.h` and `ggml-quants.c`; the `gguf`
//! Python package gives the same bits.

use crate::affine::Affine;
use crate::blocks::{Blocks, Field, Layout};
use crate::lanes::reciprocal;
use crate::pack::{bits, halves, halves_of_bytes, nibble_pairs};
use crate::swar::{nibbles, splat, spread1};
use crate::symmetric::Symmetric;
use crate::{F16, Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

/// 4 bits a weight: `scale * (nibble - 8)`. 18 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q4_0 {
    /// The block's scale.
    pub scale: F16,
    /// 16 bytes: weight i in the low half of byte i, weight i + 16 in the high half.
    pub nibbles: [u16; RUN / 4],
}

impl Format for Q4_0 {
    const TYPE: GgmlType = GgmlType::Q4_0;
    const ID: u32 = 2;
    const NAME: &'static str = "Q4_0";
    const WEIGHTS: usize = RUN;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 8;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, _run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.nibbles);
        words!(|i| nibbles(field, 0, i))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, codes) = symmetric(weights, importance, 8);
        Self { scale, nibbles: nibble_pairs(&codes, RUN / 2) }
    }
}

/// 4 bits a weight: `scale * nibble + min`. 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q4_1 {
    /// The block's scale.
    pub scale: F16,
    /// The block's smallest weight.
    pub min: F16,
    /// 16 bytes, as in [`Q4_0`].
    pub nibbles: [u16; RUN / 4],
}

impl Format for Q4_1 {
    const TYPE: GgmlType = GgmlType::Q4_1;
    const ID: u32 = 3;
    const NAME: &'static str = "Q4_1";
    const WEIGHTS: usize = RUN;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = true;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 0;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, _run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.nibbles);
        words!(|i| nibbles(field, 0, i))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        let both = field!(blocks.scale).word(0);
        RunScales::whole(both.half_to_number()).with_offset((both >> 16).half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, min, codes) = affine(weights, importance, 15);
        Self { scale, min, nibbles: nibble_pairs(&codes, RUN / 2) }
    }
}

/// 5 bits a weight: `scale * (code - 16)`. 22 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q5_0 {
    /// The block's scale.
    pub scale: F16,
    /// 32 bits: bit i is the highest of code i.
    pub high: [u16; 2],
    /// 16 bytes, the low four bits of the codes, as in [`Q4_0`].
    pub nibbles: [u16; RUN / 4],
}

impl Format for Q5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;
    const ID: u32 = 6;
    const NAME: &'static str = "Q5_0";
    const WEIGHTS: usize = RUN;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 16;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, _run: usize) -> [B::Word; RUN / 4] {
        five_bits(field!(blocks.nibbles), field!(blocks.high))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, codes) = symmetric(weights, importance, 16);
        Self { scale, high: halves(|i| bits(&codes, 4, i)), nibbles: nibble_pairs(&codes, RUN / 2) }
    }
}

/// 5 bits a weight: `scale * code + min`. 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q5_1 {
    /// The block's scale.
    pub scale: F16,
    /// The block's smallest weight.
    pub min: F16,
    /// 32 bits: bit i is the highest of code i.
    pub high: [u16; 2],
    /// 16 bytes, the low four bits of the codes, as in [`Q4_0`].
    pub nibbles: [u16; RUN / 4],
}

impl Format for Q5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const ID: u32 = 7;
    const NAME: &'static str = "Q5_1";
    const WEIGHTS: usize = RUN;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = true;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 0;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, _run: usize) -> [B::Word; RUN / 4] {
        five_bits(field!(blocks.nibbles), field!(blocks.high))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        let both = field!(blocks.scale).word(0);
        RunScales::whole(both.half_to_number()).with_offset((both >> 16).half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, min, codes) = affine(weights, importance, 31);
        Self { scale, min, high: halves(|i| bits(&codes, 4, i)), nibbles: nibble_pairs(&codes, RUN / 2) }
    }
}

/// 8 bits a weight: `scale * code`. 34 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q8_0 {
    /// The block's scale.
    pub scale: F16,
    /// 32 signed bytes.
    pub codes: [u16; RUN / 2],
}

impl Format for Q8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;
    const ID: u32 = 8;
    const NAME: &'static str = "Q8_0";
    const WEIGHTS: usize = RUN;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 128;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, _run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.codes);
        words!(|i| field.word(i) ^ splat(0x80))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], _importance: I) -> Self {
        let weights: &[f32; RUN] = weights.try_into().expect("32 weights");
        let scale = largest_magnitude(weights) / 127.0;
        let inverse = reciprocal(scale);
        let mut codes = [0; RUN];
        for (code, weight) in codes.iter_mut().zip(weights) {
            *code = round_half_away(weight * inverse) as u8;
        }
        Self { scale: F16::from_f32(scale), codes: halves_of_bytes(&codes) }
    }
}

/// The codes whose low four bits and highest bit lie apart.
#[inline(always)]
fn five_bits<B: Blocks>(low: Field<B>, high: Field<B>) -> [B::Word; RUN / 4] {
    let high = high.word(0);
    words!(|i| nibbles(low, 0, i) | spread1(high >> (4 * i as u32)) << 4)
}

/// The weight of largest magnitude, the first of equals, becomes code `-limit`, so that none of the `2 * limit` codes is out of
/// reach; or, if importance differs, the scale is searched. The codes are given with `limit` added.
#[inline(always)]
fn symmetric<I: Importance>(weights: &[f32], importance: I, limit: u8) -> (F16, [u8; RUN]) {
    let weights: &[f32; RUN] = weights.try_into().expect("32 weights");
    if !I::EQUAL {
        let kind = Symmetric { limit: f32::from(limit) };
        let scale = F16::from_f32(kind.best_of_one::<I, RUN>(weights, importance));
        let inverse = reciprocal(scale.to_f32());
        let mut codes = [0; RUN];
        for (code, weight) in codes.iter_mut().zip(weights) {
            *code = kind.code(*weight, inverse).wrapping_add(limit);
        }
        return (scale, codes);
    }
    let largest = largest_with_sign(weights);
    let limit_f32 = f32::from(limit);
    let scale = largest / -limit_f32;
    let inverse = reciprocal(scale);
    let mut codes = [0; RUN];
    for (code, weight) in codes.iter_mut().zip(weights) {
        *code = truncate(weight * inverse + (limit_f32 + 0.5)).min(2 * limit - 1);
    }
    (F16::from_f32(scale), codes)
}

/// The smallest weight becomes code 0 and the largest `max_code`; or, if importance differs, scale and minimum are
/// searched.
#[inline(always)]
fn affine<I: Importance>(weights: &[f32], importance: I, max_code: u8) -> (F16, F16, [u8; RUN]) {
    let weights: &[f32; RUN] = weights.try_into().expect("32 weights");
    if !I::EQUAL {
        let kind = Affine { max_code: f32::from(max_code) };
        let (scale, min) = kind.best_of_one::<I, RUN>(weights, importance);
        let (scale, min) = (F16::from_f32(scale), F16::from_f32(-min));
        let inverse = reciprocal(scale.to_f32());
        let mut codes = [0; RUN];
        for (code, weight) in codes.iter_mut().zip(weights) {
            *code = kind.code(*weight, inverse, -min.to_f32());
        }
        return (scale, min, codes);
    }
    let (min, max) = extremes(weights);
    let scale = (max - min) / f32::from(max_code);
    let inverse = reciprocal(scale);
    let mut codes = [0; RUN];
    for (code, weight) in codes.iter_mut().zip(weights) {
        *code = truncate((weight - min) * inverse + 0.5).min(max_code);
    }
    (F16::from_f32(scale), F16::from_f32(min), codes)
}

/// The weight of largest magnitude, the first of equals.
#[inline(always)]
fn largest_with_sign(weights: &[f32; RUN]) -> f32 {
    let mut largest = 0;
    for weight in weights {
        largest = largest.max(weight.to_bits().rotate_left(1)); // the sign comes last
    }
    let (magnitude, negative) = (largest >> 1, largest & 1 == 1);
    let mut positive = false;
    for weight in weights {
        positive |= weight.to_bits() == magnitude;
    }
    match positive & negative {
        true => first_of_magnitude(weights, f32::from_bits(magnitude)),
        false => f32::from_bits(largest.rotate_right(1)),
    }
}

/// The first weight of this magnitude. Weights of opposite signs that are equally large are rare.
///
/// On a GPU, where a function that is called would find its argument in memory, it is a selection for each weight.
#[cfg_attr(not(target_arch = "nvptx64"), cold, inline(never))]
#[cfg_attr(target_arch = "nvptx64", inline(always))]
fn first_of_magnitude(weights: &[f32; RUN], magnitude: f32) -> f32 {
    let mut first = weights[0];
    for weight in weights.iter().rev() {
        first = if weight.abs() == magnitude { *weight } else { first };
    }
    first
}

/// The smallest and the largest weight.
#[inline(always)]
fn extremes(weights: &[f32; RUN]) -> (f32, f32) {
    // Integers that are in the order of the numbers, because a minimum of integers can be taken in any order and so in
    // vectors; it is its own inverse.
    let integer = |bits: i32| bits ^ (bits >> 31 & i32::MAX);
    let (mut smallest, mut largest) = (i32::MAX, i32::MIN);
    for weight in weights {
        let weight = integer(weight.to_bits() as i32);
        smallest = smallest.min(weight);
        largest = largest.max(weight);
    }
    let number = |weight: i32| f32::from_bits(integer(weight) as u32);
    (number(smallest), number(largest))
}

/// The largest magnitude of `weights`.
#[inline(always)]
pub(crate) fn largest_magnitude(weights: &[f32]) -> f32 {
    let mut largest = 0;
    for weight in weights {
        largest = largest.max(weight.abs().to_bits());
    }
    f32::from_bits(largest)
}

/// The integer part of a number from 0 to 255.
///
/// A cast would do the same, but also guard against all other numbers, one at a time.
#[inline(always)]
fn truncate(value: f32) -> u8 {
    const SHIFT: f32 = 8_388_608.0; // 2^23: the last bit of the sum counts ones
    let shifted = value + SHIFT;
    let rounded_up = shifted - SHIFT > value;
    shifted.to_bits().wrapping_sub(if rounded_up { 1 } else { 0 }) as u8
}

/// The nearest integer, ties away from zero, of a number of magnitude up to 127.
#[inline(always)]
pub(crate) fn round_half_away(value: f32) -> i8 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: the same, for numbers of either sign
    let shifted = value + SHIFT;
    let beyond = value - (shifted - SHIFT); // exact; a half where a tie was rounded to even, towards zero
    let up = if beyond == 0.5 && value > 0.0 { 1 } else { 0 };
    let down = if beyond == -0.5 && value < 0.0 { 1 } else { 0 };
    shifted.to_bits().wrapping_add(up).wrapping_sub(down) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_parts_and_roundings_are_those_of_casts() {
        for quarters in 0..4 * 127 {
            let value = quarters as f32 / 4.0;
            for value in [value.next_down().max(0.0), value, value.next_up()] {
                assert_eq!(truncate(value), value as u8, "{value:e}");
                for value in [value, -value] {
                    assert_eq!(round_half_away(value), value.round() as i8, "{value:e}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_the_largest_gives_the_sign() {
        for (i, j) in [(3, 20), (20, 3), (0, 31), (8, 16)] {
            let mut weights = [0.25; RUN];
            (weights[i], weights[j]) = (-2.0, 2.0);
            let expected = if i < j { 0.25 } else { -0.25 };
            assert_eq!(symmetric(&weights, crate::Equal, 8).0.to_f32(), expected);
        }
    }
}

//! Blocks of 32 weights with one half-precision scale: ggml's first formats.
//!
//! Layouts and, unless importance differs, quantization as in ggml's `ggml-common.h` and `ggml-quants.c`; the `gguf` Python package
//! gives the same bits.

use crate::affine::Affine;
use crate::lanes::reciprocal;
use crate::pack::{bits, halves, nibble_pair};
use crate::swar::{nibbles, spread1, sub, word};
use crate::symmetric::Symmetric;
use crate::{Codes, F16, Format, GgmlType, Importance, RUN, RunScales};

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

    quantizers!();

    #[inline(always)]
    fn codes(&self, _run: usize) -> Codes {
        core::array::from_fn(|i| sub(nibbles(&self.nibbles, 0, i), 8))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, codes) = symmetric(weights, importance, 8);
        Self { scale, nibbles: halves(|i| nibble_pair(&codes, 16, i)) }
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

    quantizers!();

    #[inline(always)]
    fn codes(&self, _run: usize) -> Codes {
        core::array::from_fn(|i| nibbles(&self.nibbles, 0, i))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], offset: [self.min.to_f32(), 0.0] }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, min, codes) = affine(weights, importance, 15);
        Self { scale, min, nibbles: halves(|i| nibble_pair(&codes, 16, i)) }
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

    quantizers!();

    #[inline(always)]
    fn codes(&self, _run: usize) -> Codes {
        core::array::from_fn(|i| sub(five_bits(&self.nibbles, &self.high, i), 16))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, codes) = symmetric(weights, importance, 16);
        Self { scale, high: halves(|i| bits(&codes, 4, i)), nibbles: halves(|i| nibble_pair(&codes, 16, i)) }
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

    quantizers!();

    #[inline(always)]
    fn codes(&self, _run: usize) -> Codes {
        core::array::from_fn(|i| five_bits(&self.nibbles, &self.high, i))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], offset: [self.min.to_f32(), 0.0] }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let (scale, min, codes) = affine(weights, importance, 31);
        Self {
            scale,
            min,
            high: halves(|i| bits(&codes, 4, i)),
            nibbles: halves(|i| nibble_pair(&codes, 16, i)),
        }
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

    quantizers!();

    #[inline(always)]
    fn codes(&self, _run: usize) -> Codes {
        core::array::from_fn(|i| word(&self.codes, i))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], _importance: I) -> Self {
        let weights: &[f32; RUN] = weights.try_into().expect("32 weights");
        let scale = largest_magnitude(weights) / 127.0;
        let inverse = reciprocal(scale);
        Self { scale: F16::from_f32(scale), codes: halves(|i| round_half_away(weights[i] * inverse) as u8) }
    }
}

/// Word `index` of the codes whose low four bits and highest bit lie apart.
#[inline(always)]
fn five_bits(low: &[u16; RUN / 4], high: &[u16; 2], index: usize) -> u32 {
    nibbles(low, 0, index) | spread1(word(high, 0) >> (4 * index)) << 4
}

/// The weight of largest magnitude becomes code `-limit`, so that none of the `2 * limit` codes is out of
/// reach; or, if importance differs, the scale is searched. The codes are given with `limit` added.
#[inline(always)]
fn symmetric<I: Importance>(weights: &[f32], importance: I, limit: u8) -> (F16, [u8; RUN]) {
    let weights: &[f32; RUN] = weights.try_into().expect("32 weights");
    if !I::EQUAL {
        let kind = Symmetric { limit: f32::from(limit) };
        let scale = F16::from_f32(kind.best_of_one::<I, RUN>(weights, importance));
        let inverse = reciprocal(scale.to_f32());
        return (scale, weights.map(|weight| kind.code(weight, inverse).wrapping_add(limit)));
    }
    let mut largest = weights[0];
    for &weight in weights {
        if weight.abs() > largest.abs() {
            largest = weight;
        }
    }
    let limit_f32 = f32::from(limit);
    let scale = largest / -limit_f32;
    let inverse = reciprocal(scale);
    let codes = weights.map(|weight| ((weight * inverse + (limit_f32 + 0.5)) as u8).min(2 * limit - 1));
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
        return (scale, min, weights.map(|weight| kind.code(weight, inverse, -min.to_f32())));
    }
    let (mut min, mut max) = (weights[0], weights[0]);
    for &weight in weights {
        min = if weight < min { weight } else { min };
        max = if weight > max { weight } else { max };
    }
    let scale = (max - min) / f32::from(max_code);
    let inverse = reciprocal(scale);
    let codes = weights.map(|weight| (((weight - min) * inverse + 0.5) as u8).min(max_code));
    (F16::from_f32(scale), F16::from_f32(min), codes)
}

/// The largest magnitude of `weights`.
pub(crate) fn largest_magnitude(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |largest, weight| largest.max(weight.abs()))
}

/// The nearest integer, ties away from zero, of a number of magnitude up to 127.
pub(crate) fn round_half_away(value: f32) -> i8 {
    let truncated = value as i8;
    let beyond = value - f32::from(truncated); // exact
    truncated + i8::from(beyond >= 0.5) - i8::from(beyond <= -0.5)
}

//! Activations as int8, 32 at a time.

use crate::RUN;

/// 32 activations: `codes * scale`, with the codes' sums for formats that have offsets.
///
/// The scale is the largest magnitude divided by 127, so that each activation is off by at most `scale / 2`.
/// Magnitudes below 2^-100 count as zero. A block that holds a NaN or an infinity has a NaN scale, which
/// makes every product that it enters NaN.
///
/// 40 bytes: consecutive lanes of a GPU warp read consecutive blocks in 8-byte pieces without bank conflicts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ActivationBlock {
    /// The factor of the codes.
    pub scale: f32,
    /// The sums of codes 0 to 15 and of codes 16 to 31.
    pub sums: [i16; 2],
    /// -127 to 127.
    pub codes: [i8; RUN],
}

impl ActivationBlock {
    /// The block that stands for `activations`.
    #[inline]
    pub fn quantize(activations: &[f32; RUN]) -> Self {
        // As integers, the bits of magnitudes are ordered like the numbers, with infinity and NaN on top.
        let largest = activations.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
        let Scaling { scale, inverse } = Scaling::for_largest(largest);
        let codes = activations.map(|x| round(x * inverse));
        let sum = |half: &[i8]| half.iter().map(|&code| i16::from(code)).sum();
        Self { scale, sums: [sum(&codes[..RUN / 2]), sum(&codes[RUN / 2..])], codes }
    }

    /// The activations that the block stands for.
    pub fn dequantize(&self) -> [f32; RUN] {
        self.codes.map(|code| self.scale * f32::from(code))
    }
}

/// How a block's activations become codes.
#[derive(Clone, Copy, Debug)]
pub struct Scaling {
    /// What the block stores.
    pub scale: f32,
    /// What its activations are multiplied by before they are rounded.
    pub inverse: f32,
}

impl Scaling {
    /// The scaling of a block whose largest magnitude has the bits `largest`.
    #[inline(always)]
    pub fn for_largest(largest: u32) -> Self {
        const SMALLEST: u32 = 0x0d80_0000; // 2^-100
        const INFINITY: u32 = 0x7f80_0000;
        if largest >= INFINITY {
            Self { scale: f32::NAN, inverse: 0.0 }
        } else if largest < SMALLEST {
            Self { scale: 0.0, inverse: 0.0 }
        } else {
            let largest = f32::from_bits(largest);
            Self { scale: largest / 127.0, inverse: 127.0 / largest }
        }
    }
}

/// The nearest integer, ties to even, of a number of magnitude below 2^22; 0 for NaN.
#[inline(always)]
pub fn round(value: f32) -> i8 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: the sum's last bit counts ones, and its low bits the integer
    (value + SHIFT).to_bits() as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_what_the_kernels_expect() {
        assert_eq!((size_of::<ActivationBlock>(), align_of::<ActivationBlock>()), (40, 4));
    }

    #[test]
    fn rounding_goes_to_even() {
        for (value, code) in [(0.5, 0), (1.5, 2), (-0.5, 0), (-2.5, -2), (126.5, 126), (-127.0, -127)] {
            assert_eq!(round(value), code);
        }
        assert_eq!(round(f32::NAN), 0);
    }

    #[test]
    fn special_blocks() {
        assert_eq!(ActivationBlock::quantize(&[1e-31; RUN]).dequantize(), [0.0; RUN]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut activations = [1.0; RUN];
            activations[17] = bad;
            assert!(ActivationBlock::quantize(&activations).dequantize().iter().all(|x| x.is_nan()));
        }
    }

    proptest! {
        #[test]
        fn off_by_half_a_scale_at_most(
            values in prop::array::uniform32(-1f32..1.0), exponent in -99i32..127
        ) {
            let activations = values.map(|x| x * 2f32.powi(exponent));
            let block = ActivationBlock::quantize(&activations);
            for (x, stored) in activations.iter().zip(block.dequantize()) {
                let slack = f64::from(x.abs()) * 4.0 * 2f64.powi(-24);
                prop_assert!((f64::from(*x) - f64::from(stored)).abs() <= f64::from(block.scale) / 2.0 + slack);
            }
            let sums = [0, 16].map(|i| block.codes[i..i + 16].iter().map(|&c| i32::from(c)).sum::<i32>());
            prop_assert_eq!(sums, block.sums.map(i32::from));
        }
    }
}

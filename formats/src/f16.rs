//! IEEE 754 half precision as stored in block headers.

/// A half-precision number, as its bits. Arithmetic is done in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct F16(pub u16);

impl F16 {
    /// The largest finite value.
    pub const LARGEST: f32 = 65504.0;

    /// The value as `f32`; exact, subnormals and infinities included.
    #[inline(always)]
    #[cfg(not(target_arch = "nvptx64"))]
    pub fn to_f32(self) -> f32 {
        let magnitude = u32::from(self.0 & 0x7fff);
        let sign = u32::from(self.0 & 0x8000) << 16;
        let finite = (f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000)).to_bits(); // * 2^112
        let special = 0x7f80_0000 | (magnitude << 13);
        f32::from_bits(sign | if magnitude < 0x7c00 { finite } else { special })
    }

    /// The value as `f32`; exact, subnormals and infinities included.
    #[inline(always)]
    #[cfg(target_arch = "nvptx64")]
    pub fn to_f32(self) -> f32 {
        f16::from_bits(self.0) as f32 // one cvt instruction
    }

    /// The nearest half-precision number, ties to even; infinity from 65520 on, NaN stays NaN.
    #[inline(always)]
    #[cfg(target_arch = "nvptx64")]
    pub fn from_f32(value: f32) -> Self {
        // One cvt instruction; for NaN the bits of the definition below.
        let nan = (value.to_bits() >> 16) as u16 & 0x8000 | 0x7e00;
        Self(if value.is_nan() { nan } else { (value as f16).to_bits() })
    }

    /// The nearest half-precision number, ties to even; infinity from 65520 on, NaN stays NaN.
    #[inline(always)]
    #[cfg(not(target_arch = "nvptx64"))]
    pub fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let magnitude = bits & 0x7fff_ffff;
        let half = if magnitude > 0x7f80_0000 {
            0x7e00
        } else if magnitude >= 0x477f_f000 {
            0x7c00
        } else if magnitude < 0x3880_0000 {
            // A subnormal half counts in units of 2^-24, which is what an f32 just above 0.5 counts in too:
            // the addition does the rounding.
            (f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000
        } else {
            let ties_to_even = 0x0fff + ((magnitude >> 13) & 1);
            (magnitude + ties_to_even - 0x3800_0000) >> 13
        };
        Self((bits >> 16) as u16 & 0x8000 | half as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::F16;

    #[test]
    fn every_half_converts_as_the_half_crate_says() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (F16(bits).to_f32(), half::f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:#06x}");
            if !ours.is_nan() {
                assert_eq!(F16::from_f32(ours).0, bits);
            }
        }
    }

    #[test]
    fn rounding_matches_the_half_crate_around_every_boundary() {
        for bits in 0..0x7c00u16 {
            let (low, high) = (F16(bits).to_f32(), half::f16::from_bits(bits + 1).to_f32());
            let middle = if high.is_finite() { (low + high) / 2.0 } else { 65520.0 };
            for value in [middle.next_down(), middle, middle.next_up()] {
                for value in [value, -value] {
                    assert_eq!(F16::from_f32(value).0, half::f16::from_f32(value).to_bits(), "{value:e}");
                }
            }
        }
        assert!(F16::from_f32(f32::NAN).to_f32().is_nan());
        assert_eq!(F16::from_f32(f32::NEG_INFINITY).to_f32(), f32::NEG_INFINITY);
        assert_eq!(F16::from_f32(1e-45).0, 0);
    }
}

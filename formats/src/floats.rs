//! Rows of plain floating-point numbers: the types of tensors that are not in blocks.

use crate::F16;

/// The upper half of an `f32`, as its bits. Arithmetic is done in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Bf16 {
    /// The value as `f32`; exact.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// The nearest number of the type, ties to even; infinity where that is nearer than the largest, and NaN stays
    /// NaN.
    #[inline(always)]
    pub fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let ties_to_even = 0x7fff + (bits >> 16 & 1);
        let rounded = bits.wrapping_add(ties_to_even) >> 16;
        let quiet = bits >> 16 | 0x40;
        Self(if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded } as u16)
    }
}

/// A type of plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision, [`F16`].
    F16,
    /// The upper half of single precision, [`Bf16`].
    Bf16,
}

impl FloatType {
    /// Every type.
    pub const ALL: &[Self] = &[Self::F32, Self::F16, Self::Bf16];

    /// ggml's number for the type, as it stands in GGUF files.
    pub const fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Bf16 => 30,
        }
    }

    /// ggml's name for the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    /// The type with ggml's number `id`, if it is one of these.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|ty| ty.id() == id)
    }

    /// The type called `name` by ggml, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|ty| ty.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The largest finite number.
    pub const fn largest(self) -> f32 {
        match self {
            Self::F32 => f32::MAX,
            Self::F16 => F16::LARGEST,
            Self::Bf16 => f32::from_bits(0x7f7f_0000),
        }
    }

    /// Reads the little-endian numbers in `bytes`; exact.
    ///
    /// # Panics
    /// If there are not [`bytes`](Self::bytes) for each number of `out`.
    #[inline]
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len(), out.len() * self.bytes(), "{} bytes for each number", self.bytes());
        match self {
            Self::F32 => each(out, bytes, |out, bytes| *out = f32::from_le_bytes(*bytes)),
            Self::F16 => each(out, bytes, |out, bytes| *out = F16(u16::from_le_bytes(*bytes)).to_f32()),
            Self::Bf16 => each(out, bytes, |out, bytes| *out = Bf16(u16::from_le_bytes(*bytes)).to_f32()),
        }
    }

    /// Writes the nearest numbers of the type, ties to even, as little-endian `bytes`. What is too large becomes
    /// infinite, and NaN stays NaN.
    ///
    /// # Panics
    /// If there are not [`bytes`](Self::bytes) for each of `numbers`.
    #[inline]
    pub fn encode(self, numbers: &[f32], bytes: &mut [u8]) {
        assert_eq!(bytes.len(), numbers.len() * self.bytes(), "{} bytes for each number", self.bytes());
        match self {
            Self::F32 => each_mut(numbers, bytes, |number, bytes| *bytes = number.to_le_bytes()),
            Self::F16 => {
                each_mut(numbers, bytes, |number, bytes| *bytes = F16::from_f32(number).0.to_le_bytes())
            }
            Self::Bf16 => {
                each_mut(numbers, bytes, |number, bytes| *bytes = Bf16::from_f32(number).0.to_le_bytes());
            }
        }
    }
}

#[inline(always)]
fn each<const N: usize>(out: &mut [f32], bytes: &[u8], convert: impl Fn(&mut f32, &[u8; N])) {
    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| convert(out, bytes));
}

#[inline(always)]
fn each_mut<const N: usize>(numbers: &[f32], bytes: &mut [u8], convert: impl Fn(f32, &mut [u8; N])) {
    numbers.iter().zip(bytes.as_chunks_mut().0).for_each(|(number, bytes)| convert(*number, bytes));
}

impl core::fmt::Display for FloatType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bf16_converts_as_the_half_crate_says() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (Bf16(bits).to_f32(), half::bf16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:#06x}");
            // Around every number and every middle between two.
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(u32::from(bits) << 16 | low);
                assert_eq!(Bf16::from_f32(value).0, half::bf16::from_f32(value).to_bits(), "{value:e}");
            }
        }
    }

    #[test]
    fn rows_come_back() {
        let numbers = [1.0, -0.0, 65504.0, 1e-7, f32::INFINITY, -3.25, f32::NAN];
        for &ty in FloatType::ALL {
            assert_eq!(FloatType::from_id(ty.id()), Some(ty));
            assert_eq!(FloatType::from_name(&ty.name().to_ascii_lowercase()), Some(ty));
            let mut bytes = [0; 4 * 7];
            let bytes = &mut bytes[..7 * ty.bytes()];
            ty.encode(&numbers, bytes);
            let mut once = [0.0; 7];
            ty.decode(bytes, &mut once);
            for (i, (a, b)) in numbers.iter().zip(once).enumerate() {
                let near = (a - b).abs() <= 0.005 * a.abs() + 1e-7 || *a == b || a.is_nan() && b.is_nan();
                assert!(near, "{ty} {i}: {a} {b}");
            }
            let mut again = [0xff; 4 * 7];
            ty.encode(&once, &mut again[..7 * ty.bytes()]);
            assert_eq!(bytes[..6 * ty.bytes()], again[..6 * ty.bytes()]);
            let mut one = [0.0];
            ty.encode(&[ty.largest()], &mut bytes[..ty.bytes()]);
            ty.decode(&bytes[..ty.bytes()], &mut one);
            assert_eq!(one, [ty.largest()]);
        }
    }
}

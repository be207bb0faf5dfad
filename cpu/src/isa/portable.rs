//! Plain Rust: what every other instruction set is compared with.

use std::array::from_fn;

use warpdot_formats::{Codes, F16, Format, code_bytes};

use super::{HALF, OCTET, Scales, Simd, Streaming, Unpacked, Vectorize, run_of};

/// What every CPU can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portable;

impl Portable {
    /// Always there.
    pub fn detect() -> Option<Self> {
        Some(Self)
    }
}

impl Vectorize for Portable {
    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        work()
    }

    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}
}

impl Simd for Portable {
    type F32 = [f32; OCTET];
    type Numbers = [f32; HALF];
    type Codes = [Codes; OCTET];

    #[inline(always)]
    fn unpack<F: Format>(self, blocks: &[F]) -> Unpacked<Self> {
        let codes = from_fn(|run| {
            let (block, run) = run_of(blocks, run);
            block.codes(run)
        });
        Unpacked { codes, scales: Scales::by_definition(self, blocks) }
    }

    #[inline(always)]
    fn load(self, values: &[f32; OCTET]) -> Self::F32 {
        *values
    }

    #[inline(always)]
    fn store(self, values: Self::F32, to: &mut [f32; OCTET]) {
        *to = values;
    }

    #[inline(always)]
    fn numbers<F: Format>(self, codes: &Self::Codes, run: usize) -> [Self::Numbers; 2] {
        bytemuck::cast(code_bytes(&codes[run]).map(f32::from))
    }

    #[inline(always)]
    fn scaled(self, numbers: Self::Numbers, scale: f32) -> Self::Numbers {
        numbers.map(|number| number * scale)
    }

    #[inline(always)]
    fn raised(self, numbers: Self::Numbers, offset: f32) -> Self::Numbers {
        numbers.map(|number| number + offset)
    }

    #[inline(always)]
    fn put_f32(self, numbers: Self::Numbers, to: &mut [f32; HALF], _stores: &Streaming<Self>) {
        *to = numbers;
    }

    #[inline(always)]
    fn put_f16(self, numbers: Self::Numbers, to: &mut [u16; HALF], _stores: &Streaming<Self>) {
        *to = numbers.map(|number| F16::from_f32(number).0);
    }

    #[inline(always)]
    fn put_bf16(self, numbers: Self::Numbers, to: &mut [u16; HALF], _stores: &Streaming<Self>) {
        *to = numbers.map(|number| {
            let bits = number.to_bits();
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
            let quiet = bits >> 16 | 0x40;
            (if number.is_nan() { quiet } else { rounded }) as u16
        });
    }
}

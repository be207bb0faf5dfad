//! Plain Rust: what every other instruction set is compared with.

use std::array::from_fn;

use warpdot_formats::{Codes, Format, RUN, code_bytes};

use super::{OCTET, Scales, Simd, Unpacked, Vectorize, run_of};

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
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn values<F: Format>(self, codes: &Self::Codes, run: usize) -> [Self::F32; RUN / OCTET] {
        bytemuck::cast(code_bytes(&codes[run]).map(f32::from))
    }
}

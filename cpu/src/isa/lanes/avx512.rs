use std::arch::x86_64::*;

use super::{Lanes, ROWS};
use crate::isa::Avx512Vnni;

// SAFETY, for all blocks of this file: `self` proves AVX-512 F and VNNI, and references are to as many bytes as
// are loaded or stored.
impl Lanes for Avx512Vnni {
    type Ints = __m512i;
    type Floats = __m512;
    // `vpdpbusd` multiplies unsigned by signed bytes.
    const BIAS: u8 = 128;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn ints(self, value: i32) -> Self::Ints {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn dot(self, sums: Self::Ints, codes: &[u32; ROWS], activations: u32) -> Self::Ints {
        // SAFETY: see above.
        unsafe {
            let codes = _mm512_loadu_si512(codes.as_ptr().cast());
            _mm512_dpbusd_epi32(sums, codes, _mm512_set1_epi32(activations.cast_signed()))
        }
    }

    #[inline(always)]
    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(ints) }
    }

    #[inline(always)]
    fn floats(self, value: f32) -> Self::Floats {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load_lanes(self, values: &[f32; ROWS]) -> Self::Floats {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store_lanes(self, values: Self::Floats, to: &mut [f32; ROWS]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn add_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma_lanes(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}

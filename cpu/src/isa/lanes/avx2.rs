use std::arch::x86_64::*;

use warpdot_formats::Format;

use super::{Lanes, ROWS, WORDS};
use crate::isa::Avx2;
use crate::isa::x86::zero_point;

// SAFETY, for all blocks of this file: `self` proves AVX2 and FMA, and references are to as many bytes as are
// loaded or stored.
impl Lanes for Avx2 {
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];
    const BIAS: u8 = 0;
    const VECTORS: usize = 1;

    #[inline(always)]
    fn words<F: Format>(self, codes: &Self::Codes, run: usize) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        // SAFETY: see above.
        unsafe {
            let zero = _mm256_set1_epi8(zero_point(F::TYPE).unwrap_or(0).cast_signed());
            _mm256_storeu_si256(words.as_mut_ptr().cast(), _mm256_sub_epi8(codes[run], zero));
        }
        words
    }

    #[inline(always)]
    fn ints(self, value: i32) -> Self::Ints {
        // SAFETY: see above.
        unsafe { [_mm256_set1_epi32(value); 2] }
    }

    #[inline(always)]
    fn dot(self, sums: Self::Ints, codes: &[u32; ROWS], activations: u32) -> Self::Ints {
        // SAFETY: see above.
        unsafe {
            let activations = _mm256_set1_epi32(activations.cast_signed());
            let half = |sums, at: usize| {
                // `vpmaddubsw` wants one factor without a sign, which the other one takes over. Pairs of
                // products of at most 128 * 127 fit 16 bits.
                let codes = _mm256_loadu_si256(codes[at..at + 8].as_ptr().cast());
                let signed = _mm256_sign_epi8(activations, codes);
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), signed);
                _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            };
            [half(sums[0], 0), half(sums[1], 8)]
        }
    }

    #[inline(always)]
    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_cvtepi32_ps(ints[0]), _mm256_cvtepi32_ps(ints[1])] }
    }

    #[inline(always)]
    fn floats(self, value: f32) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn load_lanes(self, values: &[f32; ROWS]) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values[8..].as_ptr())] }
    }

    #[inline(always)]
    fn store_lanes(self, values: Self::Floats, to: &mut [f32; ROWS]) {
        // SAFETY: see above.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), values[0]);
            _mm256_storeu_ps(to[8..].as_mut_ptr(), values[1]);
        }
    }

    #[inline(always)]
    fn add_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma_lanes(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
}

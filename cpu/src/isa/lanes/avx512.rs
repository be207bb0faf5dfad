use std::arch::x86_64::*;

use warpdot_formats::Format;

use super::{Lanes, ROWS, WORDS};
use crate::isa::Avx512Vnni;
use crate::isa::x86::zero_point;

// SAFETY, for all blocks of this file: `self` proves AVX-512 F and VNNI, and references are to as many bytes as
// are loaded or stored.
impl Lanes for Avx512Vnni {
    type Ints = __m512i;
    type Floats = __m512;
    // `vpdpbusd` multiplies unsigned by signed bytes.
    const BIAS: u8 = 128;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn words<F: Format>(self, codes: &Self::Codes, run: usize) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        // SAFETY: see above.
        unsafe {
            let pair = codes[run / 2];
            let codes = match run % 2 {
                0 => _mm512_castsi512_si256(pair),
                _ => _mm512_extracti64x4_epi64::<1>(pair),
            };
            // Signed codes have been raised already.
            let raise = Self::BIAS - zero_point(F::TYPE).unwrap_or(Self::BIAS);
            let biased = _mm256_add_epi8(codes, _mm256_set1_epi8(raise.cast_signed()));
            _mm256_storeu_si256(words.as_mut_ptr().cast(), biased);
        }
        words
    }

    /// Rows r and r + 8 share a vector: four words of one and the same four of the other in every other quarter.
    #[inline(always)]
    fn transpose(self, rows: &[[u32; WORDS]; ROWS], words: &mut [[u32; ROWS]; WORDS]) {
        // SAFETY: see above.
        unsafe {
            let mut pairs = [_mm512_setzero_si512(); ROWS / 2];
            for (r, pair) in pairs.iter_mut().enumerate() {
                let low = _mm256_loadu_si256(rows[r].as_ptr().cast());
                let high = _mm256_loadu_si256(rows[r + ROWS / 2].as_ptr().cast());
                *pair = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            }
            // Within each quarter, four words of four rows are turned round: vector j has words j and j + 4.
            let mut quads = [[_mm512_setzero_si512(); 4]; 2];
            for (quads, rows) in quads.iter_mut().zip(pairs.as_chunks::<4>().0) {
                let low = [_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpacklo_epi32(rows[2], rows[3])];
                let high = [_mm512_unpackhi_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[2], rows[3])];
                *quads = [
                    _mm512_unpacklo_epi64(low[0], low[1]),
                    _mm512_unpackhi_epi64(low[0], low[1]),
                    _mm512_unpacklo_epi64(high[0], high[1]),
                    _mm512_unpackhi_epi64(high[0], high[1]),
                ];
            }
            let early = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
            let late = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
            let [first, second] = quads;
            for (j, (first, second)) in first.into_iter().zip(second).enumerate() {
                for (word, quarters) in [(j, early), (j + 4, late)] {
                    let of_all = _mm512_permutex2var_epi64(first, quarters, second);
                    _mm512_storeu_si512(words[word].as_mut_ptr().cast(), of_all);
                }
            }
        }
    }

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

use std::arch::x86_64::*;

use warpdot_formats::{Format, RUN, Word};

use super::ROWS;
use super::avx512::{Numbers, Words};
use crate::isa::Amx;

// SAFETY, for all blocks of this file: the token proves AVX-512 F, BW and BF16, and references are to as many bytes as
// are loaded or stored.

/// Which half-words alternate between two vectors of 16.
const ALTERNATELY: [u16; 2 * ROWS] = {
    let mut order = [0; 2 * ROWS];
    let mut lane = 0;
    while lane < ROWS {
        order[2 * lane] = lane as u16;
        order[2 * lane + 1] = (ROWS + lane) as u16;
        lane += 1;
    }
    order
};

impl Amx {
    /// Stores the four weights of each row whose raw codes are given, rounded to `bf16`, two to a word.
    #[inline(always)]
    pub(crate) fn store_weights<F: Format>(
        self,
        codes: Words,
        scale: Numbers,
        offset: Numbers,
        to: &mut [[u32; ROWS]; 2],
    ) {
        // SAFETY: see above.
        unsafe {
            let codes = Words(_mm512_sub_epi8(codes.0, _mm512_set1_epi8(F::ZERO.cast_signed())));
            let order = _mm512_loadu_si512(ALTERNATELY.as_ptr().cast());
            for (pair, to) in to.iter_mut().enumerate() {
                let mut weights = [scale.0; 2];
                for (i, weights) in weights.iter_mut().enumerate() {
                    let code = codes.signed_byte(2 * pair + i).0;
                    *weights = if F::HAS_OFFSET {
                        _mm512_fmadd_ps(scale.0, code, offset.0)
                    } else {
                        _mm512_mul_ps(scale.0, code)
                    };
                }
                let both = _mm512_cvtne2ps_pbh(weights[1], weights[0]);
                let both = _mm512_permutexvar_epi16(order, std::mem::transmute::<__m512bh, __m512i>(both));
                _mm512_storeu_si512(to.as_mut_ptr().cast(), both);
            }
        }
    }

    /// The nearest numbers of `bf16`, ties to even.
    #[inline(always)]
    pub(crate) fn to_bf16(self, numbers: &[f32; RUN], to: &mut [u16; RUN]) {
        // SAFETY: see above.
        unsafe {
            let load = |first: usize| _mm512_loadu_ps(numbers[first..].as_ptr());
            let both = _mm512_cvtne2ps_pbh(load(RUN / 2), load(0));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), std::mem::transmute::<__m512bh, __m512i>(both));
        }
    }
}

use std::arch::x86_64::*;

use warpdot_formats::{Format, RUN};

use super::ROWS;
use super::avx512::{Numbers, Words};
use crate::isa::Amx;

// SAFETY, for all blocks of this file: the token proves AVX-512 F, BW and BF16, and references are to as many bytes as
// are loaded or stored.

/// For each of four rows in 16 bytes, two of which are taken, where the first two codes lie.
const TWO_OF_FOUR: [u8; 64] = {
    let mut bytes = [0; 64];
    let mut word = 0;
    while word < ROWS {
        bytes[4 * word] = (word / 2 % 2 * 4 + word % 2) as u8;
        word += 1;
    }
    bytes
};

/// The lowest byte of each word.
const LOWEST: u64 = 0x1111_1111_1111_1111;

/// 2^23: numbers above it are whole, and the lowest bits say by how much they exceed it.
const WHOLE: f32 = 8_388_608.0;

impl Amx {
    /// Stores the four weights of each row whose raw codes are given, rounded to `bf16`, two to a word.
    ///
    /// Two rows of each 16 bytes, which hold four, come first, then the other two: to put them in order here, and not
    /// [afterwards](Self::in_order), would take one more of the shuffles that bound this.
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
            let whole = _mm512_castps_si512(_mm512_set1_ps(WHOLE));
            let zero = _mm512_set1_ps(WHOLE + f32::from(F::ZERO));
            let weights = |first: u8, scale: __m512, offset: __m512| {
                let order = _mm512_loadu_si512(TWO_OF_FOUR.as_ptr().cast());
                let order = _mm512_add_epi8(order, _mm512_set1_epi8(first.cast_signed()));
                let above = _mm512_castsi512_ps(_mm512_mask_shuffle_epi8(whole, LOWEST, codes.0, order));
                let code = _mm512_sub_ps(above, zero);
                if F::HAS_OFFSET { _mm512_fmadd_ps(scale, code, offset) } else { _mm512_mul_ps(scale, code) }
            };
            let (scales, offsets) = (each_twice(scale), each_twice(offset));
            for (pair, to) in to.iter_mut().enumerate() {
                let first = 2 * pair as u8;
                let [low, high] =
                    [weights(first, scales[0], offsets[0]), weights(first + 8, scales[1], offsets[1])];
                let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(to.as_mut_ptr().cast(), both);
            }
        }
    }

    /// Numbers of rows, put in the rows' order from that of [`store_weights`](Self::store_weights).
    #[inline(always)]
    pub(crate) fn in_order(self, numbers: &mut [f32; ROWS]) {
        // SAFETY: see above.
        unsafe {
            let order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
            let stored = _mm512_loadu_pd(numbers.as_ptr().cast());
            _mm512_storeu_pd(numbers.as_mut_ptr().cast(), _mm512_permutexvar_pd(order, stored));
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

/// The numbers of the first two of each four rows, each twice, and those of the others.
#[inline(always)]
fn each_twice(numbers: Numbers) -> [__m512; 2] {
    // SAFETY: see above.
    unsafe { [_mm512_unpacklo_ps(numbers.0, numbers.0), _mm512_unpackhi_ps(numbers.0, numbers.0)] }
}

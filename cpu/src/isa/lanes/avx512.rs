use std::arch::x86_64::*;

use warpdot_formats::Word;

use super::{Lanes, Quantizing, ROWS, RowWords};
use crate::isa::Avx512Vnni;
use crate::isa::avx512::look_up_16;

// SAFETY, for all blocks of this file: the token, without which there is no vector, proves AVX-512 F, BW, VL and VNNI,
// and references are to as many bytes as are loaded or stored.

/// The lower half-words of all words.
const LOW_HALVES: u32 = 0x5555_5555;

/// 16 words; only made with the token at hand.
#[derive(Clone, Copy)]
pub(crate) struct Words(pub(super) __m512i);

/// 16 numbers; only made with the token at hand.
#[derive(Clone, Copy)]
pub(crate) struct Numbers(pub(super) __m512);

/// Functions of vectors by an intrinsic each.
macro_rules! intrinsics {
    ($type:ident: $($function:ident $intrinsic:ident),*) => {$(
        #[inline(always)]
        fn $function(self, other: Self) -> Self {
            // SAFETY: see above.
            Self(unsafe { $intrinsic(self.0, other.0) })
        }
    )*};
}

impl Words {
    intrinsics!(Words: and _mm512_and_si512, or _mm512_or_si512, xor _mm512_xor_si512, add _mm512_add_epi32,
        sub _mm512_sub_epi32, mul _mm512_mullo_epi32, shl_each _mm512_sllv_epi32, shr_each _mm512_srlv_epi32);

    #[inline(always)]
    fn splat(value: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_set1_epi32(value.cast_signed()) })
    }

    #[inline(always)]
    fn shl(self, by: u32) -> Self {
        self.shl_each(Self::splat(by))
    }

    #[inline(always)]
    fn shr(self, by: u32) -> Self {
        self.shr_each(Self::splat(by))
    }
}

impl Numbers {
    intrinsics!(Numbers: add _mm512_add_ps, sub _mm512_sub_ps, mul _mm512_mul_ps);

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn negative(self) -> Self {
        // SAFETY: see above.
        Self(unsafe {
            let signs = _mm512_set1_epi32(i32::MIN);
            _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(self.0), signs))
        })
    }
}

operators!(Words, Numbers);

impl Word for Words {
    type Number = Numbers;

    #[inline(always)]
    fn to_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { _mm512_cvtepi32_ps(self.0) })
    }

    #[inline(always)]
    fn to_bits_of_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { _mm512_castsi512_ps(self.0) })
    }

    #[inline(always)]
    fn half_to_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(self.0)) })
    }

    #[inline(always)]
    fn signed_byte(self, index: usize) -> Numbers {
        let top = self << (24 - 8 * index as u32);
        // SAFETY: see above.
        Numbers(unsafe { _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(top.0)) })
    }

    #[inline(always)]
    fn look_up<const N: usize>(self, table: &'static [u16; N]) -> Self {
        const { assert!(N.is_power_of_two() && N >= 2) };
        if N == 256 || N == 512 {
            // SAFETY: see above.
            return Self(unsafe { look_up_16(table, self.0) }) & 0xffff;
        }
        if let Some(table) = table.first_chunk::<64>()
            && N == 64
        {
            let halves: &[[u16; 32]; 2] = bytemuck::cast_ref(table);
            // SAFETY: see above.
            return Self(unsafe {
                let load = |half: usize| _mm512_loadu_si512(halves[half].as_ptr().cast());
                _mm512_maskz_permutex2var_epi16(LOW_HALVES, load(0), self.0, load(1))
            });
        }
        let index = self & (N as u32 - 1);
        // SAFETY: see above; pairs of entries are gathered, and half of an index below N is a pair's.
        let pairs = Self(unsafe { _mm512_i32gather_epi32::<4>((index >> 1).0, table.as_ptr().cast()) });
        pairs.shr_each((index & 1) << 4) & 0xffff
    }

    #[inline(always)]
    fn raise_signed(self, signs: Self) -> Self {
        let raise = Self::splat(0x8080_8080);
        // SAFETY: see above.
        Self(unsafe {
            // The lowest byte of each word in all four of its bytes, of which each looks at a bit of its own.
            let spread = _mm512_set4_epi32(0x0c0c_0c0c, 0x0808_0808, 0x0404_0404, 0);
            let bits = _mm512_shuffle_epi8(signs.0, spread);
            let negative = _mm512_test_epi8_mask(bits, _mm512_set1_epi32(0x0804_0201));
            _mm512_mask_sub_epi8(self.xor(raise).0, negative, raise.0, self.0)
        })
    }

    #[inline(always)]
    fn look_up_bytes(self, table: &'static [u8; 16]) -> Self {
        // SAFETY: see above.
        Self(unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, self.0)
        })
    }
}

impl Lanes for Avx512Vnni {
    type Words = Words;
    type Numbers = Numbers;
    // `vpdpbusd` multiplies unsigned by signed bytes.
    const UNSIGNED: bool = true;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn load_words(self, words: &[u32; ROWS]) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_halves(self, halves: &[u16; ROWS]) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(halves.as_ptr().cast())) })
    }

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; ROWS]) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) })
    }

    #[inline(always)]
    fn store_words(self, words: Words, to: &mut [u32; ROWS]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words.0) };
    }

    /// Rows r, r + 4, r + 8 and r + 12 share a vector, a quarter each; within quarters, four by four words are turned
    /// round.
    #[inline(always)]
    fn transpose(self, rows: [&[u8; 16]; ROWS], words: &mut [RowWords; 4]) {
        // SAFETY: see above.
        unsafe {
            let mut fours = [_mm512_setzero_si512(); 4];
            for (r, four) in fours.iter_mut().enumerate() {
                let load = |row: usize| _mm_loadu_si128(rows[row].as_ptr().cast());
                let vector = _mm512_castsi128_si512(load(r));
                let vector = _mm512_inserti32x4::<1>(vector, load(r + 4));
                let vector = _mm512_inserti32x4::<2>(vector, load(r + 8));
                *four = _mm512_inserti32x4::<3>(vector, load(r + 12));
            }
            let low = [_mm512_unpacklo_epi32(fours[0], fours[1]), _mm512_unpacklo_epi32(fours[2], fours[3])];
            let high = [_mm512_unpackhi_epi32(fours[0], fours[1]), _mm512_unpackhi_epi32(fours[2], fours[3])];
            let turned = [
                _mm512_unpacklo_epi64(low[0], low[1]),
                _mm512_unpackhi_epi64(low[0], low[1]),
                _mm512_unpacklo_epi64(high[0], high[1]),
                _mm512_unpackhi_epi64(high[0], high[1]),
            ];
            for (words, turned) in words.iter_mut().zip(turned) {
                _mm512_storeu_si512(words.0.as_mut_ptr().cast(), turned);
            }
        }
    }

    #[inline(always)]
    fn integers(self, value: i32) -> Words {
        Words::splat(value.cast_unsigned())
    }

    #[inline(always)]
    fn dot<const WIDE: bool>(self, sums: Words, codes: Words, activations: u32) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_dpbusd_epi32(sums.0, codes.0, _mm512_set1_epi32(activations.cast_signed())) })
    }

    #[inline(always)]
    fn to_numbers(self, integers: Words) -> Numbers {
        integers.to_number()
    }

    #[inline(always)]
    fn numbers(self, value: f32) -> Numbers {
        Numbers::splat(value)
    }

    #[inline(always)]
    fn load_numbers(self, values: &[f32; ROWS]) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn store_numbers(self, values: Numbers, to: &mut [f32; ROWS]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values.0) }
    }

    #[inline(always)]
    fn sum(self, a: Numbers, b: Numbers) -> Numbers {
        a.add(b)
    }

    #[inline(always)]
    fn multiply_add(self, a: Numbers, b: Numbers, c: Numbers) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { _mm512_fmadd_ps(a.0, b.0, c.0) })
    }
}

impl Quantizing for Avx512Vnni {
    #[inline(always)]
    fn bits(self, numbers: Numbers) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_castps_si512(numbers.0) })
    }

    #[inline(always)]
    fn greater(self, a: Words, b: Words) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_max_epu32(a.0, b.0) })
    }

    #[inline(always)]
    fn lesser(self, a: Words, b: Words) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_min_epu32(a.0, b.0) })
    }

    #[inline(always)]
    fn signs(self, words: Words) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_srai_epi32::<31>(words.0) })
    }

    #[inline(always)]
    fn select(self, a: Words, b: Words, yes: Words, no: Words) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_mask_blend_epi32(_mm512_cmpgt_epu32_mask(a.0, b.0), no.0, yes.0) })
    }

    #[inline(always)]
    fn non_zero(self, words: Words) -> u16 {
        // SAFETY: see above.
        unsafe { _mm512_test_epi32_mask(words.0, words.0) }
    }

    #[inline(always)]
    fn across(self, vectors: [Words; ROWS], join: impl Fn(Words, Words) -> Words) -> Words {
        // SAFETY: see above.
        unsafe {
            // The halves of vectors i and i + 8 first.
            let mut ones = [vectors[0]; 8];
            for (i, one) in ones.iter_mut().enumerate() {
                let (a, b) = (vectors[i].0, vectors[i + 8].0);
                let low = _mm512_inserti64x4::<1>(a, _mm512_castsi512_si256(b));
                let high = _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b);
                *one = join(Words(low), Words(high));
            }
            let mut twos = [ones[0]; 4];
            for (i, two) in twos.iter_mut().enumerate() {
                let (a, b) = (ones[2 * i].0, ones[2 * i + 1].0);
                *two = join(Words(_mm512_unpacklo_epi32(a, b)), Words(_mm512_unpackhi_epi32(a, b)));
            }
            let mut fours = [twos[0]; 2];
            for (i, four) in fours.iter_mut().enumerate() {
                let (a, b) = (twos[2 * i].0, twos[2 * i + 1].0);
                *four = join(Words(_mm512_unpacklo_epi64(a, b)), Words(_mm512_unpackhi_epi64(a, b)));
            }
            // Quarters: blocks 0 to 3 twice, then 8 to 11; and 4 to 7, then 12 to 15.
            let (a, b) = (fours[0].0, fours[1].0);
            let even = _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
            let odd = _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b);
            let order = _mm512_setr_epi64(0, 1, 4, 5, 2, 3, 6, 7);
            Words(_mm512_permutexvar_epi64(order, join(Words(even), Words(odd)).0))
        }
    }

    #[inline(always)]
    fn quotient(self, a: Numbers, b: Numbers) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { _mm512_div_ps(a.0, b.0) })
    }

    #[inline(always)]
    fn reciprocal(self, numbers: Numbers) -> Numbers {
        let inverse = self.quotient(self.numbers(1.0), numbers);
        // SAFETY: see above.
        Numbers(unsafe {
            let infinity = _mm512_set1_ps(f32::INFINITY);
            let finite = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(inverse.0), infinity);
            _mm512_maskz_mov_ps(finite, inverse.0)
        })
    }

    #[inline(always)]
    fn truncate(self, numbers: Numbers) -> Words {
        // SAFETY: see above.
        Words(unsafe { _mm512_cvttps_epi32(numbers.0) })
    }

    #[inline(always)]
    fn halves(self, numbers: Numbers) -> [u16; ROWS] {
        let mut halves = [0; ROWS];
        // SAFETY: see above.
        unsafe {
            let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(numbers.0);
            _mm256_storeu_si256(halves.as_mut_ptr().cast(), rounded);
        }
        halves
    }

    #[inline(always)]
    fn bytes(self, words: Words) -> [u8; ROWS] {
        let mut bytes = [0; ROWS];
        // SAFETY: see above.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(words.0)) };
        bytes
    }
}

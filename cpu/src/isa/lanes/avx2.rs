use std::arch::x86_64::*;

use warpdot_formats::Word;

use super::{Lanes, Quantizing, ROWS, RowWords};
use crate::isa::{Avx2, AvxVnni};

// SAFETY, for all blocks of this file: the token, without which there is no vector, proves AVX2, FMA and F16C, and
// references are to as many bytes as are loaded or stored.

/// 16 words in two vectors; only made with the token at hand.
#[derive(Clone, Copy)]
pub(crate) struct Words([__m256i; 2]);

/// 16 numbers in two vectors; only made with the token at hand.
#[derive(Clone, Copy)]
pub(crate) struct Numbers([__m256; 2]);

/// Functions of vectors by an intrinsic each.
macro_rules! intrinsics {
    ($type:ident: $($function:ident $intrinsic:ident),*) => {$(
        #[inline(always)]
        fn $function(self, other: Self) -> Self {
            // SAFETY: see above.
            Self(unsafe { [$intrinsic(self.0[0], other.0[0]), $intrinsic(self.0[1], other.0[1])] })
        }
    )*};
}

impl Words {
    intrinsics!(Words: and _mm256_and_si256, or _mm256_or_si256, xor _mm256_xor_si256, add _mm256_add_epi32,
        sub _mm256_sub_epi32, mul _mm256_mullo_epi32, shl_each _mm256_sllv_epi32, shr_each _mm256_srlv_epi32);

    #[inline(always)]
    fn splat(value: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { [_mm256_set1_epi32(value.cast_signed()); 2] })
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
    intrinsics!(Numbers: add _mm256_add_ps, sub _mm256_sub_ps, mul _mm256_mul_ps);

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { [_mm256_set1_ps(value); 2] })
    }

    #[inline(always)]
    fn negative(self) -> Self {
        // SAFETY: see above.
        Self(unsafe {
            let signs = _mm256_set1_ps(-0.0);
            [_mm256_xor_ps(self.0[0], signs), _mm256_xor_ps(self.0[1], signs)]
        })
    }
}

operators!(Words, Numbers);

impl Word for Words {
    type Number = Numbers;

    #[inline(always)]
    fn to_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { [_mm256_cvtepi32_ps(self.0[0]), _mm256_cvtepi32_ps(self.0[1])] })
    }

    #[inline(always)]
    fn to_bits_of_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { [_mm256_castsi256_ps(self.0[0]), _mm256_castsi256_ps(self.0[1])] })
    }

    #[inline(always)]
    fn half_to_number(self) -> Numbers {
        let [first, second] = (self & 0xffff).0;
        // SAFETY: see above.
        Numbers(unsafe {
            // Quarters of half-words: first, second, first, second.
            let mixed = _mm256_packus_epi32(first, second);
            let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(mixed);
            [
                _mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves)),
            ]
        })
    }

    #[inline(always)]
    fn signed_byte(self, index: usize) -> Numbers {
        let [first, second] = (self << (24 - 8 * index as u32)).0;
        // SAFETY: see above.
        Numbers(unsafe {
            [
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(first)),
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(second)),
            ]
        })
    }

    #[inline(always)]
    fn look_up<const N: usize>(self, table: &'static [u16; N]) -> Self {
        const { assert!(N.is_power_of_two() && N >= 2) };
        let index = self & (N as u32 - 1);
        let [first, second] = (index >> 1).0;
        let table = table.as_ptr().cast();
        // SAFETY: see above; pairs of entries are gathered, and half of an index below N is a pair's.
        let pairs = Self(unsafe {
            [_mm256_i32gather_epi32::<4>(table, first), _mm256_i32gather_epi32::<4>(table, second)]
        });
        pairs.shr_each((index & 1) << 4) & 0xffff
    }

    #[inline(always)]
    fn look_up_bytes(self, table: &'static [u8; 16]) -> Self {
        // SAFETY: see above.
        Self(unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, self.0[0]), _mm256_shuffle_epi8(table, self.0[1])]
        })
    }
}

/// What [`Lanes`] asks of 256-bit vectors but for dot products, which the token's instructions decide on.
macro_rules! lanes_of_256_bits {
    () => {
        type Words = Words;
        type Numbers = Numbers;
        const VECTORS: usize = 1;

        #[inline(always)]
        fn load_words(self, words: &[u32; ROWS]) -> Words {
            // SAFETY: see above.
            Words(unsafe {
                [_mm256_loadu_si256(words.as_ptr().cast()), _mm256_loadu_si256(words[8..].as_ptr().cast())]
            })
        }

        #[inline(always)]
        fn load_halves(self, halves: &[u16; ROWS]) -> Words {
            // SAFETY: see above.
            Words(unsafe {
                [
                    _mm256_cvtepu16_epi32(_mm_loadu_si128(halves.as_ptr().cast())),
                    _mm256_cvtepu16_epi32(_mm_loadu_si128(halves[8..].as_ptr().cast())),
                ]
            })
        }

        #[inline(always)]
        fn load_bytes(self, bytes: &[u8; ROWS]) -> Words {
            // SAFETY: see above.
            Words(unsafe {
                let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
                [_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes))]
            })
        }

        #[inline(always)]
        fn store_words(self, words: Words, to: &mut [u32; ROWS]) {
            // SAFETY: see above.
            unsafe {
                _mm256_storeu_si256(to.as_mut_ptr().cast(), words.0[0]);
                _mm256_storeu_si256(to[8..].as_mut_ptr().cast(), words.0[1]);
            }
        }

        /// Rows r and r + 4 share a vector, a half each; within halves, four by four words are turned round.
        #[inline(always)]
        fn transpose(self, rows: [&[u8; 16]; ROWS], words: &mut [RowWords; 4]) {
            for (half, rows) in rows.as_chunks::<8>().0.iter().enumerate() {
                // SAFETY: see above.
                unsafe {
                    let mut pairs = [_mm256_setzero_si256(); 4];
                    for (r, pair) in pairs.iter_mut().enumerate() {
                        let load = |row: usize| _mm_loadu_si128(rows[row].as_ptr().cast());
                        *pair = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(r)), load(r + 4));
                    }
                    let low = [
                        _mm256_unpacklo_epi32(pairs[0], pairs[1]),
                        _mm256_unpacklo_epi32(pairs[2], pairs[3]),
                    ];
                    let high = [
                        _mm256_unpackhi_epi32(pairs[0], pairs[1]),
                        _mm256_unpackhi_epi32(pairs[2], pairs[3]),
                    ];
                    let turned = [
                        _mm256_unpacklo_epi64(low[0], low[1]),
                        _mm256_unpackhi_epi64(low[0], low[1]),
                        _mm256_unpacklo_epi64(high[0], high[1]),
                        _mm256_unpackhi_epi64(high[0], high[1]),
                    ];
                    for (words, turned) in words.iter_mut().zip(turned) {
                        _mm256_storeu_si256(words.0[8 * half..][..8].as_mut_ptr().cast(), turned);
                    }
                }
            }
        }

        #[inline(always)]
        fn integers(self, value: i32) -> Words {
            Words::splat(value.cast_unsigned())
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
            Numbers(unsafe { [_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values[8..].as_ptr())] })
        }

        #[inline(always)]
        fn store_numbers(self, values: Numbers, to: &mut [f32; ROWS]) {
            // SAFETY: see above.
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), values.0[0]);
                _mm256_storeu_ps(to[8..].as_mut_ptr(), values.0[1]);
            }
        }

        #[inline(always)]
        fn sum(self, a: Numbers, b: Numbers) -> Numbers {
            a.add(b)
        }

        #[inline(always)]
        fn multiply_add(self, a: Numbers, b: Numbers, c: Numbers) -> Numbers {
            // SAFETY: see above.
            Numbers(unsafe {
                [_mm256_fmadd_ps(a.0[0], b.0[0], c.0[0]), _mm256_fmadd_ps(a.0[1], b.0[1], c.0[1])]
            })
        }
    };
}

impl Lanes for Avx2 {
    const UNSIGNED: bool = false;

    lanes_of_256_bits!();

    #[inline(always)]
    fn dot<const WIDE: bool>(self, sums: Words, codes: Words, activations: u32) -> Words {
        // SAFETY: see above.
        unsafe {
            let activations = _mm256_set1_epi32(activations.cast_signed());
            let half = |sums, codes| {
                // `vpmaddubsw` wants one factor without a sign, and adds pairs of products to 16 bits: that holds
                // for codes below 64 as they are, and for any once the other factor has taken over their sign, as
                // magnitudes of at most 128 times 127.
                let pairs = if WIDE {
                    _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(activations, codes))
                } else {
                    _mm256_maddubs_epi16(codes, activations)
                };
                _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            };
            Words([half(sums.0[0], codes.0[0]), half(sums.0[1], codes.0[1])])
        }
    }
}

impl Lanes for AvxVnni {
    const UNSIGNED: bool = true;

    lanes_of_256_bits!();

    #[inline(always)]
    fn dot<const WIDE: bool>(self, sums: Words, codes: Words, activations: u32) -> Words {
        // SAFETY: see above; this token proves AVX-VNNI, too.
        unsafe {
            let activations = _mm256_set1_epi32(activations.cast_signed());
            Words([
                _mm256_dpbusd_avx_epi32(sums.0[0], codes.0[0], activations),
                _mm256_dpbusd_avx_epi32(sums.0[1], codes.0[1], activations),
            ])
        }
    }
}

impl Quantizing for Avx2 {
    #[inline(always)]
    fn bits(self, numbers: Numbers) -> Words {
        // SAFETY: see above.
        Words(unsafe { [_mm256_castps_si256(numbers.0[0]), _mm256_castps_si256(numbers.0[1])] })
    }

    #[inline(always)]
    fn greater(self, a: Words, b: Words) -> Words {
        // SAFETY: see above.
        Words(unsafe { [_mm256_max_epu32(a.0[0], b.0[0]), _mm256_max_epu32(a.0[1], b.0[1])] })
    }

    #[inline(always)]
    fn lesser(self, a: Words, b: Words) -> Words {
        // SAFETY: see above.
        Words(unsafe { [_mm256_min_epu32(a.0[0], b.0[0]), _mm256_min_epu32(a.0[1], b.0[1])] })
    }

    #[inline(always)]
    fn signs(self, words: Words) -> Words {
        // SAFETY: see above.
        Words(unsafe { [_mm256_srai_epi32::<31>(words.0[0]), _mm256_srai_epi32::<31>(words.0[1])] })
    }

    #[inline(always)]
    fn select(self, a: Words, b: Words, yes: Words, no: Words) -> Words {
        // There are only signed comparisons, but `a` is not greater where `b` is the maximum.
        let most = self.greater(a, b);
        // SAFETY: see above.
        Words(unsafe {
            let not = [_mm256_cmpeq_epi32(most.0[0], b.0[0]), _mm256_cmpeq_epi32(most.0[1], b.0[1])];
            [_mm256_blendv_epi8(yes.0[0], no.0[0], not[0]), _mm256_blendv_epi8(yes.0[1], no.0[1], not[1])]
        })
    }

    #[inline(always)]
    fn non_zero(self, words: Words) -> u16 {
        // SAFETY: see above.
        let [first, second] = unsafe {
            let zero = _mm256_setzero_si256();
            let zeros = [_mm256_cmpeq_epi32(words.0[0], zero), _mm256_cmpeq_epi32(words.0[1], zero)];
            [
                _mm256_movemask_ps(_mm256_castsi256_ps(zeros[0])),
                _mm256_movemask_ps(_mm256_castsi256_ps(zeros[1])),
            ]
        };
        !(first | second << 8) as u16
    }

    #[inline(always)]
    fn across(self, vectors: [Words; ROWS], join: impl Fn(Words, Words) -> Words) -> Words {
        // SAFETY: see above.
        unsafe {
            // Of vectors i and i + 8 the halves are joined first, so that both fill as much as one.
            let mut ones = [vectors[0]; 8];
            for (i, one) in ones.iter_mut().enumerate() {
                let (a, b) = (vectors[i].0, vectors[i + 8].0);
                *one = join(Words([a[0], b[0]]), Words([a[1], b[1]]));
            }
            let mut twos = [ones[0]; 4];
            for (i, two) in twos.iter_mut().enumerate() {
                let (a, b) = (ones[2 * i].0, ones[2 * i + 1].0);
                *two = join(
                    Words([_mm256_unpacklo_epi32(a[0], b[0]), _mm256_unpacklo_epi32(a[1], b[1])]),
                    Words([_mm256_unpackhi_epi32(a[0], b[0]), _mm256_unpackhi_epi32(a[1], b[1])]),
                );
            }
            let mut fours = [twos[0]; 2];
            for (i, four) in fours.iter_mut().enumerate() {
                let (a, b) = (twos[2 * i].0, twos[2 * i + 1].0);
                *four = join(
                    Words([_mm256_unpacklo_epi64(a[0], b[0]), _mm256_unpacklo_epi64(a[1], b[1])]),
                    Words([_mm256_unpackhi_epi64(a[0], b[0]), _mm256_unpackhi_epi64(a[1], b[1])]),
                );
            }
            let (a, b) = (fours[0].0, fours[1].0);
            join(
                Words([
                    _mm256_permute2x128_si256::<0x20>(a[0], b[0]),
                    _mm256_permute2x128_si256::<0x20>(a[1], b[1]),
                ]),
                Words([
                    _mm256_permute2x128_si256::<0x31>(a[0], b[0]),
                    _mm256_permute2x128_si256::<0x31>(a[1], b[1]),
                ]),
            )
        }
    }

    #[inline(always)]
    fn quotient(self, a: Numbers, b: Numbers) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { [_mm256_div_ps(a.0[0], b.0[0]), _mm256_div_ps(a.0[1], b.0[1])] })
    }

    #[inline(always)]
    fn reciprocal(self, numbers: Numbers) -> Numbers {
        let inverse = self.quotient(self.numbers(1.0), numbers);
        // SAFETY: see above.
        Numbers(unsafe {
            let (sign, infinity) = (_mm256_set1_ps(-0.0), _mm256_set1_ps(f32::INFINITY));
            let finite = [
                _mm256_cmp_ps::<_CMP_LT_OQ>(_mm256_andnot_ps(sign, inverse.0[0]), infinity),
                _mm256_cmp_ps::<_CMP_LT_OQ>(_mm256_andnot_ps(sign, inverse.0[1]), infinity),
            ];
            [_mm256_and_ps(inverse.0[0], finite[0]), _mm256_and_ps(inverse.0[1], finite[1])]
        })
    }

    #[inline(always)]
    fn truncate(self, numbers: Numbers) -> Words {
        // SAFETY: see above.
        Words(unsafe { [_mm256_cvttps_epi32(numbers.0[0]), _mm256_cvttps_epi32(numbers.0[1])] })
    }

    #[inline(always)]
    fn halves(self, numbers: Numbers) -> [u16; ROWS] {
        let mut halves = [[0u16; ROWS / 2]; 2];
        for (numbers, to) in numbers.0.into_iter().zip(&mut halves) {
            // SAFETY: see above.
            unsafe {
                let rounded = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(numbers);
                _mm_storeu_si128(to.as_mut_ptr().cast(), rounded);
            }
        }
        bytemuck::cast(halves)
    }

    #[inline(always)]
    fn bytes(self, words: Words) -> [u8; ROWS] {
        let mut bytes = [0; ROWS];
        // SAFETY: see above.
        unsafe {
            // The lowest bytes of each quarter in its first four bytes, or its second four.
            let first = _mm256_broadcastsi128_si256(_mm_setr_epi32(0x0c08_0400, -1, -1, -1));
            let second = _mm256_broadcastsi128_si256(_mm_setr_epi32(-1, 0x0c08_0400, -1, -1));
            let both = _mm256_or_si256(
                _mm256_shuffle_epi8(words.0[0], first),
                _mm256_shuffle_epi8(words.0[1], second),
            );
            let (low, high) = (_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both));
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm_unpacklo_epi32(low, high));
        }
        bytes
    }
}

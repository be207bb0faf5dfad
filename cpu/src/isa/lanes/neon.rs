use std::arch::{aarch64::*, asm};

use std::ops::Range;

use warpdot_formats::{RUN, Word};

use super::{Lanes, ROWS, RowWords, RunCodes};
use crate::gemm::COLUMNS;
use crate::isa::{Neon, NeonDotprod, NeonI8mm};

// SAFETY, for all blocks of this file: the token, without which there is no vector, proves NEON, and references are to
// as many bytes as are loaded or stored.

/// 16 words in four vectors; only made with the token at hand.
#[derive(Clone, Copy)]
pub(crate) struct Words([uint32x4_t; 4]);

/// 16 numbers in four vectors; only made with the token at hand.
#[derive(Clone, Copy)]
pub(crate) struct Numbers([float32x4_t; 4]);

/// `[f(0), f(1), f(2), f(3)]`, of an expression, so that nothing can be left uninlined.
macro_rules! vectors {
    (|$i:ident| $vector:expr) => {
        [vectors!($i 0 $vector), vectors!($i 1 $vector), vectors!($i 2 $vector), vectors!($i 3 $vector)]
    };
    ($i:ident $number:literal $vector:expr) => {{
        let $i = $number;
        $vector
    }};
}

/// Functions of vectors by an intrinsic each.
macro_rules! intrinsics {
    ($($function:ident $intrinsic:ident),*) => {$(
        #[inline(always)]
        fn $function(self, other: Self) -> Self {
            // SAFETY: see above.
            Self(unsafe { vectors!(|i| $intrinsic(self.0[i], other.0[i])) })
        }
    )*};
}

impl Words {
    intrinsics!(and vandq_u32, or vorrq_u32, xor veorq_u32, add vaddq_u32, sub vsubq_u32, mul vmulq_u32);

    #[inline(always)]
    fn splat(value: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { [vdupq_n_u32(value); 4] })
    }

    #[inline(always)]
    fn shl(self, by: u32) -> Self {
        self.shift_left(by.cast_signed())
    }

    #[inline(always)]
    fn shr(self, by: u32) -> Self {
        self.shift_left(-by.cast_signed())
    }

    /// To the right if `by` is negative.
    #[inline(always)]
    fn shift_left(self, by: i32) -> Self {
        // SAFETY: see above.
        Self(unsafe { vectors!(|i| vshlq_u32(self.0[i], vdupq_n_s32(by))) })
    }
}

impl Numbers {
    intrinsics!(add vaddq_f32, sub vsubq_f32, mul vmulq_f32);

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { [vdupq_n_f32(value); 4] })
    }

    #[inline(always)]
    fn negative(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vectors!(|i| vnegq_f32(self.0[i])) })
    }
}

operators!(Words, Numbers);

impl Word for Words {
    type Number = Numbers;

    #[inline(always)]
    fn to_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { vectors!(|i| vcvtq_f32_s32(vreinterpretq_s32_u32(self.0[i]))) })
    }

    #[inline(always)]
    fn to_bits_of_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { vectors!(|i| vreinterpretq_f32_u32(self.0[i])) })
    }

    #[inline(always)]
    fn half_to_number(self) -> Numbers {
        // SAFETY: see above.
        Numbers(unsafe { vectors!(|i| vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(self.0[i])))) })
    }

    #[inline(always)]
    fn signed_byte(self, index: usize) -> Numbers {
        let top = self << (24 - 8 * index as u32);
        // SAFETY: see above.
        Numbers(unsafe { vectors!(|i| vcvtq_f32_s32(vshrq_n_s32::<24>(vreinterpretq_s32_u32(top.0[i])))) })
    }

    /// There is no instruction for this: every lane loads its entry.
    #[inline(always)]
    fn look_up<const N: usize>(self, table: &'static [u16; N]) -> Self {
        const { assert!(N.is_power_of_two()) };
        let mut lanes = [[0; 4]; 4];
        for (lanes, indices) in lanes.iter_mut().zip(self.0) {
            // SAFETY: see above.
            unsafe { vst1q_u32(lanes.as_mut_ptr(), indices) };
            for lane in lanes {
                *lane = u32::from(table[*lane as usize % N]);
            }
        }
        // SAFETY: see above.
        Self(unsafe { vectors!(|i| vld1q_u32(lanes[i].as_ptr())) })
    }

    #[inline(always)]
    fn look_up_bytes(self, table: &'static [u8; 16]) -> Self {
        // SAFETY: see above.
        Self(unsafe {
            let table = vld1q_u8(table.as_ptr());
            vectors!(|i| vreinterpretq_u32_u8(vqtbl1q_u8(table, vreinterpretq_u8_u32(self.0[i]))))
        })
    }
}

/// What [`Lanes`] asks of 128-bit vectors but for dot products, which the token's instructions decide on.
macro_rules! lanes_of_128_bits {
    () => {
        type Words = Words;
        type Numbers = Numbers;
        const UNSIGNED: bool = false;
        const VECTORS: usize = 1;

        #[inline(always)]
        fn load_words(self, words: &[u32; ROWS]) -> Words {
            // SAFETY: see above.
            Words(unsafe { vectors!(|i| vld1q_u32(words[4 * i..].as_ptr())) })
        }

        #[inline(always)]
        fn load_halves(self, halves: &[u16; ROWS]) -> Words {
            // SAFETY: see above.
            Words(unsafe { widened([vld1q_u16(halves.as_ptr()), vld1q_u16(halves[8..].as_ptr())]) })
        }

        #[inline(always)]
        fn load_bytes(self, bytes: &[u8; ROWS]) -> Words {
            // SAFETY: see above.
            Words(unsafe {
                let bytes = vld1q_u8(bytes.as_ptr());
                widened([vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)])
            })
        }

        #[inline(always)]
        fn store_words(self, words: Words, to: &mut [u32; ROWS]) {
            for (i, words) in words.0.into_iter().enumerate() {
                // SAFETY: see above.
                unsafe { vst1q_u32(to[4 * i..].as_mut_ptr(), words) };
            }
        }

        /// Four by four words are turned round, first within pairs of rows.
        #[inline(always)]
        fn transpose(self, rows: [&[u8; 16]; ROWS], words: &mut [RowWords; 4]) {
            for (quarter, rows) in rows.as_chunks::<4>().0.iter().enumerate() {
                // SAFETY: see above.
                unsafe {
                    let rows = vectors!(|r| vreinterpretq_u32_u8(vld1q_u8(rows[r].as_ptr())));
                    // The even words of two rows, then the odd ones.
                    let first = [vtrn1q_u32(rows[0], rows[1]), vtrn2q_u32(rows[0], rows[1])];
                    let second = [vtrn1q_u32(rows[2], rows[3]), vtrn2q_u32(rows[2], rows[3])];
                    for odd in 0..2 {
                        let first = vreinterpretq_u64_u32(first[odd]);
                        let second = vreinterpretq_u64_u32(second[odd]);
                        let turned = [vtrn1q_u64(first, second), vtrn2q_u64(first, second)];
                        for (half, turned) in turned.into_iter().enumerate() {
                            let to = words[2 * half + odd].0[4 * quarter..][..4].as_mut_ptr();
                            vst1q_u32(to, vreinterpretq_u32_u64(turned));
                        }
                    }
                }
            }
        }

        #[inline(always)]
        fn integers(self, value: i32) -> Words {
            Words::splat(value.cast_unsigned())
        }

        #[inline(always)]
        fn dot<const WIDE: bool>(self, sums: Words, codes: Words, activations: u32) -> Words {
            // Codes below 64 are signed bytes as they are.
            // SAFETY: see above; the token proves what its `dot` needs.
            Words(unsafe {
                let activations = vreinterpretq_s8_u32(vdupq_n_u32(activations));
                vectors!(|i| {
                    let (sums, codes) = (vreinterpretq_s32_u32(sums.0[i]), vreinterpretq_s8_u32(codes.0[i]));
                    vreinterpretq_u32_s32(Self::add_products(sums, codes, activations))
                })
            })
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
            Numbers(unsafe { vectors!(|i| vld1q_f32(values[4 * i..].as_ptr())) })
        }

        #[inline(always)]
        fn store_numbers(self, values: Numbers, to: &mut [f32; ROWS]) {
            for (i, values) in values.0.into_iter().enumerate() {
                // SAFETY: see above.
                unsafe { vst1q_f32(to[4 * i..].as_mut_ptr(), values) };
            }
        }

        #[inline(always)]
        fn sum(self, a: Numbers, b: Numbers) -> Numbers {
            a.add(b)
        }

        #[inline(always)]
        fn multiply_add(self, a: Numbers, b: Numbers, c: Numbers) -> Numbers {
            // SAFETY: see above.
            Numbers(unsafe { vectors!(|i| vfmaq_f32(c.0[i], a.0[i], b.0[i])) })
        }
    };
}

/// 16 half-words as words.
#[inline]
#[target_feature(enable = "neon")]
fn widened(halves: [uint16x8_t; 2]) -> [uint32x4_t; 4] {
    let [first, second] = halves;
    [
        vmovl_u16(vget_low_u16(first)),
        vmovl_high_u16(first),
        vmovl_u16(vget_low_u16(second)),
        vmovl_high_u16(second),
    ]
}

impl Neon {
    /// Adds four products to each sum.
    #[inline]
    #[target_feature(enable = "neon")]
    fn add_products(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // Two products fit 16 bits: magnitudes of at most 128 times 127 each.
        let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
        vpadalq_s16(sums, vpaddq_s16(low, vmull_high_s8(a, b)))
    }
}

impl NeonDotprod {
    /// Adds four products to each sum. The intrinsic is unstable.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    fn add_products(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: an instruction on registers, which this function may use.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
                sums = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }
}

/// Sums of two lanes by two rows of activations, with lanes 0, 1 and 2, 3 of all four vectors.
type Squares = [[int32x4_t; 2]; 4];

impl NeonI8mm {
    /// Adds four products to each sum.
    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    fn add_products(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        NeonDotprod::add_products(sums, a, b)
    }

    /// Adds eight products to each sum, of each half of `a` by each half of `b`. The intrinsic is unstable.
    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    fn add_squares(mut sums: int32x4_t, a: uint32x4_t, b: uint32x4_t) -> int32x4_t {
        // SAFETY: an instruction on registers, which this function may use.
        unsafe {
            asm!(
                "smmla {sums:v}.4s, {a:v}.16b, {b:v}.16b",
                sums = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }

    /// The sums of two rows of activations as squares.
    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    fn squares(first: Words, second: Words) -> Squares {
        vectors!(|i| {
            let (first, second) = (first.0[i], second.0[i]);
            [
                vreinterpretq_s32_u32(vzip1q_u32(first, second)),
                vreinterpretq_s32_u32(vzip2q_u32(first, second)),
            ]
        })
    }

    /// The sums of each of two rows of activations.
    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    fn sums(squares: Squares) -> [Words; 2] {
        [
            Words(vectors!(|i| vreinterpretq_u32_s32(vuzp1q_s32(squares[i][0], squares[i][1])))),
            Words(vectors!(|i| vreinterpretq_u32_s32(vuzp2q_s32(squares[i][0], squares[i][1])))),
        ]
    }
}

impl Lanes for Neon {
    lanes_of_128_bits!();
}

impl Lanes for NeonDotprod {
    lanes_of_128_bits!();
}

impl Lanes for NeonI8mm {
    lanes_of_128_bits!();

    /// Eight codes of a lane beside each other.
    #[inline(always)]
    fn store_codes(self, codes: &[Words; RUN / 4], to: &mut RunCodes) {
        for (codes, to) in codes.as_chunks::<2>().0.iter().zip(to.as_chunks_mut::<2>().0) {
            let to = to.as_flattened_mut();
            for (i, (first, second)) in codes[0].0.into_iter().zip(codes[1].0).enumerate() {
                // SAFETY: see above.
                unsafe {
                    vst1q_u32(to[8 * i..][..4].as_mut_ptr(), vzip1q_u32(first, second));
                    vst1q_u32(to[8 * i + 4..][..4].as_mut_ptr(), vzip2q_u32(first, second));
                }
            }
        }
    }

    #[inline(always)]
    fn dots<const WIDE: bool, const VECTORS: usize>(
        self,
        sums: &mut [[Words; COLUMNS]; VECTORS],
        codes: [&RunCodes; VECTORS],
        activations: &[[u32; RUN / 4]; COLUMNS],
        words: Range<usize>,
    ) {
        // SAFETY, for all three blocks: see above; the token proves what its functions need.
        for (sums, codes) in sums.iter_mut().zip(codes) {
            let [a, b, c, d] = *sums;
            let mut squares = unsafe { [Self::squares(a, b), Self::squares(c, d)] };
            for word in words.clone().step_by(2) {
                let codes = codes[word..word + 2].as_flattened();
                unsafe {
                    let eight = |column: usize| vld1_u32(activations[column][word..word + 2].as_ptr());
                    let pairs = [vcombine_u32(eight(0), eight(1)), vcombine_u32(eight(2), eight(3))];
                    for (vector, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
                        let codes = vld1q_u32(codes.as_ptr());
                        for (squares, pair) in squares.iter_mut().zip(pairs) {
                            let square = &mut squares[vector / 2][vector % 2];
                            *square = Self::add_squares(*square, codes, pair);
                        }
                    }
                }
            }
            let [first, second] = squares;
            let ([a, b], [c, d]) = unsafe { (Self::sums(first), Self::sums(second)) };
            *sums = [a, b, c, d];
        }
    }
}

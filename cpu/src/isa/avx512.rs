//! AVX-512 with VNNI: codes in vectors of 512 bits, two runs in each; lanes of runs stay in 256 bits.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes and adds four products to 32 bits, exactly. So all codes
//! are unpacked to unsigned ones, and their zero point is taken off by means of the activations' sums.

use std::arch::x86_64::*;

use warpdot_formats::{Format, GgmlType, Q4_0, Q4K, Q6K, Q8_0, RUN};

use super::avx2::octet;
use super::simd::each;
use super::{Avx2, OCTET, Scales, Simd, Unpacked, run_of};
use crate::activations::ActivationOctet;

/// The CPU has AVX-512 F, BW, VL and VNNI, beside what [`Avx2`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Vnni {
    avx2: Avx2,
}

impl Avx512Vnni {
    /// The proof, if the CPU has the instructions.
    pub fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        Avx2::detect().filter(|_| there).map(|avx2| Self { avx2 })
    }
}

/// What the unsigned code of weight zero is.
const fn zero_point(ty: GgmlType) -> i32 {
    match ty {
        GgmlType::Q4_0 => 8,
        GgmlType::Q4K => 0,
        GgmlType::Q6K => 32,
        _ => 128,
    }
}

impl Simd for Avx512Vnni {
    type F32 = __m256;
    type Codes = [__m512i; OCTET / 2];

    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
        fn with_avx512<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { with_avx512(work) }
    }

    #[inline(always)]
    fn unpack<F: Format>(self, blocks: &[F]) -> Unpacked<Self> {
        match F::TYPE {
            GgmlType::Q4_0 => self.unpack_q4_0(octet(blocks)),
            GgmlType::Q4K => self.unpack_q4k(octet(blocks)),
            GgmlType::Q6K => self.unpack_q6k(octet(blocks)),
            GgmlType::Q8_0 => self.unpack_q8_0(octet(blocks)),
            _ => self.unpack_any(blocks),
        }
    }

    #[inline(always)]
    fn dots<F: Format>(self, codes: &Self::Codes, activations: &ActivationOctet) -> [Self::F32; 2] {
        let activations_of: &[[i8; 2 * RUN]; OCTET / 2] = bytemuck::cast_ref(&activations.codes);
        // SAFETY: `self` proves AVX-512 F and VNNI; each load is of 64 readable bytes.
        unsafe {
            // Of runs a and b, per 128-bit lane: four sums of the first half of a, of its second half, and
            // the same of b.
            let mut quads = [_mm512_setzero_si512(); OCTET / 2];
            for ((quads, codes), activations) in quads.iter_mut().zip(codes).zip(activations_of) {
                let activations = _mm512_loadu_si512(activations.as_ptr().cast());
                *quads = _mm512_dpbusd_epi32(_mm512_setzero_si512(), *codes, activations);
            }
            let [ab, cd, ef, gh] = quads;
            let abcd = _mm512_add_epi32(_mm512_unpacklo_epi32(ab, cd), _mm512_unpackhi_epi32(ab, cd));
            let efgh = _mm512_add_epi32(_mm512_unpacklo_epi32(ef, gh), _mm512_unpackhi_epi32(ef, gh));
            let all = _mm512_add_epi32(_mm512_unpacklo_epi64(abcd, efgh), _mm512_unpackhi_epi64(abcd, efgh));
            let mut dots = if F::GROUP == RUN {
                // Each half added to the other, then [a c e g - - - - b d f h - - - -] in order.
                let all = _mm512_add_epi32(all, _mm512_shuffle_i32x4::<0b10_11_00_01>(all, all));
                let order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 0, 0, 0, 0, 0, 0, 0, 0);
                [_mm512_castsi512_si256(_mm512_permutexvar_epi32(order, all)), _mm256_setzero_si256()]
            } else {
                let order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
                let all = _mm512_permutexvar_epi32(order, all);
                [_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all)]
            };
            if zero_point(F::TYPE) != 0 {
                let zero = _mm256_set1_epi32(zero_point(F::TYPE));
                for (dots, sums) in dots.iter_mut().zip(self.avx2.integer_sums::<F>(activations)) {
                    *dots = _mm256_sub_epi32(*dots, _mm256_mullo_epi32(zero, sums));
                }
            }
            [_mm256_cvtepi32_ps(dots[0]), _mm256_cvtepi32_ps(dots[1])]
        }
    }

    #[inline(always)]
    fn sums<F: Format>(self, activations: &ActivationOctet) -> [Self::F32; 2] {
        self.avx2.sums::<F>(activations)
    }

    #[inline(always)]
    fn load(self, values: &[f32; OCTET]) -> Self::F32 {
        self.avx2.load(values)
    }

    #[inline(always)]
    fn store(self, values: Self::F32, to: &mut [f32; OCTET]) {
        self.avx2.store(values, to);
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        self.avx2.mul(a, b)
    }

    #[inline(always)]
    fn fma(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        self.avx2.fma(a, b, c)
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        self.avx2.prefetch(address);
    }
}

impl Avx512Vnni {
    /// Any format, by its portable definition.
    #[inline(always)]
    fn unpack_any<F: Format>(self, blocks: &[F]) -> Unpacked<Self> {
        let codes = each(
            #[inline(always)]
            |pair| {
                let ((a, run_a), (b, run_b)) = (run_of(blocks, 2 * pair), run_of(blocks, 2 * pair + 1));
                self.unsigned(self.avx2.load_256(&a.codes(run_a)), self.avx2.load_256(&b.codes(run_b)))
            },
        );
        Unpacked { codes, scales: Scales::by_definition(self, blocks) }
    }

    /// The signed codes of two runs, raised by 128.
    #[inline(always)]
    fn unsigned(self, a: __m256i, b: __m256i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe {
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b);
            _mm512_xor_si512(both, _mm512_set1_epi8(i8::MIN))
        }
    }

    #[inline(always)]
    fn unpack_q8_0(self, blocks: &[Q8_0; 8]) -> Unpacked<Self> {
        let codes = each(
            #[inline(always)]
            |pair| {
                let [a, b] = [&blocks[2 * pair], &blocks[2 * pair + 1]];
                self.unsigned(self.avx2.load_256(&a.codes), self.avx2.load_256(&b.codes))
            },
        );
        Unpacked { codes, scales: self.avx2.leading_scales(blocks) }
    }

    #[inline(always)]
    fn unpack_q4_0(self, blocks: &[Q4_0; 8]) -> Unpacked<Self> {
        let codes = each(
            #[inline(always)]
            |pair| {
                let a = self.avx2.load_128(&blocks[2 * pair].nibbles);
                let b = self.avx2.load_128(&blocks[2 * pair + 1].nibbles);
                // SAFETY: `self` proves AVX-512 F.
                unsafe {
                    let twice = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(a), 0xff00, b);
                    let shifts = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
                    _mm512_and_si512(_mm512_srlv_epi32(twice, shifts), _mm512_set1_epi8(0x0f))
                }
            },
        );
        Unpacked { codes, scales: self.avx2.leading_scales(blocks) }
    }

    #[inline(always)]
    fn unpack_q4k(self, [block]: &[Q4K; 1]) -> Unpacked<Self> {
        let bytes: &[[u16; 16]; 4] = bytemuck::cast_ref(&block.nibbles);
        let codes = each(
            #[inline(always)]
            |pair| {
                let both = self.avx2.load_256(&bytes[pair]);
                // SAFETY: `self` proves AVX-512 F.
                unsafe {
                    let shifts = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
                    let moved = _mm512_srlv_epi64(_mm512_broadcast_i64x4(both), shifts);
                    _mm512_and_si512(moved, _mm512_set1_epi8(0x0f))
                }
            },
        );
        Unpacked { codes, scales: self.avx2.scales_q4k(block) }
    }

    #[inline(always)]
    fn unpack_q6k(self, [block]: &[Q6K; 1]) -> Unpacked<Self> {
        let low: &[[u16; 32]; 2] = bytemuck::cast_ref(&block.low);
        let high: &[[u16; 16]; 2] = bytemuck::cast_ref(&block.high);
        let codes = each(
            #[inline(always)]
            |pair| {
                let (half, late) = (pair / 2, pair % 2 == 1);
                let high = self.avx2.load_256(&high[half]);
                // SAFETY: `self` proves AVX-512 F; the load is of 64 readable bytes.
                unsafe {
                    let low = _mm512_loadu_si512(low[half].as_ptr().cast());
                    let high = _mm512_broadcast_i64x4(high);
                    // Each run's bit pair to bits 4 and 5.
                    let (low, high) = if late {
                        let shifts = _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2);
                        (_mm512_srli_epi16::<4>(low), _mm512_srlv_epi64(high, shifts))
                    } else {
                        let shifts = _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2);
                        (low, _mm512_sllv_epi64(high, shifts))
                    };
                    let high = _mm512_and_si512(high, _mm512_set1_epi8(0x30));
                    _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(0x0f)), high)
                }
            },
        );
        Unpacked { codes, scales: self.avx2.scales_q6k(block) }
    }
}

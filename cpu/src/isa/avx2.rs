//! AVX2 with FMA and F16C: vectors of 256 bits.
//!
//! Codes are multiplied by `vpmaddubsw`, unsigned times signed bytes with pairs added to 16 bits. Formats
//! with up to 6 bits are unpacked to unsigned codes, whose zero point is taken off the dot product by means
//! of the activations' sums; that is exact, and four products fit 16 bits. Signed codes of 8 bits lend their
//! sign to the activations.

use std::arch::x86_64::*;

use bytemuck::Pod;
use warpdot_formats::{Format, GgmlType, Q4_0, Q4K, Q6K, RUN};

use super::simd::each;
use super::{OCTET, Scales, Simd, Unpacked, run_of};
use crate::activations::ActivationOctet;

/// The CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, if the CPU has the instructions.
    pub fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        there.then_some(Self(()))
    }
}

/// What an unsigned code of weight zero is, for formats that are unpacked to unsigned codes.
const fn zero_point(ty: GgmlType) -> Option<i32> {
    match ty {
        GgmlType::Q4_0 => Some(8),
        GgmlType::Q4K => Some(0),
        GgmlType::Q6K => Some(32),
        _ => None,
    }
}

impl Simd for Avx2 {
    type F32 = __m256;
    type Codes = [__m256i; OCTET];

    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { with_avx2(work) }
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
        // SAFETY: `self` proves AVX2.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            // Per 128-bit lane, which is one half of a run: [a b a b] for runs a and b.
            let mut pairs = [_mm256_setzero_si256(); OCTET / 2];
            for (pair, sums) in pairs.iter_mut().enumerate() {
                let (run_a, run_b) = (2 * pair, 2 * pair + 1);
                let (a, b) =
                    (self.load_256(&activations.codes[run_a]), self.load_256(&activations.codes[run_b]));
                let (codes_a, codes_b) = (codes[run_a], codes[run_b]);
                *sums = if zero_point(F::TYPE).is_some() {
                    let (a, b) = (_mm256_maddubs_epi16(codes_a, a), _mm256_maddubs_epi16(codes_b, b));
                    let sums = _mm256_add_epi16(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
                    _mm256_madd_epi16(sums, ones)
                } else {
                    let (a, b) = (_mm256_sign_epi8(a, codes_a), _mm256_sign_epi8(b, codes_b));
                    let a = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(codes_a), a), ones);
                    let b = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(codes_b), b), ones);
                    _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b))
                };
            }
            let [ab, cd, ef, gh] = pairs;
            let abcd = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
            let efgh = _mm256_add_epi32(_mm256_unpacklo_epi64(ef, gh), _mm256_unpackhi_epi64(ef, gh));
            let mut dots = [
                _mm256_permute2x128_si256::<0x20>(abcd, efgh),
                _mm256_permute2x128_si256::<0x31>(abcd, efgh),
            ];
            if F::GROUP == RUN {
                dots = [_mm256_add_epi32(dots[0], dots[1]), _mm256_setzero_si256()];
            }
            if let Some(zero) = zero_point(F::TYPE) {
                for (dots, sums) in dots.iter_mut().zip(self.integer_sums::<F>(activations)) {
                    *dots = _mm256_sub_epi32(*dots, _mm256_mullo_epi32(_mm256_set1_epi32(zero), sums));
                }
            }
            [_mm256_cvtepi32_ps(dots[0]), _mm256_cvtepi32_ps(dots[1])]
        }
    }

    #[inline(always)]
    fn sums<F: Format>(self, activations: &ActivationOctet) -> [Self::F32; 2] {
        let [first, second] = self.integer_sums::<F>(activations);
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_cvtepi32_ps(first), _mm256_cvtepi32_ps(second)] }
    }

    #[inline(always)]
    fn load(self, values: &[f32; OCTET]) -> Self::F32 {
        // SAFETY: `self` proves AVX; `values` are 32 readable bytes.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, values: Self::F32, to: &mut [f32; OCTET]) {
        // SAFETY: `self` proves AVX; `to` are 32 writable bytes.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // To the second level: a fetch to the first one would hold one of the few buffers for its misses for
        // all the time that memory takes.
        // SAFETY: prefetching never faults and reads nothing that the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
}

/// `blocks` as the `N` blocks of format `G` that they are.
#[inline(always)]
pub(super) fn octet<F: Format, G: Format, const N: usize>(blocks: &[F]) -> &[G; N] {
    const { assert!(N == OCTET / G::RUNS) };
    bytemuck::cast_slice(blocks).try_into().expect("an octet of blocks")
}

impl Avx2 {
    /// The 32 bytes of `from`.
    #[inline(always)]
    pub(super) fn load_256<T: Pod>(self, from: &T) -> __m256i {
        const { assert!(size_of::<T>() == 32) };
        // SAFETY: `self` proves AVX; `from` are 32 readable bytes.
        unsafe { _mm256_loadu_si256(std::ptr::from_ref(from).cast()) }
    }

    /// The 16 bytes of `from`.
    #[inline(always)]
    pub(super) fn load_128<T: Pod>(self, from: &T) -> __m128i {
        const { assert!(size_of::<T>() == 16) };
        // SAFETY: every x86-64 CPU has SSE2; `from` are 16 readable bytes.
        unsafe { _mm_loadu_si128(std::ptr::from_ref(from).cast()) }
    }

    /// The sums of the activation codes that meet each group.
    #[inline(always)]
    pub(super) fn integer_sums<F: Format>(self, activations: &ActivationOctet) -> [__m256i; 2] {
        let (first, second) = (self.load_256(&activations.sums[0]), self.load_256(&activations.sums[1]));
        // SAFETY: `self` proves AVX2.
        unsafe {
            if F::GROUP == RUN {
                [_mm256_add_epi32(first, second), _mm256_setzero_si256()]
            } else {
                [first, second]
            }
        }
    }

    /// Scales without offsets.
    #[inline(always)]
    fn scales<I: Simd<F32 = __m256>>(self, scale: [__m256; 2]) -> Scales<I> {
        // SAFETY: `self` proves AVX.
        Scales { scale, offset: [unsafe { _mm256_setzero_ps() }; 2] }
    }

    /// Any format, by its portable definition.
    #[inline(always)]
    fn unpack_any<F: Format>(self, blocks: &[F]) -> Unpacked<Self> {
        let codes = each(
            #[inline(always)]
            |run| {
                let (block, run) = run_of(blocks, run);
                self.load_256(&block.codes(run))
            },
        );
        Unpacked { codes, scales: Scales::by_definition(self, blocks) }
    }

    /// The half-precision scales that eight blocks begin with.
    #[inline(always)]
    pub(super) fn leading_scales<I: Simd<F32 = __m256>, F: Format>(self, blocks: &[F; 8]) -> Scales<I> {
        let bytes: &[u8] = bytemuck::cast_slice(blocks);
        // 16 bytes that hold the scale of block i as their half-word i, so that all can be blended together.
        let at = each::<__m128i, 8>(
            #[inline(always)]
            |i| {
                let start = i * (size_of::<F>() - size_of::<u16>());
                self.load_128::<[u8; 16]>(bytes[start..start + 16].try_into().expect("16 bytes"))
            },
        );
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            let (ab, cd) = (_mm_blend_epi16::<0x02>(at[0], at[1]), _mm_blend_epi16::<0x08>(at[2], at[3]));
            let (ef, gh) = (_mm_blend_epi16::<0x20>(at[4], at[5]), _mm_blend_epi16::<0x80>(at[6], at[7]));
            let (abcd, efgh) = (_mm_blend_epi16::<0x0c>(ab, cd), _mm_blend_epi16::<0xc0>(ef, gh));
            let scale = _mm256_cvtph_ps(_mm_blend_epi16::<0xf0>(abcd, efgh));
            self.scales([scale, _mm256_setzero_ps()])
        }
    }

    #[inline(always)]
    fn unpack_q4_0(self, blocks: &[Q4_0; 8]) -> Unpacked<Self> {
        // SAFETY: `self` proves AVX2.
        let codes = unsafe {
            let shifts = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
            each(
                #[inline(always)]
                |run| {
                    let twice = _mm256_broadcastsi128_si256(self.load_128(&blocks[run].nibbles));
                    _mm256_and_si256(_mm256_srlv_epi32(twice, shifts), _mm256_set1_epi8(0x0f))
                },
            )
        };
        Unpacked { codes, scales: self.leading_scales(blocks) }
    }

    #[inline(always)]
    fn unpack_q8_0(self, blocks: &[warpdot_formats::Q8_0; 8]) -> Unpacked<Self> {
        let codes = each(
            #[inline(always)]
            |run| self.load_256(&blocks[run].codes),
        );
        Unpacked { codes, scales: self.leading_scales(blocks) }
    }

    #[inline(always)]
    fn unpack_q4k(self, [block]: &[Q4K; 1]) -> Unpacked<Self> {
        let bytes: &[[u16; 16]; 4] = bytemuck::cast_ref(&block.nibbles);
        // SAFETY: `self` proves AVX2.
        let codes = unsafe {
            let mask = _mm256_set1_epi8(0x0f);
            each(
                #[inline(always)]
                |run| {
                    let both = self.load_256(&bytes[run / 2]);
                    let moved = if run % 2 == 0 { both } else { _mm256_srli_epi16::<4>(both) };
                    _mm256_and_si256(moved, mask)
                },
            )
        };
        Unpacked { codes, scales: self.scales_q4k(block) }
    }

    #[inline(always)]
    pub(super) fn scales_q4k<I: Simd<F32 = __m256>>(self, block: &Q4K) -> Scales<I> {
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            // Two half-precision scales, then three words of four groups each; see `Q4K::groups`. The words
            // of the result: scales of groups 0 to 3 and 4 to 7, minima of groups 0 to 3 and 4 to 7.
            let [header, ..] = bytemuck::cast_ref::<Q4K, [[u8; 16]; 9]>(block);
            let header = self.load_128(header);
            let low = _mm_shuffle_epi32::<0b11_10_11_01>(header);
            let low = _mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4));
            let low = _mm_and_si128(low, _mm_setr_epi32(0x3f3f_3f3f, 0x0f0f_0f0f, 0x3f3f_3f3f, 0x0f0f_0f0f));
            let high = _mm_srli_epi32::<2>(_mm_shuffle_epi32::<0b10_00_01_00>(header));
            let groups =
                _mm_or_si128(low, _mm_and_si128(high, _mm_setr_epi32(0, 0x3030_3030, 0, 0x3030_3030)));
            let scales = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(groups));
            let mins = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(groups, groups)));

            let header = _mm_cvtph_ps(header);
            let scale = _mm256_broadcastss_ps(header);
            let min = _mm256_broadcastss_ps(_mm_xor_ps(_mm_movehdup_ps(header), _mm_set1_ps(-0.0)));
            Scales {
                scale: [_mm256_mul_ps(scale, scales), _mm256_setzero_ps()],
                offset: [_mm256_mul_ps(min, mins), _mm256_setzero_ps()],
            }
        }
    }

    #[inline(always)]
    fn unpack_q6k(self, [block]: &[Q6K; 1]) -> Unpacked<Self> {
        let low: &[[u16; 16]; 4] = bytemuck::cast_ref(&block.low);
        let high: &[[u16; 16]; 2] = bytemuck::cast_ref(&block.high);
        // SAFETY: `self` proves AVX2.
        let codes = unsafe {
            let (nibble, pair) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(0x30));
            each(
                #[inline(always)]
                |run| {
                    let (half, run) = (run / 4, run % 4);
                    let low = self.load_256(&low[half * 2 + run % 2]);
                    let low = if run < 2 { low } else { _mm256_srli_epi16::<4>(low) };
                    let high = self.load_256(&high[half]);
                    let high = match run {
                        0 => _mm256_slli_epi16::<4>(high),
                        1 => _mm256_slli_epi16::<2>(high),
                        2 => high,
                        _ => _mm256_srli_epi16::<2>(high),
                    };
                    _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(high, pair))
                },
            )
        };
        Unpacked { codes, scales: self.scales_q6k(block) }
    }

    #[inline(always)]
    pub(super) fn scales_q6k<I: Simd<F32 = __m256>>(self, block: &Q6K) -> Scales<I> {
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            let scale = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(block.scale.0))));
            // Even bytes belong to first halves of runs, odd ones to second halves.
            let groups = _mm256_cvtepi8_epi16(self.load_128(&block.groups));
            let first = _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(groups));
            let second = _mm256_srai_epi32::<16>(groups);
            let (first, second) = (_mm256_cvtepi32_ps(first), _mm256_cvtepi32_ps(second));
            self.scales([_mm256_mul_ps(scale, first), _mm256_mul_ps(scale, second)])
        }
    }
}

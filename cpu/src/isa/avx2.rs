//! AVX2 with FMA and F16C: vectors of 256 bits.
//!
//! Conversions unpack an octet to unsigned codes, whose zero point is taken off when they become numbers, or to signed
//! ones.

use std::arch::x86_64::*;

use bytemuck::Pod;
use warpdot_formats::Format;

use super::simd::each;
use super::stream::Line;
use super::x86::{PAIRS, Wide, unpack, zero_point};
use super::{HALF, OCTET, Simd, Streaming, Unpacked, Vectorize};

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

impl Vectorize for Avx2 {
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
    fn prefetch(self, address: *const u8) {
        // To the first level: from the second one alone, every line would still be waited for when it is used.
        // SAFETY: prefetching never faults and reads nothing that the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}

impl Simd for Avx2 {
    type F32 = __m256;
    type Numbers = [__m256; 2];
    type Codes = [__m256i; OCTET];

    #[inline(always)]
    fn unpack<F: Format>(self, blocks: &[F]) -> Unpacked<Self> {
        unpack(self, blocks)
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
    fn numbers<F: Format>(self, codes: &Self::Codes, run: usize) -> [Self::Numbers; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let zero = _mm256_set1_epi8(zero_point::<F>().unwrap_or(0) as i8);
            let codes = _mm256_sub_epi8(codes[run], zero);
            let (low, high) = (_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
            [
                [
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)),
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(low, low))),
                ],
                [
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)),
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(high, high))),
                ],
            ]
        }
    }

    #[inline(always)]
    fn scaled(self, numbers: Self::Numbers, scale: f32) -> Self::Numbers {
        // SAFETY: `self` proves AVX.
        unsafe {
            let scale = _mm256_set1_ps(scale);
            [_mm256_mul_ps(numbers[0], scale), _mm256_mul_ps(numbers[1], scale)]
        }
    }

    #[inline(always)]
    fn raised(self, numbers: Self::Numbers, offset: f32) -> Self::Numbers {
        // SAFETY: `self` proves AVX.
        unsafe {
            let offset = _mm256_set1_ps(offset);
            [_mm256_add_ps(numbers[0], offset), _mm256_add_ps(numbers[1], offset)]
        }
    }

    #[inline(always)]
    fn put_f32(self, numbers: Self::Numbers, to: &mut [f32; HALF], stores: &Streaming<Self>) {
        for (numbers, to) in numbers.into_iter().zip(to.as_chunks_mut().0) {
            // SAFETY: `self` proves AVX; `stores` ends in a fence.
            unsafe { self.put_256::<f32, OCTET>(_mm256_castps_si256(numbers), to, stores.past_caches()) };
        }
    }

    #[inline(always)]
    fn put_f16(self, numbers: Self::Numbers, to: &mut [u16; HALF], stores: &Streaming<Self>) {
        for (numbers, to) in numbers.into_iter().zip(to.as_chunks_mut().0) {
            // SAFETY: `self` proves F16C; `stores` ends in a fence.
            unsafe {
                let rounded = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(numbers);
                self.put_128::<u16, OCTET>(rounded, to, stores.past_caches());
            }
        }
    }

    #[inline(always)]
    fn put_bf16(self, numbers: Self::Numbers, to: &mut [u16; HALF], stores: &Streaming<Self>) {
        // SAFETY: `self` proves AVX2; `stores` ends in a fence.
        unsafe {
            let rounded: [__m256i; 2] = each(
                #[inline(always)]
                |i| {
                    let bits = _mm256_castps_si256(numbers[i]);
                    let upper = _mm256_srli_epi32::<16>(bits);
                    let even = _mm256_and_si256(upper, _mm256_set1_epi32(1));
                    let up = _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff));
                    let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, up));
                    let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
                    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(numbers[i], numbers[i]));
                    _mm256_blendv_epi8(rounded, quiet, nan)
                },
            );
            // Packing keeps the halves of both vectors together.
            let packed =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(rounded[0], rounded[1]));
            self.put_256::<u16, HALF>(packed, to, stores.past_caches());
        }
    }

    #[inline(always)]
    unsafe fn stream(self, from: &[u8; size_of::<Line>()], to: &mut Line) {
        let halves: &[[u8; 32]; 2] = bytemuck::cast_ref(from);
        for (i, half) in halves.iter().enumerate() {
            let half = self.load_256(half);
            // SAFETY: `self` proves AVX; a line is 64 writable bytes and aligned to as many.
            unsafe { _mm256_stream_si256(std::ptr::from_mut(to).cast::<__m256i>().add(i), half) };
        }
    }

    #[inline(always)]
    fn fence(self) {
        // SAFETY: every x86-64 CPU has SSE.
        unsafe { _mm_sfence() }
    }
}

impl Wide for Avx2 {
    type Bytes = [__m256i; 2];

    const SIGN: u8 = 0;

    #[inline(always)]
    fn avx2(self) -> Avx2 {
        self
    }

    #[inline(always)]
    fn codes(self, pairs: [Self::Bytes; PAIRS]) -> Self::Codes {
        let [[a, b], [c, d], [e, f], [g, h]] = pairs;
        [a, b, c, d, e, f, g, h]
    }

    #[inline(always)]
    fn join(self, first: __m256i, second: __m256i) -> Self::Bytes {
        [first, second]
    }

    #[inline(always)]
    fn widen(self, bytes: __m256i) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
            [_mm256_cvtepu8_epi16(halves[0]), _mm256_cvtepu8_epi16(halves[1])]
        }
    }

    #[inline(always)]
    fn half_words(self, words: Self::Bytes) -> [u16; 32] {
        let mut halves = [[0u16; 16]; 2];
        for (half, words) in halves.iter_mut().zip(words) {
            // SAFETY: `self` proves AVX; `half` is 32 writable bytes.
            unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), words) };
        }
        bytemuck::cast(halves)
    }

    #[inline(always)]
    fn twice(self, first: __m128i, second: __m128i) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_broadcastsi128_si256(first), _mm256_broadcastsi128_si256(second)] }
    }

    #[inline(always)]
    fn splat_16(self, value: u16) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_set1_epi16(value as i16); 2] }
    }

    #[inline(always)]
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn xor(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn shr(self, a: Self::Bytes, by: [u64; 8]) -> Self::Bytes {
        let by: [[u64; 4]; 2] = bytemuck::cast(by);
        let by = [self.load_256(&by[0]), self.load_256(&by[1])];
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_srlv_epi64(a[0], by[0]), _mm256_srlv_epi64(a[1], by[1])] }
    }

    #[inline(always)]
    fn shl(self, a: Self::Bytes, by: [u64; 8]) -> Self::Bytes {
        let by: [[u64; 4]; 2] = bytemuck::cast(by);
        let by = [self.load_256(&by[0]), self.load_256(&by[1])];
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_sllv_epi64(a[0], by[0]), _mm256_sllv_epi64(a[1], by[1])] }
    }

    #[inline(always)]
    fn add_8(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_add_epi8(a[0], b[0]), _mm256_add_epi8(a[1], b[1])] }
    }

    #[inline(always)]
    fn saturating_sub(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_subs_epu8(a[0], b[0]), _mm256_subs_epu8(a[1], b[1])] }
    }

    #[inline(always)]
    fn min(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_min_epu8(a[0], b[0]), _mm256_min_epu8(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul_16(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_mullo_epi16(a[0], b[0]), _mm256_mullo_epi16(a[1], b[1])] }
    }

    #[inline(always)]
    fn look_up(self, table: &[i8; 16], indices: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let table = _mm256_broadcastsi128_si256(self.load_128(table));
            [_mm256_shuffle_epi8(table, indices[0]), _mm256_shuffle_epi8(table, indices[1])]
        }
    }

    #[inline(always)]
    fn add_where(self, bits: u64, a: Self::Bytes, value: u8) -> Self::Bytes {
        let mask = self.byte_mask(bits);
        self.add_8(a, self.and(mask, self.splat_8(value)))
    }

    #[inline(always)]
    fn negate_where(self, bits: u64, a: Self::Bytes) -> Self::Bytes {
        let mask = self.byte_mask(bits);
        let a = self.xor(a, mask);
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_sub_epi8(a[0], mask[0]), _mm256_sub_epi8(a[1], mask[1])] }
    }
}

impl Avx2 {
    /// A byte of ones for each bit.
    #[inline(always)]
    fn byte_mask(self, bits: u64) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let byte_of =
                _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            each(
                #[inline(always)]
                |half| {
                    let bits = _mm256_set1_epi32((bits >> (32 * half)) as i32);
                    let own = _mm256_and_si256(_mm256_shuffle_epi8(bits, byte_of), bit);
                    _mm256_cmpeq_epi8(own, bit)
                },
            )
        }
    }

    /// Stores 32 bytes, on request past the caches where `to` is aligned to 16 bytes.
    ///
    /// # Safety
    /// If past the caches, the same thread must call [`fence`](Simd::fence) before anything else reads or writes `to`.
    #[inline(always)]
    pub(super) unsafe fn put_256<T: Pod, const N: usize>(
        self,
        bytes: __m256i,
        to: &mut [T; N],
        past_caches: bool,
    ) {
        const { assert!(size_of::<[T; N]>() == 32) };
        let to: *mut __m256i = to.as_mut_ptr().cast();
        // SAFETY: `self` proves AVX; `to` are 32 writable bytes, aligned where that is asked for.
        unsafe {
            if past_caches && to.addr().is_multiple_of(32) {
                _mm256_stream_si256(to, bytes);
            } else if past_caches && to.addr().is_multiple_of(16) {
                let to: *mut __m128i = to.cast();
                _mm_stream_si128(to, _mm256_castsi256_si128(bytes));
                _mm_stream_si128(to.add(1), _mm256_extracti128_si256::<1>(bytes));
            } else {
                _mm256_storeu_si256(to, bytes);
            }
        }
    }

    /// Stores 16 bytes, as [`put_256`](Self::put_256) does.
    ///
    /// # Safety
    /// As [`put_256`](Self::put_256).
    #[inline(always)]
    unsafe fn put_128<T: Pod, const N: usize>(self, bytes: __m128i, to: &mut [T; N], past_caches: bool) {
        const { assert!(size_of::<[T; N]>() == 16) };
        let to: *mut __m128i = to.as_mut_ptr().cast();
        // SAFETY: every x86-64 CPU has SSE2; `to` are 16 writable bytes, aligned where that is asked for.
        unsafe {
            if past_caches && to.addr().is_multiple_of(16) {
                _mm_stream_si128(to, bytes);
            } else {
                _mm_storeu_si128(to, bytes);
            }
        }
    }

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
}

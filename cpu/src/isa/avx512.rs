//! AVX-512 with VNNI: codes in vectors of 512 bits, two runs in each; lanes of runs stay in 256 bits.
//!
//! Conversions unpack an octet to unsigned codes, whose zero point is taken off when they become numbers.

use std::arch::x86_64::*;

use warpdot_formats::Format;

use super::simd::each;
use super::stream::Line;
use super::x86::{Eights, Fours, PAIRS, Wide, each_point_of_eight, unpack, zero_point};
use super::{Avx2, HALF, OCTET, Simd, Streaming, Unpacked, Vectorize};

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

impl From<Avx512Vnni> for Avx2 {
    fn from(isa: Avx512Vnni) -> Self {
        isa.avx2
    }
}

/// The entries of a table at half-words modulo its length: quicker than one by one, or gathered from memory.
///
/// # Safety
/// The CPU has AVX-512 BW.
#[inline(always)]
pub(super) unsafe fn look_up_16<const N: usize>(table: &'static [u16; N], indices: __m512i) -> __m512i {
    /// Entries that an instruction chooses from, by the lowest bits of the index.
    const ENTRIES: usize = 64;
    const MOST: usize = 2048;
    const { assert!(N.is_power_of_two() && N >= ENTRIES && N <= MOST) };
    // SAFETY: the caller's; the loads are of 64 readable bytes each.
    unsafe {
        let mut found = [indices; MOST / ENTRIES];
        for (found, entries) in found.iter_mut().zip(table.as_chunks::<ENTRIES>().0) {
            let load = |first: usize| _mm512_loadu_si512(entries[first..].as_ptr().cast());
            *found = _mm512_permutex2var_epi16(load(0), indices, load(ENTRIES / 2));
        }
        let mut choices = N / ENTRIES;
        while choices > 1 {
            let odd = _mm512_test_epi16_mask(indices, _mm512_set1_epi16((N / choices) as i16));
            choices /= 2;
            for i in 0..choices {
                found[i] = _mm512_mask_blend_epi16(odd, found[2 * i], found[2 * i + 1]);
            }
        }
        found[0]
    }
}

/// The unsigned code of weight zero: signed codes are raised by 128.
const fn zero<F: Format>() -> u8 {
    match zero_point::<F>() {
        Some(zero) => zero,
        None => Avx512Vnni::SIGN,
    }
}

impl Vectorize for Avx512Vnni {
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
    fn prefetch(self, address: *const u8) {
        self.avx2.prefetch(address);
    }
}

impl Simd for Avx512Vnni {
    type F32 = __m256;
    type Numbers = __m512;
    type Codes = [__m512i; OCTET / 2];

    #[inline(always)]
    fn unpack<F: Format>(self, blocks: &[F]) -> Unpacked<Self> {
        unpack(self, blocks)
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
    fn numbers<F: Format>(self, codes: &Self::Codes, run: usize) -> [Self::Numbers; 2] {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe {
            let pair = _mm512_sub_epi8(codes[run / 2], _mm512_set1_epi8(zero::<F>() as i8));
            let halves = if run.is_multiple_of(2) {
                [_mm512_castsi512_si128(pair), _mm512_extracti32x4_epi32::<1>(pair)]
            } else {
                [_mm512_extracti32x4_epi32::<2>(pair), _mm512_extracti32x4_epi32::<3>(pair)]
            };
            [
                _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(halves[0])),
                _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(halves[1])),
            ]
        }
    }

    #[inline(always)]
    fn scaled(self, numbers: Self::Numbers, scale: f32) -> Self::Numbers {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_mul_ps(numbers, _mm512_set1_ps(scale)) }
    }

    #[inline(always)]
    fn raised(self, numbers: Self::Numbers, offset: f32) -> Self::Numbers {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_add_ps(numbers, _mm512_set1_ps(offset)) }
    }

    #[inline(always)]
    fn put_f32(self, numbers: Self::Numbers, to: &mut [f32; HALF], stores: &Streaming<Self>) {
        let past_caches = stores.past_caches();
        // SAFETY: `self` proves AVX-512 F; `to` are 64 writable bytes, aligned where that is asked for; `stores` ends in a
        // fence.
        unsafe {
            if past_caches && to.as_ptr().addr().is_multiple_of(64) {
                _mm512_stream_ps(to.as_mut_ptr(), numbers);
            } else if past_caches {
                let bytes = _mm512_castps_si512(numbers);
                let (first, second) = to.split_at_mut(HALF / 2);
                let halves = [_mm512_castsi512_si256(bytes), _mm512_extracti64x4_epi64::<1>(bytes)];
                for (bytes, to) in halves.into_iter().zip([first, second]) {
                    let to: &mut [f32; HALF / 2] = to.try_into().expect("half of them");
                    self.avx2.put_256(bytes, to, past_caches);
                }
            } else {
                _mm512_storeu_ps(to.as_mut_ptr(), numbers);
            }
        }
    }

    #[inline(always)]
    fn put_f16(self, numbers: Self::Numbers, to: &mut [u16; HALF], stores: &Streaming<Self>) {
        // SAFETY: `self` proves AVX-512 F; `stores` ends in a fence.
        unsafe {
            let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(numbers);
            self.avx2.put_256(rounded, to, stores.past_caches());
        }
    }

    #[inline(always)]
    fn put_bf16(self, numbers: Self::Numbers, to: &mut [u16; HALF], stores: &Streaming<Self>) {
        // SAFETY: `self` proves AVX-512 F; `stores` ends in a fence.
        unsafe {
            let bits = _mm512_castps_si512(numbers);
            let upper = _mm512_srli_epi32::<16>(bits);
            let even = _mm512_and_si512(upper, _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, up));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(numbers, numbers);
            let rounded = _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40));
            self.avx2.put_256(_mm512_cvtepi32_epi16(rounded), to, stores.past_caches());
        }
    }

    #[inline(always)]
    unsafe fn stream(self, from: &[u8; size_of::<Line>()], to: &mut Line) {
        // SAFETY: `self` proves AVX-512 F; a line is 64 writable bytes and aligned to as many.
        unsafe {
            let line = _mm512_loadu_si512(from.as_ptr().cast());
            _mm512_stream_si512(std::ptr::from_mut(to).cast(), line);
        }
    }

    #[inline(always)]
    fn fence(self) {
        self.avx2.fence();
    }
}

impl Wide for Avx512Vnni {
    type Bytes = __m512i;

    const SIGN: u8 = 0x80;

    #[inline(always)]
    fn avx2(self) -> Avx2 {
        self.avx2
    }

    #[inline(always)]
    fn codes(self, pairs: [Self::Bytes; PAIRS]) -> Self::Codes {
        pairs
    }

    #[inline(always)]
    fn join(self, first: __m256i, second: __m256i) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second) }
    }

    #[inline(always)]
    fn widen(self, bytes: __m256i) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_cvtepu8_epi16(bytes) }
    }

    #[inline(always)]
    fn half_words(self, words: Self::Bytes) -> [u16; 32] {
        let mut halves = [0u16; 32];
        // SAFETY: `self` proves AVX-512 F; `halves` are 64 writable bytes.
        unsafe { _mm512_storeu_si512(halves.as_mut_ptr().cast(), words) };
        halves
    }

    #[inline(always)]
    fn points_of_eight<const N: usize>(
        self,
        book: &'static Eights<N>,
        indices: Self::Bytes,
    ) -> [Self::Bytes; PAIRS] {
        if N > 512 {
            return each_point_of_eight(self, book, indices);
        }
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe {
            let levels = look_up_16(book.levels, indices);
            let pairs = [
                _mm512_castsi512_si128(levels),
                _mm512_extracti32x4_epi32::<1>(levels),
                _mm512_extracti32x4_epi32::<2>(levels),
                _mm512_extracti32x4_epi32::<3>(levels),
            ];
            each(
                #[inline(always)]
                |pair| {
                    // Four levels of two bits in each word, then one in each byte.
                    let levels = _mm512_cvtepu8_epi32(pairs[pair]);
                    let levels = _mm512_or_si512(levels, _mm512_slli_epi32::<12>(levels));
                    let levels = _mm512_or_si512(levels, _mm512_slli_epi32::<6>(levels));
                    self.look_up(&book.values, self.and(levels, self.splat_8(3)))
                },
            )
        }
    }

    #[inline(always)]
    fn points_of_four<const N: usize>(
        self,
        book: &'static Fours<N>,
        indices: [Self::Bytes; 2],
    ) -> [Self::Bytes; PAIRS] {
        let levels: [__m512i; 2] = each(
            #[inline(always)]
            // SAFETY: `self` proves AVX-512 BW.
            |half| unsafe { look_up_16(book.levels, indices[half]) },
        );
        each(
            #[inline(always)]
            |pair| {
                // SAFETY: `self` proves AVX-512 F and BW.
                unsafe {
                    let levels = match pair % 2 {
                        0 => _mm512_castsi512_si256(levels[pair / 2]),
                        _ => _mm512_extracti64x4_epi64::<1>(levels[pair / 2]),
                    };
                    // Two levels of four bits in each half-word, then one in each byte.
                    let levels = self.widen(levels);
                    let levels = _mm512_or_si512(levels, _mm512_slli_epi16::<4>(levels));
                    self.look_up(&book.values, self.and(levels, self.splat_8(0x0f)))
                }
            },
        )
    }

    #[inline(always)]
    fn twice(self, first: __m128i, second: __m128i) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(first), 0xff00, second) }
    }

    #[inline(always)]
    fn splat_16(self, value: u16) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_set1_epi16(value as i16) }
    }

    #[inline(always)]
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn shr(self, a: Self::Bytes, by: [u64; 8]) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F; the load is of 64 readable bytes.
        unsafe { _mm512_srlv_epi64(a, _mm512_loadu_si512(by.as_ptr().cast())) }
    }

    #[inline(always)]
    fn shl(self, a: Self::Bytes, by: [u64; 8]) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 F; the load is of 64 readable bytes.
        unsafe { _mm512_sllv_epi64(a, _mm512_loadu_si512(by.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add_8(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_add_epi8(a, b) }
    }

    #[inline(always)]
    fn saturating_sub(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_subs_epu8(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_min_epu8(a, b) }
    }

    #[inline(always)]
    fn mul_16(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_mullo_epi16(a, b) }
    }

    #[inline(always)]
    fn look_up(self, table: &[i8; 16], indices: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(self.avx2.load_128(table)), indices) }
    }

    #[inline(always)]
    fn add_where(self, bits: u64, a: Self::Bytes, value: u8) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_mask_add_epi8(a, bits, a, self.splat_8(value)) }
    }

    #[inline(always)]
    fn negate_where(self, bits: u64, a: Self::Bytes) -> Self::Bytes {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_mask_sub_epi8(a, bits, _mm512_setzero_si512(), a) }
    }
}

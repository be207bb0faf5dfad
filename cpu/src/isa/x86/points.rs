//! Codes that are points of a codebook, eight or four to an index, most of them with signs apart.

use warpdot_formats::codebooks;

use super::*;

/// A codebook's points with the values of their levels, of two bits each: eight bytes to a word.
const fn eights<const N: usize>(points: &[u16; N], values: [u8; 3]) -> [u64; N] {
    let mut table = [0; N];
    let mut i = 0;
    while i < N {
        let mut weight = 0;
        while weight < 8 {
            table[i] |= (values[(points[i] >> (2 * weight) & 3) as usize] as u64) << (8 * weight);
            weight += 1;
        }
        i += 1;
    }
    table
}

/// A codebook's points with the values of their levels, of four bits each: four bytes to a word.
const fn fours<const N: usize>(points: &[u16; N], values: [u8; 8]) -> [u32; N] {
    let mut table = [0; N];
    let mut i = 0;
    while i < N {
        let mut weight = 0;
        while weight < 4 {
            table[i] |= (values[(points[i] >> (4 * weight) & 15) as usize] as u32) << (8 * weight);
            weight += 1;
        }
        i += 1;
    }
    table
}

static IQ1: [u64; 2048] = eights(codebooks::IQ1, [0, 8, 16]);
static IQ2_XXS: [u64; 256] = eights(codebooks::IQ2_XXS, [8, 25, 43]);
static IQ2_XS: [u64; 512] = eights(codebooks::IQ2_XS, [8, 25, 43]);
static IQ2_S: [u64; 1024] = eights(codebooks::IQ2_S, [8, 25, 43]);
static IQ3_XXS: [u32; 256] = fours(codebooks::IQ3_XXS, [4, 12, 20, 28, 36, 44, 52, 62]);
static IQ3_S: [u32; 512] = fours(codebooks::IQ3_S, [1, 3, 5, 7, 9, 11, 13, 15]);

/// Two runs of points of eight weights. Indices are taken modulo the table's length.
#[inline(always)]
fn points_of_eight<I: Wide, const N: usize>(isa: I, table: &[u64; N], indices: __m256i) -> I::Bytes {
    let indices = isa.avx2().lanes(indices);
    let points: [u64; 8] = each(
        #[inline(always)]
        |i| table[indices[i] as usize % N],
    );
    isa.load_512(&points)
}

/// Two runs of points of four weights, a run's indices in each vector.
#[inline(always)]
fn points_of_four<I: Wide, const N: usize>(isa: I, table: &[u32; N], indices: [__m256i; 2]) -> I::Bytes {
    let indices: [u32; 16] = bytemuck::cast([isa.avx2().lanes(indices[0]), isa.avx2().lanes(indices[1])]);
    let points: [u32; 16] = each(
        #[inline(always)]
        |i| table[indices[i] as usize % N],
    );
    isa.load_512(&points)
}

/// Magnitudes with signs.
#[inline(always)]
fn with_signs<I: Wide>(isa: I, magnitudes: I::Bytes, signs: u64) -> I::Bytes {
    isa.signed(isa.negate_where(signs, magnitudes))
}

impl Avx2 {
    /// The lanes one by one.
    #[inline(always)]
    fn lanes(self, words: __m256i) -> [u32; 8] {
        let mut lanes = [0; 8];
        // SAFETY: `self` proves AVX; `lanes` are 32 writable bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), words) };
        lanes
    }

    /// Eight bytes as words.
    #[inline(always)]
    fn words_of_bytes(self, bytes: u64) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes as i64)) }
    }

    /// Low and high bytes of eight indices as words.
    #[inline(always)]
    fn joined(self, low: u64, high: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_or_si256(self.words_of_bytes(low), _mm256_slli_epi32::<8>(high)) }
    }

    /// Of each word the bits from its own `shift` on, as far as `mask` has them.
    #[inline(always)]
    fn fields(self, words: __m256i, shift: [i32; 8], mask: i32) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let moved = _mm256_srlv_epi32(words, self.load_256(&shift));
            _mm256_and_si256(moved, _mm256_set1_epi32(mask))
        }
    }

    /// A word in four lanes, and another in four.
    #[inline(always)]
    fn fours(self, first: u32, second: u32) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set_m128i(_mm_set1_epi32(second as i32), _mm_set1_epi32(first as i32)) }
    }

    /// Bytes of eight signs of which the lowest seven are stored, because the number of minus signs is even; one
    /// word for each pair of runs. The highest bits are ignored.
    #[inline(always)]
    fn even_signs(self, stored: __m256i) -> [u64; PAIRS] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let (seven, nibble) = (_mm256_set1_epi8(0x7f), _mm256_set1_epi8(0x0f));
            let stored = _mm256_and_si256(stored, seven);
            const ODD: i8 = i8::MIN;
            let parity = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, ODD, ODD, 0, ODD, 0, 0, ODD, ODD, 0, 0, ODD, 0, ODD, ODD, 0,
            ));
            let low = _mm256_shuffle_epi8(parity, _mm256_and_si256(stored, nibble));
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(stored), nibble);
            let high = _mm256_shuffle_epi8(parity, high);
            let signs = _mm256_or_si256(stored, _mm256_xor_si256(low, high));
            bytemuck::cast(self.lanes(signs))
        }
    }

    /// As [`even_signs`](Self::even_signs), of words with four times seven signs.
    #[inline(always)]
    fn even_signs_of_words(self, words: __m256i) -> [u64; PAIRS] {
        // SAFETY: `self` proves AVX2.
        let bytes = unsafe {
            let byte = |moved: __m256i, mask: i32| _mm256_and_si256(moved, _mm256_set1_epi32(mask));
            let low = _mm256_or_si256(byte(words, 0x7f), byte(_mm256_slli_epi32::<1>(words), 0x7f00));
            let high = _mm256_or_si256(
                byte(_mm256_slli_epi32::<2>(words), 0x7f_0000),
                byte(_mm256_slli_epi32::<3>(words), 0x7f00_0000),
            );
            _mm256_or_si256(low, high)
        };
        self.even_signs(bytes)
    }
}

#[inline(always)]
pub(super) fn iq2xxs<I: Wide>(isa: I, [block]: &[Iq2Xxs; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let halves: &[[u16; 16]; 2] = bytemuck::cast_ref(&block.runs);
    // SAFETY: the token proves AVX2.
    let (indices, signs) = unsafe {
        // Words in turn are indices and signs.
        let (a, b) = (avx2.load_256(&halves[0]), avx2.load_256(&halves[1]));
        let (a, b) = (_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
        let even = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
        let odd = _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
        (_mm256_permute4x64_epi64::<0b11_01_10_00>(even), _mm256_permute4x64_epi64::<0b11_01_10_00>(odd))
    };
    let indices: [u64; PAIRS] = bytemuck::cast(avx2.lanes(indices));
    let minus = avx2.even_signs_of_words(signs);
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let points = points_of_eight(isa, &IQ2_XXS, avx2.words_of_bytes(indices[pair]));
            with_signs(isa, points, minus[pair])
        },
    ));
    Unpacked { codes, scales: avx2.scales_of_words(block.scale, 0.125, signs) }
}

#[inline(always)]
pub(super) fn iq2xs<I: Wide>(isa: I, [block]: &[Iq2Xs; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let halves: &[[u16; 16]; 2] = bytemuck::cast_ref(&block.vectors);
    let quarters: &[[u16; 8]; PAIRS] = bytemuck::cast_ref(&block.vectors);
    // SAFETY: the token proves AVX2.
    let minus = avx2.even_signs(unsafe {
        let signs = each::<_, 2>(
            #[inline(always)]
            |half| _mm256_srli_epi16::<9>(avx2.load_256(&halves[half])),
        );
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(signs[0], signs[1]))
    });
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            // SAFETY: the token proves AVX2.
            let vectors = unsafe { _mm256_cvtepu16_epi32(avx2.load_128(&quarters[pair])) };
            with_signs(isa, points_of_eight(isa, &IQ2_XS, vectors), minus[pair])
        },
    ));
    Unpacked { codes, scales: avx2.scales_of_nibbles(block.scale, 0.125, &block.groups) }
}

#[inline(always)]
pub(super) fn iq2s<I: Wide>(isa: I, [block]: &[Iq2S; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let (low, minus): ([u64; PAIRS], [u64; PAIRS]) = (bytemuck::cast(block.low), bytemuck::cast(block.signs));
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let high = u32::from(block.high[pair]);
            let high = avx2.fields(avx2.fours(high, high >> 8), [0, 2, 4, 6, 0, 2, 4, 6], 3);
            with_signs(isa, points_of_eight(isa, &IQ2_S, avx2.joined(low[pair], high)), minus[pair])
        },
    ));
    Unpacked { codes, scales: avx2.scales_of_nibbles(block.scale, 0.125, &block.groups) }
}

#[inline(always)]
pub(super) fn iq3xxs<I: Wide>(isa: I, [block]: &[Iq3Xxs; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let (indices, signs): ([[u64; 2]; PAIRS], _) =
        (bytemuck::cast(block.indices), avx2.load_256(&block.signs));
    let minus = avx2.even_signs_of_words(signs);
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let indices = indices[pair];
            let indices = [avx2.words_of_bytes(indices[0]), avx2.words_of_bytes(indices[1])];
            with_signs(isa, points_of_four(isa, &IQ3_XXS, indices), minus[pair])
        },
    ));
    Unpacked { codes, scales: avx2.scales_of_words(block.scale, 0.25, signs) }
}

#[inline(always)]
pub(super) fn iq3s<I: Wide>(isa: I, [block]: &[Iq3S; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let (low, minus): ([[u64; 2]; PAIRS], [u64; PAIRS]) =
        (bytemuck::cast(block.low), bytemuck::cast(block.signs));
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let high = u32::from(block.high[pair]);
            let indices = each(
                #[inline(always)]
                |run| {
                    let bits = high >> (8 * run);
                    let high = avx2.fields(avx2.fours(bits, bits), [0, 1, 2, 3, 4, 5, 6, 7], 1);
                    avx2.joined(low[pair][run], high)
                },
            );
            with_signs(isa, points_of_four(isa, &IQ3_S, indices), minus[pair])
        },
    ));
    Unpacked { codes, scales: avx2.scales_iq3s(block) }
}

/// Points of -1, 0 and 1, shifted up where a bit is set and down elsewhere.
#[inline(always)]
fn shifted<I: Wide>(isa: I, indices: __m256i, up: u64) -> I::Bytes {
    isa.add_where(up, points_of_eight(isa, &IQ1, indices), 2)
}

#[inline(always)]
pub(super) fn iq1s<I: Wide>(isa: I, [block]: &[Iq1S; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let low: [u64; PAIRS] = bytemuck::cast(block.low);
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let (first, second) = (block.runs[2 * pair], block.runs[2 * pair + 1]);
            let words = avx2.fours(u32::from(first), u32::from(second));
            let high = avx2.fields(words, [0, 3, 6, 9, 0, 3, 6, 9], 7);
            let up = |run: u16| if run >> 15 == 0 { u64::from(u32::MAX) } else { 0 };
            shifted(isa, avx2.joined(low[pair], high), up(first) | up(second) << 32)
        },
    ));
    Unpacked { codes, scales: avx2.scales_iq1s(block) }
}

#[inline(always)]
pub(super) fn iq1m<I: Wide>(isa: I, [block]: &[Iq1M; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let low: [u64; PAIRS] = bytemuck::cast(block.low);
    // SAFETY: the token proves AVX2.
    let up: [u64; PAIRS] = bytemuck::cast(avx2.lanes(unsafe {
        let high = avx2.load_128(&block.high);
        // Bit 3 of each nibble in a byte's highest bit, then in all its bits.
        let (even, odd) = (_mm_slli_epi16::<4>(high), high);
        let nibbles = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
        _mm256_cmpgt_epi8(nibbles, _mm256_set1_epi8(-1))
    }));
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let high = u32::from(block.high[2 * pair]) | u32::from(block.high[2 * pair + 1]) << 16;
            let high = avx2.fields(avx2.fours(high, high), [0, 4, 8, 12, 16, 20, 24, 28], 7);
            shifted(isa, avx2.joined(low[pair], high), up[pair])
        },
    ));
    Unpacked { codes, scales: avx2.scales_iq1m(block) }
}

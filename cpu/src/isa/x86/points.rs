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

/// A codebook of points of eight weights.
pub(in crate::isa) struct Eights<const N: usize> {
    /// The levels of each point's weights, two bits each.
    pub(in crate::isa) levels: &'static [u16; N],
    /// The values of levels.
    pub(in crate::isa) values: [i8; 16],
    /// Points: the values of eight weights, in the order of bytes.
    points: [u64; N],
}

impl<const N: usize> Eights<N> {
    const fn new(levels: &'static [u16; N], values: [u8; 3]) -> Self {
        let points = eights(levels, values);
        Self { levels, values: table(&values), points }
    }
}

/// A codebook of points of four weights.
pub(in crate::isa) struct Fours<const N: usize> {
    /// The levels of each point's weights, four bits each.
    pub(in crate::isa) levels: &'static [u16; N],
    /// The values of levels.
    pub(in crate::isa) values: [i8; 16],
    /// Points: the values of four weights, in the order of bytes.
    points: [u32; N],
}

impl<const N: usize> Fours<N> {
    const fn new(levels: &'static [u16; N], values: [u8; 8]) -> Self {
        let points = fours(levels, values);
        Self { levels, values: table(&values), points }
    }
}

/// A table for [`Wide::look_up`].
const fn table(values: &[u8]) -> [i8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < values.len() {
        table[i] = values[i] as i8;
        i += 1;
    }
    table
}

static IQ1: Eights<2048> = Eights::new(codebooks::IQ1, [0, 8, 16]);
static IQ2_XXS: Eights<256> = Eights::new(codebooks::IQ2_XXS, [8, 25, 43]);
static IQ2_XS: Eights<512> = Eights::new(codebooks::IQ2_XS, [8, 25, 43]);
static IQ2_S: Eights<1024> = Eights::new(codebooks::IQ2_S, [8, 25, 43]);
static IQ3_XXS: Fours<256> = Fours::new(codebooks::IQ3_XXS, [4, 12, 20, 28, 36, 44, 52, 62]);
static IQ3_S: Fours<512> = Fours::new(codebooks::IQ3_S, [1, 3, 5, 7, 9, 11, 13, 15]);

/// [`Wide::points_of_eight`], a point at a time.
#[inline(always)]
pub(in crate::isa) fn each_point_of_eight<I: Wide, const N: usize>(
    isa: I,
    book: &'static Eights<N>,
    indices: I::Bytes,
) -> [I::Bytes; PAIRS] {
    let indices = isa.half_words(indices);
    each(
        #[inline(always)]
        |pair| {
            let points: [u64; 8] = each(
                #[inline(always)]
                |i| book.points[indices[8 * pair + i] as usize % N],
            );
            isa.load_512(&points)
        },
    )
}

/// [`Wide::points_of_four`], a point at a time.
#[inline(always)]
pub(super) fn each_point_of_four<I: Wide, const N: usize>(
    isa: I,
    book: &'static Fours<N>,
    indices: [I::Bytes; 2],
) -> [I::Bytes; PAIRS] {
    let indices = [isa.half_words(indices[0]), isa.half_words(indices[1])];
    each(
        #[inline(always)]
        |pair| {
            let points: [u32; 16] = each(
                #[inline(always)]
                |i| book.points[indices[pair / 2][pair % 2 * 16 + i] as usize % N],
            );
            isa.load_512(&points)
        },
    )
}

/// Where the high bits of an octet's indices are, or of half an octet's.
struct HighBits {
    /// For each index, two bytes: their places, or negative numbers for zeros.
    places: [[i8; 2]; 32],
    /// What moves them, among others, to the bits of `mask`.
    factors: [u16; 32],
    mask: u16,
}

impl HighBits {
    /// Those of indices from `first` on, which have `per_byte` to a byte, lowest bits first.
    const fn of_bytes(first: usize, per_byte: usize, mask: u16) -> Self {
        let (mut places, mut factors) = ([[0, -1]; 32], [0; 32]);
        let mut i = 0;
        while i < 32 {
            places[i][0] = ((first + i) / per_byte) as i8;
            factors[i] = 1 << (8 - i % per_byte * (8 / per_byte));
            i += 1;
        }
        Self { places, factors, mask }
    }

    /// Those of indices of which a half-word has four, three bits each; one bit too high.
    const fn of_half_words() -> Self {
        let (mut places, mut factors) = ([[0; 2]; 32], [0; 32]);
        let mut i = 0;
        while i < 32 {
            let half_word = 2 * (i / 4) as i8;
            places[i] = [half_word, half_word + 1];
            factors[i] = 1 << (9 - 3 * (i % 4));
            i += 1;
        }
        Self { places, factors, mask: 7 << 9 }
    }

    #[inline(always)]
    fn of<I: Wide>(&'static self, isa: I, bytes: &[i8; 16]) -> I::Bytes {
        let words = isa.look_up(bytes, isa.load_512(&self.places));
        isa.and(isa.mul_16(words, isa.load_512(&self.factors)), isa.splat_16(self.mask))
    }
}

/// Magnitudes with signs.
#[inline(always)]
fn with_signs<I: Wide>(isa: I, magnitudes: [I::Bytes; PAIRS], signs: [u64; PAIRS]) -> I::Codes {
    isa.codes(each(
        #[inline(always)]
        |pair| isa.signed(isa.negate_where(signs[pair], magnitudes[pair])),
    ))
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
    let minus = avx2.even_signs_of_words(signs);
    let codes = with_signs(isa, isa.points_of_eight(&IQ2_XXS, isa.widen(indices)), minus);
    Unpacked { codes, scales: avx2.scales_of_words(block.scale, 0.125, signs) }
}

#[inline(always)]
pub(super) fn iq2xs<I: Wide>(isa: I, [block]: &[Iq2Xs; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let halves: &[[u16; 16]; 2] = bytemuck::cast_ref(&block.vectors);
    // SAFETY: the token proves AVX2.
    let minus = avx2.even_signs(unsafe {
        let signs = each::<_, 2>(
            #[inline(always)]
            |half| _mm256_srli_epi16::<9>(avx2.load_256(&halves[half])),
        );
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(signs[0], signs[1]))
    });
    let codes = with_signs(isa, isa.points_of_eight(&IQ2_XS, isa.load_512(&block.vectors)), minus);
    Unpacked { codes, scales: avx2.scales_of_nibbles(block.scale, 0.125, &block.groups) }
}

#[inline(always)]
pub(super) fn iq2s<I: Wide>(isa: I, [block]: &[Iq2S; 1]) -> Unpacked<I> {
    static HIGH: HighBits = HighBits::of_bytes(0, 4, 3 << 8);
    let avx2 = isa.avx2();
    let high = HIGH.of(isa, &bytemuck::cast([block.high, [0; 4]]));
    let indices = isa.or(isa.widen(avx2.load_256(&block.low)), high);
    let codes = with_signs(isa, isa.points_of_eight(&IQ2_S, indices), bytemuck::cast(block.signs));
    Unpacked { codes, scales: avx2.scales_of_nibbles(block.scale, 0.125, &block.groups) }
}

#[inline(always)]
pub(super) fn iq3xxs<I: Wide>(isa: I, [block]: &[Iq3Xxs; 1]) -> Unpacked<I> {
    let avx2 = isa.avx2();
    let (indices, signs): (&[[u16; 16]; 2], _) =
        (bytemuck::cast_ref(&block.indices), avx2.load_256(&block.signs));
    let indices = each(
        #[inline(always)]
        |half| isa.widen(avx2.load_256(&indices[half])),
    );
    let minus = avx2.even_signs_of_words(signs);
    let codes = with_signs(isa, isa.points_of_four(&IQ3_XXS, indices), minus);
    Unpacked { codes, scales: avx2.scales_of_words(block.scale, 0.25, signs) }
}

#[inline(always)]
pub(super) fn iq3s<I: Wide>(isa: I, [block]: &[Iq3S; 1]) -> Unpacked<I> {
    static HIGH: [HighBits; 2] = [HighBits::of_bytes(0, 8, 1 << 8), HighBits::of_bytes(32, 8, 1 << 8)];
    let avx2 = isa.avx2();
    let low: &[[u16; 16]; 2] = bytemuck::cast_ref(&block.low);
    let high = bytemuck::cast([block.high, [0; 4]]);
    let indices = each(
        #[inline(always)]
        |half| isa.or(isa.widen(avx2.load_256(&low[half])), HIGH[half].of(isa, &high)),
    );
    let codes = with_signs(isa, isa.points_of_four(&IQ3_S, indices), bytemuck::cast(block.signs));
    Unpacked { codes, scales: avx2.scales_iq3s(block) }
}

/// Points of -1, 0 and 1, shifted up where a bit is set and down elsewhere.
#[inline(always)]
fn shifted<I: Wide>(isa: I, indices: I::Bytes, up: [u64; PAIRS]) -> I::Codes {
    let points = isa.points_of_eight(&IQ1, indices);
    isa.codes(each(
        #[inline(always)]
        |pair| isa.add_where(up[pair], points[pair], 2),
    ))
}

#[inline(always)]
pub(super) fn iq1s<I: Wide>(isa: I, [block]: &[Iq1S; 1]) -> Unpacked<I> {
    static HIGH: HighBits = HighBits::of_half_words();
    let avx2 = isa.avx2();
    let high = isa.shr(HIGH.of(isa, bytemuck::cast_ref(&block.runs)), [1; 8]);
    let up = each(
        #[inline(always)]
        |pair| {
            let up = |run: u16| if run >> 15 == 0 { u64::from(u32::MAX) } else { 0 };
            up(block.runs[2 * pair]) | up(block.runs[2 * pair + 1]) << 32
        },
    );
    let codes = shifted(isa, isa.or(isa.widen(avx2.load_256(&block.low)), high), up);
    Unpacked { codes, scales: avx2.scales_iq1s(block) }
}

#[inline(always)]
pub(super) fn iq1m<I: Wide>(isa: I, [block]: &[Iq1M; 1]) -> Unpacked<I> {
    static HIGH: HighBits = HighBits::of_bytes(0, 2, 7 << 8);
    let avx2 = isa.avx2();
    // SAFETY: the token proves AVX2.
    let up: [u64; PAIRS] = bytemuck::cast(avx2.lanes(unsafe {
        let high = avx2.load_128(&block.high);
        // Bit 3 of each nibble in a byte's highest bit, then in all its bits.
        let (even, odd) = (_mm_slli_epi16::<4>(high), high);
        let nibbles = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
        _mm256_cmpgt_epi8(nibbles, _mm256_set1_epi8(-1))
    }));
    let high = HIGH.of(isa, bytemuck::cast_ref(&block.high));
    let codes = shifted(isa, isa.or(isa.widen(avx2.load_256(&block.low)), high), up);
    Unpacked { codes, scales: avx2.scales_iq1m(block) }
}

//! Digits of base three, five to a byte.

use super::*;

/// What moves the digits at places 0 to 4 to the first place.
const POWERS: [u16; 5] = [1, 3, 9, 27, 81];

/// The multipliers of the half-words of each pair of runs, by quarters; see `tq1_0` for what they multiply.
const MULTIPLIERS: [[u16; 32]; PAIRS] = {
    let quarters = [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 0, 1], [2, 3, 4, 0]];
    let mut multipliers = [[0; 32]; PAIRS];
    let mut i = 0;
    while i < PAIRS * 32 {
        multipliers[i / 32][i % 32] = POWERS[quarters[i / 32][i % 32 / 8]];
        i += 1;
    }
    // The last 16 codes are four bytes at four places.
    let mut i = 0;
    while i < 8 {
        multipliers[PAIRS - 1][24 + i] = POWERS[i / 2];
        i += 1;
    }
    multipliers
};

#[inline(always)]
pub(super) fn tq1_0<I: Wide>(isa: I, [block]: &[Tq1_0; 1]) -> Unpacked<I> {
    let (wholes, rest) = block.digits.split_first_chunk::<16>().expect("26 half-words");
    let (halves, rest) = rest.split_first_chunk::<8>().expect("10 half-words");
    let wholes = isa.avx2().load_256(wholes);
    let halves = isa.avx2().load_128(halves);
    let last = i32::from(rest[0]) | i32::from(rest[1]) << 16;
    // SAFETY: the token proves AVX2.
    let (twice, with_last) =
        unsafe { (_mm256_broadcastsi128_si256(halves), _mm256_set_m128i(_mm_set1_epi32(last), halves)) };
    let sources = [
        isa.join(wholes, wholes),
        isa.join(wholes, wholes),
        isa.join(wholes, twice),
        isa.join(twice, with_last),
    ];
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let fractions = product(isa, sources[pair], &MULTIPLIERS[pair]);
            // Three times the fraction carries a 1 out from 86 on and a 2 from 171 on.
            let first = isa.min(isa.saturating_sub(fractions, isa.splat_8(85)), isa.splat_8(1));
            let second = isa.min(isa.saturating_sub(fractions, isa.splat_8(170)), isa.splat_8(1));
            isa.add_8(first, second)
        },
    ));
    Unpacked { codes, scales: isa.avx2().one_scale(block.scale) }
}

/// The products of bytes, modulo 256; the two bytes of a half-word share a multiplier.
#[inline(always)]
fn product<I: Wide>(isa: I, bytes: I::Bytes, by: &[u16; 32]) -> I::Bytes {
    let by = isa.load_512(by);
    let even = isa.and(isa.mul_16(bytes, by), isa.splat_16(0x00ff));
    let odd = isa.mul_16(isa.and(bytes, isa.splat_16(0xff00)), by);
    isa.or(even, odd)
}

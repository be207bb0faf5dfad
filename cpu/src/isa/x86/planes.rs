//! Codes whose bits lie in planes: nibbles, pairs of bits and single bits, and tables of 16 codes.

use warpdot_formats::codebooks;

use super::*;

/// Four bits for each code of two runs, of which each run has 16 bytes: low halves, then high halves.
#[inline(always)]
fn nibbles<I: Wide, T: Pod>(isa: I, first: &T, second: &T) -> I::Bytes {
    let both = isa.twice(isa.avx2().load_128(first), isa.avx2().load_128(second));
    isa.and(isa.shr(both, [0, 0, 4, 4, 0, 0, 4, 4]), isa.splat_8(0x0f))
}

/// A plane of bits for each of two runs from the same 32 bytes: moved right by `right`, or left where that is
/// negative, and masked.
#[inline(always)]
fn planes<I: Wide, T: Pod>(isa: I, bytes: &T, right: [i32; 2], mask: u8) -> I::Bytes {
    let bytes = isa.avx2().load_256(bytes);
    isa.and(moved(isa, isa.join(bytes, bytes), right), isa.splat_8(mask))
}

/// Both halves moved right, each by its own number of bits, or both left if a number is negative.
#[inline(always)]
fn moved<I: Wide>(isa: I, bytes: I::Bytes, right: [i32; 2]) -> I::Bytes {
    let lanes = |by: [i32; 2]| {
        let [a, b] = by.map(|by| by as u64);
        [a, a, a, a, b, b, b, b]
    };
    match right {
        [0, 0] => bytes,
        [a, b] if a >= 0 && b >= 0 => isa.shr(bytes, lanes(right)),
        _ => isa.shl(bytes, lanes(right.map(|right| -right))),
    }
}

/// The codes of an octet of blocks that are a run each.
#[inline(always)]
fn of_runs<I: Wide, F>(isa: I, blocks: &[F; 8], pair: impl Fn(&F, &F) -> I::Bytes) -> I::Codes {
    isa.codes(each(
        #[inline(always)]
        |i| pair(&blocks[2 * i], &blocks[2 * i + 1]),
    ))
}

/// The bits of two words, the first lowest.
#[inline(always)]
fn bits(first: [u16; 2], second: [u16; 2]) -> u64 {
    bytemuck::cast([first, second])
}

#[inline(always)]
pub(super) fn q4_0<I: Wide>(isa: I, blocks: &[Q4_0; 8]) -> Unpacked<I> {
    let codes = of_runs(
        isa,
        blocks,
        #[inline(always)]
        |a, b| nibbles(isa, &a.nibbles, &b.nibbles),
    );
    Unpacked { codes, scales: isa.avx2().leading_scales(blocks) }
}

#[inline(always)]
pub(super) fn q4_1<I: Wide>(isa: I, blocks: &[Q4_1; 8]) -> Unpacked<I> {
    let codes = of_runs(
        isa,
        blocks,
        #[inline(always)]
        |a, b| nibbles(isa, &a.nibbles, &b.nibbles),
    );
    Unpacked { codes, scales: isa.avx2().leading_scales_and_minima(blocks) }
}

#[inline(always)]
pub(super) fn q5_0<I: Wide>(isa: I, blocks: &[Q5_0; 8]) -> Unpacked<I> {
    let codes = of_runs(
        isa,
        blocks,
        #[inline(always)]
        |a, b| isa.add_where(bits(a.high, b.high), nibbles(isa, &a.nibbles, &b.nibbles), 16),
    );
    Unpacked { codes, scales: isa.avx2().leading_scales(blocks) }
}

#[inline(always)]
pub(super) fn q5_1<I: Wide>(isa: I, blocks: &[Q5_1; 8]) -> Unpacked<I> {
    let codes = of_runs(
        isa,
        blocks,
        #[inline(always)]
        |a, b| isa.add_where(bits(a.high, b.high), nibbles(isa, &a.nibbles, &b.nibbles), 16),
    );
    Unpacked { codes, scales: isa.avx2().leading_scales_and_minima(blocks) }
}

#[inline(always)]
pub(super) fn q8_0<I: Wide>(isa: I, blocks: &[Q8_0; 8]) -> Unpacked<I> {
    let codes = of_runs(
        isa,
        blocks,
        #[inline(always)]
        |a, b| isa.signed(isa.join(isa.avx2().load_256(&a.codes), isa.avx2().load_256(&b.codes))),
    );
    Unpacked { codes, scales: isa.avx2().leading_scales(blocks) }
}

/// The codes of the 4-bit formats with unevenly spaced levels.
#[inline(always)]
fn iq4<I: Wide, T: Pod>(isa: I, first: &T, second: &T) -> I::Bytes {
    isa.look_up(const { &raised(codebooks::IQ4, I::SIGN) }, nibbles(isa, first, second))
}

/// The table with its entries xored with `sign`.
const fn raised(table: &[i8; 16], sign: u8) -> [i8; 16] {
    let mut raised = *table;
    let mut i = 0;
    while i < raised.len() {
        raised[i] ^= sign as i8;
        i += 1;
    }
    raised
}

#[inline(always)]
pub(super) fn iq4nl<I: Wide>(isa: I, blocks: &[Iq4Nl; 8]) -> Unpacked<I> {
    let codes = of_runs(
        isa,
        blocks,
        #[inline(always)]
        |a, b| iq4(isa, &a.nibbles, &b.nibbles),
    );
    Unpacked { codes, scales: isa.avx2().leading_scales(blocks) }
}

#[inline(always)]
pub(super) fn iq4xs<I: Wide>(isa: I, [block]: &[Iq4Xs; 1]) -> Unpacked<I> {
    let nibbles: &[[u16; 8]; 8] = bytemuck::cast_ref(&block.nibbles);
    let codes = of_runs(
        isa,
        nibbles,
        #[inline(always)]
        |a, b| iq4(isa, a, b),
    );
    Unpacked { codes, scales: isa.avx2().scales_iq4xs(block) }
}

/// Doubled E2M1 numbers, raised by their zero point.
const E2M1: [i8; 16] = {
    let mut table = *codebooks::E2M1;
    let mut i = 0;
    while i < table.len() {
        table[i] += zero_point::<Mxfp4>().expect("unsigned") as i8;
        i += 1;
    }
    table
};

#[inline(always)]
pub(super) fn mxfp4<I: Wide>(isa: I, blocks: &[Mxfp4; 8]) -> Unpacked<I> {
    let codes = of_runs(
        isa,
        blocks,
        #[inline(always)]
        |a, b| isa.look_up(&E2M1, nibbles(isa, &a.nibbles, &b.nibbles)),
    );
    Unpacked { codes, scales: isa.avx2().scales_mxfp4(blocks) }
}

#[inline(always)]
pub(super) fn nvfp4<I: Wide>(isa: I, blocks: &[Nvfp4; 4]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let bytes = isa.avx2().load_256(&blocks[pair].nibbles);
            // SAFETY: the token proves AVX2.
            let (first, second) = unsafe {
                (
                    _mm256_permute4x64_epi64::<0b01_01_00_00>(bytes),
                    _mm256_permute4x64_epi64::<0b11_11_10_10>(bytes),
                )
            };
            let nibbles = isa.shr(isa.join(first, second), [0, 4, 0, 4, 0, 4, 0, 4]);
            isa.look_up(&E2M1, isa.and(nibbles, isa.splat_8(0x0f)))
        },
    ));
    Unpacked { codes, scales: isa.avx2().scales_nvfp4(blocks) }
}

/// Pairs of bits: four runs in each 32 bytes.
#[inline(always)]
fn bit_pairs<I: Wide>(isa: I, pairs: &[u16; 32], pair: usize) -> I::Bytes {
    let halves: &[[u16; 16]; 2] = bytemuck::cast_ref(pairs);
    let right = 4 * (pair % 2) as i32;
    planes(isa, &halves[pair / 2], [right, right + 2], 0x03)
}

/// Single bits: all eight runs in 32 bytes. They become bit `to`, an even number.
#[inline(always)]
fn single_bits<I: Wide>(isa: I, bytes: &[u16; 16], pair: usize, to: i32) -> I::Bytes {
    let right = 2 * pair as i32 - to;
    planes(isa, bytes, [right, right + 1], 1 << to)
}

#[inline(always)]
pub(super) fn q2k<I: Wide>(isa: I, [block]: &[Q2K; 1]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| bit_pairs(isa, &block.pairs, pair),
    ));
    Unpacked { codes, scales: isa.avx2().scales_q2k(block) }
}

#[inline(always)]
pub(super) fn tq2_0<I: Wide>(isa: I, [block]: &[Tq2_0; 1]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| bit_pairs(isa, &block.pairs, pair),
    ));
    Unpacked { codes, scales: isa.avx2().one_scale(block.scale) }
}

#[inline(always)]
pub(super) fn q3k<I: Wide>(isa: I, [block]: &[Q3K; 1]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| isa.or(bit_pairs(isa, &block.pairs, pair), single_bits(isa, &block.high, pair, 2)),
    ));
    Unpacked { codes, scales: isa.avx2().scales_q3k(block) }
}

/// Nibbles of which two runs share 32 bytes.
#[inline(always)]
fn shared_nibbles<I: Wide>(isa: I, nibbles: &[u16; 64], pair: usize) -> I::Bytes {
    let quarters: &[[u16; 16]; 4] = bytemuck::cast_ref(nibbles);
    planes(isa, &quarters[pair], [0, 4], 0x0f)
}

#[inline(always)]
pub(super) fn q4k<I: Wide>(isa: I, [block]: &[Q4K; 1]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| shared_nibbles(isa, &block.nibbles, pair),
    ));
    Unpacked { codes, scales: isa.avx2().affine_scales(block) }
}

#[inline(always)]
pub(super) fn q5k<I: Wide>(isa: I, [block]: &[Q5K; 1]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| isa.or(shared_nibbles(isa, &block.nibbles, pair), single_bits(isa, &block.high, pair, 4)),
    ));
    Unpacked { codes, scales: isa.avx2().affine_scales(block) }
}

#[inline(always)]
pub(super) fn q6k<I: Wide>(isa: I, [block]: &[Q6K; 1]) -> Unpacked<I> {
    let low: &[[u16; 32]; 2] = bytemuck::cast_ref(&block.low);
    let high: &[[u16; 16]; 2] = bytemuck::cast_ref(&block.high);
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let (half, right) = (pair / 2, 4 * (pair % 2) as i32);
            let low = isa.and(moved(isa, isa.load_512(&low[half]), [right; 2]), isa.splat_8(0x0f));
            isa.or(low, planes(isa, &high[half], [right - 4, right - 2], 0x30))
        },
    ));
    Unpacked { codes, scales: isa.avx2().scales_q6k(block) }
}

#[inline(always)]
pub(super) fn q1_0<I: Wide>(isa: I, blocks: &[Q1_0; 2]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let positive: [u64; 2] = bytemuck::cast(blocks[pair / 2].positive);
            isa.add_where(positive[pair % 2], isa.splat_8(0), 2)
        },
    ));
    Unpacked { codes, scales: isa.avx2().leading_scales(blocks) }
}

#[inline(always)]
pub(super) fn q2_0<I: Wide>(isa: I, blocks: &[Q2_0; 4]) -> Unpacked<I> {
    let codes = isa.codes(each(
        #[inline(always)]
        |pair| {
            let bytes = isa.avx2().load_128(&blocks[pair].pairs);
            // SAFETY: the token proves AVX2.
            let (first, second) = unsafe {
                (_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)))
            };
            // Each byte of pairs is alone in a word now: its pairs to the bytes of that.
            let words = isa.join(first, second);
            let words = isa.or(words, isa.shl(words, [12; 8]));
            isa.and(isa.or(words, isa.shl(words, [6; 8])), isa.splat_8(0x03))
        },
    ));
    Unpacked { codes, scales: isa.avx2().leading_scales(blocks) }
}

//! What formats without a search do not have in common.

use bytemuck::{cast, cast_slice, cast_slice_mut};
use warpdot_formats::{
    F16, Format, GgmlType, Mxfp4, Q1_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, RUN, Tq1_0, Tq2_0, Word,
};

use super::sixteen::{Derived, HeadersOf, LANES, Rule, SIXTEEN, Unsearched, Weights, quantize_sixteen};
use crate::isa::{Line, Quantizing, Simd, Streaming, each};

/// The sign among the bits of a number.
const SIGN: u32 = 1 << 31;

/// All other bits.
const MAGNITUDE: u32 = !SIGN;

/// The bits of infinity: those of finite magnitudes are less.
const INFINITY: u32 = f32::INFINITY.to_bits();

/// Integers in the order of the numbers that they are made from.
#[inline(always)]
fn ordered<I: Quantizing>(isa: I, numbers: I::Numbers) -> I::Words {
    let bits = isa.bits(numbers);
    // The sign is turned, and all other bits of negative numbers, too.
    bits ^ (isa.signs(bits) | isa.integers(i32::MIN))
}

/// The numbers that [`ordered`] has made integers of.
#[inline(always)]
fn numbers<I: Quantizing>(isa: I, ordered: I::Words) -> I::Numbers {
    let positive = isa.signs(ordered);
    (ordered ^ (positive & SIGN | (positive ^ u32::MAX))).to_bits_of_number()
}

/// A bit for each lane whose bits of a magnitude are not those of a finite number.
#[inline(always)]
fn not_finite<I: Quantizing>(isa: I, magnitude: I::Words) -> u16 {
    let (zero, one) = (isa.integers(0), isa.integers(1));
    isa.non_zero(isa.select(isa.integers(INFINITY as i32), magnitude, zero, one))
}

#[inline(always)]
fn halves<I: Quantizing>(isa: I, numbers: I::Numbers) -> [F16; SIXTEEN] {
    isa.halves(numbers).map(F16)
}

/// Codes from 0 to `2 * LIMIT - 1`: the weight of largest magnitude becomes 0.
pub(super) struct Symmetric<const LIMIT: u8>;

impl<const LIMIT: u8> Rule for Symmetric<LIMIT> {
    const RANGE: bool = true;
    type Headers = [F16; SIXTEEN];

    #[inline(always)]
    fn keys<I: Quantizing>(isa: I, weights: I::Numbers) -> I::Words {
        ordered(isa, weights)
    }

    #[inline(always)]
    fn derive<I: Quantizing>(
        isa: I,
        greatest: I::Words,
        least: I::Words,
        weights: &Weights,
    ) -> Derived<I, Self::Headers> {
        let (greatest, least) = (isa.bits(numbers(isa, greatest)), isa.bits(numbers(isa, least)));
        let magnitudes = [greatest & MAGNITUDE, least & MAGNITUDE];
        let mut largest = isa.select(magnitudes[0], magnitudes[1], greatest, least);
        let opposite = isa.non_zero(greatest ^ least) & !isa.non_zero(magnitudes[0] ^ magnitudes[1]);
        if opposite != 0 {
            largest = first_of_magnitude(isa, largest, opposite, weights);
        }
        let scale = isa.quotient(largest.to_bits_of_number(), isa.numbers(-f32::from(LIMIT)));
        let inverse = isa.reciprocal(scale);
        Derived {
            headers: halves(isa, scale),
            parameters: [inverse, inverse],
            doubtful: not_finite(isa, isa.greater(magnitudes[0], magnitudes[1])),
        }
    }

    #[inline(always)]
    fn codes<I: Quantizing>(isa: I, weights: I::Numbers, [inverse, _]: [I::Numbers; 2]) -> I::Words {
        let codes = isa.truncate(weights * inverse + (f32::from(LIMIT) + 0.5));
        isa.lesser(codes, isa.integers(2 * i32::from(LIMIT) - 1))
    }
}

/// `largest` with the signs that the first weights of this magnitude have, in those of sixteen blocks whose bit is set.
#[inline(always)]
fn first_of_magnitude<I: Quantizing>(isa: I, largest: I::Words, blocks: u16, weights: &Weights) -> I::Words {
    let mut lanes = [0; SIXTEEN];
    isa.store_words(largest, &mut lanes);
    let (runs, _) = weights.as_chunks::<{ RUN / LANES }>();
    for (block, (lane, run)) in lanes.iter_mut().zip(runs).enumerate() {
        if blocks >> block & 1 == 1 {
            let magnitude = isa.integers((*lane & MAGNITUDE).cast_signed());
            let differ = [
                isa.non_zero(isa.bits(isa.load_numbers(&run[0])) & MAGNITUDE ^ magnitude),
                isa.non_zero(isa.bits(isa.load_numbers(&run[1])) & MAGNITUDE ^ magnitude),
            ];
            let same = !(u32::from(differ[0]) | u32::from(differ[1]) << LANES);
            *lane = run.as_flattened()[same.trailing_zeros() as usize % RUN].to_bits();
        }
    }
    isa.load_words(&lanes)
}

/// Codes from 0 to `MAX_CODE`: the smallest weight becomes 0, the largest `MAX_CODE`.
pub(super) struct Affine<const MAX_CODE: u8>;

impl<const MAX_CODE: u8> Rule for Affine<MAX_CODE> {
    const RANGE: bool = true;
    /// Scales and minima.
    type Headers = [[F16; SIXTEEN]; 2];

    #[inline(always)]
    fn keys<I: Quantizing>(isa: I, weights: I::Numbers) -> I::Words {
        ordered(isa, weights)
    }

    #[inline(always)]
    fn derive<I: Quantizing>(
        isa: I,
        greatest: I::Words,
        least: I::Words,
        _weights: &Weights,
    ) -> Derived<I, Self::Headers> {
        let (max, min) = (numbers(isa, greatest), numbers(isa, least));
        let range = isa.sum(max, -min);
        let scale = isa.quotient(range, isa.numbers(f32::from(MAX_CODE)));
        Derived {
            headers: [halves(isa, scale), halves(isa, min)],
            parameters: [isa.reciprocal(scale), -min],
            doubtful: not_finite(isa, isa.bits(range) & MAGNITUDE),
        }
    }

    #[inline(always)]
    fn codes<I: Quantizing>(isa: I, weights: I::Numbers, [inverse, less]: [I::Numbers; 2]) -> I::Words {
        let codes = isa.truncate(isa.sum(weights, less) * inverse + 0.5);
        isa.lesser(codes, isa.integers(i32::from(MAX_CODE)))
    }
}

/// Codes of either sign: the largest magnitude becomes `MOST`.
pub(super) struct Signed<const MOST: u8>;

impl<const MOST: u8> Rule for Signed<MOST> {
    const RANGE: bool = false;
    type Headers = [F16; SIXTEEN];

    #[inline(always)]
    fn keys<I: Quantizing>(isa: I, weights: I::Numbers) -> I::Words {
        isa.bits(weights) & MAGNITUDE
    }

    #[inline(always)]
    fn derive<I: Quantizing>(
        isa: I,
        greatest: I::Words,
        _least: I::Words,
        _weights: &Weights,
    ) -> Derived<I, Self::Headers> {
        let scale = isa.quotient(greatest.to_bits_of_number(), isa.numbers(f32::from(MOST)));
        let inverse = isa.reciprocal(scale);
        Derived {
            headers: halves(isa, scale),
            parameters: [inverse, inverse],
            doubtful: not_finite(isa, greatest),
        }
    }

    /// The nearest integers, ties away from zero.
    #[inline(always)]
    fn codes<I: Quantizing>(isa: I, weights: I::Numbers, [inverse, _]: [I::Numbers; 2]) -> I::Words {
        let numbers = weights * inverse;
        // What is just less than a half does not lift its like to 1, but every tie, as the sum is rounded.
        let half = isa.integers(0.5f32.next_down().to_bits().cast_signed());
        let half = isa.bits(numbers) & SIGN | half;
        isa.truncate(isa.sum(numbers, half.to_bits_of_number()))
    }
}

/// E2M1 codes of numbers that are greater than all of one sign, one exponent (modulo 8) and one pair of first bits of
/// the mantissa, and no greater than the next.
static E2M1_CODES: [u16; 64] = {
    /// The middles between neighbours among doubled E2M1 numbers, times 16.
    const MIDDLES: [usize; 7] = [8, 24, 40, 56, 80, 112, 160];
    let mut codes = [0; 64];
    let mut i = 0;
    while i < codes.len() {
        // From just below 1/2, with the exponent 125, to 16.
        let number = (4 + i % 4) << ((i / 4 + 3) % 8);
        let mut code = 0;
        while code < MIDDLES.len() && MIDDLES[code] <= number {
            code += 1;
        }
        codes[i] = if i >= 32 && code > 0 { 8 | code as u16 } else { code as u16 };
        i += 1;
    }
    codes
};

/// E2M1 numbers, with a power of two for the scale.
pub(super) struct Float4;

impl Rule for Float4 {
    const RANGE: bool = false;
    /// Exponents.
    type Headers = [u8; SIXTEEN];

    #[inline(always)]
    fn keys<I: Quantizing>(isa: I, weights: I::Numbers) -> I::Words {
        isa.bits(weights) & MAGNITUDE
    }

    #[inline(always)]
    fn derive<I: Quantizing>(
        isa: I,
        greatest: I::Words,
        _least: I::Words,
        _weights: &Weights,
    ) -> Derived<I, Self::Headers> {
        let two = isa.integers(2);
        let exponents = isa.greater(greatest >> 23, two) - 2;
        // The inverse of the least scale is no number. It multiplies zeros, or it is in doubt.
        let one = isa.integers(1);
        let inverse = ((isa.greater(exponents, one) ^ 0xff) << 23).to_bits_of_number();
        let least = isa.non_zero(greatest) & !isa.non_zero(exponents);
        Derived {
            headers: isa.bytes(exponents),
            parameters: [inverse, inverse],
            doubtful: least | not_finite(isa, greatest),
        }
    }

    #[inline(always)]
    fn codes<I: Quantizing>(isa: I, weights: I::Numbers, [inverse, _]: [I::Numbers; 2]) -> I::Words {
        let bits = isa.bits(weights * inverse);
        let magnitude = isa.greater(bits & MAGNITUDE, isa.integers(0.5f32.to_bits().cast_signed())) - 1;
        (magnitude >> 21 & 31 | bits >> 26 & 32).look_up(&E2M1_CODES)
    }
}

/// Signs: the mean magnitude is the scale.
pub(super) struct Signs;

impl Rule for Signs {
    const RANGE: bool = false;
    type Headers = [F16; SIXTEEN];

    #[inline(always)]
    fn keys<I: Quantizing>(isa: I, weights: I::Numbers) -> I::Words {
        isa.bits(weights) & MAGNITUDE
    }

    #[inline(always)]
    fn join<I: Quantizing>(isa: I, a: I::Words, b: I::Words) -> I::Words {
        isa.bits(isa.sum(a.to_bits_of_number(), b.to_bits_of_number()))
    }

    #[inline(always)]
    fn derive<I: Quantizing>(
        isa: I,
        total: I::Words,
        _least: I::Words,
        _weights: &Weights,
    ) -> Derived<I, Self::Headers> {
        let scale = isa.quotient(total.to_bits_of_number(), isa.numbers(Q1_0::WEIGHTS as f32));
        Derived { headers: halves(isa, scale), parameters: [scale, scale], doubtful: not_finite(isa, total) }
    }

    /// 1 for zero and above.
    #[inline(always)]
    fn codes<I: Quantizing>(isa: I, weights: I::Numbers, _: [I::Numbers; 2]) -> I::Words {
        let (zero, one) = (isa.integers(0), isa.integers(1));
        isa.select(isa.bits(weights), isa.integers(SIGN.cast_signed()), zero, one)
    }
}

#[inline(always)]
fn nibbles<I: Quantizing>(isa: I, low: I::Words, high: I::Words) -> [u8; LANES] {
    isa.bytes(low | high << 4)
}

/// The highest of five bits, and the others as nibbles.
#[inline(always)]
fn five_bits<I: Quantizing>(isa: I, first: I::Words, second: I::Words) -> ([u16; 2], [u16; 8]) {
    let high = [isa.non_zero(first & 16), isa.non_zero(second & 16)];
    (high, cast(nibbles(isa, first & 15, second)))
}

/// Five vectors of codes from -1 to 1 as digits of base three, the first highest: fractions of 256, rounded up, so that the
/// digits come out again.
#[inline(always)]
fn digits<I: Quantizing>(isa: I, vectors: [usize; 5], codes: &impl Fn(usize) -> I::Words) -> [u8; LANES] {
    let mut value = codes(vectors[0]);
    for vector in &vectors[1..] {
        value = value * 3 + codes(*vector);
    }
    // Each code is raised by 1. Then 256 / 243 times as much; the product is exact, and the quotient, too.
    isa.bytes((((value + 121) * 256 + 242) * 69_043) >> 24)
}

/// Bytes of blocks that are made before they are stored past the caches.
const PIECE: usize = 1 << 12;

/// Quantizes as many blocks of format `G`, which is `F`, as make sixteens; gives their number.
#[inline(always)]
fn sixteens<I: Quantizing + Simd, F: Format, G: Unsearched>(
    isa: I,
    stores: &Streaming<I>,
    weights: &[f32],
    blocks: &mut [F],
) -> usize {
    let blocks: &mut [G] = cast_slice_mut(blocks);
    let done = blocks.len() / SIXTEEN * SIXTEEN;
    if !stores.past_caches() {
        quantize_whole(isa, weights, &mut blocks[..done]);
        return done;
    }
    let mut lines = [Line::ZERO; PIECE / size_of::<Line>()];
    let piece = PIECE / (SIXTEEN * size_of::<G>()) * SIXTEEN;
    let made: &mut [G] =
        cast_slice_mut(&mut cast_slice_mut::<Line, u8>(&mut lines)[..piece * size_of::<G>()]);
    for (blocks, weights) in blocks[..done].chunks_mut(piece).zip(weights.chunks(piece * G::WEIGHTS)) {
        let made = &mut made[..blocks.len()];
        quantize_whole(isa, weights, made);
        stores.copy(cast_slice(made), cast_slice_mut(blocks));
    }
    done
}

/// Quantizes blocks that are sixteens.
#[inline(always)]
fn quantize_whole<I: Quantizing, F: Unsearched>(isa: I, weights: &[f32], blocks: &mut [F]) {
    let (sixteens, _) = blocks.as_chunks_mut();
    for (blocks, weights) in sixteens.iter_mut().zip(weights.chunks_exact(SIXTEEN * F::WEIGHTS)) {
        quantize_sixteen(isa, weights, blocks);
    }
}

macro_rules! unsearched {
    ($($format:ident by $rule:ty: |$isa:ident, $headers:ident, $index:ident, $codes:ident| $block:expr;)*) => {
        /// Quantizes as many blocks as make sixteens, if their format does not search; gives their number.
        #[inline(always)]
        pub(super) fn quantize_sixteens<I: Quantizing + Simd, F: Format>(
            isa: I,
            stores: &Streaming<I>,
            weights: &[f32],
            blocks: &mut [F],
        ) -> usize {
            match F::TYPE {
                $(GgmlType::$format => sixteens::<I, F, $format>(isa, stores, weights, blocks),)*
                _ => 0,
            }
        }

        /// Whether [`quantize_sixteens`] knows the format.
        pub(super) const fn is_unsearched(ty: GgmlType) -> bool {
            matches!(ty, $(GgmlType::$format)|*)
        }

        $(
        impl Unsearched for $format {
            type Rule = $rule;

            #[inline(always)]
            fn block<I: Quantizing>(
                $isa: I,
                $headers: &HeadersOf<Self>,
                $index: usize,
                $codes: impl Fn(usize) -> I::Words,
            ) -> Self {
                $block
            }
        }
        )*
    };
}

unsearched! {
    Q4_0 by Symmetric<8>: |isa, scales, i, codes| {
        Self { scale: scales[i], nibbles: cast(nibbles(isa, codes(0), codes(1))) }
    };
    Q4_1 by Affine<15>: |isa, headers, i, codes| {
        let [scales, minima] = headers;
        Self { scale: scales[i], min: minima[i], nibbles: cast(nibbles(isa, codes(0), codes(1))) }
    };
    Q5_0 by Symmetric<16>: |isa, scales, i, codes| {
        let (high, nibbles) = five_bits(isa, codes(0), codes(1));
        Self { scale: scales[i], high, nibbles }
    };
    Q5_1 by Affine<31>: |isa, headers, i, codes| {
        let [scales, minima] = headers;
        let (high, nibbles) = five_bits(isa, codes(0), codes(1));
        Self { scale: scales[i], min: minima[i], high, nibbles }
    };
    Q8_0 by Signed<127>: |isa, scales, i, codes| {
        Self { scale: scales[i], codes: cast([isa.bytes(codes(0)), isa.bytes(codes(1))]) }
    };
    Mxfp4 by Float4: |isa, exponents, i, codes| {
        Self { exponent: exponents[i], nibbles: nibbles(isa, codes(0), codes(1)) }
    };
    Tq1_0 by Signed<1>: |isa, scales, i, codes| {
        let wholes = [digits(isa, [0, 2, 4, 6, 8], &codes), digits(isa, [1, 3, 5, 7, 9], &codes)];
        let halves = digits(isa, [10, 11, 12, 13, 14], &codes);
        // The last 16 codes are four bytes at four places.
        let [a, b, c, d]: [u32; 4] = cast(isa.bytes(codes(15) + 1));
        let last = ((((a * 3 + b) * 3 + c) * 3 + d) * 3).to_le_bytes();
        let last = last.map(|value| (u32::from(value) * 256).div_ceil(243) as u8);
        let mut all = [0; 26];
        let bytes: &mut [u8] = cast_slice_mut(&mut all);
        bytes[..32].copy_from_slice(wholes.as_flattened());
        bytes[32..48].copy_from_slice(&halves);
        bytes[48..].copy_from_slice(&last);
        Self { digits: all, scale: scales[i] }
    };
    Tq2_0 by Signed<1>: |isa, scales, i, codes| {
        let pairs: [[u8; LANES]; 4] = each(#[inline(always)] |part| {
            // Of each 128 codes, number i of each 32 share a byte. All are raised by 1.
            let first = part / 2 * 8 + part % 2;
            let (a, b, c, d) = (codes(first), codes(first + 2), codes(first + 4), codes(first + 6));
            isa.bytes(a + (b << 2) + (c << 4) + (d << 6) + 0x55)
        });
        Self { pairs: cast(pairs), scale: scales[i] }
    };
    Q1_0 by Signs: |isa, scales, i, codes| {
        Self { scale: scales[i], positive: each(#[inline(always)] |vector| isa.non_zero(codes(vector))) }
    };
}

//! Blocks of codes that exist already: weights that were quantized elsewhere, to integers of the same range.

use core::ops::RangeInclusive;

use crate::pack::{bits, halves, nibble_pairs};
use crate::{F16, Format, Q4_0, Q5_0, Q8_0, RUN};

/// A format whose block is one run of codes of a whole range, times one scale: it holds such weights exactly.
pub trait FromCodes: Format {
    /// The codes that a block can hold.
    const CODES: RangeInclusive<i8>;

    /// The block whose weight i is `scale * codes[i]`, for codes among [`CODES`](Self::CODES). Of others it keeps
    /// the low bits.
    fn from_codes(scale: F16, codes: &[i8; RUN]) -> Self;
}

impl FromCodes for Q4_0 {
    const CODES: RangeInclusive<i8> = -8..=7;

    #[inline]
    fn from_codes(scale: F16, codes: &[i8; RUN]) -> Self {
        let codes = codes.map(|code| code.wrapping_add(8) as u8);
        Self { scale, nibbles: nibble_pairs(&codes, 16) }
    }
}

impl FromCodes for Q5_0 {
    const CODES: RangeInclusive<i8> = -16..=15;

    #[inline]
    fn from_codes(scale: F16, codes: &[i8; RUN]) -> Self {
        let codes = codes.map(|code| code.wrapping_add(16) as u8);
        Self { scale, high: halves(|i| bits(&codes, 4, i)), nibbles: nibble_pairs(&codes, 16) }
    }
}

impl FromCodes for Q8_0 {
    const CODES: RangeInclusive<i8> = i8::MIN..=i8::MAX;

    #[inline]
    fn from_codes(scale: F16, codes: &[i8; RUN]) -> Self {
        Self { scale, codes: halves(|i| codes[i] as u8) }
    }
}

#[cfg(test)]
mod tests {
    use super::FromCodes;
    use crate::{F16, Q4_0, Q5_0, Q8_0, RUN};

    /// Every code comes back from every place of a block.
    fn every_code_comes_back<F: FromCodes>() {
        let (first, last) = (i32::from(*F::CODES.start()), i32::from(*F::CODES.end()));
        let mut weights = [0.0; RUN];
        for turn in 0..=last - first {
            let codes: [i8; RUN] =
                core::array::from_fn(|i| (first + (turn + 5 * i as i32) % (last - first + 1)) as i8);
            F::from_codes(F16::from_f32(-0.25), &codes).dequantize(&mut weights);
            assert_eq!(weights, codes.map(|code| -0.25 * f32::from(code)), "{}", F::NAME);
        }
    }

    #[test]
    fn every_code_comes_back_from_every_place() {
        every_code_comes_back::<Q4_0>();
        every_code_comes_back::<Q5_0>();
        every_code_comes_back::<Q8_0>();
    }
}

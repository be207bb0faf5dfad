//! Scales as they come, and as half-precision numbers.

use rayon::prelude::*;
use warpdot_formats::F16;

use crate::Error;
use crate::matrix::expect_length;

/// The scales of weights, in the precision that they were stored in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Scales<'a> {
    /// Half precision.
    F16(&'a [F16]),
    /// The bits of bfloat16 numbers.
    Bf16(&'a [u16]),
    /// Single precision.
    F32(&'a [f32]),
}

/// The largest relative error that a scale may suffer: with it the largest int8 code, 127, is off by half a code,
/// which is what quantization to int8 may have lost in the first place. All normal half-precision numbers are far
/// from it.
const MOST: f32 = 1.0 / 254.0;

impl Scales<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F16(scales) => scales.len(),
            Self::Bf16(scales) => scales.len(),
            Self::F32(scales) => scales.len(),
        }
    }

    fn get(&self, index: usize) -> f32 {
        match self {
            Self::F16(scales) => scales[index].to_f32(),
            Self::Bf16(scales) => f32::from_bits(u32::from(scales[index]) << 16),
            Self::F32(scales) => scales[index],
        }
    }

    /// The nearest half-precision numbers, and the largest relative error of them. There must be `groups` rows of
    /// `n` scales.
    pub(super) fn round(
        &self,
        what: &'static str,
        groups: usize,
        n: usize,
    ) -> Result<(Vec<F16>, f32), Error> {
        expect_length(what, groups * n, self.len())?;
        let rounded = (0..self.len()).into_par_iter().map(|i| {
            let (row, group, value) = (i % n, i / n, self.get(i));
            if !value.is_finite() {
                return Err(Error::NonFiniteScale { row, group, value });
            }
            let half = F16::from_f32(value);
            // Zero is exact; anything else, in f64, is at least 2^-149.
            let error = match value {
                0.0 => 0.0,
                _ => ((f64::from(half.to_f32()) - f64::from(value)) / f64::from(value)).abs() as f32,
            };
            if error > MOST { Err(Error::ScaleOutOfRange { row, group, value }) } else { Ok((half, error)) }
        });
        let rounded: Vec<(F16, f32)> = rounded.collect::<Result<_, _>>()?;
        let worst = rounded.iter().fold(0.0f32, |worst, (_, error)| worst.max(*error));
        Ok((rounded.into_iter().map(|(half, _)| half).collect(), worst))
    }
}

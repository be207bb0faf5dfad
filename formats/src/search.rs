//! The search for the codes and scales of a super-block that give the smallest squared error.
//!
//! Both kinds of super-block are found in two steps. First every group looks for its own best scale (and
//! minimum): for each of a range of trial scales it takes the nearest codes, then the scale that fits those
//! codes best in the least-squares sense. Then the groups' scales are rounded to multiples of the
//! super-block's, and every group tries the neighbours of its rounded values with the codes that they imply,
//! because the nearest multiple need not be the best one.

use crate::F16;

/// Weights in a super-block.
const WEIGHTS: usize = 256;

/// Trial scales lie around the one at which the group's extreme just reaches the last code: this many of
/// them, a tenth of a code apart.
const TRIALS: i32 = 20;

/// The nearest integer, ties to even, for magnitudes below 2^22.
#[inline(always)]
fn round(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23
    (value + SHIFT) - SHIFT
}

/// `1 / value`, or 0 where that would not be finite.
pub(crate) fn reciprocal(value: f32) -> f32 {
    let inverse = 1.0 / value;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Sums in eight lanes, so that the compiler can vectorize them.
#[inline(always)]
fn sum(weights: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 8];
    for weights in weights.chunks_exact(8) {
        for (lane, &weight) in lanes.iter_mut().zip(weights) {
            *lane += term(weight);
        }
    }
    lanes.iter().sum()
}

/// `weight = scale * s * code - min_scale * m`, codes from 0, one `s` and `m` per group.
pub(crate) struct AffineSuperBlock<const GROUPS: usize> {
    pub(crate) scale: F16,
    pub(crate) min_scale: F16,
    pub(crate) scales: [u8; GROUPS],
    pub(crate) mins: [u8; GROUPS],
    pub(crate) codes: [u8; WEIGHTS],
}

impl<const GROUPS: usize> AffineSuperBlock<GROUPS> {
    /// The best super-block for `weights` with codes up to `max_code` and integer scales up to `max_scale`.
    pub(crate) fn search(weights: &[f32], max_code: u8, max_scale: u8) -> Self {
        assert_eq!(weights.len(), WEIGHTS, "a super-block has {WEIGHTS} weights");
        let group = |i: usize| &weights[i * (WEIGHTS / GROUPS)..][..WEIGHTS / GROUPS];
        let fits: [Affine; GROUPS] = core::array::from_fn(|i| Affine::fit(group(i), max_code));

        let unit = |largest: f32| F16::from_f32(largest / f32::from(max_scale));
        let scale = unit(fits.iter().fold(0.0, |largest, fit| fit.scale.max(largest)));
        let min_scale = unit(fits.iter().fold(0.0, |largest, fit| fit.min.max(largest)));

        let mut block =
            Self { scale, min_scale, scales: [0; GROUPS], mins: [0; GROUPS], codes: [0; WEIGHTS] };
        let (scale, min_scale) = (scale.to_f32(), min_scale.to_f32());
        let neighbours = |value: f32, unit: f32| {
            let nearest = round((value * reciprocal(unit)).min(f32::from(max_scale))) as u8;
            nearest.saturating_sub(1)..=(nearest + 1).min(max_scale)
        };
        for (i, fit) in fits.iter().enumerate() {
            let weights = group(i);
            let mut least = f32::INFINITY;
            for s in neighbours(fit.scale, scale) {
                for m in neighbours(fit.min, min_scale) {
                    let trial = Affine { scale: scale * f32::from(s), min: min_scale * f32::from(m) };
                    let error = trial.squared_error(weights, max_code);
                    if error < least {
                        (least, block.scales[i], block.mins[i]) = (error, s, m);
                    }
                }
            }
            let chosen = Affine {
                scale: scale * f32::from(block.scales[i]),
                min: min_scale * f32::from(block.mins[i]),
            };
            let inverse = reciprocal(chosen.scale);
            for (code, weight) in block.codes[i * weights.len()..].iter_mut().zip(weights) {
                *code = chosen.code(*weight, inverse, max_code) as u8;
            }
        }
        block
    }
}

/// `weight = scale * code - min`.
#[derive(Clone, Copy)]
struct Affine {
    scale: f32,
    min: f32,
}

impl Affine {
    #[inline(always)]
    fn code(self, weight: f32, inverse: f32, max_code: u8) -> f32 {
        round(((weight + self.min) * inverse).clamp(0.0, f32::from(max_code)))
    }

    fn squared_error(self, weights: &[f32], max_code: u8) -> f32 {
        let inverse = reciprocal(self.scale);
        sum(weights, |weight| {
            let error = self.scale * self.code(weight, inverse, max_code) - self.min - weight;
            error * error
        })
    }

    /// The best scale and minimum for a group on its own; neither is negative.
    fn fit(weights: &[f32], max_code: u8) -> Self {
        let lowest = weights.iter().fold(0.0f32, |lowest, &weight| lowest.min(weight));
        let highest = weights.iter().fold(lowest, |highest, &weight| highest.max(weight));
        let range = highest - lowest;
        if reciprocal(range) == 0.0 {
            return Self { scale: 0.0, min: -lowest };
        }
        let count = weights.len() as f32;
        let total = sum(weights, |weight| weight);
        let (mut best, mut most) =
            (Self { scale: range / f32::from(max_code), min: -lowest }, f32::NEG_INFINITY);
        for trial in -TRIALS / 2..=TRIALS / 2 {
            let inverse = (f32::from(max_code) + 0.1 * trial as f32) / range;
            let code = |weight| Self { scale: 0.0, min: -lowest }.code(weight, inverse, max_code);
            let codes = sum(weights, code);
            let squares = sum(weights, |weight| code(weight) * code(weight));
            let products = sum(weights, |weight| code(weight) * weight);

            let determinant = count * squares - codes * codes;
            let mut fit = Self {
                scale: (count * products - codes * total) / determinant,
                min: (codes * products - squares * total) / determinant,
            };
            if fit.min < 0.0 {
                fit = Self { scale: products / squares, min: 0.0 };
            }
            // At a least-squares optimum the squared error is the weights' own squares less this.
            let explained = fit.scale * products - fit.min * total;
            if explained > most && fit.scale.is_finite() && fit.scale >= 0.0 {
                (best, most) = (fit, explained);
            }
        }
        best
    }
}

/// `weight = scale * s * code` with codes from `-limit` to `limit - 1`, one `s` per group.
pub(crate) struct SymmetricSuperBlock<const GROUPS: usize> {
    pub(crate) scale: F16,
    pub(crate) scales: [i8; GROUPS],
    pub(crate) codes: [i8; WEIGHTS],
}

impl<const GROUPS: usize> SymmetricSuperBlock<GROUPS> {
    /// The best super-block for `weights` with integer scales from `-scale_limit` to `scale_limit - 1`.
    pub(crate) fn search(weights: &[f32], limit: u8, scale_limit: u8) -> Self {
        assert_eq!(weights.len(), WEIGHTS, "a super-block has {WEIGHTS} weights");
        let group = |i: usize| &weights[i * (WEIGHTS / GROUPS)..][..WEIGHTS / GROUPS];
        let limit = f32::from(limit);
        let fits: [f32; GROUPS] = core::array::from_fn(|i| fit_symmetric(group(i), limit));

        // The largest scale becomes the integer of largest magnitude, which is negative.
        let largest = fits.iter().fold(0.0f32, |best, &fit| if fit.abs() > best.abs() { fit } else { best });
        let lowest = -i32::from(scale_limit);
        let scale = F16::from_f32(largest / lowest as f32);
        let mut block = Self { scale, scales: [0; GROUPS], codes: [0; WEIGHTS] };
        let scale = scale.to_f32();
        for (i, fit) in fits.iter().enumerate() {
            let weights = group(i);
            let nearest = round((fit * reciprocal(scale)).clamp(lowest as f32, -lowest as f32)) as i32;
            let mut least = f32::INFINITY;
            for s in (nearest - 1).max(lowest)..=(nearest + 1).min(-lowest - 1) {
                let trial = scale * s as f32;
                let inverse = reciprocal(trial);
                let error = sum(weights, |weight| {
                    let error = trial * symmetric_code(weight, inverse, limit) - weight;
                    error * error
                });
                if error < least {
                    (least, block.scales[i]) = (error, s as i8);
                }
            }
            let inverse = reciprocal(scale * f32::from(block.scales[i]));
            for (code, weight) in block.codes[i * weights.len()..].iter_mut().zip(weights) {
                *code = symmetric_code(*weight, inverse, limit) as i8;
            }
        }
        block
    }
}

#[inline(always)]
fn symmetric_code(weight: f32, inverse: f32, limit: f32) -> f32 {
    round((weight * inverse).clamp(-limit, limit - 1.0))
}

/// The best scale for a group on its own. Its sign is such that the weight of largest magnitude gets a
/// negative code, of which there is one more.
fn fit_symmetric(weights: &[f32], limit: f32) -> f32 {
    let largest =
        weights.iter().fold(0.0f32, |best, &weight| if weight.abs() > best.abs() { weight } else { best });
    if reciprocal(largest) == 0.0 {
        return 0.0;
    }
    let (mut best, mut most) = (-largest / limit, 0.0);
    for trial in -TRIALS / 2..=TRIALS / 2 {
        let inverse = -(limit + 0.1 * trial as f32) / largest;
        let products = sum(weights, |weight| symmetric_code(weight, inverse, limit) * weight);
        let squares = sum(weights, |weight| {
            let code = symmetric_code(weight, inverse, limit);
            code * code
        });
        let explained = products * products / squares;
        if explained > most {
            (best, most) = (products / squares, explained);
        }
    }
    best
}

//! The search for evenly spaced codes around zero: the scale of a group, and those of a super-block.
//!
//! First every group looks for its own best scale: for each of a range of trial scales it takes the nearest codes,
//! then the scale that fits those codes best in the least-squares sense. Then the groups' scales are rounded to
//! multiples of the super-block's, and every group tries the neighbours of its multiple with the codes that they
//! imply, because the nearest need not be the best.

use crate::lanes::{Lanes, reciprocal, round_to_byte};
use crate::rows::{Fits, Rows};
use crate::scales::best_scale;
use crate::super_block::{Pairs, STEPS, Search, Units};
use crate::{F16, Importance};

/// Which codes the extreme weight is tried to get: the last one times `.0`, plus `.1`. Most are near it; the others
/// cut off the extreme, for the good of more important weights.
const TRIALS: [(f32, f32); 10] = [
    (1.0, -0.9),
    (1.0, -0.6),
    (1.0, -0.3),
    (1.0, 0.0),
    (1.0, 0.3),
    (1.0, 0.6),
    (1.0, 0.9),
    (1.25, 0.0),
    (1.6, 0.0),
    (2.0, 0.0),
];

/// The same for one group, whose lanes are trials: as many as fill vectors, with scales of either sign.
const TRIALS_OF_ONE: [(f32, f32); 8] =
    [(1.0, -0.9), (1.0, -0.45), (1.0, 0.0), (1.0, 0.45), (1.0, 0.9), (1.25, 0.0), (1.6, 0.0), (2.0, 0.0)];

/// Codes from `-limit` to `limit - 1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symmetric {
    pub(crate) limit: f32,
}

impl Symmetric {
    #[inline(always)]
    fn codes<const L: usize>(self, weights: Lanes<L>, inverse: Lanes<L>) -> Lanes<L> {
        (weights * inverse).max(Lanes::splat(-self.limit)).min(Lanes::splat(self.limit - 1.0)).round()
    }

    /// The code of a weight, as the low byte of an integer.
    #[inline(always)]
    pub(crate) fn code(self, weight: f32, inverse: f32) -> u8 {
        let code = weight * inverse;
        let code = if code > -self.limit { code } else { -self.limit };
        round_to_byte(if code < self.limit - 1.0 { code } else { self.limit - 1.0 })
    }

    #[inline(always)]
    fn fit<I: Importance, const N: usize, const L: usize>(
        self,
        rows: &Rows<I, N, L>,
        inverse: Lanes<L>,
    ) -> Fits<L> {
        rows.fit(
            #[inline(always)]
            |weights| self.codes(weights, inverse),
        )
    }
}

impl Symmetric {
    /// The best scale of one group of a multiple of eight weights, of either sign.
    #[inline(always)]
    pub(crate) fn best_of_one<I: Importance, const N: usize>(self, weights: &[f32], importance: I) -> f32 {
        const COUNT: usize = TRIALS_OF_ONE.len();
        let rows = Rows::<I, N, { 2 * COUNT }>::repeated(weights, importance, 0);
        let mut trials = Lanes::ZERO;
        for (i, (factor, more)) in TRIALS_OF_ONE.into_iter().enumerate() {
            trials.0[i] = self.limit * factor + more;
            trials.0[i + COUNT] = -trials.0[i];
        }
        let mut largest = Lanes::<8>::ZERO;
        for weights in weights.as_chunks().0 {
            largest = Lanes(*weights).abs().max(largest);
        }
        let largest = largest.0.iter().fold(0.0f32, |largest, lane| largest.max(*lane));
        let inverse = trials * reciprocal(largest);
        best_scale([inverse], |inverse| self.fit(&rows, inverse))
    }
}

/// The search for super-blocks of `weight = scale * s * code`, one `s` per group.
#[derive(Clone, Copy, Debug)]
pub struct SymmetricSearch {
    kind: Symmetric,
    /// The lowest `s`; the highest is its negative less one.
    lowest: f32,
}

impl SymmetricSearch {
    /// For codes from `-limit` to `limit - 1`, and levels from `-level_limit` to `level_limit - 1`.
    pub(crate) const fn new(limit: u8, level_limit: u8) -> Self {
        Self { kind: Symmetric { limit: limit as f32 }, lowest: -(level_limit as f32) }
    }
}

impl Search for SymmetricSearch {
    #[inline(always)]
    fn ideal<I: Importance, const N: usize, const L: usize>(self, rows: &Rows<I, N, L>) -> Pairs<L> {
        Pairs { scale: best_scales(self.kind, rows), min: Lanes::ZERO }
    }

    #[inline(always)]
    fn units(self, scales: impl Iterator<Item = f32>, _: impl Iterator<Item = f32>) -> Units {
        // The largest scale becomes the integer of largest magnitude, which is negative.
        let largest = scales.fold(0.0f32, |best, fit| if fit.abs() > best.abs() { fit } else { best });
        Units { scale: F16::from_f32(largest / self.lowest), min_scale: F16::default() }
    }

    #[inline(always)]
    fn levels<I: Importance, const N: usize, const L: usize>(
        self,
        rows: &Rows<I, N, L>,
        ideal: Pairs<L>,
        (unit, _): (f32, f32),
    ) -> Pairs<L> {
        let highest = Lanes::splat(-self.lowest - 1.0);
        let bounded = |level: Lanes<L>| level.max(Lanes::splat(self.lowest)).min(highest);
        let nearest = bounded((ideal.scale * reciprocal(unit)).round());
        let (mut levels, mut most) = (nearest, Lanes::splat(f32::NEG_INFINITY));
        for &step in &STEPS {
            let level = bounded(nearest + step);
            let trial = level * unit;
            let gain = self.kind.fit(rows, trial.reciprocal()).gain(trial);
            levels = Lanes::select(gain, most, level, levels);
            most = gain.max(most);
        }
        Pairs { scale: levels, min: Lanes::ZERO }
    }

    #[inline(always)]
    fn code(self, weight: f32, inverse: f32, _: f32) -> u8 {
        self.kind.code(weight, inverse).wrapping_add(self.kind.limit as u8)
    }
}

/// The best scale of each lane on its own. Its sign is such that the weight of largest magnitude gets a negative
/// code, of which there is one more.
#[inline(always)]
fn best_scales<I: Importance, const N: usize, const L: usize>(
    kind: Symmetric,
    rows: &Rows<I, N, L>,
) -> Lanes<L> {
    let inverse = -rows.largest().reciprocal();
    let mut most = Lanes::ZERO;
    let mut best = inverse.reciprocal() / kind.limit;
    for &(factor, more) in &TRIALS {
        let fits = kind.fit(rows, inverse * (kind.limit * factor + more));
        let scale = fits.scale();
        let gain = scale * fits.products;
        best = Lanes::select(gain, most, scale, best);
        most = gain.max(most);
    }
    best
}

//! The search for evenly spaced codes from 0 on with a minimum: the scale and minimum of a group, and those of a
//! super-block.
//!
//! First every group looks for its own best pair: for each of a range of trial scales it takes the nearest codes,
//! then the scale and minimum that fit those codes best in the least-squares sense. Then the groups' pairs are
//! rounded to multiples of the super-block's, and every group tries the neighbours of its multiples with the codes
//! that they imply, because the nearest need not be the best.

use crate::lanes::{Lanes, reciprocal, round_to_byte};
use crate::rows::Rows;
use crate::super_block::{Pairs, STEPS, Search, Units};
use crate::{F16, Importance};

/// How many codes the range of the weights is tried to be: the last one times `.0`, plus `.1`. Most are near it; the
/// others cut off the extreme, for the good of more important weights.
const TRIALS: [(f32, f32); 14] = [
    (1.0, -1.0),
    (1.0, -0.8),
    (1.0, -0.6),
    (1.0, -0.4),
    (1.0, -0.2),
    (1.0, 0.0),
    (1.0, 0.2),
    (1.0, 0.4),
    (1.0, 0.6),
    (1.0, 0.8),
    (1.0, 1.0),
    (1.25, 0.0),
    (1.6, 0.0),
    (2.0, 0.0),
];

/// `weight = scale * code - min` with codes from 0 to `max_code`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    pub(crate) max_code: f32,
}

impl Affine {
    #[inline(always)]
    fn codes<const L: usize>(self, weights: Lanes<L>, inverse: Lanes<L>, min: Lanes<L>) -> Lanes<L> {
        ((weights + min) * inverse).max(Lanes::ZERO).min(Lanes::splat(self.max_code)).round()
    }

    /// The code of a weight.
    #[inline(always)]
    pub(crate) fn code(self, weight: f32, inverse: f32, min: f32) -> u8 {
        let code = (weight + min) * inverse;
        let code = if code > 0.0 { code } else { 0.0 };
        round_to_byte(if code < self.max_code { code } else { self.max_code })
    }

    /// The squared errors that the nearest codes leave.
    #[inline(always)]
    fn errors<I: Importance, const N: usize, const L: usize>(
        self,
        rows: &Rows<I, N, L>,
        pairs: Pairs<L>,
    ) -> Lanes<L> {
        let inverse = pairs.scale.reciprocal();
        let mut errors = Lanes::ZERO;
        for row in 0..N {
            let weight = rows.weight(row);
            let error = pairs.scale * self.codes(weight, inverse, pairs.min) - pairs.min - weight;
            errors += error * error * rows.importance(row);
        }
        errors
    }

    /// The best scale and minimum of each lane on its own; neither is negative.
    #[inline(always)]
    fn best<I: Importance, const N: usize, const L: usize>(self, rows: &Rows<I, N, L>) -> Pairs<L> {
        let sums = Sums::new(rows, Lanes::ZERO);
        let mut most = Lanes::splat(f32::NEG_INFINITY);
        // A lowest of zero may have either sign; of the minimum it would show.
        let min = -(sums.lowest + 0.0);
        let mut best = Pairs { scale: (sums.highest - sums.lowest) / self.max_code, min };
        for &(factor, more) in &TRIALS {
            let trial = Lanes::splat(self.max_code * factor + more);
            let (pairs, gain) = self.fit::<false, _, _, _>(rows, &sums, trial);
            best.scale = Lanes::select(gain, most, pairs.scale, best.scale);
            best.min = Lanes::select(gain, most, pairs.min, best.min);
            most = gain.max(most);
        }
        best
    }

    /// The best scale and minimum of one group, whose minimum may be negative.
    #[inline(always)]
    pub(crate) fn best_of_one<I: Importance, const N: usize>(
        self,
        weights: &[f32],
        importance: I,
    ) -> (f32, f32) {
        let rows = Rows::<I, N, { TRIALS.len() }>::repeated(weights, importance, 0);
        let sums = Sums::new(&rows, rows.weight(0));
        let trials = Lanes(TRIALS.map(|(factor, more)| self.max_code * factor + more));
        let (pairs, gain) = self.fit::<true, _, _, _>(&rows, &sums, trials);
        let place = gain.greatest();
        if gain.0[place] > f32::NEG_INFINITY {
            (pairs.scale.0[place], pairs.min.0[place])
        } else {
            ((sums.highest.0[0] - sums.lowest.0[0]) / self.max_code, -sums.lowest.0[0])
        }
    }

    /// The scales and minima that fit best the codes that weights get when the whole range of their lane is
    /// `trial` codes; and by how much the squared errors are less than the weights' own squares. `SIGNED` if
    /// minima may be negative.
    #[inline(always)]
    fn fit<const SIGNED: bool, I: Importance, const N: usize, const L: usize>(
        self,
        rows: &Rows<I, N, L>,
        sums: &Sums<L>,
        trial: Lanes<L>,
    ) -> (Pairs<L>, Lanes<L>) {
        let &Sums { lowest, highest, count, total } = sums;
        let inverse = (highest - lowest).reciprocal() * trial;
        let (mut codes, mut squares, mut products) = (Lanes::ZERO, Lanes::ZERO, Lanes::ZERO);
        for row in 0..N {
            let weight = rows.weight(row);
            let code = ((weight - lowest) * inverse).min(Lanes::splat(self.max_code)).round();
            let factor = code * rows.importance(row);
            codes += factor;
            squares += factor * code;
            products += factor * weight;
        }
        let determinant = count * squares - codes * codes;
        let divisor = determinant.reciprocal();
        let mut scale = (count * products - codes * total) * divisor;
        let mut min = (codes * products - squares * total) * divisor;
        if !SIGNED {
            scale = Lanes::select(Lanes::ZERO, min, products / squares, scale);
            min = min.max(Lanes::ZERO);
        }
        // True at a least-squares optimum, which there is none of where codes are all alike, or as good as.
        let (gain, none) = (scale * products - min * total, Lanes::splat(f32::NEG_INFINITY));
        let gain = Lanes::select(determinant, count * squares * 1e-5, gain, none);
        (Pairs { scale, min }, Lanes::select(Lanes::ZERO, scale, none, gain))
    }
}

/// What does not change from trial to trial.
struct Sums<const L: usize> {
    lowest: Lanes<L>,
    highest: Lanes<L>,
    /// Of importance.
    count: Lanes<L>,
    /// Of weights times importance.
    total: Lanes<L>,
}

impl<const L: usize> Sums<L> {
    /// The lowest weight and the highest are so at most and at least.
    #[inline(always)]
    fn new<I: Importance, const N: usize>(rows: &Rows<I, N, L>, within: Lanes<L>) -> Self {
        let mut sums = Self { lowest: within, highest: within, count: Lanes::ZERO, total: Lanes::ZERO };
        for row in 0..N {
            let weight = rows.weight(row);
            sums.lowest = weight.min(sums.lowest);
            sums.highest = weight.max(sums.highest);
            sums.count += rows.importance(row);
            sums.total += rows.importance(row) * weight;
        }
        sums
    }
}

/// The search for super-blocks of `weight = scale * s * code - min_scale * m`, codes from 0, one `s` and `m` per group.
#[derive(Clone, Copy, Debug)]
pub struct AffineSearch {
    kind: Affine,
    /// The largest `s` and `m`.
    max_level: f32,
}

impl AffineSearch {
    /// For codes up to `max_code` and levels up to `max_level`.
    pub(crate) const fn new(max_code: u8, max_level: u8) -> Self {
        Self { kind: Affine { max_code: max_code as f32 }, max_level: max_level as f32 }
    }
}

impl Search for AffineSearch {
    #[inline(always)]
    fn ideal<I: Importance, const N: usize, const L: usize>(self, rows: &Rows<I, N, L>) -> Pairs<L> {
        self.kind.best(rows)
    }

    #[inline(always)]
    fn units(self, scales: impl Iterator<Item = f32>, mins: impl Iterator<Item = f32>) -> Units {
        // The sign of zero is the last one's. It would depend on the machine if this were `f32::max`; or if it began with
        // 0, comparisons with which compilers make that of.
        let larger = |most: f32, of: f32| if of >= most { of } else { most };
        let unit = |most: f32| F16::from_f32(most / self.max_level);
        Units { scale: unit(scales.fold(-0.0, larger)), min_scale: unit(mins.fold(-0.0, larger)) }
    }

    #[inline(always)]
    fn levels<I: Importance, const N: usize, const L: usize>(
        self,
        rows: &Rows<I, N, L>,
        ideal: Pairs<L>,
        units: (f32, f32),
    ) -> Pairs<L> {
        let bounded = |level: Lanes<L>| level.max(Lanes::ZERO).min(Lanes::splat(self.max_level));
        let nearest = Pairs {
            scale: bounded((ideal.scale * reciprocal(units.0)).round()),
            min: bounded((ideal.min * reciprocal(units.1)).round()),
        };
        let (mut levels, mut least) = (nearest, Lanes::splat(f32::INFINITY));
        for &scale_step in &STEPS {
            for &min_step in &STEPS {
                let scale = bounded(nearest.scale + scale_step);
                let min = bounded(nearest.min + min_step);
                let errors = self.kind.errors(rows, Pairs { scale: scale * units.0, min: min * units.1 });
                levels.scale = Lanes::select(least, errors, scale, levels.scale);
                levels.min = Lanes::select(least, errors, min, levels.min);
                least = errors.min(least);
            }
        }
        levels
    }

    #[inline(always)]
    fn code(self, weight: f32, inverse: f32, min: f32) -> u8 {
        self.kind.code(weight, inverse, min)
    }
}

//! The search for the scales of groups, and for those of a super-block, when how well codes fit is known for a
//! range of trial scales.
//!
//! How codes are chosen at a scale is the caller's. Codes that suit one scale suit its neighbours nearly as well:
//! what a group gains at any scale is taken from the best of its trials, so that no codes need to be chosen anew
//! while the scales of the super-block are sought.

use crate::F16;
use crate::lanes::Lanes;
use crate::rows::Fits;

/// The best scale of one group, the same weights in all lanes, of trial scales whose reciprocals are `inverses`:
/// codes that fit at one of them, at the scale that suits those codes best.
#[inline(always)]
pub(crate) fn best_scale<const L: usize, const COUNT: usize>(
    inverses: [Lanes<L>; COUNT],
    fit: impl Fn(Lanes<L>) -> Fits<L>,
) -> f32 {
    let (mut best, mut most) = (0.0, 0.0);
    for inverse in inverses {
        let fits = fit(inverse);
        let scale = fits.scale();
        let gain = scale * fits.products;
        let place = gain.greatest();
        if gain.0[place] > most {
            (best, most) = (scale.0[place], gain.0[place]);
        }
    }
    best
}

/// `T` trials of each lane's group.
pub(crate) struct Trials<const T: usize, const L: usize>([Fits<L>; T]);

impl<const T: usize, const L: usize> Trials<T, L> {
    /// The fits that `fit` gives for each trial.
    #[inline(always)]
    pub(crate) fn new(fit: impl Fn(usize) -> Fits<L>) -> Self {
        let mut fits = [Fits::ZERO; T];
        for (trial, fits) in fits.iter_mut().enumerate() {
            *fits = fit(trial);
        }
        Self(fits)
    }

    /// The best scale of each lane on its own, and its gain; zero where nothing is gained.
    #[inline(always)]
    pub(crate) fn best(&self) -> (Lanes<L>, Lanes<L>) {
        let (mut best, mut most) = (Lanes::ZERO, Lanes::ZERO);
        for fits in &self.0 {
            let scale = fits.scale();
            let gain = scale * fits.products;
            best = Lanes::select(gain, most, scale, best);
            most = gain.max(most);
        }
        (best, most)
    }

    /// What codes of the best trial gain at each of `scales`, and how they fit.
    #[inline(always)]
    fn at<const N: usize>(&self, scales: [Lanes<L>; N]) -> [(Lanes<L>, Fits<L>); N] {
        let mut best = [(Lanes::splat(f32::NEG_INFINITY), Fits::ZERO); N];
        for fits in &self.0 {
            // Several scales at once, so that none waits for the comparison before.
            for (scale, (most, best)) in scales.iter().zip(&mut best) {
                let gain = fits.gain(*scale);
                *best = best.or_where(gain, *most, *fits);
                *most = gain.max(*most);
            }
        }
        best
    }
}

/// The multiples of a super-block's scale that its groups' scales can be: `count` of them, evenly spaced.
#[derive(Clone, Copy)]
pub(crate) struct Multiples {
    pub(crate) first: f32,
    pub(crate) step: f32,
    pub(crate) count: u8,
}

impl Multiples {
    /// The first odd multiples of `unit`.
    pub(crate) const fn odd(unit: f32, count: u8) -> Self {
        Self { first: unit, step: 2.0 * unit, count }
    }

    #[inline(always)]
    fn last(self) -> f32 {
        f32::from(self.count - 1)
    }

    /// The one of largest magnitude.
    #[inline(always)]
    fn outermost(self) -> f32 {
        let last = self.first + self.step * self.last();
        if last.abs() > self.first.abs() { last } else { self.first }
    }
}

/// The scales of a super-block.
pub(crate) struct Scales<const L: usize> {
    /// The factor of all.
    pub(crate) scale: F16,
    /// For each group, which of the possible multiples of it is the group's scale.
    pub(crate) levels: [u8; L],
    /// The groups' scales.
    pub(crate) scales: Lanes<L>,
}

impl<const L: usize> Scales<L> {
    /// The scales with the smallest squared error, near those that are best for each group on its own.
    #[inline(always)]
    pub(crate) fn search<const T: usize>(multiples: Multiples, trials: &Trials<T, L>) -> Self {
        let (ideal, _) = trials.best();
        let largest =
            ideal.0.iter().fold(0.0f32, |best, &scale| if scale.abs() > best.abs() { scale } else { best });
        let (mut scale, mut levels, mut most) = (F16::default(), Lanes::ZERO, 0.0);
        // The largest scale need not be the outermost multiple exactly.
        for reach in [0.82, 0.88, 0.94, 1.0, 1.06, 1.12] {
            let mut trial = largest / (multiples.outermost() * reach);
            for _ in 0..2 {
                let rounded = F16::from_f32(trial.clamp(-F16::LARGEST, F16::LARGEST)); // finite
                let (found, gain, refined) = Self::with_scale(rounded.to_f32(), multiples, ideal, trials);
                if gain > most {
                    (scale, levels, most) = (rounded, found, gain);
                }
                trial = refined;
            }
        }
        let mut found = Self {
            scale,
            levels: [0; L],
            scales: (levels * multiples.step + multiples.first) * scale.to_f32(),
        };
        for (to, level) in found.levels.iter_mut().zip(levels.0) {
            *to = level as u8;
        }
        found
    }

    /// The best levels for a given scale, their gain, and the scale that would suit their codes best.
    #[inline(always)]
    fn with_scale<const T: usize>(
        unit: f32,
        multiples: Multiples,
        ideal: Lanes<L>,
        trials: &Trials<T, L>,
    ) -> (Lanes<L>, f32, f32) {
        let bounded = |level: Lanes<L>| level.max(Lanes::ZERO).min(Lanes::splat(multiples.last()));
        let inverse = crate::lanes::reciprocal(unit * multiples.step);
        let nearest = bounded((ideal * inverse - multiples.first / multiples.step).round());
        let (mut levels, mut most) = (nearest, Lanes::splat(f32::NEG_INFINITY));
        let mut chosen = Fits::ZERO;
        let tried = [bounded(nearest + -1.0), nearest, bounded(nearest + 1.0)];
        let mut scales = tried;
        for level in &mut scales {
            *level = (*level * multiples.step + multiples.first) * unit;
        }
        for (level, (gain, fits)) in tried.into_iter().zip(trials.at(scales)) {
            let multiple = level * multiples.step + multiples.first;
            let scaled =
                Fits { products: fits.products * multiple, squares: fits.squares * multiple * multiple };
            levels = Lanes::select(gain, most, level, levels);
            chosen = chosen.or_where(gain, most, scaled);
            most = gain.max(most);
        }
        (levels, most.sum(), chosen.products.sum() / chosen.squares.sum())
    }
}

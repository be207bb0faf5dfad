//! The nearest point of a codebook, for every scale at once.
//!
//! A codebook gives one index to a *vector* of four or eight weights. The squared error of a point `p` for the
//! vector `w` at scale `s` is `w.w - 2 s (w.p - s/2 p.p)`. Of the points of one norm `p.p`, the best one is the same
//! at every scale, and there are few norms. So one pass over the codebook, which is most of the work, serves any
//! number of trial scales. In it `w.p` is a sum of two: tables have the products of the vector's halves with
//! everything that half a point can be.
//!
//! With importance `q`, where errors count `q[i]` times, `w.p` becomes the sum of `q[i] w[i] p[i]` and `p.p` that of
//! `q[i] p[i]^2`, which differs from vector to vector. Of the points of one norm the best is then the best near a
//! reference scale, and once the scales are found, the search is repeated with these for reference.
//!
//! Where signs are stored apart, points have positive coordinates and meet the weights' magnitudes. Some formats
//! drop one sign of eight and demand an even number of minus signs; then an odd vector flips the sign that costs
//! least, which turns `w.p` into `w.p - 2 min(w[i] p[i])`.
//!
//! Vectors are searched 16 at a time, a lane for each.

use core::marker::PhantomData;

use crate::Importance;
use crate::codebook::{Codebook, HALVES};
use crate::lanes::Lanes;
use crate::rows::Fits;

/// Vectors that are searched side by side.
pub(crate) const LANES: usize = 16;

/// Vectors of a super-block: lane `l` of unit `u` is vector `u * (LANES / GROUPS) + l / GROUPS` of group
/// `l % GROUPS`.
#[inline(always)]
pub(crate) fn vector_at<const GROUPS: usize>(vectors: usize, unit: usize, lane: usize) -> usize {
    lane % GROUPS * (vectors / GROUPS) + unit * (LANES / GROUPS) + lane / GROUPS
}

/// What belongs to groups, for each of their vectors.
#[inline(always)]
pub(crate) fn repeat<const GROUPS: usize>(groups: Lanes<GROUPS>) -> Lanes<LANES> {
    let mut lanes = Lanes::ZERO;
    for lane in 0..LANES {
        lanes.0[lane] = groups.0[lane % GROUPS];
    }
    lanes
}

/// The sums of the vectors of each group.
#[inline(always)]
pub(crate) fn fold<const GROUPS: usize>(lanes: Fits<LANES>) -> Fits<GROUPS> {
    let mut groups = Fits::ZERO;
    for lane in 0..LANES {
        groups.products.0[lane % GROUPS] += lanes.products.0[lane];
        groups.squares.0[lane % GROUPS] += lanes.squares.0[lane];
    }
    groups
}

/// Vectors side by side, coordinate by coordinate.
#[derive(Clone, Copy)]
pub(crate) struct Unit<I, const DIMENSION: usize> {
    /// The weights times their importance.
    pub(crate) weighted: [Lanes<LANES>; DIMENSION],
    pub(crate) importance: [Lanes<LANES>; DIMENSION],
    kind: PhantomData<I>,
}

impl<I: Importance, const DIMENSION: usize> Unit<I, DIMENSION> {
    pub(crate) const EMPTY: Self =
        Self { weighted: [Lanes::ZERO; DIMENSION], importance: [Lanes::ZERO; DIMENSION], kind: PhantomData };

    /// Unit `unit` of `weights`.
    #[inline(always)]
    pub(crate) fn new<const GROUPS: usize>(weights: &[f32], importance: I, unit: usize) -> Self {
        let mut new = Self::EMPTY;
        for lane in 0..LANES {
            let first = vector_at::<GROUPS>(weights.len() / DIMENSION, unit, lane) * DIMENSION;
            for d in 0..DIMENSION {
                new.weighted[d].0[lane] = weights[first + d] * importance.of(first + d);
                if !I::EQUAL {
                    new.importance[d].0[lane] = importance.of(first + d);
                }
            }
        }
        new
    }
}

/// The best points of each norm for the vectors of a unit.
#[derive(Clone, Copy)]
pub(crate) struct Classes<const CLASSES: usize> {
    products: [Lanes<LANES>; CLASSES],
    /// Where importance makes them differ between vectors; else they are the codebook's norms.
    squares: [Lanes<LANES>; CLASSES],
    places: [Lanes<LANES>; CLASSES],
}

impl<const CLASSES: usize> Classes<CLASSES> {
    pub(crate) const EMPTY: Self = Self {
        products: [Lanes::ZERO; CLASSES],
        squares: [Lanes::ZERO; CLASSES],
        places: [Lanes::ZERO; CLASSES],
    };

    /// Finds the best points of each norm near the scales `reference`. Lanes where `flip` is 1 have one sign
    /// flipped, the one that costs least; where it is 0, none.
    #[inline(always)]
    pub(crate) fn search<
        const FLIP: bool,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
    >(
        &mut self,
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        unit: &Unit<I, DIMENSION>,
        flip: Lanes<LANES>,
        reference: Lanes<LANES>,
    ) {
        let mut products = [[Lanes::ZERO; HALVES]; 2];
        let mut squares = [[Lanes::ZERO; HALVES]; 2];
        let mut least = [[Lanes::splat(f32::INFINITY); HALVES]; 2];
        for half in 0..2 {
            let mut size = 1;
            for d in half * DIMENSION / 2..(half + 1) * DIMENSION / 2 {
                for level in (0..LEVELS).rev() {
                    let value = codebook.values[level];
                    let product = unit.weighted[d] * value;
                    let square = unit.importance[d] * (value * value);
                    for i in 0..size {
                        products[half][level * size + i] = products[half][i] + product;
                        if !I::EQUAL {
                            squares[half][level * size + i] = squares[half][i] + square;
                        }
                        if FLIP {
                            least[half][level * size + i] = least[half][i].min(product * flip * 2.0);
                        }
                    }
                }
                size *= LEVELS;
            }
        }
        let reference = reference * 0.5;
        for class in 0..CLASSES {
            let mut most = Lanes::splat(f32::NEG_INFINITY);
            let (mut best, mut place) = (Fits::ZERO, Lanes::ZERO);
            for candidate in codebook.class(class) {
                let [low, high] = codebook.halves[candidate].map(usize::from);
                let mut product = products[0][low] + products[1][high];
                if FLIP {
                    product = product - least[0][low].min(least[1][high]);
                }
                let mut value = product;
                if !I::EQUAL {
                    let square = squares[0][low] + squares[1][high];
                    value = product - reference * square;
                    best = best.or_where(value, most, Fits { products: product, squares: square });
                }
                place = Lanes::select(value, most, Lanes::splat(codebook.places[candidate]), place);
                most = value.max(most);
            }
            self.places[class] = place;
            self.products[class] = if I::EQUAL { most } else { best.products };
            if !I::EQUAL {
                self.squares[class] = best.squares;
            }
        }
    }

    /// How well the best points fit at each of `scales`, and their places in the sorted codebook.
    #[inline(always)]
    pub(crate) fn best<
        const SCALES: usize,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
    >(
        &self,
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        scales: [Lanes<LANES>; SCALES],
    ) -> [(Fits<LANES>, Lanes<LANES>); SCALES] {
        let mut most = [Lanes::splat(f32::NEG_INFINITY); SCALES];
        let mut best = [(Fits::ZERO, Lanes::ZERO); SCALES];
        for class in 0..CLASSES {
            let squares =
                if I::EQUAL { Lanes::splat(codebook.classes[class].0) } else { self.squares[class] };
            let fits = Fits { products: self.products[class], squares };
            let half = squares * 0.5;
            // Several scales at once, so that none waits for the comparison before.
            for i in 0..SCALES {
                let gain = fits.products - scales[i] * half;
                let (found, place) = best[i];
                best[i] = (
                    found.or_where(gain, most[i], fits),
                    Lanes::select(gain, most[i], self.places[class], place),
                );
                most[i] = gain.max(most[i]);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codebooks::{IQ2_S, IQ3_XXS};
    use crate::{Equal, PerWeight};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Classes against a look at every point: for equal importance at scales from far too small to far too large,
    /// for others at the reference scale.
    fn check<const DIMENSION: usize, const LEVELS: usize, const POINTS: usize, const CLASSES: usize>(
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
    ) {
        let mut rng = StdRng::seed_from_u64(7);
        let weights: [f32; 256] = core::array::from_fn(|_| rng.random::<f32>().powi(3));
        let importance: [f32; 256] = core::array::from_fn(|_| rng.random_range(0f32..1.0).powi(4));
        let flip = Lanes(core::array::from_fn(|lane| (lane % 3 % 2) as f32));
        for scale in (-12..6).map(|exponent| 1.5f32.powi(exponent) / codebook.largest()) {
            for unit in 0..256 / DIMENSION / LANES {
                check_unit(codebook, &weights, Equal, unit, flip, 0.2, scale);
                check_unit(codebook, &weights, PerWeight::new(&importance), unit, flip, scale, scale);
            }
        }
    }

    fn check_unit<
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
        const CLASSES: usize,
    >(
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        weights: &[f32; 256],
        importance: I,
        number: usize,
        flip: Lanes<LANES>,
        reference: f32,
        scale: f32,
    ) {
        let unit = Unit::<I, DIMENSION>::new::<8>(weights, importance, number);
        let mut classes = Classes::EMPTY;
        classes.search::<true, _, _, _, _>(codebook, &unit, flip, Lanes::splat(reference));
        let [(fits, places)] = classes.best::<1, I, _, _, _>(codebook, [Lanes::splat(scale)]);
        for lane in 0..LANES {
            let first = vector_at::<8>(256 / DIMENSION, number, lane) * DIMENSION;
            let gain = |place: usize| {
                let (mut products, mut squares, mut least) = (0.0, 0.0, f32::INFINITY);
                for d in 0..DIMENSION {
                    let (point, importance) = (codebook.coordinate(place, d), importance.of(first + d));
                    let product = point * weights[first + d] * importance;
                    products += product;
                    squares += point * point * importance;
                    least = least.min(product);
                }
                scale * (2.0 * (products - 2.0 * flip.0[lane] * least) - scale * squares)
            };
            let most = (0..POINTS).map(gain).fold(f32::NEG_INFINITY, f32::max);
            let found = gain(places.0[lane] as usize);
            let slack = 1e-4 * most.abs() + 1e-6;
            assert!((found - most).abs() <= slack, "{found} instead of {most} at {scale}");
            let told = fits.gain(Lanes::splat(scale)).0[lane];
            assert!((told - found).abs() <= slack, "{told} was told of {found} at {scale}");
        }
    }

    #[test]
    fn classes_find_what_a_search_through_the_codebook_finds() {
        check::<8, 3, 1024, 16>(&Codebook::new(IQ2_S, [8, 25, 43]));
        check::<4, 8, 256, 64>(&Codebook::new(IQ3_XXS, [4, 12, 20, 28, 36, 44, 52, 62]));
    }
}

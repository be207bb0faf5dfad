//! Super-blocks of which signs and points of a codebook are stored apart.

use crate::Importance;
use crate::codebook::Codebook;
use crate::kquant::SUPER_BLOCK;
use crate::lanes::{Lanes, geometric};
use crate::rows::Fits;
use crate::scales::{Multiples, Scales, Trials};
use crate::vector_code::{Classes, LANES, Unit, fold, repeat, vector_at};

/// Trial scales, relative to the one at which the largest coordinate reaches the largest weight.
const TRIALS: [f32; 20] = geometric(0.22, 1.116);

/// Scales that are tried side by side.
const AT_ONCE: usize = 2;

/// Eight weights.
const OCTETS: usize = SUPER_BLOCK / 8;

/// A super-block of which signs and points are stored apart.
pub(crate) struct SignedSuperBlock<const GROUPS: usize, const VECTORS: usize> {
    pub(crate) scales: Scales<GROUPS>,
    /// The points' indices in the packed codebook.
    pub(crate) points: [u16; VECTORS],
    /// For each eight weights, the negative ones.
    pub(crate) signs: [u8; OCTETS],
}

impl<const GROUPS: usize, const VECTORS: usize> SignedSuperBlock<GROUPS, VECTORS> {
    /// The best super-block for `weights` whose groups' scales are `multiples` of the block's.
    /// If `EVEN`, each eight weights have an even number of minus signs.
    #[inline(always)]
    pub(crate) fn search<
        const EVEN: bool,
        const UNITS: usize,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
        const CLASSES: usize,
    >(
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        multiples: Multiples,
        weights: &[f32],
        importance: I,
    ) -> Self {
        const { assert!(DIMENSION * VECTORS == SUPER_BLOCK && UNITS * LANES == VECTORS) };
        assert_eq!(weights.len(), SUPER_BLOCK, "256 weights");
        let mut magnitudes = [0.0; SUPER_BLOCK];
        let mut signs = [0u8; OCTETS];
        for i in 0..SUPER_BLOCK {
            magnitudes[i] = weights[i].abs();
            signs[i / 8] |= u8::from(weights[i] < 0.0) << (i % 8);
        }
        let mut units = [(Unit::<I, DIMENSION>::EMPTY, Lanes::ZERO); UNITS];
        for (u, (unit, odd)) in units.iter_mut().enumerate() {
            *unit = Unit::new::<GROUPS>(&magnitudes, importance, u);
            for lane in 0..LANES {
                let octet = vector_at::<GROUPS>(VECTORS, u, lane) * DIMENSION / 8;
                odd.0[lane] = (signs[octet].count_ones() % 2) as f32;
            }
        }

        let (mut largest, mut mean) = (Lanes::<GROUPS>::ZERO, Lanes::<GROUPS>::ZERO);
        for group in 0..GROUPS {
            let (mut total, mut count) = (0.0, 0.0);
            for i in group * SUPER_BLOCK / GROUPS..(group + 1) * SUPER_BLOCK / GROUPS {
                largest.0[group] = largest.0[group].max(magnitudes[i]);
                total += importance.of(i) * magnitudes[i];
                count += importance.of(i);
            }
            mean.0[group] = total / count;
        }
        let reference = mean * (1.0 / codebook.mean);
        let mut tried = [largest * (1.0 / codebook.largest()); TRIALS.len()];
        for (scale, trial) in tried.iter_mut().zip(TRIALS) {
            *scale = *scale * trial;
        }

        let mut fits = [Fits::ZERO; TRIALS.len()];
        let mut chosen = [(Lanes::ZERO, Lanes::ZERO); UNITS];
        let scales = if I::EQUAL {
            let mut vectors = [Vectors::EMPTY; UNITS];
            for (vectors, (unit, odd)) in vectors.iter_mut().zip(&units) {
                vectors.search::<EVEN, GROUPS, I, _, _, _>(codebook, unit, *odd, reference);
                vectors.fit::<EVEN, GROUPS, I, _, _, _>(codebook, *odd, &tried, &mut fits);
            }
            let scales = Scales::search(multiples, &trials(&fits));
            for ((chosen, vectors), (_, odd)) in chosen.iter_mut().zip(&vectors).zip(&units) {
                *chosen = vectors.points::<EVEN, GROUPS, I, _, _, _>(codebook, *odd, scales.scales);
            }
            scales
        } else {
            // The points depend on the scales.
            let mut vectors = Vectors::EMPTY;
            for (unit, odd) in &units {
                vectors.search::<EVEN, GROUPS, I, _, _, _>(codebook, unit, *odd, reference);
                vectors.fit::<EVEN, GROUPS, I, _, _, _>(codebook, *odd, &tried, &mut fits);
            }
            let scales = Scales::search(multiples, &trials(&fits));
            for (chosen, (unit, odd)) in chosen.iter_mut().zip(&units) {
                vectors.search::<EVEN, GROUPS, I, _, _, _>(codebook, unit, *odd, scales.scales);
                *chosen = vectors.points::<EVEN, GROUPS, I, _, _, _>(codebook, *odd, scales.scales);
            }
            scales
        };

        let mut points = [0; VECTORS];
        for (unit, (places, flipped)) in chosen.iter().enumerate() {
            for lane in 0..LANES {
                let vector = vector_at::<GROUPS>(VECTORS, unit, lane);
                let place = places.0[lane] as usize;
                points[vector] = codebook.indices[place];
                if EVEN && flipped.0[lane] > 0.0 {
                    let first = vector * DIMENSION;
                    let (mut cheapest, mut least) = (0, f32::INFINITY);
                    for d in 0..DIMENSION {
                        let product =
                            codebook.coordinate(place, d) * magnitudes[first + d] * importance.of(first + d);
                        if product < least {
                            (cheapest, least) = (first + d, product);
                        }
                    }
                    signs[cheapest / 8] ^= 1 << (cheapest % 8);
                }
            }
        }
        Self { scales, points, signs }
    }

    /// Four times seven signs and, on top, the four bits of a scale: how IQ2_XXS and IQ3_XXS store a run's.
    #[inline(always)]
    pub(crate) fn signs_and_level(&self, run: usize) -> u32 {
        let signs = (0..4).fold(0, |bits, k| bits | u32::from(self.signs[run * 4 + k] & 0x7f) << (7 * k));
        signs | u32::from(self.scales.levels[run]) << 28
    }
}

/// The trials of groups whose vectors fit so.
#[inline(always)]
fn trials<const GROUPS: usize>(fits: &[Fits<LANES>; TRIALS.len()]) -> Trials<{ TRIALS.len() }, GROUPS> {
    Trials::new(
        #[inline(always)]
        |trial| fold(fits[trial]),
    )
}

/// The vectors of a unit.
#[derive(Clone, Copy)]
struct Vectors<const CLASSES: usize> {
    /// Where vectors are octets and signs are even, those of odd ones have a sign flipped.
    plain: Classes<CLASSES>,
    /// With a sign flipped, where an octet has two vectors.
    flipped: Classes<CLASSES>,
}

impl<const CLASSES: usize> Vectors<CLASSES> {
    const EMPTY: Self = Self { plain: Classes::EMPTY, flipped: Classes::EMPTY };

    /// Finds the best points near the scales `reference`. `odd` is 1 for vectors in octets with an odd number of minus
    /// signs, here and below.
    #[inline(always)]
    fn search<
        const EVEN: bool,
        const GROUPS: usize,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
    >(
        &mut self,
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        unit: &Unit<I, DIMENSION>,
        odd: Lanes<LANES>,
        reference: Lanes<GROUPS>,
    ) {
        let reference = repeat(reference);
        if EVEN && DIMENSION == 8 {
            self.plain.search::<true, _, _, _, _>(codebook, unit, odd, reference);
        } else {
            self.plain.search::<false, _, _, _, _>(codebook, unit, Lanes::ZERO, reference);
            if EVEN {
                self.flipped.search::<true, _, _, _, _>(codebook, unit, Lanes::splat(1.0), reference);
            }
        }
    }

    /// Adds how well the best points fit at each of `scales`.
    #[inline(always)]
    fn fit<
        const EVEN: bool,
        const GROUPS: usize,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
    >(
        &self,
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        odd: Lanes<LANES>,
        scales: &[Lanes<GROUPS>; TRIALS.len()],
        totals: &mut [Fits<LANES>; TRIALS.len()],
    ) {
        const { assert!(TRIALS.len().is_multiple_of(AT_ONCE)) };
        for (totals, &scales) in totals.as_chunks_mut::<AT_ONCE>().0.iter_mut().zip(scales.as_chunks().0) {
            let chosen = self.choose::<EVEN, GROUPS, AT_ONCE, I, _, _, _>(codebook, odd, scales);
            for (total, (fits, ..)) in totals.iter_mut().zip(chosen) {
                total.products += fits.products;
                total.squares += fits.squares;
            }
        }
    }

    /// The best points at `scales`: their places, and 1 where they have a sign flipped.
    #[inline(always)]
    fn points<
        const EVEN: bool,
        const GROUPS: usize,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
    >(
        &self,
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        odd: Lanes<LANES>,
        scales: Lanes<GROUPS>,
    ) -> (Lanes<LANES>, Lanes<LANES>) {
        let [(_, places, flipped)] = self.choose::<EVEN, GROUPS, 1, I, _, _, _>(codebook, odd, [scales]);
        (places, flipped)
    }

    /// The best points at each of `scales`: how well they fit, their places, and 1 where they have a sign flipped.
    #[inline(always)]
    fn choose<
        const EVEN: bool,
        const GROUPS: usize,
        const SCALES: usize,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
    >(
        &self,
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        odd: Lanes<LANES>,
        scales: [Lanes<GROUPS>; SCALES],
    ) -> [(Fits<LANES>, Lanes<LANES>, Lanes<LANES>); SCALES] {
        let mut of_lanes = [Lanes::ZERO; SCALES];
        for (of_lanes, scale) in of_lanes.iter_mut().zip(scales) {
            *of_lanes = repeat(scale);
        }
        let plain = self.plain.best::<SCALES, I, _, _, _>(codebook, of_lanes);
        let mut chosen = [(Fits::ZERO, Lanes::ZERO, odd); SCALES];
        for (chosen, (fits, places)) in chosen.iter_mut().zip(plain) {
            (chosen.0, chosen.1) = (fits, places);
        }
        if !EVEN || DIMENSION == 8 {
            return chosen;
        }
        // The two vectors of an octet are `GROUPS` lanes apart. The one that loses less is flipped.
        let flipped = self.flipped.best::<SCALES, I, _, _, _>(codebook, of_lanes);
        for i in 0..SCALES {
            let ((plain, places, flip), (flipped, flipped_places)) = (&mut chosen[i], flipped[i]);
            let loss = plain.gain(of_lanes[i]) - flipped.gain(of_lanes[i]);
            for first in (0..LANES).step_by(2 * GROUPS) {
                for lane in first..first + GROUPS {
                    let (a, b) = (loss.0[lane], loss.0[lane + GROUPS]);
                    let second = if b < a { 1.0 } else { 0.0 };
                    flip.0[lane] *= 1.0 - second;
                    flip.0[lane + GROUPS] *= second;
                }
            }
            *places = Lanes::select(*flip, Lanes::ZERO, flipped_places, *places);
            *plain = plain.or_where(*flip, Lanes::ZERO, flipped);
        }
        chosen
    }
}

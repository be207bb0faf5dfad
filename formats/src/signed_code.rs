//! Super-blocks of which signs and points of a codebook are stored apart.

use crate::Importance;
use crate::codebook::Codebook;
use crate::kquant::SUPER_BLOCK;
use crate::lanes::{Lanes, geometric};
use crate::rows::Fits;
use crate::scales::{Multiples, Scales, Trials};
use crate::vector_code::{Classes, LANES, Unit, fold, repeat, vector_at};

/// Trial scales, relative to the one at which the largest coordinate reaches the largest weight.
const TRIALS: [f32; 21] = geometric(0.22, 1.11);

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
        // Whether the octets of vectors have an odd number of minus signs.
        let mut odd = [Lanes::ZERO; UNITS];
        for (unit, odd) in odd.iter_mut().enumerate() {
            for lane in 0..LANES {
                let octet = vector_at::<GROUPS>(VECTORS, unit, lane) * DIMENSION / 8;
                odd.0[lane] = (signs[octet].count_ones() % 2) as f32;
            }
        }

        let mut vectors = Vectors { plain: [Classes::EMPTY; UNITS], flipped: [Classes::EMPTY; UNITS], odd };
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
        vectors.search::<EVEN, GROUPS, I, _, _, _>(
            codebook,
            &magnitudes,
            importance,
            mean * (1.0 / codebook.mean),
        );
        let unit = largest * (1.0 / codebook.largest());
        let trials = Trials::<{ TRIALS.len() }, GROUPS>::new(
            #[inline(always)]
            |trial| vectors.fit::<EVEN, GROUPS, I, _, _, _>(codebook, unit * TRIALS[trial]),
        );
        let scales = Scales::search(multiples, &trials);

        if !I::EQUAL {
            vectors.search::<EVEN, GROUPS, I, _, _, _>(codebook, &magnitudes, importance, scales.scales);
        }
        let mut points = [0; VECTORS];
        for unit in 0..UNITS {
            let (_, places, flipped) =
                vectors.choose::<EVEN, GROUPS, I, _, _, _>(codebook, unit, repeat(scales.scales));
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

/// The vectors of a super-block.
struct Vectors<const UNITS: usize, const CLASSES: usize> {
    /// Where vectors are octets and signs are even, those of odd ones have a sign flipped.
    plain: [Classes<CLASSES>; UNITS],
    /// With a sign flipped, where an octet has two vectors.
    flipped: [Classes<CLASSES>; UNITS],
    /// 1 for vectors in octets with an odd number of minus signs.
    odd: [Lanes<LANES>; UNITS],
}

impl<const UNITS: usize, const CLASSES: usize> Vectors<UNITS, CLASSES> {
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
        magnitudes: &[f32; SUPER_BLOCK],
        importance: I,
        reference: Lanes<GROUPS>,
    ) {
        let reference = repeat(reference);
        for u in 0..UNITS {
            let unit = Unit::<I, DIMENSION>::new::<GROUPS>(magnitudes, importance, u);
            if EVEN && DIMENSION == 8 {
                self.plain[u].search::<true, _, _, _, _>(codebook, &unit, self.odd[u], reference);
            } else {
                self.plain[u].search::<false, _, _, _, _>(codebook, &unit, Lanes::ZERO, reference);
                if EVEN {
                    self.flipped[u].search::<true, _, _, _, _>(codebook, &unit, Lanes::splat(1.0), reference);
                }
            }
        }
    }

    /// How well the best points of each group fit at its scale.
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
        scale: Lanes<GROUPS>,
    ) -> Fits<GROUPS> {
        let scale = repeat(scale);
        let mut total = Fits::ZERO;
        for unit in 0..UNITS {
            let (fits, ..) = self.choose::<EVEN, GROUPS, I, _, _, _>(codebook, unit, scale);
            total.products += fits.products;
            total.squares += fits.squares;
        }
        fold(total)
    }

    /// The best points of a unit: how well they fit, their places, and 1 where they have a sign flipped.
    #[inline(always)]
    fn choose<
        const EVEN: bool,
        const GROUPS: usize,
        I: Importance,
        const DIMENSION: usize,
        const LEVELS: usize,
        const POINTS: usize,
    >(
        &self,
        codebook: &Codebook<DIMENSION, LEVELS, POINTS, CLASSES>,
        unit: usize,
        scale: Lanes<LANES>,
    ) -> (Fits<LANES>, Lanes<LANES>, Lanes<LANES>) {
        let (plain, places) = self.plain[unit].best::<I, _, _, _>(codebook, scale);
        let odd = self.odd[unit];
        if !EVEN || DIMENSION == 8 {
            return (plain, places, odd);
        }
        // The two vectors of an octet are `GROUPS` lanes apart. The one that loses less is flipped.
        let (flipped, flipped_places) = self.flipped[unit].best::<I, _, _, _>(codebook, scale);
        let loss = plain.gain(scale) - flipped.gain(scale);
        let mut flip = odd;
        for lane in (0..LANES).filter(|lane| (lane / GROUPS).is_multiple_of(2)) {
            let (a, b) = (loss.0[lane], loss.0[lane + GROUPS]);
            let second = if b < a { 1.0 } else { 0.0 };
            flip.0[lane] *= 1.0 - second;
            flip.0[lane + GROUPS] *= second;
        }
        let places = Lanes::select(flip, Lanes::ZERO, flipped_places, places);
        (plain.or_where(flip, Lanes::ZERO, flipped), places, flip)
    }
}

//! The nearest point of a codebook, for every scale at once.
//!
//! A codebook gives one index to a *vector* of four or eight weights. The squared error of a point `p` for the
//! vector `w` at scale `s` is `w.w - 2 s (w.p - s/2 p.p)`: as a function of `s/2`, what is in parentheses is a
//! straight line, and the best points for all positive scales are the lines of the upper envelope. So one pass
//! over the codebook, which is nearly all of the work, serves any number of trial scales.
//!
//! Where signs are stored apart, points have positive coordinates and meet the weights' magnitudes. Some formats
//! drop one sign of eight and demand an even number of minus signs; then an odd vector flips the sign that costs
//! least, which turns `w.p` into `w.p - 2 min(w[i] p[i])`.

use crate::kquant::SUPER_BLOCK;
use crate::scales::{Fit, Scales, best_scale, trials};

/// Points with integer coordinates, in the order of their norms.
pub(crate) struct Codebook<const DIMENSION: usize, const POINTS: usize> {
    points: [[i8; DIMENSION]; POINTS],
    norms: [u16; POINTS],
    indices: [u16; POINTS],
    largest: i8,
}

impl<const DIMENSION: usize, const POINTS: usize> Codebook<DIMENSION, POINTS> {
    /// The codebook `packed` (see [`crate::codebooks`]) with `values` for the levels.
    pub(crate) const fn new(packed: &[u16; POINTS], values: &[i8]) -> Self {
        const NORMS: usize = 1 << 14;
        let width = 16 / DIMENSION as u32;
        // Sorted by counting: how many points have each norm, then where the points of each norm begin.
        let mut begins = [0u16; NORMS + 1];
        let mut unsorted = [([0; DIMENSION], 0); POINTS];
        let mut largest = 0;
        let mut i = 0;
        while i < POINTS {
            let (mut point, mut norm, mut d) = ([0; DIMENSION], 0, 0);
            while d < DIMENSION {
                let value = values[(packed[i] >> (d as u32 * width)) as usize & ((1 << width) - 1)];
                point[d] = value;
                norm += (value as i32 * value as i32) as u16;
                largest = if value > largest { value } else { largest };
                d += 1;
            }
            unsorted[i] = (point, norm);
            begins[norm as usize + 1] += 1;
            i += 1;
        }
        let mut norm = 0;
        while norm < NORMS {
            begins[norm + 1] += begins[norm];
            norm += 1;
        }
        let mut sorted =
            Self { points: [[0; DIMENSION]; POINTS], norms: [0; POINTS], indices: [0; POINTS], largest };
        i = 0;
        while i < POINTS {
            let (point, norm) = unsorted[i];
            let place = begins[norm as usize] as usize;
            begins[norm as usize] += 1;
            sorted.points[place] = point;
            sorted.norms[place] = norm;
            sorted.indices[place] = i as u16;
            i += 1;
        }
        sorted
    }

    /// The index in the packed codebook of the point at `place`.
    pub(crate) fn index(&self, place: u16) -> u16 {
        self.indices[usize::from(place)]
    }
}

/// The points on one vector's envelope, by ascending norm.
#[derive(Clone, Copy)]
struct Envelope {
    points: [(Fit, u16); Self::CAPACITY],
    count: usize,
}

impl Envelope {
    /// More than envelopes of these codebooks have. Were one longer, the points of largest norm, which serve
    /// the smallest scales, would be lost.
    const CAPACITY: usize = 32;
    const EMPTY: Self = Self { points: [(Fit { products: 0.0, squares: 0.0 }, 0); Self::CAPACITY], count: 0 };

    /// Adds a point of larger norm than all before.
    #[inline]
    fn push(&mut self, fit: Fit, point: u16) {
        let slope = |a: Fit, b: Fit| (b.products - a.products) / (b.squares - a.squares);
        let at = |i: usize| self.points[i].0;
        if self.count > 0 && fit.products <= at(self.count - 1).products {
            return;
        }
        while self.count > 1
            && slope(self.points[self.count - 1].0, fit)
                >= slope(self.points[self.count - 2].0, self.points[self.count - 1].0)
        {
            self.count -= 1;
        }
        if self.count < Self::CAPACITY {
            self.points[self.count] = (fit, point);
            self.count += 1;
        }
    }

    /// The best point at a positive scale, as its place in the sorted codebook.
    #[inline]
    fn best(&self, scale: f32) -> (Fit, u16) {
        let mut best = self.points[0];
        for next in &self.points[1..self.count] {
            if next.0.gain(scale) <= best.0.gain(scale) {
                break;
            }
            best = *next;
        }
        best
    }
}

/// The envelopes of a super-block's vectors.
pub(crate) struct Vectors<const VECTORS: usize> {
    plain: [Envelope; VECTORS],
    /// With the cheapest sign of each vector flipped; empty unless asked for.
    flipped: [Envelope; VECTORS],
}

impl<const VECTORS: usize> Vectors<VECTORS> {
    /// Matches `weights` with the points of `codebook`, for one flipped sign, too, if `FLIP`.
    pub(crate) fn new<const FLIP: bool, const DIMENSION: usize, const POINTS: usize>(
        codebook: &Codebook<DIMENSION, POINTS>,
        weights: &[f32; SUPER_BLOCK],
    ) -> Self {
        assert_eq!(DIMENSION * VECTORS, SUPER_BLOCK);
        // Coordinate by coordinate, so that the compiler puts vectors side by side in registers.
        let coordinates: [[f32; VECTORS]; DIMENSION] =
            core::array::from_fn(|d| core::array::from_fn(|v| weights[v * DIMENSION + d]));
        let mut all = Self { plain: [Envelope::EMPTY; VECTORS], flipped: [Envelope::EMPTY; VECTORS] };
        let (mut plain, mut flipped) = (Nearest::NONE, Nearest::NONE);
        for (place, (point, &norm)) in codebook.points.iter().zip(&codebook.norms).enumerate() {
            let point = point.map(f32::from);
            let mut products = [0.0f32; VECTORS];
            let mut least = [f32::INFINITY; VECTORS];
            for (coordinate, weights) in point.iter().zip(&coordinates) {
                for v in 0..VECTORS {
                    let product = coordinate * weights[v];
                    products[v] += product;
                    if FLIP {
                        least[v] = if product < least[v] { product } else { least[v] };
                    }
                }
            }
            plain.update(&products, place);
            if FLIP {
                flipped.update(&core::array::from_fn(|v| products[v] - 2.0 * least[v]), place);
            }
            if codebook.norms.get(place + 1) != Some(&norm) {
                plain.flush(norm, &mut all.plain);
                if FLIP {
                    flipped.flush(norm, &mut all.flipped);
                }
            }
        }
        all
    }

    /// How well the best point for `vector` fits at `scale`, and its place in the sorted codebook.
    #[inline]
    pub(crate) fn best(&self, vector: usize, scale: f32) -> (Fit, u16) {
        self.plain[vector].best(scale)
    }
}

/// Of the points of one norm, the nearest to each vector: the one of largest product.
struct Nearest<const VECTORS: usize> {
    products: [f32; VECTORS],
    places: [u32; VECTORS],
}

impl<const VECTORS: usize> Nearest<VECTORS> {
    const NONE: Self = Self { products: [f32::NEG_INFINITY; VECTORS], places: [0; VECTORS] };

    #[inline(always)]
    fn update(&mut self, products: &[f32; VECTORS], place: usize) {
        for ((most, nearest), &product) in self.products.iter_mut().zip(&mut self.places).zip(products) {
            let better = product > *most;
            *most = if better { product } else { *most };
            *nearest = if better { place as u32 } else { *nearest };
        }
    }

    /// Moves what was found for points of norm `norm` to the envelopes.
    fn flush(&mut self, norm: u16, envelopes: &mut [Envelope; VECTORS]) {
        for (v, envelope) in envelopes.iter_mut().enumerate() {
            let fit = Fit { products: self.products[v], squares: f32::from(norm) };
            envelope.push(fit, self.places[v] as u16);
        }
        *self = Self::NONE;
    }
}

/// A super-block of which signs and points are stored apart.
pub(crate) struct SignedSuperBlock<const GROUPS: usize, const VECTORS: usize> {
    pub(crate) scales: Scales<GROUPS>,
    /// The points' indices in the packed codebook.
    pub(crate) points: [u16; VECTORS],
    /// For each eight weights, the negative ones.
    pub(crate) signs: [u8; SUPER_BLOCK / 8],
}

impl<const GROUPS: usize, const VECTORS: usize> SignedSuperBlock<GROUPS, VECTORS> {
    /// The best super-block for `weights` whose groups' scales are `multiples` of the block's, which ascend.
    /// If `EVEN`, each eight weights have an even number of minus signs.
    pub(crate) fn search<const EVEN: bool, const DIMENSION: usize, const POINTS: usize>(
        codebook: &Codebook<DIMENSION, POINTS>,
        multiples: &[f32],
        weights: &[f32],
    ) -> Self {
        const OCTETS: usize = SUPER_BLOCK / 8;
        let weights: &[f32; SUPER_BLOCK] = weights.try_into().expect("256 weights");
        let magnitudes = weights.map(f32::abs);
        let mut signs: [u8; OCTETS] = core::array::from_fn(|octet| {
            (0..8).fold(0, |bits, i| bits | u8::from(weights[octet * 8 + i] < 0.0) << i)
        });
        let vectors = Vectors::<VECTORS>::new::<EVEN, _, _>(codebook, &magnitudes);

        // The best points for eight weights, one or two, and which of them has a sign flipped.
        let per_octet = 8 / DIMENSION;
        let choose = |octet: usize, scale: f32| {
            let each = |envelopes: &[Envelope; VECTORS]| -> [(Fit, u16); 2] {
                let best = |i: usize| envelopes[octet * per_octet + i].best(scale);
                [best(0), if per_octet > 1 { best(1) } else { Default::default() }]
            };
            let mut chosen = each(&vectors.plain);
            let mut flipped = None;
            if EVEN && signs[octet].count_ones() % 2 == 1 {
                let others = each(&vectors.flipped);
                let loss = |i: usize| chosen[i].0.gain(scale) - others[i].0.gain(scale);
                let cheapest = usize::from(per_octet > 1 && loss(1) < loss(0));
                chosen[cheapest] = others[cheapest];
                flipped = Some(cheapest);
            }
            (chosen, flipped)
        };
        let per_group = OCTETS / GROUPS;
        let fit = |group: usize, scale: f32| {
            let octets = group * per_group..(group + 1) * per_group;
            octets.flat_map(|octet| choose(octet, scale).0.map(|(fit, _)| fit)).sum::<Fit>()
        };

        let group_weights =
            |group: usize| &magnitudes[group * SUPER_BLOCK / GROUPS..][..SUPER_BLOCK / GROUPS];
        let ideal: [f32; GROUPS] = core::array::from_fn(|group| {
            let trials = trials(group_weights(group), f32::from(codebook.largest), 0.2, 30);
            best_scale(trials, |scale| fit(group, scale))
        });
        let scales = Scales::search(multiples, &ideal, fit);

        let mut points = [0; VECTORS];
        let mut flips = [0u8; OCTETS];
        for octet in 0..OCTETS {
            let level = scales.levels[octet / per_group];
            let (chosen, flipped) = choose(octet, scales.scale.to_f32() * multiples[usize::from(level)]);
            for i in 0..per_octet {
                points[octet * per_octet + i] = codebook.index(chosen[i].1);
            }
            if let Some(i) = flipped {
                let (point, first) = (codebook.points[usize::from(chosen[i].1)], i * DIMENSION);
                let product = |d: usize| f32::from(point[d]) * magnitudes[octet * 8 + first + d];
                let least =
                    (1..DIMENSION).fold(0, |least, d| if product(d) < product(least) { d } else { least });
                flips[octet] = 1 << (first + least);
            }
        }
        for (signs, flips) in signs.iter_mut().zip(flips) {
            *signs ^= flips;
        }
        Self { scales, points, signs }
    }

    /// Four times seven signs and, on top, the four bits of a scale: how IQ2_XXS and IQ3_XXS store a run's.
    pub(crate) fn signs_and_level(&self, run: usize) -> u32 {
        let signs = (0..4).fold(0, |bits, k| bits | u32::from(self.signs[run * 4 + k] & 0x7f) << (7 * k));
        signs | u32::from(self.scales.levels[run]) << 28
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codebooks::{IQ1, IQ2_S, IQ3_XXS};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// The envelopes against a look at every point, at scales from far too small to far too large.
    fn check<const DIMENSION: usize, const POINTS: usize, const VECTORS: usize>(
        codebook: &Codebook<DIMENSION, POINTS>,
        lowest: f32,
    ) {
        let mut rng = StdRng::seed_from_u64(7);
        let weights: [f32; SUPER_BLOCK] = core::array::from_fn(|_| rng.random_range(lowest..1f32).powi(3));
        let vectors = Vectors::<VECTORS>::new::<true, _, _>(codebook, &weights);
        for v in 0..VECTORS {
            let weights = &weights[v * DIMENSION..][..DIMENSION];
            for scale in (-12..6).map(|exponent| 1.5f32.powi(exponent) / f32::from(codebook.largest)) {
                let gain = |place: usize, flip: bool| {
                    let products: [f32; DIMENSION] =
                        core::array::from_fn(|d| f32::from(codebook.points[place][d]) * weights[d]);
                    let least = products.iter().fold(f32::INFINITY, |least, product| least.min(*product));
                    let products = products.iter().sum::<f32>() - if flip { 2.0 * least } else { 0.0 };
                    Fit { products, squares: f32::from(codebook.norms[place]) }.gain(scale)
                };
                for (flip, envelopes) in [(false, &vectors.plain), (true, &vectors.flipped)] {
                    let most = (0..POINTS).map(|place| gain(place, flip)).fold(f32::NEG_INFINITY, f32::max);
                    let (fit, place) = envelopes[v].best(scale);
                    let found = gain(usize::from(place), flip);
                    assert!(
                        (found - most).abs() <= 1e-4 * most.abs(),
                        "{found} instead of {most} at {scale}"
                    );
                    assert!((fit.gain(scale) - found).abs() <= 1e-4 * most.abs());
                    assert!(envelopes[v].count < Envelope::CAPACITY);
                }
            }
        }
    }

    #[test]
    fn envelopes_find_what_a_search_through_the_codebook_finds() {
        check::<8, 1024, 32>(&Codebook::new(IQ2_S, &[8, 25, 43]), 0.0);
        check::<4, 256, 64>(&Codebook::new(IQ3_XXS, &[4, 12, 20, 28, 36, 44, 52, 62]), 0.0);
        check::<8, 2048, 32>(&Codebook::new(IQ1, &[-7, 1, 9]), -1.0);
    }
}

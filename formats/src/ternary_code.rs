//! The nearest points of the codebook of IQ1_S and IQ1_M, for all vectors of a super-block side by side.
//!
//! The squared error of a point `p` for a vector `w` whose weights have the importance `q` is, at scale `s` and but
//! for what all points share, `-2 s` times the point's *value*: the sum of `q w p - s/2 q p p` over the coordinates.
//! So tables have the value of everything that half a point can be, and a point's is the sum of two.
//!
//! Values are integers whose lowest bits tell the point, and what the search repeats for every point is one maximum:
//! points with the same first half are compared by their second before the first one's value is added.
//!
//! All points may be shifted up or down. While scales are sought, points are compared unshifted, and those of one
//! class, that is with as many zeros and so of similar norms, at one scale for all.

use core::ops::Add;

use crate::Importance;
use crate::codebooks::IQ1;
use crate::kquant::SUPER_BLOCK;
use crate::lanes::{Lanes, round_to_integer};
use crate::rows::Fits;

/// Weights in a vector.
const DIMENSION: usize = 8;

/// Vectors in a super-block.
pub(crate) const VECTORS: usize = SUPER_BLOCK / DIMENSION;

/// Levels of a coordinate.
const LEVELS: usize = 3;

/// What half a point can be. The first coordinate is the lowest digit of base three.
const HALVES: usize = LEVELS.pow(DIMENSION as u32 / 2);

/// Different numbers of zeros in half a point.
const ZEROS: usize = DIMENSION / 2 + 1;

/// Different first halves and classes of points.
const KINDS: usize = 316;

/// Different numbers of zeros in a point.
const CLASSES: usize = DIMENSION + 1;

/// The codes of -1, 0 and 1, shifted up and down.
pub(crate) const SHIFTS: [[f32; LEVELS]; 2] = [[-7.0, 1.0, 9.0], [-9.0, -1.0, 7.0]];

/// The vector in a lane, of which those of a group are `GROUPS` apart.
#[inline(always)]
pub(crate) const fn vector_at<const GROUPS: usize>(lane: usize) -> usize {
    lane % GROUPS * (VECTORS / GROUPS) + lane / GROUPS
}

/// What belongs to groups, for each of their vectors.
#[inline(always)]
pub(crate) fn repeat<const GROUPS: usize>(groups: Lanes<GROUPS>) -> Lanes<VECTORS> {
    let mut lanes = Lanes::ZERO;
    for lane in 0..VECTORS {
        lanes.0[lane] = groups.0[lane % GROUPS];
    }
    lanes
}

/// The sums of the vectors of each group.
#[inline(always)]
pub(crate) fn fold<const GROUPS: usize>(lanes: Lanes<VECTORS>) -> Lanes<GROUPS> {
    let mut groups = Lanes::ZERO;
    for lanes in lanes.0.as_chunks().0 {
        groups += Lanes(*lanes);
    }
    groups
}

/// The codebook, in the order in which a search goes through it.
pub(crate) struct Points {
    /// The second halves of the points with each first half, and of these by the number of zeros.
    seconds: [u8; IQ1.len()],
    /// Where those of each first half begin, and where the last end.
    begins: [u16; HALVES + 1],
    /// The points that share a first half and a class: both, and where their second halves end.
    kinds: [(u8, u8, u16); KINDS],
    /// The points' places in the codebook, by their second and first halves.
    indices: [[u16; HALVES]; HALVES],
}

pub(crate) static POINTS: Points = Points::new();

impl Points {
    const fn new() -> Self {
        let mut new = Self {
            seconds: [0; IQ1.len()],
            begins: [0; HALVES + 1],
            kinds: [(0, 0, 0); KINDS],
            indices: [[0; HALVES]; HALVES],
        };
        // Sorted by counting: how many points there are of each kind, then where those of each kind begin.
        let (mut places, mut zeros) = ([[0; ZEROS]; HALVES], [0; HALVES]);
        let mut i = 0;
        while i < IQ1.len() {
            let [(first, first_zeros), (_, second_zeros)] = Self::halves(IQ1[i]);
            places[first][second_zeros] += 1;
            zeros[first] = first_zeros;
            i += 1;
        }
        let (mut begin, mut kind, mut first) = (0, 0, 0);
        while first < HALVES {
            let mut second_zeros = 0;
            while second_zeros < ZEROS {
                let count = places[first][second_zeros];
                places[first][second_zeros] = begin;
                if count > 0 {
                    begin += count;
                    let class = zeros[first] + second_zeros;
                    new.kinds[kind] = (first as u8, class as u8, begin as u16);
                    kind += 1;
                }
                second_zeros += 1;
            }
            first += 1;
            new.begins[first] = begin as u16;
        }
        assert!(kind == KINDS, "the number of different kinds");
        i = 0;
        while i < IQ1.len() {
            let [(first, _), (second, second_zeros)] = Self::halves(IQ1[i]);
            let place = &mut places[first][second_zeros];
            new.seconds[*place] = second as u8;
            *place += 1;
            new.indices[second][first] = i as u16;
            i += 1;
        }
        new
    }

    /// The halves of a packed point, each with how many of its levels stand for zero.
    const fn halves(packed: u16) -> [(usize, usize); 2] {
        let (mut halves, mut d) = ([(0, 0); 2], DIMENSION);
        while d > 0 {
            d -= 1;
            let level = (packed >> (2 * d) & 3) as usize;
            let (half, zeros) = &mut halves[d / (DIMENSION / 2)];
            *half = *half * LEVELS + level;
            *zeros += (level == 1) as usize;
        }
        halves
    }

    /// The second halves between two places in their order.
    #[inline(always)]
    fn seconds(&self, begin: u16, end: u16) -> &[u8] {
        &self.seconds[usize::from(begin)..usize::from(end)]
    }
}

/// For each vector the value of a point, and in the lowest bits which one.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Values([i32; VECTORS]);

impl Values {
    /// Bits that tell half a point.
    const HALF: u32 = 7;
    /// Bits that tell a point.
    const POINT: u32 = 2 * Self::HALF;
    /// The largest magnitude of a value.
    const LARGEST: f32 = 131_000.0;
    const ZERO: Self = Self([0; VECTORS]);
    /// Below all others.
    const LEAST: Self = Self([i32::MIN; VECTORS]);

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(i32, i32) -> i32) -> Self {
        let mut out = self;
        for lane in 0..VECTORS {
            out.0[lane] = f(self.0[lane], other.0[lane]);
        }
        out
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(
            other,
            #[inline(always)]
            |a, b| a.wrapping_add(b),
        )
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(
            other,
            #[inline(always)]
            |a, b| if a > b { a } else { b },
        )
    }

    /// The values without the points.
    #[inline(always)]
    fn numbers(self) -> Lanes<VECTORS> {
        let mut numbers = Lanes::ZERO;
        for lane in 0..VECTORS {
            numbers.0[lane] = (self.0[lane] >> Self::POINT) as f32;
        }
        numbers
    }

    /// The halves of the point in a lane.
    #[inline(always)]
    fn halves(self, lane: usize) -> [usize; 2] {
        let point = self.0[lane] as usize;
        [point % (1 << Self::HALF), point >> Self::HALF & ((1 << Self::HALF) - 1)]
    }
}

/// The vectors of a super-block side by side, coordinate by coordinate.
pub(crate) struct Vectors {
    weights: [Lanes<VECTORS>; DIMENSION],
    importance: [Lanes<VECTORS>; DIMENSION],
}

impl Vectors {
    #[inline(always)]
    pub(crate) fn new<I: Importance, const GROUPS: usize>(weights: &[f32], importance: I) -> Self {
        let mut importances = [0.0; SUPER_BLOCK];
        for (i, to) in importances.iter_mut().enumerate() {
            *to = importance.of(i);
        }
        let mut new = Self { weights: [Lanes::ZERO; DIMENSION], importance: [Lanes::ZERO; DIMENSION] };
        for lane in 0..VECTORS {
            for d in 0..DIMENSION {
                let i = vector_at::<GROUPS>(lane) * DIMENSION + d;
                new.importance[d].0[lane] = importances[i];
                new.weights[d].0[lane] = weights[i];
            }
        }
        new
    }

    /// The largest magnitude in each group, and the mean one.
    #[inline(always)]
    pub(crate) fn magnitudes<const GROUPS: usize>(&self) -> (Lanes<GROUPS>, Lanes<GROUPS>) {
        let (mut largest, mut total, mut count) = (Lanes::ZERO, Lanes::ZERO, Lanes::ZERO);
        for d in 0..DIMENSION {
            largest = self.weights[d].abs().max(largest);
            total += self.weights[d].abs() * self.importance[d];
            count += self.importance[d];
        }
        let mut of_group = Lanes::<GROUPS>::ZERO;
        for lanes in largest.0.as_chunks().0 {
            of_group = Lanes(*lanes).max(of_group);
        }
        (of_group, fold(total) / fold(count))
    }
}

/// A table with what belongs to each half of a point.
type Halves<T> = [[T; HALVES]; 2];

/// Fills a table with the sums of what belongs to coordinates and their levels.
#[inline(always)]
fn sum_halves<T: Copy>(
    table: &mut Halves<T>,
    zero: T,
    terms: &[[T; LEVELS]; DIMENSION],
    add: impl Fn(T, T) -> T,
) {
    for half in 0..2 {
        let table = &mut table[half];
        table[0] = zero;
        let mut size = 1;
        for d in half * DIMENSION / 2..(half + 1) * DIMENSION / 2 {
            for level in (0..LEVELS).rev() {
                for i in 0..size {
                    table[level * size + i] = add(table[i], terms[d][level]);
                }
            }
            size *= LEVELS;
        }
    }
}

/// What the halves of points are worth to all vectors.
pub(crate) struct Tables {
    values: Halves<Values>,
    /// What a value's unit is worth.
    unit: Lanes<VECTORS>,
    /// The sums of squares, times importance, with either shift.
    squares: [Halves<Lanes<VECTORS>>; 2],
}

impl Tables {
    pub(crate) const EMPTY: Self = Self {
        values: [[Values::ZERO; HALVES]; 2],
        unit: Lanes::ZERO,
        squares: [[[Lanes::ZERO; HALVES]; 2]; 2],
    };

    /// The best of second halves.
    #[inline(always)]
    fn best_second(&self, seconds: &[u8]) -> Values {
        let mut best = Values::LEAST;
        for &second in seconds {
            best = best.max(self.values[1][usize::from(second)]);
        }
        best
    }

    /// Finds the values of points whose coordinates are `levels`, at the vectors' scales.
    #[inline(always)]
    fn fill(&mut self, vectors: &Vectors, levels: [f32; LEVELS], scale: Lanes<VECTORS>) {
        let mut exact = [[Lanes::ZERO; LEVELS]; DIMENSION];
        let mut bound = Lanes::ZERO;
        for d in 0..DIMENSION {
            let mut largest = Lanes::ZERO;
            for (level, number) in levels.into_iter().enumerate() {
                let centred = vectors.weights[d] - scale * (0.5 * number);
                exact[d][level] = centred * vectors.importance[d] * number;
                largest = exact[d][level].abs().max(largest);
            }
            bound += largest;
        }
        self.unit = bound * (1.0 / Values::LARGEST);
        let factor = self.unit.reciprocal();
        let mut terms = [[Values::LEAST; LEVELS]; DIMENSION];
        for d in 0..DIMENSION {
            let place = Values::HALF * (d / 4) as u32;
            for level in 0..LEVELS {
                let digit = (level * LEVELS.pow(d as u32 % 4)) << place;
                for lane in 0..VECTORS {
                    let value = round_to_integer(exact[d][level].0[lane] * factor.0[lane]);
                    terms[d][level].0[lane] = value << Values::POINT | digit as i32;
                }
            }
        }
        sum_halves(&mut self.values, Values::ZERO, &terms, Values::add);
    }
}

/// How well points fit that are the best of their class.
#[derive(Clone, Copy)]
pub(crate) struct Classes([Fits<VECTORS>; CLASSES]);

impl Classes {
    /// How well the best unshifted points for scales like `scale` fit when they are shifted up and down. That is
    /// good enough to choose scales by.
    #[inline(always)]
    pub(crate) fn search(tables: &mut Tables, vectors: &Vectors, scale: Lanes<VECTORS>) -> [Self; 2] {
        tables.fill(vectors, [-8.0, 0.0, 8.0], scale);
        for (shift, levels) in SHIFTS.into_iter().enumerate() {
            let mut terms = [[Lanes::ZERO; LEVELS]; DIMENSION];
            for d in 0..DIMENSION {
                for (level, number) in levels.into_iter().enumerate() {
                    terms[d][level] = vectors.importance[d] * (number * number);
                }
            }
            sum_halves(&mut tables.squares[shift], Lanes::ZERO, &terms, Lanes::add);
        }
        let (mut total, mut count) = (Lanes::ZERO, Lanes::ZERO);
        for d in 0..DIMENSION {
            total += vectors.weights[d] * vectors.importance[d];
            count += vectors.importance[d];
        }

        let mut best = [Values::LEAST; CLASSES];
        let mut begin = 0;
        for &(first, class, end) in &POINTS.kinds {
            let of_first = tables.best_second(POINTS.seconds(begin, end));
            let best = &mut best[usize::from(class)];
            *best = best.max(of_first.add(tables.values[0][usize::from(first)]));
            begin = end;
        }

        let mut found = [Self([Fits::ZERO; CLASSES]); 2];
        for (class, best) in best.iter().enumerate() {
            let mut squares = [Lanes::ZERO; 2];
            for lane in 0..VECTORS {
                let [first, second] = best.halves(lane);
                for (squares, table) in squares.iter_mut().zip(&tables.squares) {
                    squares.0[lane] = table[0][first].0[lane] + table[1][second].0[lane];
                }
            }
            // The squares of neighbours of an integer are, on average, greater than its own by 1.
            let unshifted = (squares[0] + squares[1]) * 0.5 - count;
            let products = best.numbers() * tables.unit + scale * unshifted * 0.5;
            found[0].0[class] = Fits { products: products + total, squares: squares[0] };
            found[1].0[class] = Fits { products: products - total, squares: squares[1] };
        }
        found
    }

    /// How well the best points fit at `scale`.
    #[inline(always)]
    pub(crate) fn best(&self, scale: Lanes<VECTORS>) -> Fits<VECTORS> {
        let scale = scale * 0.5;
        let mut most = Lanes::splat(f32::NEG_INFINITY);
        let mut best = Fits::ZERO;
        for &fits in &self.0 {
            let value = fits.products - scale * fits.squares;
            best = best.or_where(value, most, fits);
            most = value.max(most);
        }
        best
    }
}

/// The best points at the vectors' scales: their gains, and their indices in the codebook.
#[inline(always)]
pub(crate) fn nearest(
    tables: &mut Tables,
    vectors: &Vectors,
    levels: [f32; LEVELS],
    scale: Lanes<VECTORS>,
) -> (Lanes<VECTORS>, [u16; VECTORS]) {
    tables.fill(vectors, levels, scale);
    let mut best = Values::LEAST;
    for (first, value) in tables.values[0].iter().enumerate() {
        let seconds = POINTS.seconds(POINTS.begins[first], POINTS.begins[first + 1]);
        best = best.max(tables.best_second(seconds).add(*value));
    }
    let mut indices = [0; VECTORS];
    for (lane, index) in indices.iter_mut().enumerate() {
        let [first, second] = best.halves(lane);
        *index = POINTS.indices[second][first];
    }
    (best.numbers() * tables.unit * scale * 2.0, indices)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::PerWeight;

    const GROUPS: usize = 8;

    fn code(index: usize, d: usize, levels: [f32; LEVELS]) -> f32 {
        levels[usize::from(IQ1[index] >> (2 * d) & 3)]
    }

    /// Against a look at every point, at scales from far too small to far too large.
    #[test]
    fn tables_find_what_a_search_through_the_codebook_finds() {
        let mut rng = StdRng::seed_from_u64(7);
        let weights: [f32; SUPER_BLOCK] = core::array::from_fn(|_| rng.random_range(-1f32..1.0).powi(3));
        let importance: [f32; SUPER_BLOCK] = core::array::from_fn(|_| rng.random::<f32>().powi(4));
        let vectors = Vectors::new::<_, GROUPS>(&weights, PerWeight::new(&importance));
        let mut tables = Tables::EMPTY;
        for scale in (-16..3).map(|exponent| 1.5f32.powi(exponent)) {
            let classes = Classes::search(&mut tables, &vectors, Lanes::splat(scale));
            for (levels, classes) in SHIFTS.into_iter().zip(classes) {
                let (gains, indices) = nearest(&mut tables, &vectors, levels, Lanes::splat(scale));
                let of_classes = classes.best(Lanes::splat(scale)).gain(Lanes::splat(scale));
                for lane in 0..VECTORS {
                    let first = vector_at::<GROUPS>(lane) * DIMENSION;
                    let importance = PerWeight::new(&importance);
                    let term = |d: usize, code: f32| {
                        scale * code * (2.0 * weights[first + d] - scale * code) * importance.of(first + d)
                    };
                    let gain =
                        |index: usize| (0..DIMENSION).map(|d| term(d, code(index, d, levels))).sum::<f32>();
                    let most = (0..IQ1.len()).map(gain).fold(f32::NEG_INFINITY, f32::max);
                    // Values are integers up to the sum of the largest terms.
                    let largest =
                        |d: usize| levels.map(|code| term(d, code).abs()).into_iter().fold(0.0, f32::max);
                    let slack = 4e-5 * (0..DIMENSION).map(largest).sum::<f32>();
                    let (found, told) = (gain(usize::from(indices[lane])), gains.0[lane]);
                    assert!((found - most).abs() <= slack, "{found} instead of {most}");
                    assert!((told - found).abs() <= slack, "{told} was told of {found}");
                    assert!(of_classes.0[lane] <= most + slack, "{} is above {most}", of_classes.0[lane]);
                }
            }
        }
    }
}

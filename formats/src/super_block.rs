//! The search for a super-block: its units, for each of its groups a level, that is a small multiple of a unit, and
//! the codes.
//!
//! It has three steps: the best scale of each group on its own, and perhaps its best minimum; the units, which follow
//! from those of all groups; the levels and codes of each group for these units. A CPU has the groups side by side in
//! lanes. On a GPU each [`Group`] has a thread, and between the steps the threads tell each other what they found.

use crate::kquant::SUPER_BLOCK;
use crate::lanes::{Lanes, round_to_byte};
use crate::rows::Rows;
use crate::{Equal, F16, Format, Importance};

/// How far from the nearest level the best is looked for.
pub(crate) const STEPS: [f32; 3] = [-1.0, 0.0, 1.0];

/// What each lane multiplies its codes by, and what it subtracts then; or levels of both.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<const L: usize> {
    pub(crate) scale: Lanes<L>,
    /// Zero in searches for a scale alone.
    pub(crate) min: Lanes<L>,
}

/// What the levels of a super-block are multiples of.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// The unit of scales.
    pub scale: F16,
    /// The unit of minima; zero where there are none.
    pub min_scale: F16,
}

/// How the scales, and perhaps minima, of groups are found.
pub trait Search: Copy {
    /// The best scale and minimum of each lane on its own.
    fn ideal<I: Importance, const N: usize, const L: usize>(self, rows: &Rows<I, N, L>) -> Pairs<L>;

    /// The units for groups of which these are the best scales and minima, in order.
    fn units(self, scales: impl Iterator<Item = f32>, mins: impl Iterator<Item = f32>) -> Units;

    /// The levels of each lane.
    fn levels<I: Importance, const N: usize, const L: usize>(
        self,
        rows: &Rows<I, N, L>,
        ideal: Pairs<L>,
        units: (f32, f32),
    ) -> Pairs<L>;

    /// The raw code of a weight of a group with this minimum, and with the scale whose reciprocal is `inverse`.
    fn code(self, weight: f32, inverse: f32, min: f32) -> u8;
}

/// A format of super-blocks that a [`Search`] finds.
pub trait Grouped: Format {
    /// The kind of search.
    type Search: Search;
    /// The search.
    const SEARCH: Self::Search;

    /// The block for what was found.
    fn block(found: impl Found) -> Self;

    /// Word `index` of the [`block`](Self::block) for what was found, not counting the odd field, which holds the unit of
    /// scales if there is one.
    fn word(found: impl Found, index: usize) -> u32;
}

/// What a search found, wherever that lies.
pub trait Found: Copy {
    /// The units.
    fn units(self) -> Units;

    /// The levels of the scale and minimum of a group; those that may be negative as `i8`.
    fn levels(self, group: usize) -> [u8; 2];

    /// Raw codes `4 * index` to `4 * index + 3` as bytes, the first the lowest.
    fn codes(self, index: usize) -> u32;
}

impl Units {
    #[inline(always)]
    fn values(self) -> (f32, f32) {
        (self.scale.to_f32(), self.min_scale.to_f32())
    }

    /// Both, the scales' first.
    #[inline(always)]
    pub(crate) fn word(self) -> u32 {
        u32::from(self.scale.0) | u32::from(self.min_scale.0) << 16
    }
}

impl<const L: usize> Pairs<L> {
    /// What these levels stand for: the reciprocals of the scales, and the minima.
    #[inline(always)]
    fn inverses_and_mins(self, units: (f32, f32)) -> (Lanes<L>, Lanes<L>) {
        ((self.scale * units.0).reciprocal(), self.min * units.1)
    }

    #[inline(always)]
    fn bytes(self, lane: usize) -> [u8; 2] {
        [round_to_byte(self.scale.0[lane]), round_to_byte(self.min.0[lane])]
    }
}

/// A whole super-block of `GROUPS` groups.
pub(crate) struct SuperBlock<const GROUPS: usize> {
    pub(crate) units: Units,
    /// Levels of scales, and of minima: apart, as the search has them, for the sake of vector instructions.
    pub(crate) scales: [u8; GROUPS],
    pub(crate) mins: [u8; GROUPS],
    pub(crate) codes: [u8; SUPER_BLOCK],
}

impl<const GROUPS: usize> SuperBlock<GROUPS> {
    /// The best one for `weights`, in groups of `N`.
    #[inline(always)]
    pub(crate) fn search<F: Grouped, I: Importance, const N: usize>(weights: &[f32], importance: I) -> Self {
        assert_eq!(weights.len(), SUPER_BLOCK, "a super-block has {SUPER_BLOCK} weights");
        let rows = Rows::<I, N, GROUPS>::groups(weights, importance, 0);
        let ideal = F::SEARCH.ideal(&rows);
        let units = F::SEARCH.units(ideal.scale.0.into_iter(), ideal.min.0.into_iter());
        let levels = F::SEARCH.levels(&rows, ideal, units.values());

        let mut block = Self { units, scales: [0; GROUPS], mins: [0; GROUPS], codes: [0; SUPER_BLOCK] };
        let (inverses, mins) = levels.inverses_and_mins(units.values());
        for group in 0..GROUPS {
            [block.scales[group], block.mins[group]] = levels.bytes(group);
            let (inverse, min) = (inverses.0[group], mins.0[group]);
            for i in group * N..(group + 1) * N {
                block.codes[i] = F::SEARCH.code(weights[i], inverse, min);
            }
        }
        block
    }
}

impl<const GROUPS: usize> Found for &SuperBlock<GROUPS> {
    #[inline(always)]
    fn units(self) -> Units {
        self.units
    }

    #[inline(always)]
    fn levels(self, group: usize) -> [u8; 2] {
        [self.scales[group], self.mins[group]]
    }

    #[inline(always)]
    fn codes(self, index: usize) -> u32 {
        u32::from_le_bytes(self.codes.as_chunks().0[index])
    }
}

/// One group of `N` weights of a super-block, all of which matter equally.
#[derive(Debug)]
pub struct Group<const N: usize> {
    rows: Rows<Equal, N, 1>,
    ideal: Pairs<1>,
}

impl<const N: usize> Group<N> {
    /// The group of these weights, and what is best for it on its own.
    #[inline(always)]
    pub fn new<F: Grouped>(weights: &[f32; N]) -> Self {
        let rows = Rows::groups(weights, Equal, 0);
        Self { ideal: F::SEARCH.ideal(&rows), rows }
    }

    /// Its best scale and minimum.
    #[inline(always)]
    pub fn ideal(&self) -> (f32, f32) {
        (self.ideal.scale.0[0], self.ideal.min.0[0])
    }

    /// Its levels for the units of its super-block, and its raw codes: `store` is called with each number of four and
    /// these as bytes, the first the lowest.
    #[inline(always)]
    pub fn quantize<F: Grouped>(&self, units: Units, mut store: impl FnMut(usize, u32)) -> [u8; 2] {
        let levels = F::SEARCH.levels(&self.rows, self.ideal, units.values());
        let (inverse, min) = levels.inverses_and_mins(units.values());
        let code = |i: usize| F::SEARCH.code(self.rows.weight(i).0[0], inverse.0[0], min.0[0]);
        for i in 0..N / 4 {
            store(i, u32::from_le_bytes([code(4 * i), code(4 * i + 1), code(4 * i + 2), code(4 * i + 3)]));
        }
        levels.bytes(0)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::{Codes, One, Q2K, Q3K, Q4K, Q5K, Q6K, RUN, RunScales, code_bytes};

    /// Any levels and codes come back from a block.
    fn what_was_found_comes_back<F: Grouped, const GROUPS: usize>(bits: u32, level_bits: u32) {
        let mut rng = StdRng::seed_from_u64(u64::from(F::ID));
        let units = Units { scale: F16::from_f32(0.25), min_scale: F16::from_f32(0.5) };
        let mut any = |bits: u32| rng.random_range(0..1u32 << bits) as u8;
        // Levels that may be negative are integers around zero.
        let center = if F::HAS_OFFSET { 0 } else { 1 << (level_bits - 1) };
        for _ in 0..64 {
            let found = SuperBlock::<GROUPS> {
                units,
                scales: core::array::from_fn(|_| any(level_bits).wrapping_sub(center)),
                mins: core::array::from_fn(|_| any(level_bits)),
                codes: core::array::from_fn(|_| any(bits)),
            };
            let block = F::block(&found);
            for run in 0..F::RUNS {
                let raw: Codes = F::raw_codes(One(&block), run);
                assert_eq!(code_bytes(&raw).map(|code| code as u8), found.codes[RUN * run..][..RUN]);
                let RunScales { scale, offset } = block.scales(run);
                for group in 0..RUN / F::GROUP {
                    let [level, min] = (&found).levels(RUN / F::GROUP * run + group);
                    if F::HAS_OFFSET {
                        assert_eq!(scale[group], 0.25 * f32::from(level), "{}", F::NAME);
                        assert_eq!(offset[group], -0.5 * f32::from(min), "{}", F::NAME);
                    } else {
                        assert_eq!(scale[group], 0.25 * f32::from(level as i8), "{}", F::NAME);
                    }
                }
            }
        }
    }

    #[test]
    fn packing_has_an_inverse() {
        what_was_found_comes_back::<Q2K, 16>(2, 4);
        what_was_found_comes_back::<Q3K, 16>(3, 6);
        what_was_found_comes_back::<Q4K, 8>(4, 6);
        what_was_found_comes_back::<Q5K, 8>(5, 6);
        what_was_found_comes_back::<Q6K, 16>(6, 8);
    }
}

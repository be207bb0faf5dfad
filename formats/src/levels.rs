//! Codes that stand for the integers of a small table, unevenly spaced.

use crate::Importance;
use crate::lanes::Lanes;
use crate::rows::{Fits, Rows};

/// A table of `COUNT` integers that ascend.
pub(crate) struct Levels<const COUNT: usize> {
    lowest: f32,
    /// The middles between neighbours and how far these lie apart. The last are unused.
    steps: [(f32, f32); COUNT],
}

impl<const COUNT: usize> Levels<COUNT> {
    pub(crate) const fn new(table: &[i8; COUNT]) -> Self {
        let mut steps = [(0.0, 0.0); COUNT];
        let mut i = 1;
        while i < COUNT {
            let (a, b) = (table[i - 1] as f32, table[i] as f32);
            assert!(a < b, "the integers ascend");
            steps[i - 1] = ((a + b) / 2.0, b - a);
            i += 1;
        }
        Self { lowest: table[0] as f32, steps }
    }

    /// How well the nearest codes fit at scales whose reciprocals are `inverse`.
    #[inline(always)]
    pub(crate) fn fit<I: Importance, const N: usize, const L: usize>(
        &self,
        rows: &Rows<I, N, L>,
        inverse: Lanes<L>,
    ) -> Fits<L> {
        rows.fit(
            #[inline(always)]
            |weights| {
                let codes = weights * inverse;
                let mut integers = Lanes::splat(self.lowest);
                for &(middle, step) in &self.steps[..COUNT - 1] {
                    integers += Lanes::select(codes, Lanes::splat(middle), Lanes::splat(step), Lanes::ZERO);
                }
                integers
            },
        )
    }

    /// The code whose integer is nearest to `weight * inverse`.
    #[inline(always)]
    pub(crate) fn code(&self, weight: f32, inverse: f32) -> u8 {
        let code = weight * inverse;
        let mut count = 0;
        for &(middle, _) in &self.steps[..COUNT - 1] {
            count += u8::from(code > middle);
        }
        count
    }
}

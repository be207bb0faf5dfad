//! The search for the scale of a group of weights, and for the scales of a super-block, when the codes are
//! chosen from a table or a codebook.
//!
//! How codes are chosen at a given scale is the caller's, who says only how well they fit ([`Fit`]).

use crate::F16;

/// What codes have in common with the weights that they were chosen for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fit {
    /// The sum of weight times code.
    pub(crate) products: f32,
    /// The sum of the codes' squares.
    pub(crate) squares: f32,
}

impl Fit {
    /// By how much the weights' sum of squares exceeds the squared error that the codes leave at `scale`.
    #[inline(always)]
    pub(crate) fn gain(self, scale: f32) -> f32 {
        scale * (2.0 * self.products - scale * self.squares)
    }

    /// The scale at which the codes fit best, and their gain there.
    #[inline(always)]
    fn best(self) -> (f32, f32) {
        (self.products / self.squares, self.products * self.products / self.squares)
    }
}

impl core::iter::Sum for Fit {
    fn sum<I: Iterator<Item = Self>>(fits: I) -> Self {
        fits.fold(Self::default(), |a, b| Self {
            products: a.products + b.products,
            squares: a.squares + b.squares,
        })
    }
}

/// The best scale for weights on their own: the codes that fit at one of the `trials`, at the scale that suits
/// those codes best.
pub(crate) fn best_scale(trials: impl Iterator<Item = f32>, fit: impl Fn(f32) -> Fit) -> f32 {
    let (mut scale, mut most) = (0.0, 0.0);
    for trial in trials {
        let (best, gain) = fit(trial).best();
        if gain == f32::INFINITY {
            return gain; // beyond every format's scales
        }
        if gain > most && best.is_finite() {
            (scale, most) = (best, gain);
        }
    }
    scale
}

/// `count` trial scales for codes up to `largest_code`: the smallest is `from` times the one at which that code
/// reaches the largest weight, and each is 8 % above the one before.
pub(crate) fn trials(
    weights: &[f32],
    largest_code: f32,
    from: f32,
    count: usize,
) -> impl Iterator<Item = f32> {
    let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    core::iter::successors(Some(from * largest / largest_code), |trial| Some(trial * 1.08)).take(count)
}

/// The scales of a super-block.
pub(crate) struct Scales<const GROUPS: usize> {
    /// The factor of all.
    pub(crate) scale: F16,
    /// For each group, which of the possible multiples of it is the group's scale.
    pub(crate) levels: [u8; GROUPS],
}

impl<const GROUPS: usize> Scales<GROUPS> {
    /// The scales with the smallest squared error, near those that are `ideal` for each group on its own.
    ///
    /// `multiples` ascend. `fit` says how well group `.0` fits at scale `.1`.
    pub(crate) fn search(multiples: &[f32], ideal: &[f32; GROUPS], fit: impl Fn(usize, f32) -> Fit) -> Self {
        let largest =
            ideal.iter().fold(0.0f32, |best, &scale| if scale.abs() > best.abs() { scale } else { best });
        let outermost = multiples.iter().fold(0.0f32, |best, &m| if m.abs() > best.abs() { m } else { best });
        let mut best = Self { scale: F16::default(), levels: [0; GROUPS] };
        let mut most = 0.0;
        let mut try_scale = |scale: f32| {
            let scale = F16::from_f32(scale.clamp(-F16::LARGEST, F16::LARGEST)); // finite
            let (found, gain, refined) = Self::with_scale(scale, multiples, ideal, &fit);
            if gain > most {
                (best, most) = (found, gain);
            }
            refined
        };
        // The largest scale need not be the outermost multiple exactly.
        for reach in [0.80, 0.84, 0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12] {
            let refined = try_scale(largest / (outermost * reach));
            try_scale(refined);
        }
        best
    }

    /// The best levels for a given scale, their gain, and the scale that would suit their codes best.
    fn with_scale(
        scale: F16,
        multiples: &[f32],
        ideal: &[f32; GROUPS],
        fit: &impl Fn(usize, f32) -> Fit,
    ) -> (Self, f32, f32) {
        let unit = scale.to_f32();
        let mut levels = [0; GROUPS];
        let mut total = 0.0;
        let mut refined = Fit::default();
        for (group, (level, ideal)) in levels.iter_mut().zip(ideal).enumerate() {
            let distance = |level: usize| (unit * multiples[level] - ideal).abs();
            let nearest = (0..multiples.len())
                .fold(0, |best, level| if distance(level) < distance(best) { level } else { best });
            let mut most = f32::NEG_INFINITY;
            let mut chosen = Fit::default();
            let candidates = multiples.iter().enumerate().skip(nearest.saturating_sub(1));
            for (candidate, multiple) in candidates.take_while(|(candidate, _)| *candidate <= nearest + 1) {
                let codes = fit(group, unit * multiple);
                let gain = codes.gain(unit * multiple);
                if gain > most {
                    (most, *level) = (gain, candidate as u8);
                    chosen = Fit {
                        products: codes.products * multiple,
                        squares: codes.squares * multiple * multiple,
                    };
                }
            }
            total += most;
            refined = [refined, chosen].into_iter().sum();
        }
        (Self { scale, levels }, total, refined.best().0)
    }
}

/// Codes that stand for the integers of a small table.
pub(crate) struct Levels<const COUNT: usize> {
    integers: [f32; COUNT],
    /// The smallest integer.
    lowest: f32,
    /// The middles between neighbours, which ascend, and how far these lie apart. The last are unused.
    steps: [(f32, f32); COUNT],
}

impl<const COUNT: usize> Levels<COUNT> {
    pub(crate) const fn new(table: &[i8; COUNT]) -> Self {
        let mut sorted = [0.0; COUNT];
        let mut integers = sorted;
        let mut i = 0;
        while i < COUNT {
            let integer = table[i] as f32;
            integers[i] = integer;
            let mut place = i;
            while place > 0 && sorted[place - 1] > integer {
                sorted[place] = sorted[place - 1];
                place -= 1;
            }
            sorted[place] = integer;
            i += 1;
        }
        let mut steps = [(0.0, 0.0); COUNT];
        i = 1;
        while i < COUNT {
            steps[i - 1] = ((sorted[i - 1] + sorted[i]) / 2.0, sorted[i] - sorted[i - 1]);
            i += 1;
        }
        Self { integers, lowest: sorted[0], steps }
    }

    /// The code whose integer times `scale` is nearest to `weight`; the first of equals.
    pub(crate) fn nearest(&self, weight: f32, scale: f32) -> u8 {
        let (mut code, mut least) = (0, f32::INFINITY);
        for (candidate, integer) in self.integers.iter().enumerate() {
            let error = (scale * integer - weight).abs();
            if error < least {
                (code, least) = (candidate as u8, error);
            }
        }
        code
    }

    /// How well the nearest codes fit at `scale`; for a multiple of eight weights.
    pub(crate) fn fit(&self, weights: &[f32], scale: f32) -> Fit {
        let inverse = 1.0 / scale;
        // Eight at a time, so that the compiler can vectorize.
        let fits = weights.as_chunks::<8>().0.iter().map(|weights| {
            let codes = weights.map(|weight| weight * inverse);
            let mut integers = [self.lowest; 8];
            for &(middle, step) in &self.steps[..COUNT - 1] {
                for (integer, code) in integers.iter_mut().zip(&codes) {
                    *integer += if *code > middle { step } else { 0.0 };
                }
            }
            Fit {
                products: integers.iter().zip(weights).map(|(integer, weight)| integer * weight).sum(),
                squares: integers.iter().map(|integer| integer * integer).sum(),
            }
        });
        fits.sum()
    }
}

//! A block's weights and their importance, arranged in lanes for a search.

use core::marker::PhantomData;

use crate::Importance;
use crate::lanes::Lanes;

/// `N` rows of `L` lanes.
///
/// Either a lane holds the `N` weights of a group, so that the sums of all groups are found side by side; or all
/// lanes hold the same `N` weights, to try as many scales on them.
#[derive(Debug)]
pub struct Rows<I, const N: usize, const L: usize> {
    weights: [Lanes<L>; N],
    /// Left zero where all are equal.
    importance: [Lanes<L>; N],
    kind: PhantomData<I>,
}

/// The sums that say how well codes fit the weights of a lane at any scale, each term multiplied by the weight's
/// importance.
#[derive(Clone, Copy)]
pub(crate) struct Fits<const L: usize> {
    /// Of weight times code.
    pub(crate) products: Lanes<L>,
    /// Of the codes' squares.
    pub(crate) squares: Lanes<L>,
}

impl<const L: usize> Fits<L> {
    pub(crate) const ZERO: Self = Self { products: Lanes::ZERO, squares: Lanes::ZERO };

    /// By how much the weights' sum of squares exceeds the squared error that the codes leave at `scale`.
    #[inline(always)]
    pub(crate) fn gain(self, scale: Lanes<L>) -> Lanes<L> {
        scale * (self.products + self.products - scale * self.squares)
    }

    /// `other` where `a` is greater than `b`, else these.
    #[inline(always)]
    pub(crate) fn or_where(self, a: Lanes<L>, b: Lanes<L>, other: Self) -> Self {
        Self {
            products: Lanes::select(a, b, other.products, self.products),
            squares: Lanes::select(a, b, other.squares, self.squares),
        }
    }

    /// The scales at which the codes fit best; not finite where all codes are zero.
    #[inline(always)]
    pub(crate) fn scale(self) -> Lanes<L> {
        self.products / self.squares
    }
}

impl<I: Importance, const N: usize, const L: usize> Rows<I, N, L> {
    /// Lane `g` holds the weights from `first + g * N` on.
    #[inline(always)]
    pub(crate) fn groups(weights: &[f32], importance: I, first: usize) -> Self {
        Self::new(
            #[inline(always)]
            |row, lane| first + lane * N + row,
            weights,
            importance,
        )
    }

    /// Every lane holds the weights from `first` on.
    #[inline(always)]
    pub(crate) fn repeated(weights: &[f32], importance: I, first: usize) -> Self {
        Self::new(
            #[inline(always)]
            |row, _| first + row,
            weights,
            importance,
        )
    }

    #[inline(always)]
    fn new(place: impl Fn(usize, usize) -> usize, weights: &[f32], importance: I) -> Self {
        let mut rows = Self { weights: [Lanes::ZERO; N], importance: [Lanes::ZERO; N], kind: PhantomData };
        for row in 0..N {
            for lane in 0..L {
                rows.weights[row].0[lane] = weights[place(row, lane)];
                if !I::EQUAL {
                    rows.importance[row].0[lane] = importance.of(place(row, lane));
                }
            }
        }
        rows
    }

    #[inline(always)]
    pub(crate) fn weight(&self, row: usize) -> Lanes<L> {
        self.weights[row]
    }

    #[inline(always)]
    pub(crate) fn importance(&self, row: usize) -> Lanes<L> {
        if I::EQUAL { Lanes::splat(1.0) } else { self.importance[row] }
    }

    /// The weights of largest magnitude, with their signs.
    #[inline(always)]
    pub(crate) fn largest(&self) -> Lanes<L> {
        let mut largest = self.weights[0];
        for weight in &self.weights[1..] {
            largest = Lanes::select(weight.abs(), largest.abs(), *weight, largest);
        }
        largest
    }

    /// How well the codes fit that `code` gives to the weights.
    #[inline(always)]
    pub(crate) fn fit(&self, code: impl Fn(Lanes<L>) -> Lanes<L>) -> Fits<L> {
        let mut fits = Fits::ZERO;
        for row in 0..N {
            let weight = self.weights[row];
            let code = code(weight);
            let factor = code * self.importance(row);
            fits.products += factor * weight;
            fits.squares += factor * code;
        }
        fits
    }
}

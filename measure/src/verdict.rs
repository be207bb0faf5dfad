//! What is said of outputs that were checked.

use std::fmt;

/// How one device did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// How many outputs were compared.
    pub checked: usize,
    /// The largest distance from the f64 product.
    pub max_error: f64,
    /// The largest ratio of an error to its bound; above 1 is wrong.
    pub max_ratio: f64,
    /// How many outputs are wrong.
    pub wrong: usize,
    /// The first of them.
    pub first: Option<Wrong>,
}

/// An output that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// Its row of Y.
    pub row: usize,
    /// Its column of Y.
    pub column: usize,
    /// What it is.
    pub found: f32,
    /// What it should be.
    pub expected: Expected,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expected { value, bound, exact } = self.expected;
        write!(
            f,
            "Y[{}, {}] is {:e}, expected {value:e} within {bound:.3e}",
            self.row, self.column, self.found
        )?;
        match exact {
            Some(exact) => write!(f, ", by definition {exact:e}"),
            None => Ok(()),
        }
    }
}

/// What an output should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The f64 product.
    pub value: f64,
    /// How far off an output may be.
    pub bound: f64,
    /// The value by the definition of [`Numerics::Reproducible`](warpdot::Numerics::Reproducible), where that was asked for.
    pub exact: Option<f32>,
}

impl Expected {
    /// The error and its ratio to the bound, whether or not `found` is acceptable.
    ///
    /// Where the f64 product is NaN or infinite, or too large for f32, so must the output be: any of them.
    fn judge(&self, found: f32) -> (f64, f64, bool) {
        if self
            .exact
            .is_some_and(|exact| exact.to_bits() != found.to_bits() && !(exact.is_nan() && found.is_nan()))
        {
            let (error, ratio, _) = Self { exact: None, ..*self }.judge(found);
            return (error, ratio, false);
        }
        if !self.value.is_finite() {
            return (0.0, 0.0, !found.is_finite());
        }
        if !found.is_finite() && self.value.abs() + self.bound > f64::from(f32::MAX) {
            return (0.0, 0.0, !found.is_nan());
        }
        let error = (f64::from(found) - self.value).abs();
        // 0 / 0 is a perfect result; NaN and infinite errors are as wrong as can be.
        let ratio = if error == 0.0 { 0.0 } else { error / self.bound };
        let (error, ratio) = (nan_is_infinite(error), nan_is_infinite(ratio));
        (error, ratio, ratio <= 1.0)
    }
}

fn nan_is_infinite(x: f64) -> f64 {
    if x.is_nan() { f64::INFINITY } else { x }
}

impl Verdict {
    pub(crate) fn add(&mut self, row: usize, column: usize, found: f32, expected: Expected) {
        let (error, ratio, good) = expected.judge(found);
        let wrong = (!good).then_some(Wrong { row, column, found, expected });
        self.merge(Self {
            checked: 1,
            max_error: error,
            max_ratio: ratio,
            wrong: wrong.iter().count(),
            first: wrong,
        });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.checked += other.checked;
        self.max_error = self.max_error.max(other.max_error);
        self.max_ratio = self.max_ratio.max(other.max_ratio);
        self.wrong += other.wrong;
        // The first in memory, whatever the order in which threads come to it.
        self.first = [self.first.take(), other.first].into_iter().flatten().min_by_key(|w| (w.row, w.column));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_a_product_may_be_infinite_but_not_nan() {
        let expected = Expected { value: 1e39, bound: 1.0, exact: None };
        assert!(expected.judge(f32::INFINITY).2);
        assert!(!expected.judge(f32::NAN).2);
        assert!(!expected.judge(f32::MAX).2);
    }

    #[test]
    fn what_is_wrong_is_said_in_full() {
        let expected = Expected { value: 1.5, bound: 0.25, exact: Some(1.25) };
        let wrong = Wrong { row: 1, column: 0, found: f32::NAN, expected };
        let text = "Y[1, 0] is NaN, expected 1.5e0 within 2.500e-1, by definition 1.25e0";
        assert_eq!(wrong.to_string(), text);
    }
}

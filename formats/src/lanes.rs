//! Numbers side by side, in the shape that compilers turn into vector instructions: arrays of a fixed length, and
//! no branches.
//!
//! Everything is inlined, so that a caller that is compiled for an instruction set gets its instructions. The
//! results do not depend on it: each lane is computed on its own, in the order that is written here.

use core::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// `L` numbers, so that no vector of eight lies in two cache lines.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(32))]
pub(crate) struct Lanes<const L: usize>(pub(crate) [f32; L]);

impl<const L: usize> Lanes<L> {
    pub(crate) const ZERO: Self = Self([0.0; L]);

    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self([value; L])
    }

    #[inline(always)]
    pub(crate) fn map(self, f: impl Fn(f32) -> f32) -> Self {
        let mut out = self;
        let mut i = 0;
        while i < L {
            out.0[i] = f(self.0[i]);
            i += 1;
        }
        out
    }

    #[inline(always)]
    pub(crate) fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        let mut i = 0;
        while i < L {
            out.0[i] = f(self.0[i], other.0[i]);
            i += 1;
        }
        out
    }

    #[inline(always)]
    pub(crate) fn abs(self) -> Self {
        self.map(
            #[inline(always)]
            |a| a.abs(),
        )
    }

    /// The smaller ones; those of `other` where this is NaN.
    #[inline(always)]
    pub(crate) fn min(self, other: Self) -> Self {
        self.zip(
            other,
            #[inline(always)]
            |a, b| if a < b { a } else { b },
        )
    }

    /// The larger ones; those of `other` where this is NaN.
    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        self.zip(
            other,
            #[inline(always)]
            |a, b| if a > b { a } else { b },
        )
    }

    /// The nearest integers, ties to even, of magnitudes below 2^22.
    #[inline(always)]
    pub(crate) fn round(self) -> Self {
        self.map(round)
    }

    /// `1 / self`, or 0 where that would not be finite.
    #[inline(always)]
    pub(crate) fn reciprocal(self) -> Self {
        self.map(reciprocal)
    }

    /// `yes` where `a` is greater than `b`, else `no`.
    #[inline(always)]
    pub(crate) fn select(a: Self, b: Self, yes: Self, no: Self) -> Self {
        let mut out = no;
        let mut i = 0;
        while i < L {
            out.0[i] = if a.0[i] > b.0[i] { yes.0[i] } else { no.0[i] };
            i += 1;
        }
        out
    }

    /// These lanes over and over.
    #[inline(always)]
    pub(crate) fn repeat<const M: usize>(self) -> Lanes<M> {
        let mut out = Lanes::ZERO;
        let mut i = 0;
        while i < M {
            out.0[i] = self.0[i % L];
            i += 1;
        }
        out
    }

    /// The sum, first to last.
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        self.0.iter().fold(0.0, |sum, lane| sum + lane)
    }

    /// The values where these lanes are greatest, of every `M`th lane, the first of equals.
    #[inline(always)]
    pub(crate) fn greatest_of<const M: usize>(self, values: Self) -> Lanes<M> {
        let mut greatest = Lanes::<M>::splat(f32::NEG_INFINITY);
        let mut found = Lanes::<M>::ZERO;
        found.0.copy_from_slice(&values.0[..M]);
        for first in (0..L).step_by(M) {
            for i in 0..M {
                let (lane, value) = (self.0[first + i], values.0[first + i]);
                let greater = lane > greatest.0[i];
                greatest.0[i] = if greater { lane } else { greatest.0[i] };
                found.0[i] = if greater { value } else { found.0[i] };
            }
        }
        found
    }

    /// The place of the greatest, the first of equals; 0 if all are NaN.
    #[inline(always)]
    pub(crate) fn greatest(self) -> usize {
        let (mut place, mut greatest) = (0, f32::NEG_INFINITY);
        for (i, &lane) in self.0.iter().enumerate() {
            if lane > greatest {
                (place, greatest) = (i, lane);
            }
        }
        place
    }
}

/// The nearest integer, ties to even, for magnitudes below 2^22.
#[inline(always)]
pub(crate) fn round(value: f32) -> f32 {
    (value + SHIFT) - SHIFT
}

/// The nearest integer, ties to even, in the low byte of the bits of a sum with [`SHIFT`].
#[inline(always)]
pub(crate) fn round_to_byte(value: f32) -> u8 {
    (value + SHIFT).to_bits() as u8
}

/// The nearest integer, ties to even, of a magnitude below 2^22.
#[inline(always)]
pub(crate) fn round_to_integer(value: f32) -> i32 {
    (value + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32
}

/// 1.5 * 2^23: the last bit of a sum with it counts ones.
const SHIFT: f32 = 12_582_912.0;

/// `1 / value`, or 0 where that would not be finite.
#[inline(always)]
pub(crate) fn reciprocal(value: f32) -> f32 {
    let inverse = 1.0 / value;
    if inverse.abs() < f32::INFINITY { inverse } else { 0.0 }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $operator:tt) => {
        impl<const L: usize> $trait for Lanes<L> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(
                    other,
                    #[inline(always)]
                    |a, b| a $operator b,
                )
            }
        }

        impl<const L: usize> $trait<f32> for Lanes<L> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: f32) -> Self {
                self.map(
                    #[inline(always)]
                    |a| a $operator other,
                )
            }
        }
    };
}

operator!(Add, add, +);
operator!(Sub, sub, -);
operator!(Mul, mul, *);
operator!(Div, div, /);

impl<const L: usize> Neg for Lanes<L> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.map(
            #[inline(always)]
            |a| -a,
        )
    }
}

impl<const L: usize> AddAssign for Lanes<L> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// `first` and what follows when each number is `ratio` times the one before.
pub(crate) const fn geometric<const COUNT: usize>(first: f32, ratio: f32) -> [f32; COUNT] {
    let mut numbers = [first; COUNT];
    let mut i = 1;
    while i < COUNT {
        numbers[i] = numbers[i - 1] * ratio;
        i += 1;
    }
    numbers
}

//! What may follow a product before it is stored, with the same bits on every device.
//!
//! ```text
//! v = fma(scale, product, bias)
//! v = activation(v)
//! y = fma(v, factor, residual)        then rounded to the type of Y, to nearest even
//! ```
//!
//! What is absent changes nothing, not even the sign of a zero: a scale and a factor of 1, a bias and a residual
//! of -0. The activations are built from exactly rounded `f32` operations, because those of libraries and of
//! hardware (`ex2.approx`) differ from device to device.
//!
//! ```
//! use warpdot_formats::epilogue::{Activation, Operands};
//!
//! let swiglu = Operands { activation: Activation::Silu, factor: 3.0, ..Operands::NONE };
//! assert_eq!(swiglu.apply(0.0), 0.0);
//! assert_eq!(Operands::NONE.apply(-0.0).to_bits(), (-0f32).to_bits());
//! ```

use crate::reproducible::fma;

/// A function of one number, between a product and what it is multiplied by or added to.
///
/// [`error`](Self::error) bounds the distance from the function of real numbers. NaN stays NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// v
    #[default]
    None,
    /// v / (1 + exp(-v)), also known as swish.
    Silu,
    /// v · Φ(v), Φ being the normal distribution: the GELU without `approximate` in PyTorch.
    Gelu,
    /// v / (1 + exp(-2u)) with u = √(2/π) · (v + 0.044715 v³): the GELU with `approximate="tanh"` in PyTorch.
    GeluTanh,
}

impl Activation {
    /// Every activation, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::None, Self::Silu, Self::Gelu, Self::GeluTanh];

    /// Its number, as kernels take it.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// The activation with the number `id`; none for a number that is nobody's.
    #[inline(always)]
    pub fn from_id(id: u32) -> Self {
        match id {
            1 => Self::Silu,
            2 => Self::Gelu,
            3 => Self::GeluTanh,
            _ => Self::None,
        }
    }

    /// The largest relative error of [`apply`](Self::apply) at `v`; there are up to 2^-120 besides, where exponentials
    /// leave the range of `f32`.
    pub fn error(self, v: f32) -> f64 {
        const UNIT: f64 = 1.0 / (1 << 24) as f64;
        let v = f64::from(v);
        match self {
            Self::None => 0.0,
            Self::Silu => 4.0 * UNIT,
            Self::Gelu => 10.0 * UNIT,
            // An exponent's relative error is absolute in its exponential.
            Self::GeluTanh => (4.0 + 3.0 * (1.6 * v + 0.072 * v * v * v).abs()) * UNIT,
        }
    }

    /// The function's value at `v`.
    #[inline(always)]
    pub fn apply(self, v: f32) -> f32 {
        match self {
            Self::None => v,
            Self::Silu => over_one_plus_exp(v, -v),
            Self::Gelu => gelu(v),
            Self::GeluTanh => {
                // -2 √(2/π), and the same times 0.044715.
                const LINEAR: f32 = -1.595_769_2;
                const CUBIC: f32 = -0.071_354_82;
                over_one_plus_exp(v, v * fma(CUBIC, v * v, LINEAR))
            }
        }
    }
}

/// What meets one element of a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operands {
    /// Multiplies the product.
    pub scale: f32,
    /// Is added to that.
    pub bias: f32,
    /// What it goes through then.
    pub activation: Activation,
    /// Multiplies the activation.
    pub factor: f32,
    /// Is added to that.
    pub residual: f32,
}

impl Operands {
    /// Those that change nothing.
    pub const NONE: Self =
        Self { scale: 1.0, bias: -0.0, activation: Activation::None, factor: 1.0, residual: -0.0 };

    /// The element of Y that becomes of `product`.
    #[inline(always)]
    pub fn apply(self, product: f32) -> f32 {
        let activated = self.activation.apply(fma(self.scale, product, self.bias));
        fma(activated, self.factor, self.residual)
    }
}

/// v / (1 + exp(exponent)).
#[inline(always)]
fn over_one_plus_exp(v: f32, exponent: f32) -> f32 {
    v / (1.0 + exp(exponent))
}

/// max(v, 0) - |v| · Φ(-|v|), where Φ(-a) = exp(-a²/2) · t · (a polynomial in t = 1 / (1 + 0.31a)).
#[inline(always)]
fn gelu(v: f32) -> f32 {
    const P: [f32; 8] = [
        0.123_656_91,
        0.124_060_35,
        0.107_771_03,
        0.110_110_35,
        -0.014_903_804,
        0.155_068_33,
        -0.141_604_88,
        0.035_841_8,
    ];
    /// From here on Φ(-a) is 0 in `f32`.
    const FAR: f32 = 15.0;
    let a = v.abs();
    let a = if a > FAR { FAR } else { a };
    let square = a * a;
    // What rounding the square lost matters in its exponential.
    let lost = fma(a, a, -square);
    let t = 1.0 / fma(0.31, a, 1.0);
    let mut p = P[7];
    for i in (0..7).rev() {
        p = fma(p, t, P[i]);
    }
    let e = exp(-0.5 * square);
    let tail = fma(e, -0.5 * lost, e) * (p * t);
    fma(-a, tail, if v < 0.0 { 0.0 } else { v })
}

/// e^x: infinity from 88.73 on, 0 below -103.98.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: a sum's last bit counts ones, and its low bits the integer
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    // ln 2 in two parts, the first with zeros at its end: its product with an integer is exact.
    const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    // (e^r - 1 - r) / r²
    const P: [f32; 5] = [0.499_999_94, 0.166_665_2, 0.041_668_393, 0.008_368_781, 0.001_381_447_1];

    // Beyond, nothing changes. A NaN passes by.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = fma(x, LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = fma(-n, LN_2[1], fma(-n, LN_2[0], x));
    let mut p = P[4];
    for i in (0..4).rev() {
        p = fma(p, r, P[i]);
    }
    let p = fma(r * r, p, r) + 1.0;
    // In two steps, since 2^n may be no normal number.
    let n = shifted.to_bits().wrapping_sub(SHIFT.to_bits()) as i32;
    (p * power_of_two(n >> 1)) * power_of_two(n - (n >> 1))
}

/// 2^n, for n from -126 to 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The function of real numbers.
    fn exact(activation: Activation, v: f64) -> f64 {
        match activation {
            Activation::None => v,
            Activation::Silu => v / (1.0 + libm::exp(-v)),
            Activation::Gelu => v * libm::erfc(-v * core::f64::consts::FRAC_1_SQRT_2) / 2.0,
            Activation::GeluTanh => {
                let u = libm::sqrt(2.0 / core::f64::consts::PI) * (v + 0.044715 * v * v * v);
                v / (1.0 + libm::exp(-2.0 * u))
            }
        }
    }

    #[test]
    fn activations_are_near_the_functions_of_real_numbers() {
        for activation in Activation::ALL {
            // All exponents, and mantissas of every kind.
            for bits in (0..=u32::MAX).step_by(4099) {
                let v = f32::from_bits(bits);
                let (found, expected) = (activation.apply(v), exact(activation, v.into()));
                if v.is_nan() {
                    assert!(found.is_nan());
                } else if v.is_finite() {
                    let error = (f64::from(found) - expected).abs();
                    let bound = activation.error(v) * expected.abs() + libm::exp2(-120.0);
                    assert!(error <= bound, "{activation:?}({v:e}) is {found:e}; exact is {expected:e}");
                }
            }
            assert_eq!(activation.apply(f32::INFINITY), f32::INFINITY);
            assert_eq!(Activation::from_id(activation.id()), activation);
        }
        assert_eq!(Activation::Gelu.apply(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn what_is_absent_changes_nothing() {
        for bits in (0..=u32::MAX).step_by(65_537).chain([(-0f32).to_bits()]) {
            let v = f32::from_bits(bits);
            let same = Operands::NONE.apply(v);
            assert!(same.to_bits() == bits || v.is_nan() && same.is_nan(), "{v:e} became {same:e}");
        }
    }

    #[test]
    fn operations_come_in_the_documented_order() {
        let activation = Activation::GeluTanh;
        let operands = Operands { scale: 0.3, bias: -3.1, activation, factor: 0.7, residual: 1.5 };
        for i in 0..100 {
            let product = i as f32 * 0.37;
            let expected = activation.apply(product.mul_add(0.3, -3.1)).mul_add(0.7, 1.5);
            assert_eq!(operands.apply(product), expected, "{product}");
        }
    }
}

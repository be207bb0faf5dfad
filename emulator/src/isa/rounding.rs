//! Correct rounding into any binary floating-point format.
//!
//! An exact result may need more bits than an f64 has. It is therefore first *rounded to odd* in f64:
//! an inexact result takes the neighbour whose last bit is one. That bit then says "a little more
//! follows", and rounding again, to a format of at most 51 bits and in any direction, gives what one
//! rounding of the exact value gives.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// To nearest, ties away from zero.
    NearestAway,
    Zero,
    Down,
    Up,
}

pub(crate) const ROUNDINGS: &[(&str, Rounding)] = &[
    ("rn", Rounding::Nearest),
    ("rz", Rounding::Zero),
    ("rm", Rounding::Down),
    ("rp", Rounding::Up),
    ("rna", Rounding::NearestAway),
];

/// A binary format: sign, exponent, mantissa.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    exponent: u32,
    mantissa: u32,
    /// The bits of the largest finite value.
    max: u32,
    /// Whether the code after `max` is an infinity; without one, values too large become `max`.
    infinity: bool,
    nan: u32,
}

pub(crate) const F16: Format = Format { exponent: 5, mantissa: 10, max: 0x7bff, infinity: true, nan: 0x7fff };
pub(crate) const BF16: Format = Format { exponent: 8, mantissa: 7, max: 0x7f7f, infinity: true, nan: 0x7fff };
pub(crate) const F32: Format =
    Format { exponent: 8, mantissa: 23, max: 0x7f7f_ffff, infinity: true, nan: 0x7fff_ffff };
/// An f32 whose last 13 mantissa bits are absent; its bits are the upper ones of a register.
const TF32: Format = Format { exponent: 8, mantissa: 10, max: 0x3_fbff, infinity: true, nan: 0x3_ffff };
pub(crate) const E4M3: Format = Format { exponent: 4, mantissa: 3, max: 0x7e, infinity: false, nan: 0x7f };
pub(crate) const E5M2: Format = Format { exponent: 5, mantissa: 2, max: 0x7b, infinity: false, nan: 0x7f };

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn sign_bit(self) -> u32 {
        1 << (self.exponent + self.mantissa)
    }

    /// Rounds a value (exact, or rounded to odd) into this format.
    pub(crate) fn round(self, value: f64, rounding: Rounding) -> u32 {
        if value.is_nan() {
            return self.nan;
        }
        let sign = if value.is_sign_negative() { self.sign_bit() } else { 0 };
        let overflow = if self.infinity { self.max + 1 } else { self.max };
        if value.is_infinite() {
            return sign | overflow;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as i32 - 1023;
        if exponent == -1023 {
            // Zero, or far below every format here: only a directed rounding notices.
            let tiny = value != 0.0 && directed_up(rounding, sign != 0);
            return sign | u32::from(tiny);
        }
        let significand = bits & ((1 << 52) - 1) | 1 << 52;
        let lowest = 1 - self.bias();
        let steps_from_lowest = (exponent - lowest).max(0);
        let shift = (52 - self.mantissa as i32) + (lowest - exponent).max(0);
        let rounded = round_shift(significand, shift as u32, rounding, sign != 0);
        // A carry out of the mantissa runs into the exponent, where it belongs.
        let magnitude = ((steps_from_lowest as u64) << self.mantissa) + rounded;
        let too_large = magnitude > u64::from(self.max);
        let saturates = rounding == Rounding::Zero
            || (matches!(rounding, Rounding::Up | Rounding::Down) && !directed_up(rounding, sign != 0));
        match (too_large, saturates) {
            (false, _) => sign | magnitude as u32,
            (true, true) => sign | self.max,
            (true, false) => sign | overflow,
        }
    }

    pub(crate) fn to_f64(self, bits: u32) -> f64 {
        let magnitude = bits & (self.sign_bit() - 1);
        let sign = if bits & self.sign_bit() != 0 { -1.0 } else { 1.0 };
        if magnitude > self.max {
            // E5M2 reads its infinity even though nothing is rounded to it.
            let is_infinity = magnitude == self.max + 1 && magnitude != self.nan;
            return if is_infinity { sign * f64::INFINITY } else { f64::NAN };
        }
        let exponent = (magnitude >> self.mantissa) as i32;
        let mantissa = f64::from(magnitude & ((1 << self.mantissa) - 1));
        let hidden = if exponent == 0 { 0.0 } else { f64::from(1u32 << self.mantissa) };
        sign * (hidden + mantissa) * power_of_two(exponent.max(1) - self.bias() - self.mantissa as i32)
    }
}

/// The value of a tf32, in the bits of an f32.
pub(crate) fn round_tf32(value: f64, rounding: Rounding) -> u32 {
    TF32.round(value, rounding) << 13
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Whether a directed rounding increases the magnitude.
fn directed_up(rounding: Rounding, negative: bool) -> bool {
    match rounding {
        Rounding::Up => !negative,
        Rounding::Down => negative,
        _ => false,
    }
}

fn round_shift(significand: u64, shift: u32, rounding: Rounding, negative: bool) -> u64 {
    // Beyond 54 places nothing but "more than nothing" is left.
    let shift = shift.min(55);
    let kept = significand >> shift;
    let rest = significand & ((1 << shift) - 1);
    let half = 1 << shift >> 1;
    let up = match rounding {
        Rounding::Nearest => rest > half || (rest == half && kept & 1 != 0),
        Rounding::NearestAway => rest >= half,
        Rounding::Zero => false,
        Rounding::Up | Rounding::Down => rest != 0 && directed_up(rounding, negative),
    };
    kept + u64::from(up && rest != 0)
}

/// Moves an f64 result to the odd neighbour, given the sign of what it lost.
fn to_odd(value: f64, error: f64) -> f64 {
    if error == 0.0 || !error.is_finite() || !value.is_finite() || value.to_bits() & 1 != 0 {
        return value;
    }
    if error > 0.0 { value.next_up() } else { value.next_down() }
}

/// The sum, rounded to odd.
pub(crate) fn add(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    to_odd(sum, error)
}

/// `a * b + c`, rounded to odd, for factors of at most 26 bits (so that the product is exact).
pub(crate) fn fma(a: f64, b: f64, c: f64) -> f64 {
    add(a * b, c)
}

/// The quotient of two values of at most 26 bits, rounded to odd.
pub(crate) fn div(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    let rest = (-quotient).mul_add(b, a);
    to_odd(quotient, if b.is_sign_negative() { -rest } else { rest })
}

/// The square root of a value of at most 26 bits, rounded to odd.
pub(crate) fn sqrt(a: f64) -> f64 {
    let root = a.sqrt();
    to_odd(root, (-root).mul_add(root, a))
}

/// An integer, rounded to odd.
pub(crate) fn from_integer(value: i128) -> f64 {
    let near = value as f64;
    to_odd(near, (value - near as i128) as f64)
}

//! Formats' arithmetic for some rows of weights in one thread.

use core::array::from_fn;
use core::ops::{Add, BitAnd, BitOr, BitXor, Mul, Neg, Shl, Shr, Sub};

use super::integer::permute;
use warpdot_formats::{F16, Number, Word};

/// A value of each of `ROWS` rows.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<T, const ROWS: usize>(pub [T; ROWS]);

/// Operators of all rows at once, each that of a single row.
macro_rules! operators {
    ($($ty:ty: $($trait:ident $name:ident $operation:expr),*;)*) => {$($(
        impl<const ROWS: usize> $trait for Lanes<$ty, ROWS> {
            type Output = Self;

            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                let operation: fn($ty, $ty) -> $ty = $operation;
                Self(from_fn(#[inline(always)] |row| operation(self.0[row], other.0[row])))
            }
        }
    )*)*};
}

/// The same with a value that all rows share.
macro_rules! operators_with_one {
    ($($ty:ty: $($trait:ident $name:ident $operation:expr),*;)*) => {$($(
        impl<const ROWS: usize> $trait<$ty> for Lanes<$ty, ROWS> {
            type Output = Self;

            #[inline(always)]
            fn $name(self, other: $ty) -> Self {
                let operation: fn($ty, $ty) -> $ty = $operation;
                Self(from_fn(#[inline(always)] |row| operation(self.0[row], other)))
            }
        }
    )*)*};
}

operators! {
    u32: BitAnd bitand |a, b| a & b, BitOr bitor |a, b| a | b, BitXor bitxor |a, b| a ^ b,
        Add add |a, b| a.wrapping_add(b), Sub sub |a, b| a.wrapping_sub(b);
    f32: Mul mul |a, b| a * b;
}

operators_with_one! {
    u32: BitAnd bitand |a, b| a & b, BitXor bitxor |a, b| a ^ b, Add add |a, b| a.wrapping_add(b),
        Sub sub |a, b| a.wrapping_sub(b), Mul mul |a, b| a.wrapping_mul(b), Shl shl |a, b| a << (b % 32),
        Shr shr |a, b| a >> (b % 32);
    f32: Mul mul |a, b| a * b, Add add |a, b| a + b, Sub sub |a, b| a - b;
}

impl<const ROWS: usize> Neg for Lanes<f32, ROWS> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.map(
            #[inline(always)]
            |value| -value,
        )
    }
}

impl<const ROWS: usize> Number for Lanes<f32, ROWS> {
    #[inline(always)]
    fn splat_like(self, value: f32) -> Self {
        Self([value; ROWS])
    }
}

impl<T: Copy, const ROWS: usize> Lanes<T, ROWS> {
    #[inline(always)]
    fn map<U>(self, operation: impl Fn(T) -> U) -> Lanes<U, ROWS> {
        Lanes(from_fn(
            #[inline(always)]
            |row| operation(self.0[row]),
        ))
    }
}

impl<const ROWS: usize> Word for Lanes<u32, ROWS> {
    type Number = Lanes<f32, ROWS>;

    #[inline(always)]
    fn to_number(self) -> Self::Number {
        self.map(
            #[inline(always)]
            |word| word as f32,
        )
    }

    #[inline(always)]
    fn to_bits_of_number(self) -> Self::Number {
        self.map(f32::from_bits)
    }

    #[inline(always)]
    fn half_to_number(self) -> Self::Number {
        self.map(
            #[inline(always)]
            |word| F16(word as u16).to_f32(),
        )
    }

    #[inline(always)]
    fn signed_byte(self, index: usize) -> Self::Number {
        self.map(
            #[inline(always)]
            |word| f32::from((word >> (8 * index)) as i8),
        )
    }

    #[inline(always)]
    fn look_up<const N: usize>(self, table: &'static [u16; N]) -> Self {
        self.map(
            #[inline(always)]
            |word| word.look_up(table),
        )
    }

    #[inline(always)]
    fn look_up_bytes(self, table: &'static [u8; 16]) -> Self {
        self.map(
            #[inline(always)]
            |word| entries_at(permute(word | word >> 4, 0, 0x4420), table),
        )
    }

    /// Both halves of all bytes are looked up, and some are used: what this has in common with the other half, the
    /// compiler does once.
    #[inline(always)]
    fn look_up_nibbles(self, half: usize, table: &'static [u8; 16]) -> Self {
        self.map(
            #[inline(always)]
            |word| {
                let of_low_bytes = entries_at(word, table);
                let of_high_bytes = entries_at(word >> 16, table);
                permute(of_low_bytes, of_high_bytes, if half == 0 { 0x6420 } else { 0x7531 })
            },
        )
    }

    #[inline(always)]
    fn parity(self) -> Self {
        self.map(
            #[inline(always)]
            |word| word.count_ones() & 1,
        )
    }
}

/// The entries of a table at the low four nibbles of `indices`: those below 8, those from 8 on, and the choice. Three
/// permutations of bytes instead of four loads.
#[inline(always)]
fn entries_at(indices: u32, table: &'static [u8; 16]) -> u32 {
    let four = |first: usize| {
        u32::from_le_bytes([table[first], table[first + 1], table[first + 2], table[first + 3]])
    };
    // A nibble whose highest bit is set selects no byte; which of the two that is, is not chosen.
    let low = permute(four(0), four(4), indices);
    let high = permute(four(8), four(12), indices ^ 0x8888_8888);
    permute(low, high, 0x3210_3210 | indices >> 1 & 0x4444_4444)
}

//! The integer types of PTX as one trait, so that every operation is written once.

use crate::exec::registers::Lane;

/// What an integer type can do.
pub(crate) trait Int: Lane + Ord + Default {
    const BITS: u32;
    fn wrapping_add(self, other: Self) -> Self;
    fn wrapping_sub(self, other: Self) -> Self;
    fn wrapping_mul(self, other: Self) -> Self;
    fn saturating_add(self, other: Self) -> Self;
    fn saturating_sub(self, other: Self) -> Self;
    fn high(self, other: Self) -> Self;
    fn divide(self, other: Self) -> Self;
    fn remainder(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    fn negate(self) -> Self;
    fn absolute(self) -> Self;
    fn from_bool(bit: bool) -> Self;
    fn ones(self) -> u32;
    fn zeros(self) -> u32;
    /// The highest bit that differs from the sign (for unsigned: from zero).
    fn highest(self) -> u32;
    fn reversed(self) -> Self;
    fn left(self, amount: u32) -> Self;
    fn right(self, amount: u32) -> Self;
}

macro_rules! int {
    ($($ty:ident, $unsigned:ident, $double:ident;)*) => {$(
        impl Int for $ty {
            const BITS: u32 = $ty::BITS;
            fn wrapping_add(self, other: Self) -> Self { self.wrapping_add(other) }
            fn wrapping_sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn wrapping_mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn saturating_add(self, other: Self) -> Self { self.saturating_add(other) }
            fn saturating_sub(self, other: Self) -> Self { self.saturating_sub(other) }
            fn high(self, other: Self) -> Self {
                ((self as $double * other as $double) >> $ty::BITS) as $ty
            }
            // Division by zero has no defined result; this is what the hardware gives.
            fn divide(self, other: Self) -> Self {
                if other == 0 { !0 } else { self.wrapping_div(other) }
            }
            fn remainder(self, other: Self) -> Self {
                if other == 0 { self } else { self.wrapping_rem(other) }
            }
            fn and(self, other: Self) -> Self { self & other }
            fn or(self, other: Self) -> Self { self | other }
            fn xor(self, other: Self) -> Self { self ^ other }
            fn not(self) -> Self { !self }
            fn negate(self) -> Self { self.wrapping_neg() }
            #[allow(unused_comparisons)]
            fn absolute(self) -> Self { if self < 0 { self.wrapping_neg() } else { self } }
            fn from_bool(bit: bool) -> Self { bit as $ty }
            fn ones(self) -> u32 { self.count_ones() }
            fn zeros(self) -> u32 { self.leading_zeros() }
            #[allow(unused_comparisons)]
            fn highest(self) -> u32 {
                let bits = (if self < 0 { !self } else { self }) as $unsigned;
                bits.checked_ilog2().unwrap_or(u32::MAX)
            }
            fn reversed(self) -> Self { self.reverse_bits() }
            fn left(self, amount: u32) -> Self { self.checked_shl(amount).unwrap_or(0) }
            fn right(self, amount: u32) -> Self { self >> amount.min($ty::BITS - 1) }
        }
    )*};
}

int! {
    u16, u16, u32;
    i16, u16, i32;
    u32, u32, u64;
    i32, u32, i64;
    u64, u64, u128;
    i64, u64, i128;
}

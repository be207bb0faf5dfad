//! What the formats compute with: a 32-bit word and an `f32` in each of some lanes.
//!
//! Formats say once, in these operations, how a block unpacks. A GPU thread and the portable code have a single lane,
//! and a word is a `u32`; a SIMD register has a block of another row in each lane.

use core::ops::{Add, BitAnd, BitOr, BitXor, Mul, Neg, Shl, Shr, Sub};

use crate::F16;
use crate::swar::{raised_negate, splat, spread1};

/// A 32-bit word in each lane. Arithmetic is that of `u32`; no format lets it overflow.
pub trait Word:
    Copy
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + BitAnd<u32, Output = Self>
    + BitXor<u32, Output = Self>
    + Add<u32, Output = Self>
    + Sub<u32, Output = Self>
    + Mul<u32, Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// An `f32` in each lane.
    type Number: Number;

    /// The words as numbers; they are below 2^24.
    fn to_number(self) -> Self::Number;

    /// The words as the bits of numbers.
    fn to_bits_of_number(self) -> Self::Number;

    /// The half-precision numbers whose bits the low half-words are; the high ones are ignored.
    fn half_to_number(self) -> Self::Number;

    /// Byte `index` of the words, with its sign, as a number.
    fn signed_byte(self, index: usize) -> Self::Number;

    /// The entries of a table at each word modulo the table's length, which is a power of two.
    fn look_up<const N: usize>(self, table: &'static [u16; N]) -> Self;

    /// For each byte, which is below 16, its entry of a table.
    fn look_up_bytes(self, table: &'static [u8; 16]) -> Self;

    /// For the low halves of the bytes, or the high ones with `half` 1, their entries of a table.
    #[inline(always)]
    fn look_up_nibbles(self, half: usize, table: &'static [u8; 16]) -> Self {
        (self >> (4 * half as u32) & splat(0x0f)).look_up_bytes(table)
    }

    /// 128 more than each byte, which is below 128, or than its negative where the bit of the byte's number is set in
    /// `signs`, of which only the lowest four bits count.
    #[inline(always)]
    fn raise_signed(self, signs: Self) -> Self {
        raised_negate(self, spread1(signs))
    }

    /// 1 in words with an odd number of ones, else 0.
    #[inline(always)]
    fn parity(self) -> Self {
        let folded = self ^ self >> 16;
        let folded = folded ^ folded >> 8;
        let folded = folded ^ folded >> 4;
        let folded = folded ^ folded >> 2;
        (folded ^ folded >> 1) & 1
    }

    /// Byte `index` of the words.
    #[inline(always)]
    fn byte(self, index: usize) -> Self {
        self >> (8 * index as u32) & 0xff
    }
}

/// An `f32` in each lane.
pub trait Number:
    Copy
    + Neg<Output = Self>
    + Mul<Output = Self>
    + Mul<f32, Output = Self>
    + Add<f32, Output = Self>
    + Sub<f32, Output = Self>
{
    /// `value` in as many lanes as these numbers have.
    fn splat_like(self, value: f32) -> Self;
}

impl Word for u32 {
    type Number = f32;

    #[inline(always)]
    fn to_number(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn to_bits_of_number(self) -> f32 {
        f32::from_bits(self)
    }

    #[inline(always)]
    fn half_to_number(self) -> f32 {
        F16(self as u16).to_f32()
    }

    #[inline(always)]
    fn signed_byte(self, index: usize) -> f32 {
        f32::from((self >> (8 * index)) as i8)
    }

    #[inline(always)]
    fn look_up<const N: usize>(self, table: &'static [u16; N]) -> u32 {
        const { assert!(N.is_power_of_two()) };
        u32::from(table[self as usize % N])
    }

    #[inline(always)]
    fn look_up_bytes(self, table: &'static [u8; 16]) -> u32 {
        u32::from_le_bytes(self.to_le_bytes().map(|index| table[usize::from(index % 16)]))
    }

    #[inline(always)]
    fn parity(self) -> u32 {
        self.count_ones() & 1
    }
}

impl Number for f32 {
    #[inline(always)]
    fn splat_like(self, value: f32) -> f32 {
        value
    }
}

use warpdot_formats::{Word, reproducible};

use super::{Lanes, ROWS};
use crate::isa::Portable;

/// 16 words.
#[derive(Clone, Copy)]
pub(crate) struct Words([u32; ROWS]);

/// 16 numbers.
#[derive(Clone, Copy)]
pub(crate) struct Numbers([f32; ROWS]);

/// `[f(0), f(1), ...]`.
#[inline(always)]
fn lanes<T: Copy>(f: impl Fn(usize) -> T) -> [T; ROWS] {
    let mut lanes = [f(0); ROWS];
    for (i, lane) in lanes.iter_mut().enumerate().skip(1) {
        *lane = f(i);
    }
    lanes
}

/// Functions of vectors by one of lanes each.
macro_rules! by_lanes {
    ($($function:ident |$a:ident, $b:ident| $lane:expr;)*) => {$(
        #[inline(always)]
        fn $function(self, other: Self) -> Self {
            Self(lanes(#[inline(always)] |i| { let ($a, $b) = (self.0[i], other.0[i]); $lane }))
        }
    )*};
}

impl Words {
    by_lanes! {
        and |a, b| a & b;
        or |a, b| a | b;
        xor |a, b| a ^ b;
        add |a, b| a + b;
        sub |a, b| a - b;
        mul |a, b| a * b;
    }

    #[inline(always)]
    fn splat(value: u32) -> Self {
        Self([value; ROWS])
    }

    #[inline(always)]
    fn shl(self, by: u32) -> Self {
        Self(self.0.map(|word| word << by))
    }

    #[inline(always)]
    fn shr(self, by: u32) -> Self {
        Self(self.0.map(|word| word >> by))
    }
}

impl Numbers {
    by_lanes! {
        add |a, b| a + b;
        sub |a, b| a - b;
        mul |a, b| a * b;
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; ROWS])
    }

    #[inline(always)]
    fn negative(self) -> Self {
        Self(self.0.map(|number| -number))
    }
}

operators!(Words, Numbers);

/// Each word by the definition.
impl Word for Words {
    type Number = Numbers;

    #[inline(always)]
    fn to_number(self) -> Numbers {
        Numbers(self.0.map(Word::to_number))
    }

    #[inline(always)]
    fn to_bits_of_number(self) -> Numbers {
        Numbers(self.0.map(Word::to_bits_of_number))
    }

    #[inline(always)]
    fn half_to_number(self) -> Numbers {
        Numbers(self.0.map(Word::half_to_number))
    }

    #[inline(always)]
    fn signed_byte(self, index: usize) -> Numbers {
        Numbers(self.0.map(|word| word.signed_byte(index)))
    }

    #[inline(always)]
    fn look_up<const N: usize>(self, table: &'static [u16; N]) -> Self {
        Self(self.0.map(|word| word.look_up(table)))
    }

    #[inline(always)]
    fn look_up_bytes(self, table: &'static [u8; 16]) -> Self {
        Self(self.0.map(|word| word.look_up_bytes(table)))
    }
}

impl Lanes for Portable {
    type Words = Words;
    type Numbers = Numbers;
    const UNSIGNED: bool = false;
    const VECTORS: usize = 1;

    #[inline(always)]
    fn load_words(self, words: &[u32; ROWS]) -> Words {
        Words(*words)
    }

    #[inline(always)]
    fn load_halves(self, halves: &[u16; ROWS]) -> Words {
        Words(halves.map(u32::from))
    }

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; ROWS]) -> Words {
        Words(bytes.map(u32::from))
    }

    #[inline(always)]
    fn store_words(self, words: Words, to: &mut [u32; ROWS]) {
        *to = words.0;
    }

    #[inline(always)]
    fn integers(self, value: i32) -> Words {
        Words::splat(value.cast_unsigned())
    }

    #[inline(always)]
    fn dot<const WIDE: bool>(self, sums: Words, codes: Words, activations: u32) -> Words {
        let signed = |word: u32| word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
        let activations = signed(activations);
        Words(lanes(|i| {
            let products = signed(codes.0[i]).into_iter().zip(activations).map(|(code, x)| code * x);
            (sums.0[i].cast_signed() + products.sum::<i32>()).cast_unsigned()
        }))
    }

    #[inline(always)]
    fn to_numbers(self, integers: Words) -> Numbers {
        Numbers(integers.0.map(|integer| integer.cast_signed() as f32))
    }

    #[inline(always)]
    fn numbers(self, value: f32) -> Numbers {
        Numbers::splat(value)
    }

    #[inline(always)]
    fn load_numbers(self, values: &[f32; ROWS]) -> Numbers {
        Numbers(*values)
    }

    #[inline(always)]
    fn store_numbers(self, values: Numbers, to: &mut [f32; ROWS]) {
        *to = values.0;
    }

    #[inline(always)]
    fn sum(self, a: Numbers, b: Numbers) -> Numbers {
        a.add(b)
    }

    #[inline(always)]
    fn multiply_add(self, a: Numbers, b: Numbers, c: Numbers) -> Numbers {
        Numbers(lanes(|i| reproducible::fma(a.0[i], b.0[i], c.0[i])))
    }
}

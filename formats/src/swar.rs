//! Four bytes at a time in a [`Word`]: the form in which the GPU's `dp4a` takes its operands, and one that
//! compilers vectorize on the CPU.

use crate::Word;
use crate::blocks::{Blocks, Field};

/// `value` in each of the four bytes.
#[inline(always)]
pub(crate) const fn splat(value: u8) -> u32 {
    value as u32 * 0x0101_0101
}

/// `a - b` in each byte as `i8`, for bytes of `a` below 128 and `b` up to 128.
#[inline(always)]
pub(crate) fn sub<W: Word>(a: W, b: u8) -> W {
    // The top bit keeps each byte's borrow to itself.
    ((a ^ splat(0x80)) - splat(b)) ^ splat(0x80)
}

/// 128 more than `-value` in each byte whose lowest bit of `which` is set, and than `value` in the others, for bytes
/// of `values` below 128 and of `which` up to 1.
#[inline(always)]
pub(crate) fn raised_negate<W: Word>(values: W, which: W) -> W {
    let top = which << 7;
    // 128 - value, whose carry, of a zero, stays within its byte; then the top bits are put right.
    ((values ^ (top - which)) + which) ^ top ^ splat(0x80)
}

/// The low four bits of `bits`, one to a byte.
#[inline(always)]
pub(crate) fn spread1<W: Word>(bits: W) -> W {
    ((bits & 0x0f) * 0x0020_4081) & splat(0x01)
}

/// The low four pairs of bits of `bits`, one pair to a byte.
#[inline(always)]
pub(crate) fn spread2<W: Word>(bits: W) -> W {
    let bits = bits & 0xff;
    let nibbles = (bits | bits << 12) & 0x000f_000f;
    (nibbles | nibbles << 6) & splat(0x03)
}

/// The low four nibbles of `bits`, one to a byte.
#[inline(always)]
pub(crate) fn spread4<W: Word>(bits: W) -> W {
    let bits = bits & 0xffff;
    let bytes = (bits | bits << 8) & 0x00ff_00ff;
    (bytes | bytes << 4) & splat(0x0f)
}

/// A table of signed bytes, all raised by `zero`.
pub(crate) const fn raised(table: &[i8; 16], zero: u8) -> [u8; 16] {
    let mut raised = [0; 16];
    let mut i = 0;
    while i < raised.len() {
        raised[i] = (table[i] as u8).wrapping_add(zero);
        i += 1;
    }
    raised
}

/// Word `index` of the eight that 32 nibbles make, which lie in four words from `first` on: 16 low halves, then
/// 16 high halves.
#[inline(always)]
pub(crate) fn nibbles<B: Blocks>(field: Field<B>, first: usize, index: usize) -> B::Word {
    (field.word(first + index % 4) >> (index as u32 / 4 * 4)) & splat(0x0f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_do_not_disturb_each_other() {
        for a in 0..128u8 {
            let bytes = [a, 127 - a, 0, 127];
            let word = u32::from_le_bytes(bytes);
            for b in [0, 8, 32, 127] {
                assert_eq!(sub(word, b).to_le_bytes(), bytes.map(|byte| byte.wrapping_sub(b)));
            }
            for which in 0..16 {
                let signs = spread1(which).to_le_bytes();
                let negated = core::array::from_fn(|i| {
                    128u8.wrapping_add(if signs[i] == 1 { bytes[i].wrapping_neg() } else { bytes[i] })
                });
                assert_eq!(raised_negate(word, spread1(which)).to_le_bytes(), negated);
            }
        }
    }

    #[test]
    fn bits_spread_in_order_and_what_lies_above_is_dropped() {
        for bits in 0..=u16::MAX {
            let each = |width: usize| {
                core::array::from_fn(|i| (bits >> (i * width)) as u8 & ((1 << width) - 1) as u8)
            };
            assert_eq!(spread1(u32::from(bits) | 0xabcd_0000).to_le_bytes(), each(1));
            assert_eq!(spread2(u32::from(bits) | 0xabcd_0000).to_le_bytes(), each(2));
            assert_eq!(spread4(u32::from(bits) | 0xabcd_0000).to_le_bytes(), each(4));
        }
    }
}

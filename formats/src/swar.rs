//! Four bytes at a time in a `u32`: the form in which the GPU's `dp4a` takes its operands, and one that
//! compilers vectorize on the CPU.

/// The 32-bit word `index` of a little-endian byte string kept as half-words.
///
/// Blocks are only 2-byte aligned, so this is also the widest load that they allow on a GPU.
#[inline(always)]
pub(crate) fn word(halves: &[u16], index: usize) -> u32 {
    u32::from(halves[2 * index]) | u32::from(halves[2 * index + 1]) << 16
}

/// `value` in each of the four bytes.
#[inline(always)]
pub(crate) const fn splat(value: u8) -> u32 {
    value as u32 * 0x0101_0101
}

/// `a - b` in each byte as `i8`, for bytes of `a` below 128 and `b` up to 128.
#[inline(always)]
pub(crate) const fn sub(a: u32, b: u8) -> u32 {
    // The top bit keeps each byte's borrow to itself.
    ((a | splat(0x80)) - splat(b)) ^ splat(0x80)
}

/// `-value` in each byte whose lowest bit of `which` is set, for bytes of `values` below 128 and of `which` up
/// to 1.
#[inline(always)]
pub(crate) const fn negate(values: u32, which: u32) -> u32 {
    let top = which << 7;
    // 128 - value, whose carry, of a zero, stays within its byte; then the top bit is put right.
    ((values ^ (top - which)) + which) ^ top
}

/// The low four bits of `bits`, one to a byte.
#[inline(always)]
pub(crate) const fn spread1(bits: u32) -> u32 {
    ((bits & 0x0f) * 0x0020_4081) & splat(0x01)
}

/// The low four pairs of bits of `bits`, one pair to a byte.
#[inline(always)]
pub(crate) const fn spread2(bits: u16) -> u32 {
    let bits = bits as u32;
    let nibbles = (bits | bits << 12) & 0x000f_000f;
    (nibbles | nibbles << 6) & splat(0x03)
}

/// The four nibbles of `bits`, one to a byte.
#[inline(always)]
pub(crate) const fn spread4(bits: u16) -> u32 {
    let bits = bits as u32;
    let bytes = (bits | bits << 8) & 0x00ff_00ff;
    (bytes | bytes << 4) & splat(0x0f)
}

/// Byte `index` of a little-endian byte string kept as half-words.
#[inline(always)]
pub(crate) fn byte(halves: &[u16], index: usize) -> u8 {
    (halves[index / 2] >> (8 * (index % 2))) as u8
}

/// Word `index` of the eight that 32 nibbles make, which lie in four words from `first` on: 16 low halves, then
/// 16 high halves.
#[inline(always)]
pub(crate) fn nibbles(halves: &[u16], first: usize, index: usize) -> u32 {
    (word(halves, first + index % 4) >> (index / 4 * 4)) & splat(0x0f)
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
                let negated =
                    core::array::from_fn(|i| if signs[i] == 1 { bytes[i].wrapping_neg() } else { bytes[i] });
                assert_eq!(negate(word, spread1(which)).to_le_bytes(), negated);
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
            assert_eq!(spread2(bits).to_le_bytes(), each(2));
            assert_eq!(spread4(bits).to_le_bytes(), each(4));
        }
    }

    #[test]
    fn words_and_bytes_of_half_words() {
        assert_eq!(word(&[0x0201, 0x0403, 0x0605, 0x0807], 1), 0x0807_0605);
        let string: [u16; 4] = crate::pack::halves(|i| i as u8);
        for i in 0..8 {
            assert_eq!(byte(&string, i), i as u8);
        }
        assert_eq!(crate::pack::halves_of_words(|i| word(&string, i)), string);
    }
}

//! How blocks store small codes: several to a byte, neighbours far apart.

use crate::super_block::Found;
use crate::swar::splat;

/// A string of bytes as half-words: the inverse of [`byte`](crate::swar::byte).
#[inline(always)]
pub(crate) fn halves<const COUNT: usize>(byte: impl Fn(usize) -> u8) -> [u16; COUNT] {
    // All bytes first, one after the other, so that the compiler can vectorize.
    let mut bytes = [0; 128];
    for (i, to) in bytes[..2 * COUNT].iter_mut().enumerate() {
        *to = byte(i);
    }
    let mut halves = [0; COUNT];
    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
        *half = u16::from_le_bytes(*bytes);
    }
    halves
}

/// A string of bytes as half-words.
#[inline(always)]
pub(crate) fn halves_of_bytes<const BYTES: usize, const COUNT: usize>(bytes: &[u8; BYTES]) -> [u16; COUNT] {
    const { assert!(BYTES == 2 * COUNT) };
    let mut halves = [0; COUNT];
    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
        *half = u16::from_le_bytes(*bytes);
    }
    halves
}

/// A string of words as half-words: the inverse of [`word`](crate::swar::word).
#[inline(always)]
pub(crate) fn halves_of_words<const COUNT: usize>(word: impl Fn(usize) -> u32) -> [u16; COUNT] {
    let mut halves = [0; COUNT];
    for (i, pair) in halves.as_chunks_mut().0.iter_mut().enumerate() {
        let word = word(i);
        *pair = [word as u16, (word >> 16) as u16];
    }
    halves
}

/// The inverse of [`halves_of_bytes`].
#[inline(always)]
pub(crate) fn bytes_of_halves<const BYTES: usize, const COUNT: usize>(halves: &[u16; COUNT]) -> [u8; BYTES] {
    const { assert!(BYTES == 2 * COUNT) };
    let mut bytes = [0; BYTES];
    for (bytes, half) in bytes.as_chunks_mut().0.iter_mut().zip(halves) {
        *bytes = half.to_le_bytes();
    }
    bytes
}

/// Nibbles: of each `2 * distance` codes, the first half are the low halves of as many bytes and the second half the
/// high ones. Codes are taken eight at a time, so `distance` is a multiple of that.
#[inline(always)]
pub(crate) fn nibble_pairs<const COUNT: usize>(codes: &[u8], distance: usize) -> [u16; COUNT] {
    const LOW: u64 = u64::from_le_bytes([0x0f; 8]);
    let eight = |first: usize| u64::from_le_bytes(codes.as_chunks().0[first / 8]) & LOW;
    let mut halves = [0; COUNT];
    for (i, halves) in halves.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let first = 8 * i / distance * 2 * distance + 8 * i % distance;
        let pairs = eight(first) | eight(first + distance) << 4;
        *halves = [pairs as u16, (pairs >> 16) as u16, (pairs >> 32) as u16, (pairs >> 48) as u16];
    }
    halves
}

/// Word `index` of nibbles: of each `2 * distance` codes, the first half are the low halves of as many bytes and the
/// second half the high ones.
#[inline(always)]
pub(crate) fn nibbles_word(found: impl Found, index: usize, distance: usize) -> u32 {
    let distance = distance / 4;
    let first = index / distance * 2 * distance + index % distance;
    found.codes(first) & splat(0x0f) | (found.codes(first + distance) & splat(0x0f)) << 4
}

/// Word `index` of bit pairs, the codes' from bit `bit` on: each 128 codes are 32 bytes, whose lowest pairs are the first
/// 32 codes.
#[inline(always)]
pub(crate) fn pairs_word(found: impl Found, index: usize, bit: u32) -> u32 {
    let first = index / 8 * 32 + index % 8;
    (0..4).fold(0, |word, k| word | (found.codes(first + 8 * k) >> bit & splat(0x03)) << (2 * k))
}

/// Word `index` of 32 bytes whose bit k is bit `bit` of a code of run k.
#[inline(always)]
pub(crate) fn bits_word(found: impl Found, index: usize, bit: u32) -> u32 {
    (0..8).fold(0, |word, k| word | (found.codes(index + 8 * k) >> bit & splat(0x01)) << k)
}

/// The word of the bytes that stand at places `first` to `first + 3`.
#[inline(always)]
pub(crate) fn four_bytes(first: usize, byte: impl Fn(usize) -> u8) -> u32 {
    u32::from_le_bytes([byte(first), byte(first + 1), byte(first + 2), byte(first + 3)])
}

/// Byte `index` of a string of single bits, lowest first, one for each code's bit `bit`.
#[inline(always)]
pub(crate) fn bits(codes: &[u8], bit: u32, index: usize) -> u8 {
    const LOWEST: u64 = u64::from_le_bytes([1; 8]);
    let bits = u64::from_le_bytes(codes.as_chunks().0[index]) >> bit & LOWEST;
    // The bit of byte k comes to bit 56 + k, and no two bits to the same place.
    (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

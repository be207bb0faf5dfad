//! How the block formats are unpacked by the vector instructions of x86-64, written once for all of them.
//!
//! The codes of two runs at a time are 64 bytes ([`Wide`]): one vector of AVX-512 or two of AVX2. Scales are
//! vectors of eight `f32`, one lane a run, whatever the instruction set. A format combines a few steps: nibbles
//! and bits in planes (`planes.rs`), digits of base three (`digits.rs`), codebooks and signs (`points.rs`), and the
//! ways to store scales (`scales.rs`).

mod digits;
mod planes;
mod points;
mod scales;

use std::arch::x86_64::*;

use bytemuck::Pod;
use warpdot_formats::{
    Format, GgmlType, Iq1M, Iq1S, Iq2S, Iq2Xs, Iq2Xxs, Iq3S, Iq3Xxs, Iq4Nl, Iq4Xs, Mxfp4, Nvfp4, Q1_0, Q2_0,
    Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Tq1_0, Tq2_0,
};

use super::simd::each;
use super::{Avx2, OCTET, Scales, Simd, Unpacked, run_of};
pub(super) use points::{Eights, Fours, each_point_of_eight};

/// Pairs of runs in an octet.
pub(super) const PAIRS: usize = OCTET / 2;

/// The unsigned code of weight zero, for formats that are unpacked to unsigned codes. The other formats are unpacked to
/// signed ones.
pub(super) const fn zero_point<F: Format>() -> Option<u8> {
    match F::ZERO {
        128 => None,
        zero => Some(zero),
    }
}

/// Operations on 64 bytes, the codes of two runs.
pub(super) trait Wide: Simd<F32 = __m256> {
    /// 64 bytes: a run in each half.
    type Bytes: Copy;

    /// What signed codes are xored with.
    const SIGN: u8;

    /// The lesser instruction set.
    fn avx2(self) -> Avx2;

    /// The codes of an octet.
    fn codes(self, pairs: [Self::Bytes; PAIRS]) -> Self::Codes;

    /// Two halves.
    fn join(self, first: __m256i, second: __m256i) -> Self::Bytes;

    /// Bytes as half-words.
    fn widen(self, bytes: __m256i) -> Self::Bytes;

    /// The half-words one by one.
    fn half_words(self, words: Self::Bytes) -> [u16; 32];

    /// Each quarter twice.
    fn twice(self, first: __m128i, second: __m128i) -> Self::Bytes;

    /// `value` in all half-words.
    fn splat_16(self, value: u16) -> Self::Bytes;

    /// `byte` in all bytes.
    #[inline(always)]
    fn splat_8(self, byte: u8) -> Self::Bytes {
        self.splat_16(u16::from_le_bytes([byte; 2]))
    }

    /// Bitwise and.
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Bitwise or.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Bitwise exclusive or.
    fn xor(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Each 64 bits shifted right by their own amount.
    fn shr(self, a: Self::Bytes, by: [u64; 8]) -> Self::Bytes;

    /// Each 64 bits shifted left by their own amount.
    fn shl(self, a: Self::Bytes, by: [u64; 8]) -> Self::Bytes;

    /// The products of 16-bit numbers, modulo 2^16.
    fn mul_16(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// The sums of bytes.
    fn add_8(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// `a - b`, each 0 where that would be negative, of unsigned bytes.
    fn saturating_sub(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// The lesser of unsigned bytes.
    fn min(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// The entries of `table` for indices below 16.
    fn look_up(self, table: &[i8; 16], indices: Self::Bytes) -> Self::Bytes;

    /// The points of an octet's indices, half-words that are taken modulo the codebook's length.
    #[inline(always)]
    fn points_of_eight<const N: usize>(
        self,
        book: &'static Eights<N>,
        indices: Self::Bytes,
    ) -> [Self::Bytes; PAIRS] {
        points::each_point_of_eight(self, book, indices)
    }

    /// The points of an octet's indices, half-words that are taken modulo the codebook's length.
    #[inline(always)]
    fn points_of_four<const N: usize>(
        self,
        book: &'static Fours<N>,
        indices: [Self::Bytes; 2],
    ) -> [Self::Bytes; PAIRS] {
        points::each_point_of_four(self, book, indices)
    }

    /// Adds `value` to the bytes whose bit is set.
    fn add_where(self, bits: u64, a: Self::Bytes, value: u8) -> Self::Bytes;

    /// Negates the bytes whose bit is set.
    fn negate_where(self, bits: u64, a: Self::Bytes) -> Self::Bytes;

    /// The bytes of a table with zero points, or of signed codes, as the instruction set's codes.
    #[inline(always)]
    fn signed(self, codes: Self::Bytes) -> Self::Bytes {
        if Self::SIGN == 0 { codes } else { self.xor(codes, self.splat_8(Self::SIGN)) }
    }

    /// The 64 bytes of `from`.
    #[inline(always)]
    fn load_512<T: Pod>(self, from: &T) -> Self::Bytes {
        const { assert!(size_of::<T>() == 64) };
        let halves: &[[u8; 32]; 2] = bytemuck::from_bytes(bytemuck::bytes_of(from));
        self.join(self.avx2().load_256(&halves[0]), self.avx2().load_256(&halves[1]))
    }
}

/// `blocks` as the `N` blocks of format `G` that they are.
#[inline(always)]
fn octet<F: Format, G: Format, const N: usize>(blocks: &[F]) -> &[G; N] {
    const { assert!(N == OCTET / G::RUNS) };
    bytemuck::cast_slice(blocks).try_into().expect("an octet of blocks")
}

/// Unpacks an octet of any format.
#[inline(always)]
pub(super) fn unpack<I: Wide, F: Format>(isa: I, blocks: &[F]) -> Unpacked<I> {
    macro_rules! dispatch {
        ($($block:ident $unpack:expr;)*) => {
            match F::TYPE {
                $(GgmlType::$block => $unpack(isa, octet::<F, $block, _>(blocks)),)*
                _ => by_definition(isa, blocks),
            }
        };
    }
    dispatch! {
        Q4_0 planes::q4_0;
        Q4_1 planes::q4_1;
        Q5_0 planes::q5_0;
        Q5_1 planes::q5_1;
        Q8_0 planes::q8_0;
        Q2K planes::q2k;
        Q3K planes::q3k;
        Q4K planes::q4k;
        Q5K planes::q5k;
        Q6K planes::q6k;
        Iq1S points::iq1s;
        Iq1M points::iq1m;
        Iq2Xxs points::iq2xxs;
        Iq2Xs points::iq2xs;
        Iq2S points::iq2s;
        Iq3Xxs points::iq3xxs;
        Iq3S points::iq3s;
        Iq4Nl planes::iq4nl;
        Iq4Xs planes::iq4xs;
        Tq1_0 digits::tq1_0;
        Tq2_0 planes::tq2_0;
        Q1_0 planes::q1_0;
        Q2_0 planes::q2_0;
        Mxfp4 planes::mxfp4;
        Nvfp4 planes::nvfp4;
    }
}

/// Any format, by its portable definition.
#[inline(always)]
fn by_definition<I: Wide, F: Format>(isa: I, blocks: &[F]) -> Unpacked<I> {
    let pairs = each(
        #[inline(always)]
        |pair| {
            let ((a, run_a), (b, run_b)) = (run_of(blocks, 2 * pair), run_of(blocks, 2 * pair + 1));
            let avx2 = isa.avx2();
            isa.signed(isa.join(avx2.load_256(&a.codes(run_a)), avx2.load_256(&b.codes(run_b))))
        },
    );
    Unpacked { codes: isa.codes(pairs), scales: Scales::by_definition(isa, blocks) }
}

#[cfg(test)]
mod tests;

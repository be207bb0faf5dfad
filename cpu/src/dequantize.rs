//! Weights of whole matrices become floating-point numbers, in parallel, by the unpacking that products use.

use half::{bf16, f16};
use warpdot_formats::{Format, FormatVisitor, GgmlType, RUN};

use crate::bytes::{blocks_of_bytes, expect_length};
use crate::isa::{
    HALF, LARGE, OCTET, Scales, Simd, SimdVisitor, Streaming, octet_blocks, padded_octet, streaming,
};
use crate::parallel::for_each_chunk;
use crate::{Error, Isa};

/// Weights in an octet.
const WEIGHTS: usize = OCTET * RUN;

/// Conversions of fewer weights than this stay on one thread.
const SMALL: usize = 1 << 16;

/// Weights that a thread takes at once, at most.
const TASK: usize = 1 << 18;

/// A type of number that weights can be dequantized to: `f32`, `f16` or `bf16`. To the latter two they are rounded,
/// ties to even.
pub trait Float: sealed::Float {}

impl<T: sealed::Float> Float for T {}

pub(crate) use sealed::Kind;

mod sealed {
    use super::{Bytes, Error, GgmlType, Isa, bf16, f16};

    /// Which type a [`Float`] is.
    #[derive(Clone, Copy)]
    pub enum Kind {
        F32,
        F16,
        Bf16,
    }

    pub trait Float: bytemuck::Pod + Send + Sync {
        const KIND: Kind;

        /// [`dequantize_bytes`](super::dequantize_bytes), compiled here once and not by every dependant.
        fn dequantize_bytes(isa: Isa, ty: GgmlType, bytes: &[u8], out: &mut [Self]) -> Result<(), Error>;
    }

    macro_rules! floats {
        ($($float:ty, $kind:ident;)*) => {
            $(
                impl Float for $float {
                    const KIND: Kind = Kind::$kind;

                    fn dequantize_bytes(
                        isa: Isa,
                        ty: GgmlType,
                        bytes: &[u8],
                        out: &mut [Self],
                    ) -> Result<(), Error> {
                        ty.visit(Bytes { isa, bytes, out })
                    }
                }
            )*
        };
    }

    floats! {
        f32, F32;
        f16, F16;
        bf16, Bf16;
    }
}

/// Writes the weights of `blocks` to `out`, by threads of rayon's current pool: the bits of [`Format::dequantize`],
/// rounded where `T` is a half-precision type.
///
/// # Errors
/// If `out` does not have as many elements as the blocks have weights.
pub fn dequantize<F: Format, T: Float>(isa: Isa, blocks: &[F], out: &mut [T]) -> Result<(), Error> {
    expect_length("out (weights of the blocks)", blocks.len().saturating_mul(F::WEIGHTS), out.len())?;
    isa.convert(Dequantize { blocks, out });
    Ok(())
}

/// [`dequantize`] of weights whose format is known only at run time.
///
/// # Errors
/// As [`dequantize`], and if the bytes are not whole blocks or start at an odd address.
pub fn dequantize_bytes<T: Float>(isa: Isa, ty: GgmlType, bytes: &[u8], out: &mut [T]) -> Result<(), Error> {
    T::dequantize_bytes(isa, ty, bytes, out)
}

struct Bytes<'a, T> {
    isa: Isa,
    bytes: &'a [u8],
    out: &'a mut [T],
}

impl<T: Float> FormatVisitor for Bytes<'_, T> {
    type Output = Result<(), Error>;

    fn visit<F: Format>(self) -> Self::Output {
        dequantize(self.isa, blocks_of_bytes::<F>(self.bytes)?, self.out)
    }
}

/// Weights of a task: whole octets, and several tasks for each thread.
fn task_weights(weights: usize) -> usize {
    const TASKS_PER_THREAD: usize = 4;
    let threads = rayon::current_num_threads();
    if weights < SMALL || threads == 1 {
        return weights.next_multiple_of(WEIGHTS).max(WEIGHTS);
    }
    weights.div_ceil(threads * TASKS_PER_THREAD).next_multiple_of(WEIGHTS).min(TASK)
}

struct Dequantize<'a, F, T> {
    blocks: &'a [F],
    out: &'a mut [T],
}

impl<F: Format, T: Float> SimdVisitor for Dequantize<'_, F, T> {
    type Output = ();

    fn visit<I: Simd>(self, isa: I) {
        let (task, large) = (task_weights(self.out.len()), size_of_val(self.out) >= LARGE);
        let Self { blocks, out } = self;
        let work = |index: usize, out: &mut [T]| {
            let blocks = &blocks[index * (task / F::WEIGHTS)..][..out.len() / F::WEIGHTS];
            streaming(isa, large, |stores| dequantize_piece(isa, stores, blocks, out));
        };
        if out.len() <= task {
            work(0, out);
        } else {
            for_each_chunk(out, task, 1, &work);
        }
    }
}

/// Dequantizes blocks.
fn dequantize_piece<I: Simd, F: Format, T: Float>(
    isa: I,
    stores: &Streaming<I>,
    blocks: &[F],
    out: &mut [T],
) {
    let whole = blocks.chunks_exact(octet_blocks::<F>());
    let rest = whole.remainder();
    let (octets, tail) = out.as_chunks_mut::<WEIGHTS>();
    isa.vectorize(
        #[inline(always)]
        || {
            for (blocks, out) in whole.zip(octets) {
                dequantize_octet(isa, stores, blocks, out);
            }
        },
    );
    if !rest.is_empty() {
        let mut out = [T::zeroed(); WEIGHTS];
        streaming(isa, false, |stores| {
            dequantize_piece(isa, stores, &padded_octet(rest)[..octet_blocks::<F>()], &mut out)
        });
        tail.copy_from_slice(&out[..tail.len()]);
    }
}

#[inline(always)]
fn dequantize_octet<I: Simd, F: Format, T: Float>(
    isa: I,
    stores: &Streaming<I>,
    blocks: &[F],
    out: &mut [T; WEIGHTS],
) {
    let unpacked = isa.unpack(blocks);
    let Scales { scale, offset } = unpacked.scales;
    let scales = [isa.lanes(scale[0]), isa.lanes(scale[1])];
    let offsets = [isa.lanes(offset[0]), isa.lanes(offset[1])];
    // By pairs, as some instruction sets have the codes of two runs in a vector.
    for (pair, out) in out.as_chunks_mut::<{ 2 * RUN }>().0.iter_mut().enumerate() {
        let (first, second) = out.split_at_mut(RUN);
        for (odd, out) in [first, second].into_iter().enumerate() {
            let run = 2 * pair + odd;
            let numbers = isa.numbers::<F>(&unpacked.codes, run);
            for (half, out) in out.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
                let group = half * HALF / F::GROUP;
                let mut weights = isa.scaled(numbers[half], scales[group][run]);
                if F::HAS_OFFSET {
                    weights = isa.raised(weights, offsets[group][run]);
                }
                stores.put(weights, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Blocks of any bytes, at any address, past the caches and not.
    struct EqualsTheDefinition;

    impl FormatVisitor for EqualsTheDefinition {
        type Output = ();

        fn visit<F: Format>(self) {
            let mut rng = StdRng::seed_from_u64(1);
            // Some pieces and a bit, which is not a whole octet where blocks are small.
            let mut blocks = vec![F::zeroed(); 16 * WEIGHTS / F::WEIGHTS + octet_blocks::<F>() / 2 + 1];
            rng.fill(bytemuck::cast_slice_mut::<F, u8>(&mut blocks));
            let mut expected = vec![0.0; blocks.len() * F::WEIGHTS];
            for (block, out) in blocks.iter().zip(expected.chunks_exact_mut(F::WEIGHTS)) {
                block.dequantize(out);
            }
            assert!(expected.iter().any(|weight| weight.is_finite()));
            let what = format!("{} with", F::NAME);
            for isa in Isa::available() {
                isa.convert(Compare {
                    blocks: &blocks,
                    expected: &expected,
                    what: &format!("{what} {}", isa.name()),
                });
            }
        }
    }

    struct Compare<'a, F> {
        blocks: &'a [F],
        expected: &'a [f32],
        what: &'a str,
    }

    impl<F: Format> SimdVisitor for Compare<'_, F> {
        type Output = ();

        fn visit<I: Simd>(self, isa: I) {
            for past_caches in [false, true] {
                for offset in [0, 1, 4, 8, 16] {
                    self.with(isa, past_caches, offset, f32::to_bits, |x| x);
                    self.with(isa, past_caches, offset, f16::to_bits, f16::from_f32);
                    self.with(isa, past_caches, offset, bf16::to_bits, bf16::from_f32);
                }
            }
        }
    }

    impl<F: Format> Compare<'_, F> {
        fn with<I: Simd, T: Float + Into<f32>, B: PartialEq>(
            &self,
            isa: I,
            past_caches: bool,
            offset: usize,
            bits: impl Fn(T) -> B,
            rounded: impl Fn(f32) -> T,
        ) {
            let mut out = vec![T::zeroed(); offset + self.expected.len()];
            streaming(isa, past_caches, |stores| {
                dequantize_piece(isa, stores, self.blocks, &mut out[offset..])
            });
            self.same(&out[offset..], bits, rounded);
        }

        /// The same bits, except that every NaN is as good as any other.
        fn same<T: Float + Into<f32>, B: PartialEq>(
            &self,
            found: &[T],
            bits: impl Fn(T) -> B,
            rounded: impl Fn(f32) -> T,
        ) {
            for (i, (&found, &expected)) in found.iter().zip(self.expected).enumerate() {
                let (value, exact): (f32, f32) = (found.into(), rounded(expected).into());
                let same = bits(found) == bits(rounded(expected)) || value.is_nan() && exact.is_nan();
                assert!(same, "{}: weight {i} is {value:e}, not {exact:e}", self.what);
            }
        }
    }

    #[test]
    fn weights_are_the_defined_ones() {
        for ty in GgmlType::ALL {
            ty.visit(EqualsTheDefinition);
        }
    }
}

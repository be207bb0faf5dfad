//! Weights become blocks, in parallel, by the code of [`warpdot_formats`] compiled for an instruction set.

use warpdot_formats::{Equal, Format, FormatVisitor, GgmlType, PerWeight};

use crate::bytes::expect_length;
#[cfg(target_arch = "aarch64")]
use crate::isa::Portable;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Avx2, Avx512Vnni, Quantizing};
use crate::isa::{LARGE, Simd, Streaming, streaming};
use crate::parallel::for_each_chunk;
use crate::{Error, Isa};

#[cfg(target_arch = "x86_64")]
mod sixteen;
#[cfg(target_arch = "x86_64")]
mod unsearched;
#[cfg(target_arch = "x86_64")]
use unsearched::{is_unsearched, quantize_sixteens};

/// As many weights are a task for a thread, or one block.
const TASK: usize = 1 << 12;

/// As many are where there is no search.
#[cfg(target_arch = "x86_64")]
const UNSEARCHED_TASK: usize = 1 << 16;

/// Quantizes rows of weights, each block as [`Format::quantize`] says; the bits are the same with every instruction
/// set and number of threads.
///
/// With `importance`, as [`Format::quantize_weighted`] says: one number for each column, which the rows share.
///
/// # Errors
/// If `importance` is not a whole number of blocks, or `weights` not a whole number of rows, or there are not
/// [`Format::WEIGHTS`] of them for each block of `blocks`.
pub fn quantize_blocks<F: Format>(
    isa: Isa,
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &mut [F],
) -> Result<(), Error> {
    expect_length("weights (blocks times the weights in a block)", blocks.len() * F::WEIGHTS, weights.len())?;
    if let Some(importance) = importance {
        let columns = importance.len();
        let whole = columns.next_multiple_of(F::WEIGHTS).max(F::WEIGHTS);
        expect_length("importance (whole blocks)", whole, columns)?;
        expect_length("weights (whole rows)", weights.len().next_multiple_of(columns), weights.len())?;
    }
    let importance = importance.filter(|_| !is_heedless(F::TYPE));
    let past_caches = size_of_val(blocks) >= LARGE;
    Quantize { weights, importance, blocks, past_caches }.on(isa);
    Ok(())
}

/// Whether importance makes no difference.
const fn is_heedless(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::Q8_0 | GgmlType::Mxfp4 | GgmlType::Tq1_0 | GgmlType::Tq2_0)
}

/// Whether a format's quantizer is quicker compiled for AVX-512 than for AVX2: those without a search, and the
/// searches whose lanes fill vectors of 512 bits. Those of others do not, or spill.
#[cfg(target_arch = "x86_64")]
const fn in_512_bits(ty: GgmlType, weighted: bool) -> bool {
    use GgmlType::*;
    match ty {
        Q4_0 | Q4_1 | Q5_0 | Q5_1 => !weighted, // with importance they are searched
        Iq3S | Iq3Xxs | Q8_0 | Tq1_0 | Tq2_0 | Q1_0 | Mxfp4 | Nvfp4 | Q2K | Iq1S | Iq1M | Iq2Xs | Iq2S => {
            true
        }
        _ => false,
    }
}

/// As [`quantize_blocks`], for a format known only at run time.
///
/// # Errors
/// As [`quantize_blocks`], and if `bytes` start at an odd address or have not the length of the blocks.
pub fn quantize_bytes(
    isa: Isa,
    ty: GgmlType,
    weights: &[f32],
    importance: Option<&[f32]>,
    bytes: &mut [u8],
) -> Result<(), Error> {
    ty.visit(QuantizeBytes { isa, weights, importance, bytes })
}

struct QuantizeBytes<'a> {
    isa: Isa,
    weights: &'a [f32],
    importance: Option<&'a [f32]>,
    bytes: &'a mut [u8],
}

impl FormatVisitor for QuantizeBytes<'_> {
    type Output = Result<(), Error>;

    fn visit<F: Format>(self) -> Self::Output {
        let blocks = self.weights.len() / F::WEIGHTS;
        expect_length("bytes (of the blocks)", blocks * size_of::<F>(), self.bytes.len())?;
        let address = self.bytes.as_ptr().addr();
        let blocks: &mut [F] = bytemuck::try_cast_slice_mut(self.bytes)
            .map_err(|_| Error::Misaligned { address, ty: F::TYPE })?; // the length is right
        quantize_blocks(self.isa, self.weights, self.importance, blocks)
    }
}

struct Quantize<'a, F> {
    weights: &'a [f32],
    importance: Option<&'a [f32]>,
    blocks: &'a mut [F],
    /// Whether to store past the caches where there is no search.
    past_caches: bool,
}

impl<F: Format> Quantize<'_, F> {
    fn on(self, isa: Isa) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx(isa) => self.with_avx512(isa.into()),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(isa) => self.with_avx512(isa),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(isa) => self.with_sixteens(Avx2::from(isa)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => self.with_sixteens(isa),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm(isa) => self.by_definition(Portable::from(isa)),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDotprod(isa) => self.by_definition(Portable::from(isa)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => self.by_definition(Portable::from(isa)),
            Isa::Portable(isa) => self.by_definition(isa),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn with_avx512(self, isa: Avx512Vnni) {
        // What the first condition rules out is not even compiled.
        if const { in_512_bits(F::TYPE, false) } && in_512_bits(F::TYPE, self.importance.is_some()) {
            self.with_sixteens(isa);
        } else {
            self.with_sixteens(Avx2::from(isa));
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn with_sixteens<I: Simd + Quantizing>(self, isa: I) {
        self.with(
            isa,
            const { if is_unsearched(F::TYPE) { UNSEARCHED_TASK } else { TASK } },
            #[inline(always)]
            |stores, weights, blocks| quantize_sixteens(isa, stores, weights, blocks),
        );
    }

    fn by_definition<I: Simd>(self, isa: I) {
        self.with(
            isa,
            TASK,
            #[inline(always)]
            |_, _, _| 0,
        );
    }

    /// Quantizes as many blocks as `sixteens` says that it has, the others by the definition.
    fn with<I: Simd>(
        self,
        isa: I,
        task: usize,
        sixteens: impl Fn(&Streaming<I>, &[f32], &mut [F]) -> usize + Sync,
    ) {
        let Self { weights, importance, blocks, past_caches } = self;
        let task = (task / F::WEIGHTS).max(1);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(blocks);
        for_each_chunk(bytes, task * size_of::<F>(), 1, &|index, bytes| {
            let blocks: &mut [F] = bytemuck::cast_slice_mut(bytes);
            let before = index * task;
            let weights = &weights[before * F::WEIGHTS..][..blocks.len() * F::WEIGHTS];
            match importance {
                None => streaming(isa, past_caches, |stores| {
                    isa.vectorize(
                        #[inline(always)]
                        || {
                            let done = sixteens(stores, weights, blocks);
                            let weights = weights[done * F::WEIGHTS..].chunks_exact(F::WEIGHTS);
                            for (block, weights) in blocks[done..].iter_mut().zip(weights) {
                                *block = F::quantize_with(weights, Equal);
                            }
                        },
                    )
                }),
                Some(importance) => isa.vectorize(
                    #[inline(always)]
                    || {
                        let weights = weights.chunks_exact(F::WEIGHTS);
                        for (i, (block, weights)) in blocks.iter_mut().zip(weights).enumerate() {
                            let column = (before + i) * F::WEIGHTS % importance.len();
                            let importance = PerWeight::new(&importance[column..][..F::WEIGHTS]);
                            *block = F::quantize_with(weights, importance);
                        }
                    },
                ),
            }
        });
    }
}

#[cfg(test)]
mod tests;

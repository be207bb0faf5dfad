//! Weights become blocks, in parallel, by the code of [`warpdot_formats`] compiled for an instruction set.

use rayon::prelude::*;
use warpdot_formats::{Equal, Format, PerWeight};

use crate::isa::{IsaVisitor, Simd};
use crate::{Error, Isa};

/// As many weights are a task for a thread, or one block.
const TASK: usize = 1 << 12;

/// Quantizes rows of weights, each as [`Format::quantize`] says; the bits are the same with every instruction set
/// and number of threads.
///
/// With `importance`, each as [`Format::quantize_weighted`] says: one number for each column, which the rows share.
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
    let expect = |what, expected, found| {
        if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
    };
    expect("weights (blocks times the weights in a block)", blocks.len() * F::WEIGHTS, weights.len())?;
    if let Some(importance) = importance {
        let columns = importance.len();
        let whole = columns.next_multiple_of(F::WEIGHTS).max(F::WEIGHTS);
        expect("importance (whole blocks)", whole, columns)?;
        expect("weights (whole rows)", weights.len().next_multiple_of(columns), weights.len())?;
    }
    isa.visit(Quantize { weights, importance, blocks });
    Ok(())
}

struct Quantize<'a, F> {
    weights: &'a [f32],
    importance: Option<&'a [f32]>,
    blocks: &'a mut [F],
}

impl<F: Format> IsaVisitor for Quantize<'_, F> {
    type Output = ();

    fn visit<I: Simd>(self, isa: I) {
        let task = (TASK / F::WEIGHTS).max(1);
        let tasks = self.blocks.par_chunks_mut(task).zip(self.weights.par_chunks(task * F::WEIGHTS));
        match self.importance {
            None => tasks.for_each(|(blocks, weights)| {
                isa.vectorize(
                    #[inline(always)]
                    || {
                        for (block, weights) in blocks.iter_mut().zip(weights.chunks_exact(F::WEIGHTS)) {
                            *block = F::quantize_with(weights, Equal);
                        }
                    },
                );
            }),
            Some(importance) => tasks.enumerate().for_each(|(i, (blocks, weights))| {
                let before = i * task;
                isa.vectorize(
                    #[inline(always)]
                    || {
                        let weights = weights.chunks_exact(F::WEIGHTS);
                        for (i, (block, weights)) in blocks.iter_mut().zip(weights).enumerate() {
                            let column = (before + i) * F::WEIGHTS % importance.len();
                            let importance = PerWeight::new(&importance[column..][..F::WEIGHTS]);
                            *block = F::quantize_with(weights, importance);
                        }
                    },
                );
            }),
        }
    }
}

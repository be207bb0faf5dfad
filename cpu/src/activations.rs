//! Activations as the tiles read them.

use bytemuck::{Pod, Zeroable};
use warpdot_formats::{ActivationBlock, RUN};

use crate::isa::{IsaVisitor, Lanes, OCTET};
use crate::{Error, Isa};

/// Eight consecutive [`ActivationBlock`]s of a row, field by field, so that lane r of a vector belongs to run r.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct ActivationOctet {
    pub(crate) codes: [[i8; RUN]; OCTET],
    pub(crate) scales: [f32; OCTET],
    /// Of the first and of the second halves of the runs.
    pub(crate) sums: [[i32; OCTET]; 2],
    padding: [u8; 32],
}

impl ActivationOctet {
    /// Quantizes up to eight runs of activations. Where there are fewer, the other lanes are such that
    /// multiplying them by zero weights leaves every chain as it is.
    #[inline(always)]
    pub(crate) fn quantize(activations: &[f32]) -> Self {
        // A product of -0.0 changes no sum, while one of 0.0 would turn -0.0 into 0.0.
        let mut octet = Self { scales: [-0.0; OCTET], ..Self::zeroed() };
        for (run, activations) in activations.as_chunks().0.iter().enumerate() {
            let block = ActivationBlock::quantize(activations);
            octet.codes[run] = block.codes;
            octet.scales[run] = block.scale;
            for (sums, sum) in octet.sums.iter_mut().zip(block.sums) {
                sums[run] = i32::from(sum);
            }
        }
        octet
    }
}

/// Quantizes activations, 32 to a block, as [`ActivationBlock::quantize`] says.
///
/// # Errors
/// If there are not 32 activations for each block of `blocks`.
pub fn quantize(isa: Isa, activations: &[f32], blocks: &mut [ActivationBlock]) -> Result<(), Error> {
    let expected = activations.len() / RUN;
    if !activations.len().is_multiple_of(RUN) || blocks.len() != expected {
        return Err(Error::Length { what: "blocks (activations / 32)", expected, found: blocks.len() });
    }
    isa.visit(Quantize { activations, blocks });
    Ok(())
}

struct Quantize<'a> {
    activations: &'a [f32],
    blocks: &'a mut [ActivationBlock],
}

impl IsaVisitor for Quantize<'_> {
    type Output = ();

    // The definition is what compilers vectorize well: compiled for the instruction set it is quick, and the
    // same bits.
    fn visit<I: Lanes>(self, isa: I) {
        isa.vectorize(
            #[inline(always)]
            || {
                for (block, activations) in self.blocks.iter_mut().zip(self.activations.as_chunks().0) {
                    *block = ActivationBlock::quantize(activations);
                }
            },
        );
    }
}

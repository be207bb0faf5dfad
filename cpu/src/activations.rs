//! Activations as products read them.

use warpdot_formats::{ActivationBlock, Format, RUN};

use crate::isa::{IsaVisitor, Lanes};
use crate::{Error, Isa};

/// A run of `COLUMNS` rows of activations, and what becomes of it with certain weights ([`Weighing`]).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ActivationRun<const COLUMNS: usize> {
    /// Four to a word.
    pub(crate) codes: [[u32; RUN / 4]; COLUMNS],
    pub(crate) scales: [f32; COLUMNS],
    /// What integer dot products of groups start with: the sum of the group's codes times how much less than its raw
    /// code a code of weights is.
    pub(crate) starts: [[i32; COLUMNS]; 2],
    /// The sums of the groups' codes.
    pub(crate) sums: [[f32; COLUMNS]; 2],
}

impl<const COLUMNS: usize> ActivationRun<COLUMNS> {
    pub(crate) const ZERO: Self =
        Self { codes: [[0; _]; _], scales: [0.0; _], starts: [[0; _]; _], sums: [[0.0; _]; _] };

    /// Quantizes 32 activations of a row.
    #[inline(always)]
    pub(crate) fn set(&mut self, column: usize, activations: &[f32; RUN], weighing: Weighing) {
        let block = ActivationBlock::quantize(activations);
        self.codes[column] = bytemuck::cast(block.codes);
        self.scales[column] = block.scale;
        let [first, second] = block.sums.map(i32::from);
        let sums = if weighing.halves { [first, second] } else { [first + second, 0] };
        for (half, sum) in sums.into_iter().enumerate() {
            self.starts[half][column] = -weighing.zero * sum;
            self.sums[half][column] = sum as f32;
        }
    }

    /// Takes a run that was quantized alone.
    pub(crate) fn copy(&mut self, column: usize, alone: &ActivationRun<1>) {
        self.codes[column] = alone.codes[0];
        self.scales[column] = alone.scales[0];
        for half in 0..2 {
            self.starts[half][column] = alone.starts[half][0];
            self.sums[half][column] = alone.sums[half][0];
        }
    }
}

/// What the preparation of activations has to know of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighing {
    /// The code that products read for weight zero.
    zero: i32,
    /// Whether groups are half runs.
    halves: bool,
}

impl Weighing {
    pub(crate) fn of<I: Lanes, F: Format>() -> Self {
        let signed = F::ZERO == 128 && !I::UNSIGNED;
        Self { zero: if signed { 0 } else { i32::from(F::ZERO) }, halves: F::GROUP < RUN }
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

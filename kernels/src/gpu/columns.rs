//! Rows of activations in the GPU's memory, read at the same place along k.

use core::marker::PhantomData;

use crate::activations::Activations;

/// Rows of activations, the columns of a product: at least one, and fewer than 2^32 blocks in all.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    start: *const Activations,
    last: u32,
    runs: u32,
    blocks: PhantomData<&'a [Activations]>,
}

impl<'a> Columns<'a> {
    /// The first `m` rows of `runs` blocks, one after the other, if `blocks` has them.
    #[inline(always)]
    pub fn new(blocks: &'a [Activations], m: u32, runs: u32) -> Option<Self> {
        let count = m.checked_mul(runs)?;
        let last = m.checked_sub(1)?;
        (count as usize <= blocks.len()).then_some(Self {
            start: blocks.as_ptr(),
            last,
            runs,
            blocks: PhantomData,
        })
    }

    /// Blocks of a row.
    #[inline(always)]
    pub fn runs(self) -> u32 {
        self.runs
    }

    /// Block `run` of all rows.
    #[inline(always)]
    pub fn run(self, run: u32) -> Option<Run<'a>> {
        (run < self.runs).then_some(Run { columns: self, run })
    }
}

/// One block of each of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    columns: Columns<'a>,
    run: u32,
}

impl<'a> Run<'a> {
    /// That of row `column`; the last one for those that there are not.
    #[inline(always)]
    pub fn column(self, column: u32) -> &'a Activations {
        let Columns { start, last, runs, .. } = self.columns;
        let block = column.min(last) * runs + self.run;
        // SAFETY: `new` has seen all rows up to `last`, with `runs` blocks each, and `run` that there is this one; their
        // number does not overflow.
        unsafe { &*start.wrapping_add(block as usize) }
    }
}

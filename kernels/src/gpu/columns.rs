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

impl Columns<'_> {
    /// Blocks of all rows: block `first`, and others.
    #[inline(always)]
    pub fn steps(self, first: u32) -> RunSteps {
        RunSteps {
            next: self.start.wrapping_add(first as usize),
            runs: self.runs,
            last: self.last,
            left: self.runs.saturating_sub(first),
        }
    }
}

/// Some blocks of each of the rows, at a distance from each other.
#[derive(Clone, Copy, Debug)]
pub struct RunSteps {
    /// The next one of the first row.
    next: *const Activations,
    runs: u32,
    last: u32,
    /// Blocks of the rows from the next one on.
    left: u32,
}

impl RunSteps {
    /// Where the next one of row `column` is, of the last row for those that there are not; or, with no more blocks
    /// [`left`](Self::has_next), an address where nothing is read.
    #[inline(always)]
    pub(super) fn address(self, column: u32) -> *const u32 {
        self.next.wrapping_add((column.min(self.last) * self.runs) as usize).cast()
    }

    /// Whether there is such a block.
    #[inline(always)]
    pub(super) fn has_next(self) -> bool {
        self.left > 0
    }

    /// Goes `step` blocks on.
    #[inline(always)]
    pub(super) fn advance(&mut self, step: u32) {
        self.next = self.next.wrapping_add(step as usize);
        self.left = self.left.saturating_sub(step);
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

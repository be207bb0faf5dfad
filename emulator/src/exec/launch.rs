//! A launch: the blocks of a grid, in parallel. The result, the counters and the first diagnostic do
//! not depend on how many threads share the work.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::block::{Block, BlockFault, thread_index};
use super::pool;
use crate::counters::Counters;
use crate::diagnostic::Diagnostic;
use crate::memory::global::Allocation;
use crate::program::Program;

pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Program,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) dynamic_shared: u32,
    pub(crate) parameters: &'a [u8],
    pub(crate) allocations: &'a [Arc<Allocation>],
    pub(crate) atomics: &'a Mutex<()>,
    /// Warp instructions after which a block is taken to hang.
    pub(crate) max_instructions: u64,
}

impl Launch<'_> {
    pub(crate) fn shared_bytes(&self) -> u32 {
        self.program.static_shared + self.dynamic_shared
    }

    /// Runs every block; on a violation, the diagnostic of the first block that has one.
    pub(crate) fn run(&self) -> (Counters, Result<(), Diagnostic>) {
        let blocks: u64 = self.grid.iter().map(|&size| u64::from(size)).product();
        let first_failing = AtomicU64::new(u64::MAX);
        let failure: Mutex<Option<(u64, BlockFault)>> = Mutex::new(None);
        let run_block = |mut block: Block, index: u64| {
            // Blocks behind a failing one need not run; those before it might fail too.
            if index > first_failing.load(Relaxed) {
                return block;
            }
            if let Err(fault) = block.run(self, self.position(index)) {
                first_failing.fetch_min(index, Relaxed);
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                if failure.as_ref().is_none_or(|(first, _)| index < *first) {
                    *failure = Some((index, fault));
                }
            }
            block
        };
        let mut counters = if self.program.one_by_one || blocks == 1 {
            (0..blocks).fold(Block::default(), run_block).counters
        } else {
            let add = |mut sum: Counters, counters| {
                sum += &counters;
                sum
            };
            pool::run(|| {
                let blocks = (0..blocks).into_par_iter().fold(Block::default, run_block);
                blocks.map(|block| block.counters).reduce(Counters::default, add)
            })
        };
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        if failure.is_some() {
            // How far the other blocks came is chance.
            counters = Counters::default();
        }
        counters.launches = 1;
        match failure {
            Some((index, fault)) => (counters, Err(self.diagnostic(index, fault))),
            None => (counters, Ok(())),
        }
    }

    fn position(&self, index: u64) -> [u32; 3] {
        let [x, y, _] = self.grid.map(u64::from);
        [(index % x) as u32, (index / x % y) as u32, (index / (x * y)) as u32]
    }

    fn diagnostic(&self, index: u64, BlockFault { warp, fault }: BlockFault) -> Diagnostic {
        let line = self.program.code[fault.pc].line;
        Diagnostic {
            kernel: self.program.name.clone(),
            line,
            instruction: self.program.quote(line),
            block: self.position(index),
            thread: thread_index(self.block, warp, fault.fault.lane as usize),
            violation: *fault.fault.violation,
        }
    }
}

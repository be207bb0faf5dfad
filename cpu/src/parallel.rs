//! Work for the threads of rayon's current pool.
//!
//! Rayon's own code is made anew for each closure that it runs. Kernels are many, one for each format and instruction
//! set, so they hand their work over as a reference, and rayon's code is made once for each type of element.

use rayon::prelude::*;

/// Calls `work` with the number of each chunk of `length` elements (the last may have fewer) and the chunk, at least
/// `at_once` of them in a task.
#[inline(never)]
pub(crate) fn for_each_chunk<T: Send>(
    data: &mut [T],
    length: usize,
    at_once: usize,
    work: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    let chunks = data.par_chunks_mut(length).with_min_len(at_once).enumerate();
    chunks.for_each(|(index, chunk)| work(index, chunk));
}

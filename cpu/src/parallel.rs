//! Work for the threads of rayon's current pool.
//!
//! Rayon's own code is made anew for each closure that it runs. Kernels are many, one for each format and instruction
//! set, so they hand their work over as a reference, and rayon's code is made once for each type of element.

use std::ops::Range;

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

/// Calls `work` with the number of each piece and the piece, all of them on one thread if that is asked for. `start` says
/// where each piece starts; each ends where the next starts, the last with `data`.
#[inline(never)]
pub(crate) fn for_each_piece<T: Send>(
    data: &mut [T],
    pieces: Range<usize>,
    start: &(dyn Fn(usize) -> usize + Sync),
    one_thread: bool,
    work: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    if pieces.len() <= 1 {
        return pieces.for_each(|piece| work(piece, &mut *data));
    }
    let middle = pieces.start + pieces.len() / 2;
    let (before, behind) = data.split_at_mut(start(middle) - start(pieces.start));
    let mut before = || for_each_piece(before, pieces.start..middle, start, one_thread, work);
    let mut behind = || for_each_piece(behind, middle..pieces.end, start, one_thread, work);
    if one_thread {
        before();
        behind();
    } else {
        rayon::join(before, behind);
    }
}

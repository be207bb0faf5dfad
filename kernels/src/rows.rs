//! Rows of weights as f32: embeddings looked up, or a matrix dequantized.
//!
//! - **Roles.** A thread writes four consecutive weights, one word of codes, with a single store; eight threads
//!   make up a run, and each of them unpacks it.
//! - **Shape.** Any number of rows, in any order; k a multiple of the block.
//! - **Barriers.** None.

use crate::gpu::global::Output;
use crate::gpu::thread;
use crate::launch::ROWS_THREADS;
use warpdot_formats::{Format, RUN};

/// Four weights, for stores of 16 bytes: the host allocates device memory in multiples of 256, and rows are
/// multiples of 32 weights.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Quad([f32; 4]);

/// Writes rows `ids` of `weights`, `k` long, to `out`, one after the other.
#[inline(always)]
pub fn rows<F: Format>(weights: &[F], ids: &[u32], out: Output<Quad>, k: u32) {
    // The host sees to it that the number fits 32 bits, in which division is quick.
    let (quad, quads) = (thread::block_idx_x() * ROWS_THREADS + thread::thread_idx_x(), k / 4);
    let Some(row) = quad.checked_div(quads) else { return };
    let Some(&id) = ids.get(row as usize) else { return };
    let (run, place) = ((quad - row * quads) as usize / (RUN / 4), quad as usize % (RUN / 4));
    let blocks = k as usize / F::WEIGHTS;
    let Some(block) = weights.get(id as usize * blocks + run / F::RUNS) else { return };

    // A selection, because an index that is not constant would put the words into local memory.
    let words = block.codes(run);
    let (mut word, scales) = (words[0], block.scales(run));
    for (i, candidate) in words.into_iter().enumerate() {
        word = if i == place { candidate } else { word };
    }
    let late = F::GROUP < RUN && place >= RUN / 8;
    let of_group = |pair: [f32; 2]| if late { pair[1] } else { pair[0] };
    let (scale, offset) = (of_group(scales.scale), of_group(scales.offset));
    let weight = |i: usize| {
        let product = scale * f32::from((word >> (8 * i)) as i8);
        if F::HAS_OFFSET { product + offset } else { product }
    };
    out.set(quad as usize, Quad([weight(0), weight(1), weight(2), weight(3)]));
}

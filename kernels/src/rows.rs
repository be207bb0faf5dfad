//! Rows of weights as f32: embeddings looked up, or a matrix dequantized.
//!
//! - **Roles.** A thread writes four consecutive weights, one word of codes, with a single store; eight threads
//!   make up a run, and each of them unpacks it.
//! - **Shape.** Any number of rows, in any order; k a multiple of the block.
//! - **Barriers.** None.

use crate::gpu::global::Output;
use crate::gpu::lanes::Lanes;
use crate::gpu::thread;
use crate::gpu::weights::Weights;
use crate::launch::ROWS_THREADS;
use warpdot_formats::{Format, RUN};

/// Four weights, for stores of 16 bytes: the host allocates device memory in multiples of 256, and rows are
/// multiples of 32 weights.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Quad([f32; 4]);

/// Writes rows `ids` of `weights`, `k` long, to `out`, one after the other.
#[inline(always)]
pub fn rows<F: Format>(weights: Weights<F>, ids: &[u32], out: Output<Quad>, k: u32) {
    // The host sees to it that the number fits 32 bits, in which division is quick.
    let (quad, quads) = (thread::block_idx_x() * ROWS_THREADS + thread::thread_idx_x(), k / 4);
    let Some(row) = quad.checked_div(quads) else { return };
    let Some(&id) = ids.get(row as usize) else { return };
    let (run, place) = ((quad - row * quads) as usize / (RUN / 4), quad as usize % (RUN / 4));
    let Some(row) = weights.rows::<1>(id) else { return };
    let Some(block) = row.block((run / F::RUNS) as u32) else { return };

    // A selection, because an index that is not constant would put the words into local memory.
    let words = F::raw_codes(block, run);
    let (mut word, scales) = (words[0], F::raw_scales(block, run));
    for (i, candidate) in words.into_iter().enumerate() {
        word = if i == place { candidate } else { word };
    }
    let late = F::GROUP < RUN && place >= RUN / 8;
    let of_group = |pair: [Lanes<f32, 1>; 2]| if late { pair[1].0[0] } else { pair[0].0[0] };
    let (scale, offset) = (of_group(scales.scale), of_group(scales.offset));
    let weight = |code: u8| {
        let product = scale * (i32::from(code) - i32::from(F::ZERO)) as f32;
        if F::HAS_OFFSET { product + offset } else { product }
    };
    out.set(quad as usize, Quad(word.0[0].to_le_bytes().map(weight)));
}

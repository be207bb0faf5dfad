//! Memory read, and nothing else: what any kernel takes at least that reads as much.
//!
//! - **Roles.** A thread reads 4 pieces of 16 bytes, its block 4 runs of neighbouring ones, all of them before any is
//!   needed. A warp stores one word, in which every bit that it has read has a part: so no load can be left out.
//! - **Shape.** Any number of pieces.
//! - **Barriers.** None; the words of a warp meet through shuffles.

use crate::gpu::global::Output;
use crate::gpu::{thread, warp};
use crate::pack::Words4;

/// Threads in a block.
pub const THREADS: u32 = 256;
/// Pieces that a thread reads.
const PIECES: usize = 4;
/// Pieces that a block reads.
pub const BLOCK_PIECES: usize = PIECES * THREADS as usize;
/// Words that a block stores.
pub const BLOCK_SUMS: u32 = THREADS / warp::SIZE;

/// Reads all `pieces`, and stores the exclusive or of what each warp has read.
#[inline(always)]
pub fn read(pieces: &[Words4], sums: Output<u32>) {
    let thread = thread::thread_idx_x() % THREADS;
    let block = thread::block_idx_x();
    let (blocks, rest) = pieces.as_chunks::<BLOCK_PIECES>();
    let mut words = [0; 4];
    match blocks.get(block as usize) {
        Some(pieces) => {
            for i in 0..PIECES {
                words = exclusive_or(words, pieces[i * THREADS as usize + thread as usize]);
            }
        }
        None => {
            for i in 0..PIECES {
                if let Some(piece) = rest.get(i * THREADS as usize + thread as usize) {
                    words = exclusive_or(words, *piece);
                }
            }
        }
    }
    let sum = warp::reduce(words[0] ^ words[1] ^ words[2] ^ words[3], warp::SIZE, |a, b| a ^ b);
    if warp::lane_id() == 0 {
        sums.set((block * BLOCK_SUMS + thread / warp::SIZE) as usize, sum);
    }
}

#[inline(always)]
fn exclusive_or(a: [u32; 4], Words4(b): Words4) -> [u32; 4] {
    [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]]
}

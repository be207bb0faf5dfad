//! What a conversion of whole matrices takes at least: reading one slice of memory and writing another.

use rayon::prelude::*;

use crate::Isa;
use crate::isa::{Simd, SimdVisitor, streaming};

/// Bytes that a thread writes at once.
const TASK: usize = 1 << 20;

/// Bytes that are written after as many have been read as belong to them.
const PIECE: usize = 1 << 14;

/// Reads all of `from`, and writes to all of `to` past the caches, side by side, by threads of rayon's current pool.
pub fn read_and_write(isa: Isa, from: &[u8], to: &mut [u8]) {
    isa.convert(ReadAndWrite { from, to });
}

struct ReadAndWrite<'a> {
    from: &'a [u8],
    to: &'a mut [u8],
}

impl SimdVisitor for ReadAndWrite<'_> {
    type Output = ();

    fn visit<I: Simd>(self, isa: I) {
        let tasks = self.to.len().div_ceil(TASK);
        let from = self.from.par_chunks(self.from.len().div_ceil(tasks));
        self.to.par_chunks_mut(TASK).zip(from).for_each(|(to, from)| {
            let pieces = to.len().div_ceil(PIECE);
            let mut buffer = [0u8; PIECE];
            streaming(isa, |past_caches| {
                for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(from.len().div_ceil(pieces))) {
                    isa.vectorize(
                        #[inline(always)]
                        || {
                            buffer[..64].copy_from_slice(&exclusive_or(from));
                            past_caches.copy(&buffer[..to.len()], to);
                        },
                    );
                }
            });
        });
    }
}

/// The exclusive or of all whole lines.
#[inline(always)]
fn exclusive_or(bytes: &[u8]) -> [u8; 64] {
    let mut sum = [0; 64];
    for line in bytes.as_chunks::<64>().0 {
        for (sum, byte) in sum.iter_mut().zip(line) {
            *sum ^= byte;
        }
    }
    sum
}

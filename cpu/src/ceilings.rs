//! What this machine does at best, for benches to hold kernels to: reading memory, reading and writing it, and
//! products of bytes in registers. Each does nothing else; whoever calls it takes the time.

use rayon::prelude::*;

use crate::Isa;
pub use crate::isa::ProductPeak;
use crate::isa::{Simd, SimdVisitor, streaming, sum_of_words};

/// Bytes that a thread writes at once.
const TASK: usize = 1 << 20;

/// Bytes that are written after as many have been read as belong to them.
const PIECE: usize = 1 << 14;

/// Words that a thread reads at once.
const STRIP: usize = 1 << 14;

/// Adds up all words, by threads of rayon's current pool: reads memory, and does nothing else.
pub fn read(words: &[u64]) -> u64 {
    words.par_chunks(STRIP).map(sum_of_words).reduce(|| 0, u64::wrapping_add)
}

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
            // Not zeros: there are machines that write those at twice the speed.
            let mut buffer: [u8; PIECE] = std::array::from_fn(|i| (i * 37 / 8) as u8 | 1);
            streaming(isa, true, |past_caches| {
                for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(from.len().div_ceil(pieces))) {
                    isa.vectorize(
                        #[inline(always)]
                        || {
                            buffer[..64].copy_from_slice(&exclusive_or(isa, from));
                            past_caches.copy(&buffer[..to.len()], to);
                        },
                    );
                }
            });
        });
    }
}

/// The exclusive or of all whole lines, which are fetched as far ahead as by quantizers: without that, these are quicker.
#[inline(always)]
fn exclusive_or<I: Simd>(isa: I, bytes: &[u8]) -> [u8; 64] {
    let mut sum = [0; 64];
    for line in bytes.as_chunks::<64>().0 {
        isa.prefetch(line.as_ptr().wrapping_add(8192));
        for (sum, byte) in sum.iter_mut().zip(line) {
            *sum ^= byte;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        for len in [0, 1, 31, 32, 33, STRIP + 45] {
            let words: Vec<u64> = (0..len as u64).map(|i| i * i + 1).collect();
            assert_eq!(read(&words), words.iter().sum(), "{len} words");
        }
    }

    #[test]
    fn peaks_do_the_products_that_they_count() {
        for peak in ProductPeak::available() {
            for rounds in [0, 1, 3] {
                // Each product is 2 * 3, and counts as two operations.
                assert_eq!(peak.run(rounds), 6 * (peak.operations(rounds) / 2) as i64, "{}", peak.name());
            }
        }
    }
}

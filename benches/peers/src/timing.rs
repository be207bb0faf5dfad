//! Alternating measurements.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::operands::Operands;

/// Medians of seconds per call, and the median of the ratios of paired samples, second by first.
pub(crate) struct Paired {
    pub(crate) first: f64,
    pub(crate) second: f64,
    pub(crate) ratio: f64,
}

/// Takes `samples` pairs of samples of `calls` calls each, after as many unmeasured calls as there are
/// copies, which is when a library may repack its weights.
pub(crate) fn alternate(
    samples: usize,
    calls: usize,
    copies: usize,
    mut first: impl FnMut(),
    mut second: impl FnMut(),
) -> Paired {
    for _ in 0..copies + 2 {
        first();
        second();
    }
    let mut times = [Vec::new(), Vec::new()];
    for sample in 0..samples {
        // Neither is always the one that comes after a pause of the other's kind.
        let order: [usize; 2] = if sample % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let seconds = if which == 0 { time(calls, &mut first) } else { time(calls, &mut second) };
            times[which].push(seconds);
        }
    }
    let mut ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(first, second)| second / first).collect();
    let [first, second] = &mut times;
    Paired { first: median(first), second: median(second), ratio: median(&mut ratios) }
}

/// Seconds per call, of `calls` calls after a pause and one more call that wakes the threads.
fn time(calls: usize, mut call: impl FnMut()) -> f64 {
    std::thread::sleep(Duration::from_millis(10));
    call();
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed().as_secs_f64() / calls as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Reads copies of the weights, and does nothing else.
pub(crate) struct Reader {
    copies: Vec<Vec<u64>>,
    next: usize,
}

impl Reader {
    pub(crate) fn new(operands: &Operands, copies: usize) -> Self {
        let words = operands.bytes() / size_of::<u64>();
        Self {
            // Not zeros, which would all be one page.
            copies: (0..copies).map(|copy| vec![copy as u64 + 1; words]).collect(),
            next: 0,
        }
    }

    /// The median rate.
    pub(crate) fn bytes_per_second(&mut self, samples: usize, calls: usize) -> f64 {
        let bytes = size_of_val(&self.copies[0][..]) as f64;
        let mut seconds: Vec<f64> = (0..samples)
            .map(|_| {
                time(calls, || {
                    let words = &self.copies[self.next % self.copies.len()];
                    self.next += 1;
                    std::hint::black_box(sum(words));
                })
            })
            .collect();
        bytes / median(&mut seconds)
    }
}

/// Adds up words in lanes that compilers vectorize, fetching ahead as the kernels do.
fn sum(words: &[u64]) -> u64 {
    const LANES: usize = 32;
    const STRIP: usize = 1 << 14;
    words
        .par_chunks(STRIP)
        .map(|words| {
            let mut lanes = [0u64; LANES];
            for words in words.as_chunks::<LANES>().0 {
                #[cfg(target_arch = "x86_64")]
                for line in 0..4 {
                    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                    // SAFETY: prefetching never faults.
                    unsafe {
                        _mm_prefetch::<_MM_HINT_T1>(
                            words.as_ptr().cast::<i8>().wrapping_add(8192 + 64 * line),
                        )
                    };
                }
                for (lane, word) in lanes.iter_mut().zip(words) {
                    *lane = lane.wrapping_add(*word);
                }
            }
            lanes.iter().fold(0u64, |sum, lane| sum.wrapping_add(*lane))
        })
        .reduce(|| 0, u64::wrapping_add)
}

//! What the machine can do at best: reading memory, and int8 products.

use std::time::Instant;

use rayon::prelude::*;

use crate::timing::{Contender, Plan, alternate};

/// Weight bytes that one call of [`Reader`] reads, as large as weights are.
const CALL: usize = 32 << 20;

/// Reads memory, and does nothing else.
struct Reader {
    words: Vec<u64>,
    next: usize,
}

impl Contender for Reader {
    fn call(&mut self) {
        let words = CALL / size_of::<u64>();
        let parts = self.words.len() / words;
        std::hint::black_box(sum(&self.words[self.next % parts * words..][..words]));
        self.next += 1;
    }
}

/// The rate, in bytes per second, at which the current rayon threads read memory, going round `total` bytes in huge
/// pages where the system gives them.
pub fn read_rate(total: usize, samples: usize) -> f64 {
    let count = total.next_multiple_of(CALL) / size_of::<u64>();
    let mut words: Vec<u64> = Vec::with_capacity(count);
    ask_for_huge_pages(&words);
    // Not zeros, which would all be one page.
    words.resize(count, 1);
    let plan = Plan { samples, calls: 4, warm_up: total / CALL };
    let timing = alternate(plan, &mut [&mut Reader { words, next: 0 }]);
    CALL as f64 / timing[0].seconds
}

fn ask_for_huge_pages(words: &Vec<u64>) {
    const PAGE: usize = 4096;
    let start = words.as_ptr().addr().next_multiple_of(PAGE);
    let end = (words.as_ptr().addr() + words.capacity() * size_of::<u64>()) / PAGE * PAGE;
    // SAFETY: whole pages inside of the vector's allocation; advice about huge pages changes no contents.
    let advised = unsafe {
        rustix::mm::madvise(
            words.as_ptr().with_addr(start).cast_mut().cast(),
            end.saturating_sub(start),
            rustix::mm::Advice::LinuxHugepage,
        )
    };
    // It is advice: reading small pages is a little slower.
    _ = advised;
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

/// Operations per second, two for each product of bytes, of as many threads as rayon's current pool has; `None` on
/// CPUs without AVX512-VNNI.
#[cfg(target_arch = "x86_64")]
pub fn vnni_rate(samples: usize) -> Option<f64> {
    const ROUNDS: usize = 1 << 21;
    if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")) {
        return None;
    }
    let rates: Vec<f64> = (0..samples)
        .map(|_| {
            let start = Instant::now();
            rayon::broadcast(|_| {
                // SAFETY: the CPU has AVX512F and AVX512-VNNI, as was just checked.
                std::hint::black_box(unsafe { vnni(std::hint::black_box(ROUNDS)) })
            });
            let operations = (rayon::current_num_threads() * ROUNDS * CHAINS * 64 * 2) as f64;
            operations / start.elapsed().as_secs_f64()
        })
        .collect();
    Some(crate::timing::median(&rates))
}

/// Operations per second of byte products; not measured on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub fn vnni_rate(_samples: usize) -> Option<f64> {
    None
}

/// Independent sums, enough to hide the instruction's latency.
#[cfg(target_arch = "x86_64")]
const CHAINS: usize = 16;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn vnni(rounds: usize) -> i32 {
    use std::arch::x86_64::{
        _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi8,
        _mm512_setzero_si512,
    };
    let (a, b) = (_mm512_set1_epi8(std::hint::black_box(3)), _mm512_set1_epi8(std::hint::black_box(5)));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    let mut total = _mm512_setzero_si512();
    for sum in sums {
        total = _mm512_add_epi32(total, sum);
    }
    _mm512_reduce_add_epi32(total)
}

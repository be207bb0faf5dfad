//! What limits every kernel: how fast memory is read, and how fast bytes are multiplied in registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Adds up words in lanes that compilers vectorize, fetching ahead as the kernels do.
pub(crate) fn sum_of_words(words: &[u64]) -> u64 {
    const LANES: usize = 32;
    let mut lanes = [0u64; LANES];
    let (whole, rest) = words.as_chunks::<LANES>();
    for words in whole {
        #[cfg(target_arch = "x86_64")]
        for line in 0..4 {
            const AHEAD: usize = 8192;
            let address = words.as_ptr().cast::<i8>().wrapping_add(AHEAD + 64 * line);
            // SAFETY: prefetching never faults, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        }
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

/// An instruction that multiplies bytes and adds up the products, as fast as this CPU can issue it.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)] // for benches
pub struct ProductPeak {
    name: &'static str,
    products_per_round: usize,
    run: fn(usize) -> i64,
}

impl ProductPeak {
    /// The instructions that this CPU has, the most capable first; none where none is known.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        return x86::available();
        #[cfg(not(target_arch = "x86_64"))]
        return Vec::new();
    }

    /// The instruction set, for people.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many operations `rounds` rounds are, two for each product.
    pub fn operations(&self, rounds: usize) -> usize {
        rounds * self.products_per_round * 2
    }

    /// Does that many rounds on this thread, with products 2 * 3; gives their sum, modulo 2^16 in each lane.
    pub fn run(&self, rounds: usize) -> i64 {
        (self.run)(rounds)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use crate::isa::amx::{Amx, PRODUCTS_PER_ROUND};
    use std::{arch::asm, hint::black_box};

    /// Independent sums, enough to hide the latency of the instructions.
    const CHAINS: usize = 12;

    pub(super) fn available() -> Vec<ProductPeak> {
        let peak = |name, bytes, run| ProductPeak { name, products_per_round: CHAINS * bytes, run };
        let mut peaks = Vec::new();
        if Amx::detect().is_some() {
            peaks.push(ProductPeak {
                name: "AMX",
                products_per_round: PRODUCTS_PER_ROUND,
                run: |rounds| Amx::detect().map_or(0, |amx| amx.multiply_in_registers(rounds)),
            });
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the CPU has the two features.
            peaks.push(peak("AVX512-VNNI", 64, |rounds| unsafe { avx512_vnni(rounds) }));
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni") {
            // SAFETY: the CPU has the two features.
            peaks.push(peak("AVX-VNNI", 32, |rounds| unsafe { avx_vnni(rounds) }));
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has AVX2.
            peaks.push(peak("AVX2", 32, |rounds| unsafe { avx2(rounds) }));
        }
        peaks
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn avx512_vnni(rounds: usize) -> i64 {
        let (a, b) = (_mm512_set1_epi8(black_box(2)), _mm512_set1_epi8(black_box(3)));
        let mut sums = [_mm512_setzero_si512(); CHAINS].map(black_box); // or the chains would be one
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        sums.iter().map(|sum| i64::from(_mm512_reduce_add_epi32(*sum))).sum()
    }

    #[target_feature(enable = "avx2,avxvnni")]
    fn avx_vnni(rounds: usize) -> i64 {
        let (a, b) = (_mm256_set1_epi8(black_box(2)), _mm256_set1_epi8(black_box(3)));
        let mut sums = [_mm256_setzero_si256(); CHAINS].map(black_box);
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_dpbusd_avx_epi32(*sum, a, b);
            }
        }
        sums.iter().map(|sum| total(*sum)).sum()
    }

    /// Pairs of products in 16 bits, which are added up there as long as they fit: the fewest instructions.
    #[target_feature(enable = "avx2")]
    fn avx2(rounds: usize) -> i64 {
        let (a, b) = (_mm256_set1_epi8(black_box(2)), _mm256_set1_epi8(black_box(3)));
        let mut sums = [_mm256_setzero_si256(); CHAINS].map(black_box);
        for _ in 0..rounds {
            for sum in &mut sums {
                // SAFETY: two instructions of AVX2 on registers. (As intrinsics, the product of what never changes
                // would be computed once.)
                unsafe {
                    asm!(
                        "vpmaddubsw {products}, {a}, {b}",
                        "vpaddw {sum}, {sum}, {products}",
                        products = out(ymm_reg) _, a = in(ymm_reg) a, b = in(ymm_reg) b,
                        sum = inout(ymm_reg) *sum,
                        options(nomem, nostack, preserves_flags),
                    );
                }
            }
        }
        sums.iter().map(|sum| total(_mm256_madd_epi16(*sum, _mm256_set1_epi16(1)))).sum()
    }

    #[target_feature(enable = "avx2")]
    fn total(lanes: __m256i) -> i64 {
        let mut words = [0i32; 8];
        // SAFETY: `words` are 32 writable bytes.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), lanes) };
        words.iter().map(|word| i64::from(*word)).sum()
    }
}

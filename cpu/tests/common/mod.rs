//! Seeded operands.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_formats::Format;

/// Numbers of roughly normal distribution.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn normal(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0).collect()
}

/// Rows of k quantized numbers.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn weights<F: Format>(seed: u64, n: usize, k: usize) -> Vec<F> {
    normal(seed, n * k).chunks_exact(F::WEIGHTS).map(F::quantize).collect()
}

/// Blocks of random bytes, whose scales take every value, NaN and infinity included.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn random_blocks<F: Format>(seed: u64, count: usize) -> Vec<F> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut blocks = vec![F::zeroed(); count];
    rng.fill(bytemuck::cast_slice_mut::<F, u8>(&mut blocks));
    blocks
}

//! The order of operations that gives the same bits on every device.
//!
//! Activations are quantized to int8 per 32 ([`ActivationBlock`]). For every run of 32 weights the integer
//! dot products of its groups are exact, and
//!
//! ```text
//! t = scale0 * dot0
//! t = fma(scale1, dot1, t)        only with groups of 16
//! t = fma(offset0, sum0, t)       only with offsets; sum0 is the sum of the group's activation codes
//! t = fma(offset1, sum1, t)       only with offsets and groups of 16
//! chain = fma(activation_scale, t, chain)
//! ```
//!
//! where run r belongs to chain r mod 32, runs go in ascending order, and chains start at zero. Then
//!
//! ```text
//! s[j] = ((chain[j] + chain[j + 8]) + chain[j + 16]) + chain[j + 24]      for j = 0..8
//! y    = ((s[0] + s[1]) + s[2]) + ... + s[7]
//! ```
//!
//! All of it in `f32`, rounded to nearest even, with subnormals. Nothing depends on the tiling: the lanes of
//! a GPU warp are the 32 chains, a SIMD register holds 8 or 16 consecutive ones, and a tiled product walks
//! one chain after the other with three sums alive per output.

use crate::{ActivationBlock, Codes, Format, RUN, RunScales, code_bytes};

/// How a product may be computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Numerics {
    /// Whatever is quickest within the documented bound; the same from run to run and for every number of
    /// threads.
    #[default]
    Fast,
    /// The same bits on every device, for every instruction set, number of threads and batch size.
    Reproducible,
}

/// Independent sums along k.
pub const CHAINS: usize = 32;

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(target_arch = "nvptx64")]
    return core::f32::math::mul_add(a, b, c);
    #[cfg(all(feature = "std", not(target_arch = "nvptx64")))]
    return a.mul_add(b, c);
    #[cfg(not(any(feature = "std", target_arch = "nvptx64")))]
    return libm::fmaf(a, b, c);
}

/// A run's product before it is multiplied by the activations' scale.
///
/// `dots` are the integer dot products of the run's groups, `sums` the sums of the activation codes of its
/// halves. With groups of 32, only `dots[0]` counts.
#[inline(always)]
pub fn run_value<F: Format>(dots: [i32; 2], sums: [i16; 2], scales: &RunScales) -> f32 {
    run_value_of_f32::<F>(dots.map(|dot| dot as f32), group_sums::<F>(sums), scales)
}

/// The sums of the activation codes of a run's groups, of those of its halves. All are exact.
#[inline(always)]
pub fn group_sums<F: Format>(sums: [i16; 2]) -> [f32; 2] {
    let [first, second] = sums.map(i32::from);
    if F::GROUP < RUN { [first as f32, second as f32] } else { [(first + second) as f32, 0.0] }
}

/// [`run_value`] of integers that are `f32` already, and of sums of [`group_sums`].
#[inline(always)]
pub fn run_value_of_f32<F: Format>(dots: [f32; 2], sums: [f32; 2], scales: &RunScales) -> f32 {
    let mut value = scales.scale[0] * dots[0];
    if F::GROUP < RUN {
        value = fma(scales.scale[1], dots[1], value);
    }
    if F::HAS_OFFSET {
        value = fma(scales.offset[0], sums[0], value);
        if F::GROUP < RUN {
            value = fma(scales.offset[1], sums[1], value);
        }
    }
    value
}

/// The sum of the chains.
#[inline]
pub fn fold(chains: &[f32; CHAINS]) -> f32 {
    let sums: [f32; 8] =
        core::array::from_fn(|j| ((chains[j] + chains[j + 8]) + chains[j + 16]) + chains[j + 24]);
    sums[1..].iter().fold(sums[0], |sum, s| sum + s)
}

/// The integer dot products of a run's groups.
#[inline]
pub fn dots<F: Format>(codes: &Codes, activations: &[i8; RUN]) -> [i32; 2] {
    let mut dots = [0; 2];
    for (i, (code, activation)) in code_bytes(codes).into_iter().zip(activations).enumerate() {
        dots[i / F::GROUP] += i32::from(code) * i32::from(*activation);
    }
    dots
}

/// The dot product of a row of weights and a row of activations: the definition itself.
///
/// The shorter of the two decides how many runs are multiplied.
pub fn dot<F: Format>(weights: &[F], activations: &[ActivationBlock]) -> f32 {
    let mut chains = [0.0; CHAINS];
    let runs = weights.iter().flat_map(|block| (0..F::RUNS).map(move |run| (block, run)));
    for (r, ((block, run), x)) in runs.zip(activations).enumerate() {
        let value = run_value::<F>(dots::<F>(&block.codes(run), &x.codes), x.sums, &block.scales(run));
        chains[r % CHAINS] = fma(x.scale, value, chains[r % CHAINS]);
    }
    fold(&chains)
}

//! Blocks of weights that are hard to quantize, on every instruction set, against the definition.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Weights of a block: many magnitudes, or few, so that some are equal; zeros, ties, and numbers at the ends of what
/// `f32` holds, of either sign.
fn fill(rng: &mut StdRng, weights: &mut [f32]) {
    let unit = 2f32.powi(rng.random_range(-149..=127));
    let kind = rng.random_range(0..8);
    let special = [f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)];
    for weight in &mut *weights {
        let magnitude = match kind {
            0 => rng.random_range(0.0..1.0) * unit,
            1 => rng.random_range(0.0..1.0),
            // Where codes change, and just beside: halves, quarters.
            2 => f32::from(rng.random_range(0..=254u8)) / 2.0,
            3 => {
                let tie = f32::from(rng.random_range(1..=64u8)) / 4.0;
                [tie.next_down(), tie, tie.next_up()][rng.random_range(0..3)]
            }
            4 => unit,
            5 => 0.0,
            6 => f32::from_bits(rng.random_range(0..=f32::MAX.to_bits())),
            _ => f32::from(rng.random_range(0..2u8)),
        };
        *weight = if rng.random() { magnitude } else { -magnitude };
    }
    match rng.random_range(0..16) {
        0 => weights.iter_mut().for_each(|weight| *weight = weight.abs()),
        1 => weights.iter_mut().for_each(|weight| *weight = -weight.abs()),
        2 => weights[rng.random_range(0..weights.len())] = special[rng.random_range(0..special.len())],
        3 => weights[rng.random_range(0..weights.len())] = -special[rng.random_range(0..special.len())],
        4 => weights.fill(0.0),
        5 => weights[rng.random_range(0..weights.len())] = 127.0,
        6 => weights[rng.random_range(0..weights.len())] = -8.0,
        _ => {}
    }
}

struct EqualsTheDefinition;

impl FormatVisitor for EqualsTheDefinition {
    type Output = ();

    fn visit<F: Format>(self) {
        let mut rng = StdRng::seed_from_u64(5);
        // More than a task where there is no search, and some that are not a whole sixteen.
        let blocks = (1 << 17) / F::WEIGHTS + 5;
        let mut weights = vec![0.0; blocks * F::WEIGHTS];
        weights.chunks_exact_mut(F::WEIGHTS).for_each(|weights| fill(&mut rng, weights));
        let expected: Vec<F> = weights.chunks_exact(F::WEIGHTS).map(F::quantize).collect();
        for isa in Isa::available() {
            for past_caches in [false, true] {
                let mut found = vec![F::zeroed(); blocks];
                let blocks = &mut found[..];
                Quantize { weights: &weights, importance: None, blocks, past_caches }.on(isa);
                for ((i, found), expected) in found.iter().enumerate().zip(&expected) {
                    let (found, expected) = (bytemuck::bytes_of(found), bytemuck::bytes_of(expected));
                    let weights = &weights[i * F::WEIGHTS..][..F::WEIGHTS];
                    assert!(found == expected, "{} on {}: block {i} of {weights:?}", F::NAME, isa.name());
                }
            }
        }
    }
}

#[test]
fn hard_weights_become_the_defined_blocks() {
    use GgmlType::*;
    for ty in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Tq1_0, Tq2_0, Q1_0, Mxfp4] {
        ty.visit(EqualsTheDefinition);
    }
}

//! Every format against the `gguf` Python package, bit for bit.
//!
//! Needs a Python with `numpy` and `gguf`, named by `WARPDOT_PYTHON`; `cargo xtask test` provides it and runs
//! these ignored tests too.

use std::io::Write;
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use warpdot_formats::{Format, FormatVisitor, GgmlType};

/// What `gguf` makes of `input`.
fn oracle(action: &str, ty: GgmlType, input: &[u8]) -> Vec<u8> {
    let python = std::env::var("WARPDOT_PYTHON").expect("WARPDOT_PYTHON names a Python with numpy and gguf");
    let mut child = Command::new(python)
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gguf_oracle.py"), action, &ty.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("python reads its input"));
        child.wait_with_output().expect("python ends")
    });
    assert!(output.status.success(), "gguf could not {action} {ty}");
    output.stdout
}

/// Random blocks, then blocks with a half-precision number of every kind at every even offset, and with one
/// in the highest bits of the last four half-words, where IQ1_M has it.
fn bytes_to_dequantize<F: Format>() -> Vec<F> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut random = || {
        let mut block = F::zeroed();
        rng.fill_bytes(bytemuck::bytes_of_mut(&mut block));
        block
    };
    let mut blocks: Vec<F> = (0..2000).map(|_| random()).collect();
    for half in [0u16, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0xfd55] {
        for offset in (0..size_of::<F>() - 1).step_by(2) {
            let mut block = random();
            bytemuck::bytes_of_mut(&mut block)[offset..offset + 2].copy_from_slice(&half.to_le_bytes());
            blocks.push(block);
        }
        let mut block = random();
        for (i, byte) in bytemuck::bytes_of_mut(&mut block).iter_mut().rev().step_by(2).take(4).enumerate() {
            *byte = *byte & 0x0f | ((half >> (12 - 4 * i)) as u8) << 4;
        }
        blocks.push(block);
    }
    blocks
}

struct Dequantizes;

impl FormatVisitor for Dequantizes {
    type Output = ();

    fn visit<F: Format>(self) {
        let blocks = bytes_to_dequantize::<F>();
        let theirs = oracle("dequantize", F::TYPE, bytemuck::cast_slice(&blocks));
        let mut ours = vec![0.0; F::WEIGHTS];
        let (mut nans, mut infinities) = (0, 0);
        assert_eq!(theirs.len(), blocks.len() * F::WEIGHTS * 4);
        for (block, theirs) in blocks.iter().zip(theirs.chunks_exact(F::WEIGHTS * 4)) {
            block.dequantize(&mut ours);
            for (i, (ours, theirs)) in ours.iter().zip(theirs.as_chunks().0).enumerate() {
                let theirs = f32::from_le_bytes(*theirs);
                let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
                assert!(same, "{}: weight {i} is {ours:e}, gguf says {theirs:e}", F::NAME);
                nans += usize::from(theirs.is_nan());
                infinities += usize::from(theirs.is_infinite());
            }
        }
        // A power of two has no NaN and an E4M3 number without 0x7f neither NaN nor infinity.
        assert_eq!(nans > 0, !matches!(F::TYPE, GgmlType::Mxfp4 | GgmlType::Nvfp4), "{}: NaN", F::NAME);
        assert_eq!(infinities > 0, F::TYPE != GgmlType::Nvfp4, "{}: infinity", F::NAME);
    }
}

/// Newer than the package; `formats.rs` tests them against their layout.
const UNKNOWN_TO_GGUF: [GgmlType; 2] = [GgmlType::Q1_0, GgmlType::Q2_0];

#[test]
#[ignore = "needs WARPDOT_PYTHON"]
fn dequantization_gives_the_bits_of_gguf() {
    for ty in GgmlType::ALL.iter().filter(|ty| !UNKNOWN_TO_GGUF.contains(ty)) {
        ty.visit(Dequantizes);
    }
}

/// Blocks of finite weights over the whole range in which a half-precision scale is finite, with zeros, ties
/// and single outliers.
fn weights_to_quantize(block: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(2);
    let mut weights = Vec::new();
    for i in 0..4000 {
        let magnitude = 2f32.powi(rng.random_range(-100..=18));
        let start = weights.len();
        match i % 4 {
            0 => weights.extend((0..block).map(|_| rng.random_range(-1.0..1.0f32) * magnitude)),
            1 => weights.extend((0..block).map(|_| rng.random_range(-8i32..=8) as f32 * magnitude / 8.0)),
            2 => weights.extend((0..block).map(|_| rng.random_range(-254i32..=254) as f32 / 2.0)),
            _ => weights.extend((0..block).map(|j| if j % 7 == i % 7 { -0.0 } else { 0.0 })),
        }
        if i % 5 == 0 {
            weights[start + rng.random_range(0..block)] = 100.0 * magnitude.min(1000.0);
        }
    }
    weights
}

/// Whether the largest magnitude is so close below a power of two that its logarithm in single precision is
/// that power's, which gives gguf a wrong exponent.
fn logarithm_rounds_up(weights: &[f32]) -> bool {
    let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    largest > 0.0 && largest.log2().floor() != f64::from(largest).log2().floor() as f32
}

struct Quantizes;

impl FormatVisitor for Quantizes {
    type Output = ();

    fn visit<F: Format>(self) {
        let weights = weights_to_quantize(F::WEIGHTS);
        let theirs = oracle("quantize", F::TYPE, bytemuck::cast_slice(&weights));
        for (i, weights) in weights.chunks_exact(F::WEIGHTS).enumerate() {
            let ours = F::quantize(weights);
            let mut theirs: F = bytemuck::pod_read_unaligned(&theirs[i * size_of::<F>()..][..size_of::<F>()]);
            if matches!(F::TYPE, GgmlType::Q4_1 | GgmlType::Q5_1) {
                // The smallest of zeros with different signs is any of them.
                let min = |block: &F| bytemuck::bytes_of(block)[2..4].to_vec();
                if [min(&ours), min(&theirs)].iter().all(|min| *min == [0, 0] || *min == [0, 0x80]) {
                    bytemuck::bytes_of_mut(&mut theirs)[2..4].copy_from_slice(&min(&ours));
                }
            }
            if F::TYPE == GgmlType::Mxfp4 && logarithm_rounds_up(weights) {
                continue;
            }
            let (ours, theirs) = (bytemuck::bytes_of(&ours), bytemuck::bytes_of(&theirs));
            assert_eq!(ours, theirs, "{} of {weights:?}", F::NAME);
        }
    }
}

#[test]
#[ignore = "needs WARPDOT_PYTHON"]
fn unsearched_quantization_gives_the_bits_of_gguf() {
    use GgmlType::*;
    for ty in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Tq1_0, Tq2_0, Mxfp4] {
        ty.visit(Quantizes);
    }
}

//! Blocks of arbitrary bytes, written to a file, read, dequantized and multiplied: on every instruction set what the
//! scalar definition says, which is in turn held to f64.

mod support;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use support::*;
use warpdot::{Device, Isa, Numerics, Options, QuantizedMatrix};
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, GgmlType, RUN, code_bytes, reproducible};
use warpdot_gguf::{Gguf, Outline};

const ROWS: usize = 24;
const K: usize = 1024;
const ROUNDS: u64 = 20;

/// Equal bits, or both NaN: payloads are the machine's affair.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

/// Bytes that are random, and in places all zeros, all ones, or one byte over and over.
fn bytes(rng: &mut ChaCha8Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for piece in bytes.chunks_mut(61) {
        match rng.random_range(0..8) {
            0 => piece.fill(0),
            1 => piece.fill(0xff),
            2 => piece.fill(rng.random()),
            _ => rng.fill(piece),
        }
    }
    bytes
}

#[test]
fn files_of_arbitrary_blocks_mean_what_the_definition_says() {
    let file = File::new(b"");
    for seed in 0..ROUNDS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut outline = Outline::new();
        let dims = [K as u64, ROWS as u64];
        GgmlType::ALL.iter().for_each(|&ty| outline.add_tensor(ty.name(), ty.into(), &dims).unwrap());
        let mut writer = outline.create(file.path()).unwrap();
        let blocks: Vec<_> = GgmlType::ALL
            .iter()
            .map(|ty| bytes(&mut rng, ROWS * K / ty.block_weights() * ty.block_bytes()))
            .collect();
        for (ty, blocks) in GgmlType::ALL.iter().zip(&blocks) {
            writer.write(ty.name(), blocks).unwrap();
        }
        writer.finish().unwrap();

        let x: Vec<f32> = (0..K).map(|_| rng.random_range(-1.0..1.0)).collect();
        let read = Gguf::open(file.path()).unwrap();
        for (&ty, blocks) in GgmlType::ALL.iter().zip(&blocks) {
            let tensor = read.tensor(ty.name()).unwrap();
            let matrix = QuantizedMatrix::from_bytes(ty, ROWS, K, tensor.bytes().unwrap()).unwrap();
            assert!(matrix.bytes() == blocks, "{ty}, seed {seed}");
            let Defined { weights, products } = ty.visit(Define { bytes: blocks, x: &x });

            let mut dequantized = vec![0.0; ROWS * K];
            for (row, out) in dequantized.chunks_mut(K).enumerate() {
                matrix.dequantize_row(row, out).unwrap();
            }
            assert!(same(&dequantized, &weights), "{ty} dequantized, seed {seed}");

            for isa in Isa::available() {
                let device = Device::cpu_with(isa);
                let mut y = vec![0.0; ROWS];
                let options = Options { numerics: Numerics::Reproducible, ..Options::default() };
                device.upload(&matrix).unwrap().matmul_with(&options, 1, &x, &mut y).unwrap();
                assert!(same(&y, &products), "{ty} on {}, seed {seed}:\n{y:?}\n{products:?}", isa.name());
            }
        }
    }
}

/// By the definition: what blocks mean, and their rows' products.
struct Defined {
    weights: Vec<f32>,
    products: Vec<f32>,
}

struct Define<'a> {
    bytes: &'a [u8],
    x: &'a [f32],
}

impl FormatVisitor for Define<'_> {
    type Output = Defined;

    fn visit<F: Format>(self) -> Defined {
        let blocks: Vec<F> =
            self.bytes.chunks_exact(size_of::<F>()).map(bytemuck::pod_read_unaligned).collect();
        let x: Vec<_> = self.x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
        let mut weights = vec![0.0; ROWS * K];
        for (block, out) in blocks.iter().zip(weights.chunks_exact_mut(F::WEIGHTS)) {
            block.dequantize(out);
        }
        let rows = blocks.chunks_exact(K / F::WEIGHTS);
        let products = rows
            .map(|row| {
                let product = reproducible::dot(row, &x);
                check_product(row, &x, product);
                product
            })
            .collect();
        Defined { weights, products }
    }
}

/// Compares a product with the same one in f64, which may differ by the rounding of its f32 operations, all of which
/// are on numbers no larger than the sum of magnitudes.
fn check_product<F: Format>(row: &[F], x: &[ActivationBlock], found: f32) {
    let (mut exact, mut magnitude) = (0.0f64, 0.0f64);
    for (run, x) in x.iter().enumerate() {
        let block = &row[run * RUN / F::WEIGHTS];
        let (codes, scales) = (code_bytes(&block.codes(run)), block.scales(run));
        for (i, (code, activation)) in codes.iter().zip(x.codes).enumerate() {
            let group = i / F::GROUP;
            let activation = f64::from(x.scale) * f64::from(activation);
            for term in [f64::from(scales.scale[group]) * f64::from(*code), f64::from(scales.offset[group])] {
                exact += term * activation;
                magnitude += (term * activation).abs();
            }
        }
    }
    if magnitude > f64::from(f32::MAX) / 256.0 || magnitude.is_nan() {
        return; // f32 may overflow on the way
    }
    // Chains of at most K / 32 runs of five operations each, and the fold; below the normal numbers, absolutely.
    let operations = (5 * K / RUN + RUN) as f64;
    let bound = operations * (magnitude * 2.0f64.powi(-24) + f64::from(f32::MIN_POSITIVE) * 2.0f64.powi(-23));
    let error = (f64::from(found) - exact).abs();
    assert!(error <= bound, "{}: {found:e}, in f64 {exact:e}, error {error:e} > {bound:e}", F::NAME);
}

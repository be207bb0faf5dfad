//! Blocks of any bytes: dequantized, and multiplied by every kernel of this machine.

use warpdot_cpu::{Isa, Kernel, Problem, Routine, Workspace};
use warpdot_formats::{
    ActivationBlock, Format, FormatVisitor, GgmlType, RUN, RunScales, code_bytes, reproducible,
};

use crate::bytes::Reader;

/// The most blocks that a check looks at.
const MOST_BLOCKS: usize = 64;

/// The first byte chooses the format, all others are blocks of it: each weight must be what its code, scale and
/// offset come to in `f64`, and every kernel must find it at its place.
///
/// # Panics
/// If not.
pub fn dequantize(bytes: &[u8]) {
    with_format(Reader::new(bytes), |reader, ty| ty.visit(Dequantize(reader.rest())));
}

/// After the format, a byte for each of m, n and the blocks in a row, then weights and activations: every kernel
/// must give the defined bits, and what they come to must be near the product in `f64`.
///
/// # Panics
/// If not.
pub fn dot(bytes: &[u8]) {
    with_format(Reader::new(bytes), |mut reader, ty| {
        let mut size = |most: u64| reader.number::<1>().map(|byte| (byte % most + 1) as usize);
        if let (Some(m), Some(n), Some(blocks)) = (size(20), size(40), size(5)) {
            ty.visit(Dot { m, n, blocks, bytes: reader.rest() });
        }
    });
}

fn with_format(mut reader: Reader<'_>, check: impl FnOnce(Reader<'_>, GgmlType)) {
    if let Some(byte) = reader.number::<1>() {
        check(reader, GgmlType::ALL[byte as usize % GgmlType::ALL.len()]);
    }
}

/// Whole blocks, copied to where they are aligned.
fn blocks<F: Format>(bytes: &[u8], most: usize) -> Vec<F> {
    bytes.chunks_exact(size_of::<F>()).take(most).map(bytemuck::pod_read_unaligned).collect()
}

fn kernels() -> impl Iterator<Item = Kernel> {
    Isa::available().flat_map(|isa| [Routine::Gemv, Routine::Gemm].map(|routine| Kernel { isa, routine }))
}

struct Dequantize<'a>(&'a [u8]);

impl FormatVisitor for Dequantize<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        // Row i of these activations finds weight i of a block, times 127.
        let mut units = vec![0.0; F::WEIGHTS * F::WEIGHTS];
        units.iter_mut().step_by(F::WEIGHTS + 1).for_each(|x| *x = 127.0);
        let mut weights = vec![0.0f32; F::WEIGHTS];
        for block in blocks::<F>(self.0, MOST_BLOCKS) {
            block.dequantize(&mut weights);
            let mut largest = 0.0f64;
            for (i, weight) in weights.iter().enumerate() {
                let (run, place) = (i / RUN, i % RUN);
                let RunScales { scale, offset } = block.scales(run);
                let (scale, offset) = (scale[place / F::GROUP], offset[place / F::GROUP]);
                let product = f64::from(scale) * f64::from(code_bytes(&block.codes(run))[place]);
                let expected = product + f64::from(offset);
                largest = largest.max(product.abs()).max(f64::from(offset).abs());
                let tolerance = 2f64.powi(-22) * product.abs().max(f64::from(offset).abs());
                assert_near(f64::from(*weight), expected, tolerance, F::NAME);
            }
            // The largest magnitude is NaN nowhere, even if a weight is: `max` passes it over.
            let finite = weights.iter().all(|weight| weight.is_finite());
            if !finite || largest * 130.0 * F::WEIGHTS as f64 > f64::from(f32::MAX) {
                continue;
            }
            let problem = Problem { m: F::WEIGHTS, n: 1, k: F::WEIGHTS };
            for kernel in kernels() {
                let mut y = vec![0.0; F::WEIGHTS];
                let (workspace, bytes) = (&mut Workspace::new(), bytemuck::bytes_of(&block));
                let result = kernel.matmul_bytes(F::TYPE, workspace, problem, bytes, &units, &mut y);
                result.expect("a valid problem");
                for (y, weight) in y.iter().zip(&weights) {
                    let tolerance = 2f64.powi(-20) * 127.0 * largest;
                    assert_near(f64::from(*y), 127.0 * f64::from(*weight), tolerance, &kernel.id(F::TYPE));
                }
            }
        }
    }
}

/// Where the expectation is infinite or NaN, or too large for `f32`, anything that is not finite is right.
fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    if !expected.is_finite() || expected.abs() + tolerance > f64::from(f32::MAX) {
        assert!(!found.is_finite() || expected.is_finite(), "{what}: {found:e} instead of {expected:e}");
        return;
    }
    // Numbers next to zero are rounded to a multiple of the smallest one.
    let tolerance = tolerance + f64::from(f32::from_bits(2));
    assert!((found - expected).abs() <= tolerance, "{what}: {found:e} instead of {expected:e}");
}

struct Dot<'a> {
    m: usize,
    n: usize,
    blocks: usize,
    bytes: &'a [u8],
}

impl FormatVisitor for Dot<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let Self { m, n, blocks: row_blocks, bytes } = self;
        let k = row_blocks * F::WEIGHTS;
        let count = n * row_blocks;
        let mut weights: Vec<F> = blocks(bytes, count);
        weights.resize(count, F::zeroed());
        let bytes = bytes.get(count * size_of::<F>()..).unwrap_or_default();
        let x = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
        let mut x: Vec<f32> = x.take(m * k).collect();
        x.resize(m * k, 0.5);

        let activations: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
        let mut expected = Vec::new();
        for (x, activations) in x.chunks_exact(k).zip(activations.chunks_exact(k / RUN)) {
            for weights in weights.chunks_exact(row_blocks) {
                let product = reproducible::dot(weights, activations);
                expected.push(product);
                check_product(weights, x, activations, product);
            }
        }
        for kernel in kernels() {
            let mut y = vec![1.0; m * n];
            let (problem, bytes) = (Problem { m, n, k }, bytemuck::cast_slice(&weights));
            let result = kernel.matmul_bytes(F::TYPE, &mut Workspace::new(), problem, bytes, &x, &mut y);
            result.expect("a valid problem");
            for (i, (found, expected)) in y.iter().zip(&expected).enumerate() {
                let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                let kernel = kernel.id(F::TYPE);
                assert!(same, "{kernel}: m {m}, n {n}, k {k}: output {i} is {found:e}, not {expected:e}");
            }
        }
    }
}

/// The definition against `f64`, within the documented bound.
fn check_product<F: Format>(weights: &[F], x: &[f32], activations: &[ActivationBlock], product: f32) {
    let mut row = vec![0.0; x.len()];
    for (block, out) in weights.iter().zip(row.chunks_exact_mut(F::WEIGHTS)) {
        block.dequantize(out);
    }
    let terms = || x.iter().zip(&row).map(|(&x, &w)| f64::from(x) * f64::from(w));
    let (value, magnitude) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
    // What groups come to before their offset is taken off may be larger than the weights.
    let sums = row.chunks_exact(RUN).map(|run| run.iter().map(|&w| f64::from(w).abs()).sum::<f64>());
    let int8: f64 = sums.zip(activations).map(|(sum, block)| f64::from(block.scale) / 2.0 * sum).sum();
    let parts = weights.iter().flat_map(|block| (0..F::RUNS).map(|run| block.scales(run)));
    let parts = parts.zip(activations).map(|(RunScales { scale, offset }, block)| {
        let of_both = |pair: [f32; 2]| f64::from(pair[0].abs()) + f64::from(pair[1].abs());
        (128.0 * of_both(scale) + of_both(offset)) * 127.0 * 32.0 * f64::from(block.scale)
    });
    let parts: f64 = parts.sum();
    if !parts.is_finite() || parts > f64::from(f32::MAX) || x.iter().any(|x| !x.is_finite()) {
        return;
    }
    let float = 2.0 * x.len() as f64 * 2f64.powi(-24) * magnitude.max(parts);
    // Activations below 2^-100 count as zero, and products below the smallest number as well.
    let tiny = 2f64.powi(-100) * row.iter().map(|&w| f64::from(w).abs()).sum::<f64>() + 1e-37;
    let (error, bound) = ((f64::from(product) - value).abs(), int8 + float + tiny);
    assert!(error <= bound, "{}: {product:e} instead of {value:e}, off by more than {bound:e}", F::NAME);
}

//! Every format on every device against the definition of its product, over shapes with ragged ends.

mod devices;

use devices::devices;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use warpdot::{
    Activation, Device, Epilogue, Error, GgmlType, Numerics, Options, Product, QuantizedMatrix, Tensor,
    TensorMut,
};
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, RUN, reproducible};

/// Numbers of very different sizes, both signs.
fn numbers(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1f32..1.0).powi(3)).collect()
}

/// A product by the definition, and how far from the exact product it may be.
struct Reference<'a> {
    matrix: &'a QuantizedMatrix,
    x: &'a [f32],
}

struct Expected {
    reproducible: Vec<f32>,
    exact: Vec<f64>,
    bound: Vec<f64>,
}

impl FormatVisitor for Reference<'_> {
    type Output = Expected;

    fn visit<F: Format>(self) -> Expected {
        let (n, k) = (self.matrix.rows(), self.matrix.columns());
        let blocks: &[F] = bytemuck::cast_slice(self.matrix.bytes());
        let mut weights = vec![0.0; n * k];
        for (block, weights) in blocks.iter().zip(weights.chunks_exact_mut(F::WEIGHTS)) {
            block.dequantize(weights);
        }
        let outputs = self.x.par_chunks_exact(k).flat_map_iter(|x| {
            let activations: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
            let rows = blocks.chunks_exact(k / F::WEIGHTS).zip(weights.chunks_exact(k));
            rows.map(|(blocks, weights)| {
                let y = reproducible::dot(blocks, &activations);
                let (mut exact, mut magnitude, mut rounding) = (0.0, 0.0, 0.0);
                for (i, (w, x)) in weights.iter().zip(x).enumerate() {
                    let (w, x) = (f64::from(*w), f64::from(*x));
                    exact += w * x;
                    magnitude += (w * x).abs();
                    rounding += w.abs() * f64::from(activations[i / RUN].scale) / 2.0;
                }
                (y, (exact, rounding + 2.0 * k as f64 * 2f64.powi(-24) * magnitude))
            })
            .collect::<Vec<_>>()
        });
        let (reproducible, (exact, bound)) = outputs.collect();
        Expected { reproducible, exact, bound }
    }
}

/// Compares all kernels of a device, in both numerics, with what is expected of them.
fn check(device: &Device, matrix: &QuantizedMatrix, m: usize, x: &[f32], expected: &Expected) -> Vec<String> {
    let (ty, n, k) = (matrix.ty(), matrix.rows(), matrix.columns());
    let mut uploaded = vec![device.upload(matrix).expect("the matrix fits")];
    if device.id() == "cpu" {
        uploaded.push(device.share(matrix).expect("nothing to fit"));
    }
    let mut failures = Vec::new();
    for kernel in device.kernels(ty, m) {
        let numerics = [Numerics::Reproducible, Numerics::Fast];
        for (uploaded, numerics) in uploaded.iter().flat_map(|matrix| numerics.map(|which| (matrix, which))) {
            if numerics == Numerics::Reproducible && !kernel.operation().is_reproducible() {
                continue;
            }
            let options = Options { numerics, kernel: Some(kernel.clone()) };
            let mut y = vec![f32::NAN; m * n];
            uploaded.matmul_with(&options, m, x, &mut y).expect("a product");
            let wrong = (0..m * n).find(|&i| match numerics {
                Numerics::Reproducible => y[i].to_bits() != expected.reproducible[i].to_bits(),
                Numerics::Fast => {
                    let error = (f64::from(y[i]) - expected.exact[i]).abs();
                    error.is_nan() || error > expected.bound[i]
                }
            });
            if let Some(i) = wrong {
                let (found, reference, exact) = (y[i], expected.reproducible[i], expected.exact[i]);
                failures.push(format!(
                    "{kernel} on {device:?}, {numerics:?}, m = {m}, n = {n}, k = {k}: output {i} is {found:e}; \
                     the definition gives {reference:e}, exact is {exact:e}"
                ));
            }
        }
    }
    failures
}

#[test]
fn every_kernel_gives_the_defined_product() {
    let devices = devices();
    let mut rng = StdRng::seed_from_u64(7);
    let mut failures = Vec::new();
    // Blocks along k: fewer than the 32 chains, as many, more; whole and broken eighths.
    for (m, n, blocks) in [
        (1, 1, 1),
        (1, 5, 2),
        (2, 4, 7),
        (3, 9, 8),
        (4, 3, 9),
        (5, 67, 3),
        (7, 2, 31),
        (8, 6, 33),
        (9, 13, 12),
        (17, 70, 5),
        (66, 3, 4),
        (130, 65, 1),
    ] {
        for &ty in GgmlType::ALL {
            let k = blocks * ty.block_weights();
            let matrix =
                QuantizedMatrix::quantize(ty, n, k, &numbers(&mut rng, n * k)).expect("good weights");
            let x = numbers(&mut rng, m * k);
            let expected = ty.visit(Reference { matrix: &matrix, x: &x });
            for device in &devices {
                failures.extend(check(device, &matrix, m, &x, &expected));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Bytes that no quantizer wrote, NaN and infinite scales among them, and activations of every kind.
#[test]
fn specials_travel_alike() {
    let mut rng = StdRng::seed_from_u64(8);
    let (m, n, k) = (4, 40, 512);
    for &ty in GgmlType::ALL {
        let bytes: Vec<u8> =
            (0..n * k / ty.block_weights() * ty.block_bytes()).map(|_| rng.random()).collect();
        let matrix = QuantizedMatrix::from_bytes(ty, n, k, bytes).expect("as many bytes as it takes");
        let mut x = numbers(&mut rng, m * k);
        x[..k].fill(0.0);
        x[k + 3] = f32::INFINITY;
        x[2 * k + 100] = f32::NAN;
        x[3 * k..].iter_mut().for_each(|x| *x *= 1e-32);
        let expected = ty.visit(Reference { matrix: &matrix, x: &x }).reproducible;
        assert!(expected.iter().any(|y| y.is_finite()) && expected[n..2 * n].iter().all(|y| y.is_nan()));
        for device in devices() {
            let options = Options { numerics: Numerics::Reproducible, kernel: None };
            let mut y = vec![0.0; m * n];
            device.upload(&matrix).expect("it fits").matmul_with(&options, m, &x, &mut y).expect("a product");
            let wrong = (0..m * n).find(|&i| {
                y[i].to_bits() != expected[i].to_bits() && !(y[i].is_nan() && expected[i].is_nan())
            });
            assert_eq!(wrong, None, "{ty} on {device:?}: output, {:?}", wrong.map(|i| (y[i], expected[i])));
        }
    }
}

/// Rows in any order and more than once, of bytes that no quantizer wrote.
#[test]
fn rows_are_the_same_on_every_device() {
    let mut rng = StdRng::seed_from_u64(9);
    let (n, ids) = (70, [69, 0, 3, 3, 17, 68, 1]);
    for &ty in GgmlType::ALL {
        let k = 3 * ty.block_weights();
        let bytes: Vec<u8> = (0..n * 3 * ty.block_bytes()).map(|_| rng.random()).collect();
        let matrix = QuantizedMatrix::from_bytes(ty, n, k, bytes).expect("as many bytes as it takes");
        let mut expected = vec![0.0; ids.len() * k];
        for (&id, row) in ids.iter().zip(expected.chunks_exact_mut(k)) {
            matrix.dequantize_row(id as usize, row).expect("a row");
        }
        for device in devices() {
            let size = device.packed_size(&matrix).expect("a small matrix");
            assert!(
                (matrix.bytes().len()..matrix.bytes().len() * 11 / 10).contains(&size),
                "{ty}: {size} bytes"
            );
            for uploaded in [device.upload(&matrix), device.share(&matrix)] {
                let mut rows = vec![7.0; ids.len() * k];
                uploaded.expect("it fits").get_rows(&ids, &mut rows).expect("rows");
                let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                let wrong = (0..rows.len()).find(|&i| !same(rows[i], expected[i]));
                assert_eq!(wrong, None, "{ty} on {device:?}: {:?}", wrong.map(|i| (rows[i], expected[i])));
            }
        }
    }
}

/// 16-bit operands with gaps between their rows, and an epilogue.
#[test]
fn products_of_tensors_are_the_same_on_every_device() {
    let mut rng = StdRng::seed_from_u64(10);
    let (m, n, k, stride) = (3, 35, 512, 520);
    let weights = numbers(&mut rng, n * k);
    let matrix = QuantizedMatrix::quantize(GgmlType::Q5K, n, k, &weights).expect("good weights");
    let x: Vec<_> = numbers(&mut rng, m * stride).into_iter().map(half::f16::from_f32).collect();
    let residual: Vec<_> = numbers(&mut rng, m * n).into_iter().map(half::bf16::from_f32).collect();
    let results: Vec<Vec<half::f16>> = devices()
        .iter()
        .map(|device| {
            let mut y = vec![half::f16::ZERO; m * n];
            let epilogue = Epilogue {
                scale: 0.5,
                activation: Activation::Silu,
                residual: Some(Tensor::new(&residual[..], m, n).expect("a tensor")),
                ..Epilogue::default()
            };
            let x = Tensor::with_stride(&x[..], m, k, stride).expect("a tensor");
            let y_tensor = TensorMut::new(&mut y[..], m, n).expect("a tensor");
            let product = Product { x, y: y_tensor, epilogue };
            device
                .upload(&matrix)
                .expect("it fits")
                .compute(&Options::default(), product)
                .expect("a product");
            y
        })
        .collect();
    assert!(results[0].iter().any(|y| y.to_f32().abs() > 0.1), "a product of zeros would prove nothing");
    assert!(results.iter().all(|y| *y == results[0]));
}

#[test]
fn bad_arguments_are_named() {
    for device in devices() {
        let matrix = QuantizedMatrix::quantize(GgmlType::Q8_0, 3, 64, &[0.5; 192]).expect("good weights");
        let matrix = device.upload(&matrix).expect("it fits");
        let message = |m, x: &[f32], y: &mut [f32]| matrix.matmul(m, x, y).expect_err("bad").to_string();
        assert_eq!(message(0, &[], &mut []), "m is 0: every dimension of a product must be at least 1");
        assert_eq!(
            message(2, &[0.0; 127], &mut [0.0; 6]),
            "x (m * k) has 127 elements where 128 were expected"
        );
        assert_eq!(message(2, &[0.0; 128], &mut [0.0; 7]), "y (m * n) has 7 elements where 6 were expected");
        assert!(message(usize::MAX / 4, &[], &mut []).contains("overflows"));

        matrix.get_rows(&[], &mut []).expect("no rows at all");
        let message = |ids: &[u32], out: &mut [f32]| matrix.get_rows(ids, out).expect_err("bad").to_string();
        assert_eq!(
            message(&[0, 3], &mut [0.0; 128]),
            "there is no row 3: the matrix has 3 rows, counted from 0"
        );
        assert_eq!(message(&[0, 2], &mut [0.0; 64]), "out (ids * k) has 64 elements where 128 were expected");

        let kernel = Some("cpu-abacus-gemm-q8_0".parse().expect("an id"));
        let options = Options { kernel, ..Options::default() };
        let error = matrix.matmul_with(&options, 1, &[0.0; 64], &mut [0.0; 3]).expect_err("no such kernel");
        assert!(matches!(error, Error::KernelNotEligible { .. }), "{error}");
        assert!(
            error.to_string().starts_with("cpu-abacus-gemm-q8_0 cannot compute this product on "),
            "{error}"
        );
    }
    assert!(Device::cuda(1000).is_err());
}

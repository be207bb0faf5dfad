//! Some rows of a matrix on every device: slices, dot products with candidates, and experts, against plain products.

mod devices;

use devices::devices;
use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::{
    Activation, Device, DeviceMatrix, Epilogue, Error, Experts, GgmlType, Numerics, Options, Product,
    QuantizedMatrix, Tensor, TensorMut,
};

fn numbers(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1f32..1.0).powi(3)).collect()
}

fn matrix(rng: &mut StdRng, ty: GgmlType, n: usize, k: usize) -> QuantizedMatrix {
    QuantizedMatrix::quantize(ty, n, k, &numbers(rng, n * k)).expect("good weights")
}

/// As the device packs it, and as it is.
fn brought(device: &Device, matrix: &QuantizedMatrix) -> [DeviceMatrix; 2] {
    [device.upload(matrix), device.share(matrix)].map(|matrix| matrix.expect("it fits"))
}

/// The reproducible product, which is the same on every device.
fn product(w: &QuantizedMatrix, x: &[f32]) -> Vec<f32> {
    let m = x.len() / w.columns();
    let mut y = vec![0.0; m * w.rows()];
    let options = Options { numerics: Numerics::Reproducible, ..Options::default() };
    let w = Device::cpu().share(w).expect("nothing to fit");
    w.matmul_with(&options, m, x, &mut y).expect("a product");
    y
}

/// A product in `f64`, of weights as they are.
fn exact(w: &QuantizedMatrix, row: usize, x: &[f32]) -> f64 {
    let mut weights = vec![0.0; w.columns()];
    w.dequantize_row(row, &mut weights).expect("a row");
    weights.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
}

#[test]
fn candidates_have_the_products_of_their_rows() {
    let mut rng = StdRng::seed_from_u64(20);
    let (n, k, ids) = (70, 512, [69, 0, 3, 3, 17, 68, 1]);
    for ty in [GgmlType::Q4K, GgmlType::Q8_0] {
        let w = matrix(&mut rng, ty, n, k);
        let x = numbers(&mut rng, 2 * k);
        let expected = product(&w, &x);
        for device in devices() {
            for w_there in brought(&device, &w) {
                let mut out = [f32::NAN; 14];
                w_there.dot(&ids, &x, &mut out).expect("products");
                for (i, found) in out.iter().enumerate() {
                    let row = ids[i % 7] as usize;
                    assert_eq!(*found, expected[i / 7 * n + row], "{ty} on {device:?}, output {i}");
                    let exact = exact(&w, row, &x[i / 7 * k..][..k]);
                    assert!((f64::from(*found) - exact).abs() < 0.3, "{found} is not near {exact}");
                }
            }
        }
    }
}

#[test]
fn slices_share_the_matrix() {
    let mut rng = StdRng::seed_from_u64(21);
    let (n, k) = (70, 256);
    let w = matrix(&mut rng, GgmlType::Q6K, n, k);
    let x = numbers(&mut rng, 3 * k);
    let all = product(&w, &x);
    for device in devices() {
        for whole in brought(&device, &w) {
            let same = whole.slice(0..n).expect("all rows");
            let mut y = vec![0.0; 3 * n];
            same.matmul(3, &x, &mut y).expect("a product");
            assert_eq!(y, all);
            for rows in [0..32, 32..64, 5..38, 69..70] {
                let slice = whole.slice(rows.clone()).expect("some rows");
                assert_eq!((slice.rows(), slice.columns(), slice.ty()), (rows.len(), k, w.ty()));
                let mut y = vec![0.0; 3 * rows.len()];
                slice.matmul(3, &x, &mut y).expect("a product");
                for (i, found) in y.iter().enumerate() {
                    assert_eq!(*found, all[i / rows.len() * n + rows.start + i % rows.len()], "{rows:?}");
                }

                // What else matrices do.
                let (mut row, mut expected) = (vec![0.0; k], vec![0.0; k]);
                slice.get_rows(&[rows.len() as u32 - 1], &mut row).expect("the last row");
                w.dequantize_row(rows.end - 1, &mut expected).expect("a row");
                assert_eq!(row, expected);
                let mut out = [0.0];
                slice.dot(&[0], &x[..k], &mut out).expect("a product");
                assert_eq!(out[0], all[rows.start]);
                assert!(slice.get_rows(&[rows.len() as u32], &mut row).is_err());
            }
            let of_slice = whole.slice(5..50).and_then(|slice| slice.slice(3..40)).expect("some rows");
            let mut y = [0.0; 37];
            of_slice.matmul(1, &x[..k], &mut y).expect("a product");
            assert_eq!(y, all[8..45]);
        }
    }
}

/// Every kernel, format and numerics: what a slice gives are the bits of a matrix that has no other rows.
#[test]
fn slices_are_matrices_of_their_rows() {
    let mut rng = StdRng::seed_from_u64(24);
    let n = 77;
    for (i, &ty) in GgmlType::ALL.iter().enumerate() {
        // Starts and ends in all places of a quad; within a tile of 32 rows, from one to another, and up to the last row.
        let rows = [3..4, 33..50, 30..77, 1..40, 64..75, 6..71][i % 6].clone();
        let k = [1, 3][i % 2] * ty.block_weights().max(64);
        let w = matrix(&mut rng, ty, n, k);
        let row_bytes = w.bytes().len() / n;
        let bytes = w.bytes()[rows.start * row_bytes..rows.end * row_bytes].to_vec();
        let alone = QuantizedMatrix::from_bytes(ty, rows.len(), k, bytes).expect("whole rows");
        let mut weights = vec![0.0; rows.len() * k];
        alone.dequantize(&mut weights).expect("as many");
        for m in [1, 2, 3, 6, 9, 33] {
            let x = numbers(&mut rng, m * k);
            let expected = product(&alone, &x);
            let multiply = |w: &DeviceMatrix, options: &Options| {
                let mut y = vec![f32::NAN; m * rows.len()];
                w.matmul_with(options, m, &x, &mut y).expect("a product");
                y
            };
            for device in devices() {
                for (whole, alone) in brought(&device, &w).iter().zip(&brought(&device, &alone)) {
                    let slice = whole.slice(rows.clone()).expect("some rows");
                    for kernel in device.kernels(ty, m) {
                        let name = format!("{rows:?} of {ty} by {kernel} on {device:?}, m = {m}");
                        for numerics in [Numerics::Reproducible, Numerics::Fast] {
                            let options = Options { numerics, kernel: Some(kernel.clone()) };
                            match (numerics, kernel.operation().is_reproducible()) {
                                (Numerics::Reproducible, false) => continue,
                                (Numerics::Reproducible, true) => {
                                    assert_eq!(multiply(&slice, &options), expected, "{name}");
                                }
                                (Numerics::Fast, _) => {
                                    assert_eq!(
                                        multiply(&slice, &options),
                                        multiply(alone, &options),
                                        "{name}"
                                    );
                                }
                            }
                        }
                    }
                    let ids: Vec<u32> = (0..rows.len() as u32).rev().collect();
                    let mut found = vec![0.0; rows.len() * k];
                    slice.get_rows(&ids, &mut found).expect("all rows");
                    let found: Vec<f32> = found.chunks_exact(k).rev().flatten().copied().collect();
                    assert_eq!(found, weights, "{rows:?} of {ty} on {device:?}");
                }
            }
        }
    }
}

#[test]
fn experts_have_the_products_of_their_rows() {
    let mut rng = StdRng::seed_from_u64(22);
    // Experts that are whole groups of rows, and others; a row of X for several rows of Y, and for each.
    for (ty, count, n, tokens, repeat) in
        [(GgmlType::Q4_0, 4, 32, 3, 2), (GgmlType::Q5K, 5, 7, 6, 1), (GgmlType::Iq4Xs, 3, 16, 40, 2)]
    {
        // Of a slice, so that experts start anywhere in a quad.
        let (k, rows, before) = (256, tokens * repeat, tokens % 4);
        let w = matrix(&mut rng, ty, before + count * n + 1, k);
        let x: Vec<f16> = numbers(&mut rng, tokens * (k + 8)).into_iter().map(f16::from_f32).collect();
        let residual: Vec<f32> = numbers(&mut rng, rows * n);
        let ids: Vec<u32> = (0..rows as u32).map(|row| row * row % 7 % count as u32).collect();
        let expected: Vec<bf16> = (0..rows)
            .flat_map(|row| {
                let x: Vec<f32> = x[row / repeat * (k + 8)..][..k].iter().map(|x| x.to_f32()).collect();
                let products = product(&w, &x);
                let first = before + ids[row] as usize * n;
                let stored = products[first..][..n].iter().zip(&residual[row * n..]);
                stored.map(|(y, r)| bf16::from_f32(Activation::Silu.apply(*y) + r)).collect::<Vec<_>>()
            })
            .collect();
        for device in devices() {
            for w in brought(&device, &w) {
                let slice = w.slice(before..before + count * n).expect("some rows");
                let experts = slice.into_experts(count).expect("as many rows each");
                assert_eq!((experts.count(), experts.rows(), experts.columns()), (count, n, k));
                let mut y = vec![bf16::ZERO; rows * n];
                let product = Product {
                    x: Tensor::with_stride(&x[..], tokens, k, k + 8).expect("rows"),
                    y: TensorMut::new(&mut y[..], rows, n).expect("rows"),
                    epilogue: Epilogue {
                        activation: Activation::Silu,
                        residual: Some(Tensor::new(&residual[..], rows, n).expect("rows")),
                        ..Epilogue::default()
                    },
                };
                experts.compute(&Options::default(), &ids, product).expect("a product");
                assert_eq!(y, expected, "{ty} on {device:?}");
            }
        }
    }
}

#[test]
fn what_is_not_there_is_named() {
    let mut rng = StdRng::seed_from_u64(23);
    let w = matrix(&mut rng, GgmlType::Q8_0, 6, 64);
    for device in devices() {
        let there = device.upload(&w).expect("it fits");
        for (range, rows) in [(2..2, "2..2"), (4..7, "4..7")] {
            let expected = format!("there are no rows {rows}: expected some of the matrix's 0..6");
            assert_eq!(there.slice(range).expect_err("no such rows").to_string(), expected);
        }
        let message = |ids: &[u32], x: usize, out: usize| {
            let refused = there.dot(ids, &vec![0.0; x], &mut vec![0.0; out]);
            refused.expect_err("bad").to_string()
        };
        assert_eq!(message(&[5, 6], 64, 2), "there is no row 6: the matrix has 6 rows, counted from 0");
        assert_eq!(message(&[5], 65, 1), "x (m * k) has 65 elements where 128 were expected");
        assert_eq!(message(&[5], 0, 1), "x (m * k) has 0 elements where 64 were expected");
        assert_eq!(message(&[5], 128, 1), "out (m * ids) has 1 elements where 2 were expected");
        there.dot(&[], &[0.0; 64], &mut []).expect("no rows at all");

        assert_eq!(
            there.clone().into_experts(4).expect_err("6 rows").to_string(),
            "n = 6 rows cannot be divided among 4 experts: expected a number that divides n"
        );
        let experts = there.into_experts(3).expect("2 rows each");
        let compute = |experts: &Experts, options: &Options, ids: &[u32], columns: usize| {
            let mut y = vec![0.0; 2 * columns];
            let y = TensorMut::new(&mut y[..], 2, columns).expect("rows");
            experts.compute(options, ids, Product::new(Tensor::new(&[0.0; 64][..], 1, 64).expect("a row"), y))
        };
        let message = |ids: &[u32], columns| {
            compute(&experts, &Options::default(), ids, columns).expect_err("bad").to_string()
        };
        assert_eq!(message(&[0, 3], 2), "row 1 of y has expert 3: there are 3 experts, counted from 0");
        assert_eq!(message(&[0], 2), "ids (rows of y) has 1 elements where 2 were expected");
        assert!(message(&[0, 1], 3).contains('3'));
        for kernel in device.kernels(GgmlType::Q8_0, 1) {
            let options = Options { kernel: Some(kernel.clone()), ..Options::default() };
            match compute(&experts, &options, &[2, 0], 2) {
                Ok(_) => {}
                Err(error) => {
                    assert!(matches!(error, Error::KernelNotEligible { .. }), "{error}");
                    let alone = if device.id() == "cpu" { "tiles" } else { "gemm" };
                    assert!(kernel.to_string().contains(alone), "{kernel}");
                }
            }
        }
    }
}

//! Products with some rows of a matrix, in ranges, in lists, and of experts, against the definition.

mod common;

use common::{normal, random_blocks, weights};
use half::{bf16, f16};
use warpdot_cpu::{
    Activation, Epilogue, Experts, Isa, Kernel, Matrix, MatrixRows, Numerics, PackedMatrix, Product, Routine,
    Tensor, TensorMut, Workspace,
};
use warpdot_formats::epilogue::Operands;
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, GgmlType, RUN, reproducible};

const ROUTINES: [Routine; 2] = [Routine::Gemv, Routine::Gemm];

/// The definition of the product of one row of X and one row of W.
fn dot<F: Format>(weights: &[F], row: usize, x: &[f32]) -> f32 {
    let blocks: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
    assert_eq!(blocks.len(), x.len() / RUN);
    reproducible::dot(&weights[row * x.len() / F::WEIGHTS..][..x.len() / F::WEIGHTS], &blocks)
}

fn same(found: f32, expected: f32) -> bool {
    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
}

/// Three packed groups, and two rows that are not packed.
const N: usize = 50;

struct SomeRows;

impl FormatVisitor for SomeRows {
    type Output = ();

    fn visit<F: Format>(self) {
        // An odd number of blocks, and more than are brought together at once.
        let k = if F::RUNS == 1 { 47 } else { 5 } * F::WEIGHTS;
        let (w, x) = (random_blocks::<F>(1, N * k / F::WEIGHTS), normal(2, 3 * k));
        let bytes: &[u8] = bytemuck::cast_slice(&w);
        let all: Vec<f32> =
            x.chunks(k).flat_map(|x| (0..N).map(|row| dot(&w, row, x)).collect::<Vec<_>>()).collect();
        assert!(all.iter().any(|y| y.is_finite()));
        let mut workspace = Workspace::new();
        for isa in Isa::available() {
            let packed = PackedMatrix::new(isa, F::TYPE, N, k, bytes).expect("valid weights");
            let matrices = [Matrix::Blocks { ty: F::TYPE, n: N, k, bytes }, Matrix::Packed(&packed)];
            let mut case = 0;
            for matrix in matrices {
                let mut check = |rows: MatrixRows, ids: &[usize]| {
                    case += 1;
                    let (m, kernel) = ([1, 3][case % 2], Kernel { isa, routine: ROUTINES[case / 2 % 2] });
                    let what = format!("{}, m = {m}, rows {ids:?} of {matrix:?}", kernel.id(F::TYPE));
                    assert_eq!((rows.rows(), rows.columns(), rows.ty()), (ids.len(), k, F::TYPE));
                    let mut y = vec![0.0; m * ids.len()];
                    let product = Product::new(
                        Tensor::new(&x[..m * k], m, k).expect("rows"),
                        TensorMut::new(&mut y[..], m, ids.len()).expect("rows"),
                    );
                    kernel.compute(&mut workspace, rows, product).expect("a product");
                    for (i, found) in y.into_iter().enumerate() {
                        let expected = all[i / ids.len() * N + ids[i % ids.len()]];
                        assert!(same(found, expected), "{what}: output {i} is {found:e}, not {expected:e}");
                    }
                };
                for range in [0..50, 16..48, 16..39, 32..50, 5..38, 33..50, 47..49, 49..50] {
                    let ids: Vec<usize> = range.clone().collect();
                    check(matrix.range(range).expect("some rows").into(), &ids);
                }
                let scattered = [49, 0, 3, 3, 17, 48, 1];
                let backwards: Vec<u32> = (10..47).rev().collect();
                let beside: Vec<u32> = (16..32).chain([40, 2]).collect();
                let of_range = matrix.range(3..50).and_then(|rows| rows.range(2..40)).expect("some rows");
                check(of_range.gather(&[37, 0, 11]).expect("some rows"), &[42, 5, 16]);
                for ids in [&scattered[..], &backwards, &beside] {
                    let numbers: Vec<usize> = ids.iter().map(|&id| id as usize).collect();
                    check(matrix.gather(ids).expect("some rows"), &numbers);
                }
            }
        }
    }
}

#[test]
fn some_rows_give_the_defined_bits() {
    GgmlType::ALL.iter().for_each(|ty| ty.visit(SomeRows));
}

/// Rows of numbers in 16 bits, with gaps.
const GAP: usize = 3;

struct SomeExperts;

impl FormatVisitor for SomeExperts {
    type Output = ();

    /// Of which formats with odd fields of no, one and two bytes are enough.
    fn visit<F: Format>(self) {
        let k = 2 * F::WEIGHTS.max(128);
        let mut workspace = Workspace::new();
        // Experts that are whole groups and others, and so many rows that some experts have a gemm.
        for (case, (count, n, tokens, repeat)) in
            [(5, 16, 1, 2), (3, 7, 9, 1), (4, 37, 90, 2), (40, 32, 3, 8), (1, 21, 40, 1)]
                .into_iter()
                .enumerate()
        {
            let w = weights::<F>(3, count * n, k);
            let bytes: &[u8] = bytemuck::cast_slice(&w);
            let x: Vec<f16> = normal(4, tokens * (k + GAP)).into_iter().map(f16::from_f32).collect();
            let factor: Vec<f32> = normal(5, tokens * repeat * n);
            let bias: Vec<bf16> = normal(6, n).into_iter().map(bf16::from_f32).collect();
            let rows = tokens * repeat;
            // The first expert is chosen most often, and some are never.
            let ids: Vec<u32> = (0..rows as u32).map(|row| row * row % 7 % 5 % count as u32).collect();
            let expected: Vec<f32> = (0..rows * n)
                .map(|i| {
                    let (row, column) = (i / n, i % n);
                    let x = &x[row / repeat * (k + GAP)..][..k];
                    let x: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
                    let product = dot(&w, ids[row] as usize * n + column, &x);
                    let operands = Operands {
                        bias: bias[column].to_f32(),
                        activation: Activation::Silu,
                        factor: factor[i],
                        ..Operands::NONE
                    };
                    bf16::from_f32(operands.apply(product)).to_f32()
                })
                .collect();
            for (i, isa) in Isa::available().enumerate() {
                let packed = PackedMatrix::new(isa, F::TYPE, count * n, k, bytes).expect("valid weights");
                let matrix = match (case + i) % 3 {
                    0 => Matrix::Blocks { ty: F::TYPE, n: count * n, k, bytes },
                    _ => Matrix::Packed(&packed),
                };
                for routine in [None, Some(Routine::Gemv), Some(Routine::Gemm)] {
                    let mut y = vec![bf16::MAX; rows * (n + GAP)];
                    let product = Product {
                        x: Tensor::with_stride(&x[..], tokens, k, k + GAP).expect("rows with gaps"),
                        y: TensorMut::with_stride(&mut y[..], rows, n, n + GAP).expect("rows with gaps"),
                        epilogue: Epilogue {
                            bias: Some(Tensor::new(&bias[..], 1, n).expect("a row")),
                            activation: Activation::Silu,
                            factor: Some(Tensor::new(&factor[..], rows, n).expect("rows")),
                            ..Epilogue::default()
                        },
                    };
                    let experts = Experts::new(matrix, count, &ids).expect("as many rows each");
                    match routine {
                        None => experts.compute(isa, Numerics::Reproducible, &mut workspace, product),
                        Some(routine) => {
                            experts.compute_with(Kernel { isa, routine }, &mut workspace, product)
                        }
                    }
                    .expect("a product");
                    let what = format!("{} {}, case {case}, {routine:?}", isa.name(), F::NAME);
                    for (row, y) in y.chunks(n + GAP).enumerate() {
                        for (column, found) in y.iter().enumerate() {
                            let expected =
                                if column < n { expected[row * n + column] } else { bf16::MAX.to_f32() };
                            let found = found.to_f32();
                            assert!(
                                same(found, expected),
                                "{what}: ({row}, {column}) {found:e} {expected:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn experts_give_the_bits_of_products_of_single_rows() {
    for ty in [GgmlType::Q4K, GgmlType::Mxfp4, GgmlType::Q6K] {
        ty.visit(SomeExperts);
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let (count, n, k, tokens) = (6, 200, 1024, 64);
    let (w, x) = (weights::<warpdot_formats::Q8_0>(7, count * n, k), normal(8, tokens * k));
    let matrix = Matrix::Blocks { ty: GgmlType::Q8_0, n: count * n, k, bytes: bytemuck::cast_slice(&w) };
    let ids: Vec<u32> = (0..2 * tokens as u32).map(|row| row * row % 11 % 6).collect();
    let [one, two, seven] = [1, 2, 7].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let mut y = vec![0.0; ids.len() * n];
            let product = Product::new(
                Tensor::new(&x[..], tokens, k).expect("rows"),
                TensorMut::new(&mut y[..], ids.len(), n).expect("rows"),
            );
            let experts = Experts::new(matrix, count, &ids).expect("as many rows each");
            experts.compute(Isa::best(), Numerics::Fast, &mut Workspace::new(), product).expect("a product");
            y
        })
    });
    assert!(one == two && one == seven);
    for (row, y) in one.chunks(n).enumerate() {
        assert!(same(y[199], dot(&w, ids[row] as usize * n + 199, &x[row / 2 * k..][..k])));
    }
}

#[test]
fn what_is_not_there_is_named() {
    let w = weights::<warpdot_formats::Q8_0>(9, 6, 32);
    let matrix = Matrix::Blocks { ty: GgmlType::Q8_0, n: 6, k: 32, bytes: bytemuck::cast_slice(&w) };
    for range in [2..2, 3..7, 7..8, 4..usize::MAX] {
        let expected =
            format!("there are no rows {}..{}: expected some of the matrix's 0..6", range.start, range.end);
        assert_eq!(matrix.range(range).expect_err("no such rows").to_string(), expected);
    }
    assert_eq!(
        matrix.gather(&[5, 6]).expect_err("no such row").to_string(),
        "there is no row 6: the matrix has 6 rows, counted from 0"
    );
    assert_eq!(
        matrix.gather(&[]).expect_err("no rows").to_string(),
        "n is 0: every dimension of a product must be at least 1"
    );
    for count in [0, 4] {
        let expected =
            format!("n = 6 rows cannot be divided among {count} experts: expected a number that divides n");
        assert_eq!(Experts::new(matrix, count, &[]).expect_err("uneven").to_string(), expected);
    }
    let message = |ids: &[u32], x_rows: usize, y_rows: usize| {
        let (x, mut y) = ([0.0f32; 128], [0.0f32; 8]);
        let product = Product::new(
            Tensor::new(&x[..x_rows * 32], x_rows, 32).expect("rows"),
            TensorMut::new(&mut y[..y_rows * 2], y_rows, 2).expect("rows"),
        );
        let experts = Experts::new(matrix, 3, ids).expect("two rows each");
        let result = experts.compute(Isa::best(), Numerics::Fast, &mut Workspace::new(), product);
        result.map_err(|error| error.to_string())
    };
    assert_eq!(message(&[2, 0], 1, 2), Ok(()));
    let error = |message: &str| Err(message.to_string());
    assert_eq!(message(&[2, 3], 1, 2), error("row 1 of y has expert 3: there are 3 experts, counted from 0"));
    assert_eq!(
        message(&[2, u32::MAX], 1, 2),
        error("row 1 of y has expert 4294967295: there are 3 experts, counted from 0")
    );
    assert_eq!(message(&[0; 3], 1, 2), error("ids (rows of y) has 3 elements where 2 were expected"));
    assert_eq!(message(&[0; 3], 2, 3), error("y has 3 rows, and x has 2: expected a multiple of those of x"));
    assert_eq!(message(&[], 0, 0), error("m is 0: every dimension of a product must be at least 1"));
}

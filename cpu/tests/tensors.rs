//! Products of strided matrices in 16 and 32 bits, with and without an epilogue, against those of plain slices.

mod common;

use common::{normal, weights};
use half::{bf16, f16};
use warpdot_cpu::{
    Activation, Epilogue, Error, Isa, Kernel, Matrix, Numbers, NumbersMut, PackedMatrix, Product, Routine,
    Tensor, TensorMut, Workspace,
};
use warpdot_formats::epilogue::Operands;
use warpdot_formats::{GgmlType, Q4K};

const N: usize = 83;
const K: usize = 512;
const GAP: usize = 5;

/// Rows with gaps in all types; the `f32` are what the others hold, widened.
struct Rows {
    columns: usize,
    f16: Vec<f16>,
    bf16: Vec<bf16>,
    widened: [Vec<f32>; 3],
}

impl Rows {
    fn new(seed: u64, rows: usize, columns: usize) -> Self {
        let numbers = normal(seed, rows * (columns + GAP));
        let f16: Vec<_> = numbers.iter().map(|x| f16::from_f32(*x)).collect();
        let bf16: Vec<_> = numbers.iter().map(|x| bf16::from_f32(*x)).collect();
        let widened =
            [f16.iter().map(|x| x.to_f32()).collect(), bf16.iter().map(|x| x.to_f32()).collect(), numbers];
        Self { columns, f16, bf16, widened }
    }

    /// The rows as numbers of type `ty`.
    fn tensor(&self, ty: usize) -> Tensor<'_> {
        let numbers: Numbers = match ty {
            0 => self.f16.as_slice().into(),
            1 => self.bf16.as_slice().into(),
            _ => self.widened[2].as_slice().into(),
        };
        let stride = self.columns + GAP;
        Tensor::with_stride(numbers, self.f16.len() / stride, self.columns, stride).expect("rows with gaps")
    }

    /// The same numbers, without gaps.
    fn dense(&self, ty: usize) -> Vec<f32> {
        self.widened[ty].chunks(self.columns + GAP).flat_map(|row| &row[..self.columns]).copied().collect()
    }
}

/// What is in memory that no product has written.
const UNTOUCHED: f32 = 77.0;

fn kernels() -> impl Iterator<Item = Kernel> {
    Isa::available().flat_map(|isa| [Routine::Gemv, Routine::Gemm].map(|routine| Kernel { isa, routine }))
}

#[test]
fn types_strides_and_epilogues_change_no_product() {
    let blocks: Vec<Q4K> = weights(1, N, K);
    let bytes: &[u8] = bytemuck::cast_slice(&blocks);
    let (ty, kernels) = (GgmlType::Q4K, Vec::from_iter(kernels()));
    for m in [1, 2, 9, 21] {
        let (x, bias) = (Rows::new(2, m, K), Rows::new(3, 1, N));
        let (factor, residual) = (Rows::new(4, m, N), Rows::new(5, m, N));
        for (case, kernel) in kernels.iter().cycle().take(24).enumerate() {
            let (of_x, of_y) = (case % 3, case / 3 % 3);
            let (has_residual, nothing) = (case % 4 != 3, case % 5 == 4);
            let packed = PackedMatrix::new(kernel.isa, ty, N, K, bytes).expect("valid weights");
            let matrix = if case % 2 == 0 {
                Matrix::Packed(&packed)
            } else {
                Matrix::Blocks { ty, n: N, k: K, bytes }
            };
            let mut products = vec![0.0; m * N];
            let mut workspace = Workspace::new();
            kernel.matmul_packed(&mut workspace, m, &packed, &x.dense(of_x), &mut products).expect("valid");

            for activation in Activation::ALL {
                let epilogue = Epilogue {
                    scale: 0.125,
                    bias: Some(bias.tensor(of_y)),
                    activation,
                    factor: Some(factor.tensor(of_x)),
                    residual: has_residual.then(|| residual.tensor(2)),
                };
                let epilogue = if nothing { Epilogue::default() } else { epilogue };
                let stride = N + GAP;
                let mut singles = vec![UNTOUCHED; m * stride];
                let mut halves = vec![f16::from_f32(UNTOUCHED); m * stride];
                let mut brains = vec![bf16::from_f32(UNTOUCHED); m * stride];
                let numbers: NumbersMut = match of_y {
                    0 => halves.as_mut_slice().into(),
                    1 => brains.as_mut_slice().into(),
                    _ => singles.as_mut_slice().into(),
                };
                let y = TensorMut::with_stride(numbers, m, N, stride).expect("rows with gaps");
                let product = Product { x: x.tensor(of_x), y, epilogue };
                kernel.compute(&mut workspace, matrix, product).expect("a product");

                let (bias, factor, residual) = (bias.dense(of_y), factor.dense(of_x), residual.dense(2));
                for (row, products) in products.chunks(N).enumerate() {
                    for column in 0..stride {
                        let expected = products.get(column).map_or(UNTOUCHED, |product| {
                            let operands = Operands {
                                scale: 0.125,
                                bias: bias[column],
                                activation,
                                factor: factor[row * N + column],
                                residual: if has_residual { residual[row * N + column] } else { -0.0 },
                            };
                            if nothing { *product } else { operands.apply(*product) }
                        });
                        let at = row * stride + column;
                        let (found, expected) = match of_y {
                            0 => (halves[at].to_f32(), f16::from_f32(expected).to_f32()),
                            1 => (brains[at].to_f32(), bf16::from_f32(expected).to_f32()),
                            _ => (singles[at], expected),
                        };
                        let what =
                            format!("{}, case {case}, m = {m}, row {row}, column {column}", kernel.id(ty));
                        assert_eq!(found.to_bits(), expected.to_bits(), "{what}: {found} is not {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let (x, mut y) = ([0.0f32; 64], [0.0f32; 6]);
    let message = |error: Error| error.to_string();
    assert_eq!(
        message(Tensor::new(&x[..63], 2, 32).expect_err("too short")),
        "numbers (rows * columns) has 63 elements where 64 were expected"
    );
    assert_eq!(
        message(Tensor::with_stride(&x[..], 2, 32, 31).expect_err("overlapping rows")),
        "the stride is 31: expected at least 32, the numbers in a row"
    );
    assert_eq!(
        message(Tensor::with_stride(&x[..], 2, 32, 33).expect_err("too short")),
        "numbers (to the end of the last row) has 64 elements where 65 were expected"
    );
    assert!(Tensor::with_stride(&x[..], usize::MAX, 1, 32).is_err());

    let w = weights::<warpdot_formats::Q8_0>(1, 3, 32);
    let matrix = Matrix::Blocks { ty: GgmlType::Q8_0, n: 3, k: 32, bytes: bytemuck::cast_slice(&w) };
    let kernel = Kernel { isa: Isa::best(), routine: Routine::Gemv };
    let mut compute = |columns_of_y, bias: Option<Tensor>| {
        let y = TensorMut::new(&mut y[..2 * columns_of_y], 2, columns_of_y).expect("a tensor");
        let epilogue = Epilogue { bias, ..Epilogue::default() };
        let product = Product { x: Tensor::new(&x[..], 2, 32).expect("a tensor"), y, epilogue };
        kernel.compute(&mut Workspace::new(), matrix, product)
    };
    assert_eq!(compute(3, None), Ok(()));
    assert_eq!(
        message(compute(2, None).expect_err("a column less")),
        "y is a tensor of 2 x 2 where 2 x 3 was expected"
    );
    let bias = Tensor::new(&x[..4], 1, 4).expect("a tensor");
    assert_eq!(
        message(compute(3, Some(bias)).expect_err("a column more")),
        "bias is a tensor of 1 x 4 where 2 x 3 was expected"
    );
}

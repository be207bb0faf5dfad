//! Tiles against products in `f64`. The machine code is that which a CPU with AMX runs; where there is none, its
//! instructions are emulated.

use half::bf16;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_formats::{FormatVisitor, GgmlType, Numerics, Q8_0, code_bytes};

use super::*;
use crate::tensor::TensorMut;
use crate::{
    Epilogue, Experts, Isa, Kernel, Matrix, MatrixRows, PackedMatrix, Problem, Product, Routine, Workspace,
};

/// The kernel, unless this CPU lacks the vectors that work is prepared in.
fn kernel() -> Option<Kernel> {
    let amx = Amx::for_tests();
    if amx.is_none() {
        eprintln!("not tested: this CPU lacks AVX512-BF16, which cannot be emulated");
    }
    amx.map(|amx| Kernel { isa: Isa::Amx(amx), routine: Routine::Tiles })
}

/// Numbers of roughly normal distribution.
fn normal(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0).collect()
}

/// Numbers of Student's distribution with three degrees of freedom: some are far out.
fn student(seed: u64, count: usize) -> Vec<f32> {
    let squares = normal(seed + 1, 3 * count);
    let chi = squares.chunks_exact(3).map(|three| three.iter().map(|z| z * z).sum::<f32>() / 3.0);
    normal(seed, count).into_iter().zip(chi).map(|(z, chi)| z / chi.sqrt()).collect()
}

fn blocks<F: Format>(weights: &[f32]) -> Vec<F> {
    weights.chunks_exact(F::WEIGHTS).map(F::quantize).collect()
}

/// Random numbers, drawn once for all formats, which takes long enough.
struct Random {
    weights: Vec<f32>,
    x: Vec<f32>,
}

impl Random {
    fn new(numbers: impl Fn(u64, usize) -> Vec<f32>, x: usize) -> Self {
        Self { weights: numbers(1, 4096 + 256), x: numbers(3, x) }
    }

    /// Blocks of the weights, repeated; they are a prime number in most formats, so that rows differ.
    fn blocks<F: Format>(&self, count: usize) -> Vec<F> {
        let few: Vec<F> = blocks(&self.weights[..4096 + F::WEIGHTS]);
        few.into_iter().cycle().take(count / F::WEIGHTS).collect()
    }
}

fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(work)
}

/// The product from blocks and from packed weights, by one thread and by three: all the same.
fn run<F: Format>(kernel: Kernel, problem: Problem, weights: &[F], x: &[f32]) -> Vec<f32> {
    let Problem { m, n, k } = problem;
    let bytes: &[u8] = bytemuck::cast_slice(weights);
    let packed = PackedMatrix::new(kernel.isa, F::TYPE, n, k, bytes).expect("valid weights");
    let of_blocks = || {
        let mut y = vec![f32::MAX; m * n];
        kernel.matmul_bytes(F::TYPE, &mut Workspace::new(), problem, bytes, x, &mut y).expect("valid");
        y
    };
    let of_packed = || {
        let mut y = vec![f32::MAX; m * n];
        kernel.matmul_packed(&mut Workspace::new(), m, &packed, x, &mut y).expect("valid");
        y
    };
    let y = in_pool(1, of_blocks);
    let same = |other: Vec<f32>| y.iter().zip(&other).all(|(y, other)| y.to_bits() == other.to_bits());
    assert!(same(in_pool(1, of_packed)), "{} {problem:?}: packed", F::NAME);
    assert!(same(in_pool(3, of_packed)), "{} {problem:?}: packed, three threads", F::NAME);
    y
}

/// Products in `f64`, and the sums of the products' magnitudes.
fn exact(problem: Problem, weights: &[f64], x: &[f64]) -> Vec<(f64, f64)> {
    let dot = |x: &[f64], w: &[f64]| {
        let products = x.iter().zip(w).map(|(x, w)| x * w);
        products.fold((0.0, 0.0), |(sum, magnitudes), product| (sum + product, magnitudes + product.abs()))
    };
    let rows = x.chunks_exact(problem.k);
    rows.flat_map(|x| weights.chunks_exact(problem.k).map(move |w| dot(x, w))).collect()
}

fn widened(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|number| f64::from(*number)).collect()
}

/// Weights as tiles hold them, by the definition of codes and scales.
fn rounded_weights<F: Format>(weights: &[F]) -> Vec<f64> {
    let runs = weights.iter().flat_map(|block| (0..F::RUNS).map(move |run| (block, run)));
    let of_run = |(block, run): (&F, usize)| {
        let (codes, scales) = (code_bytes(&block.codes(run)), block.scales(run));
        std::array::from_fn::<_, RUN, _>(|i| {
            let offset = if F::HAS_OFFSET { scales.offset[i / F::GROUP] } else { 0.0 };
            let weight = scales.scale[i / F::GROUP].mul_add(f32::from(codes[i]), offset);
            bf16::from_f32(weight).to_f64()
        })
    };
    runs.flat_map(of_run).collect()
}

struct ProductOfRoundedOperands<'a>(Kernel, &'a Random);

impl FormatVisitor for ProductOfRoundedOperands<'_> {
    type Output = ();

    /// All that remains is rounding of sums in `f32`.
    fn visit<F: Format>(self) {
        for (m, n, k) in [(1, 1, F::WEIGHTS), (33, 17, 512 + F::WEIGHTS), (16, 81, 1024)] {
            let problem = Problem { m, n, k };
            let (w, x) = (self.1.blocks::<F>(n * k), &self.1.x[..m * k]);
            let rounded_x: Vec<f64> = x.iter().map(|x| bf16::from_f32(*x).to_f64()).collect();
            let found = run(self.0, problem, &w, x);
            for (i, (found, (exact, magnitudes))) in
                found.iter().zip(exact(problem, &rounded_weights(&w), &rounded_x)).enumerate()
            {
                let bound = 2.0 * k as f64 * 2f64.powi(-24) * magnitudes;
                let error = (f64::from(*found) - exact).abs();
                assert!(error <= bound, "{} {problem:?}: output {i} is {found}, not {exact}", F::NAME);
            }
        }
    }
}

#[test]
fn products_are_those_of_rounded_operands() {
    let Some(kernel) = kernel() else { return };
    let random = Random::new(normal, 33 * 1024);
    GgmlType::ALL.iter().for_each(|ty| ty.visit(ProductOfRoundedOperands(kernel, &random)));
}

struct Error<'a>(Kernel, &'a Random);

impl FormatVisitor for Error<'_> {
    type Output = f64;

    /// The mean squared error, relative to products of the dequantized weights.
    fn visit<F: Format>(self) -> f64 {
        let problem = Problem { m: 32, n: 32, k: 1024 };
        let (w, x) = (self.1.blocks::<F>(32 * 1024), &self.1.x);
        let mut dequantized = vec![0.0; 32 * 1024];
        for (block, out) in w.iter().zip(dequantized.chunks_exact_mut(F::WEIGHTS)) {
            block.dequantize(out);
        }
        let found = run(self.0, problem, &w, x);
        let exact = exact(problem, &widened(&dequantized), &widened(x));
        let errors = found.iter().zip(&exact).map(|(found, exact)| (f64::from(*found) - exact.0).powi(2));
        errors.sum::<f64>() / exact.iter().map(|exact| exact.0 * exact.0).sum::<f64>()
    }
}

#[test]
fn operands_are_rounded_once() {
    let Some(kernel) = kernel() else { return };
    for random in [Random::new(normal, 32 * 1024), Random::new(student, 32 * 1024)] {
        for ty in GgmlType::ALL {
            let error = ty.visit(Error(kernel, &random));
            assert!((1e-7..1e-5).contains(&error), "{ty}: the relative mean squared error is {error:e}");
        }
    }
}

/// Weights that are small whole numbers.
fn whole_weights(count: usize) -> (Vec<Q8_0>, Vec<f64>) {
    let weights: Vec<f32> =
        (0..count).map(|i| if i % RUN == 0 { 127.0 } else { (i * 7 % 13) as f32 }).collect();
    (blocks(&weights), widened(&weights))
}

/// Several strips of W, blocks of X and slices.
#[test]
fn whole_numbers_are_multiplied_exactly() {
    let Some(kernel) = kernel() else { return };
    for (m, n, k) in [(BLOCK * SIDE + 1, 35, 64), (3, STRIP + 17, 544), (65, 33, 1056)] {
        let problem = Problem { m, n, k };
        let (w, weights) = whole_weights(n * k);
        let x: Vec<f32> = (0..m * k).map(|i| (i * 5 % 11) as f32 - 5.0).collect();
        let expected = exact(problem, &weights, &widened(&x));
        let found = run(kernel, problem, &w, &x);
        let differs = found.iter().zip(&expected).position(|(found, exact)| f64::from(*found) != exact.0);
        assert_eq!(differs, None, "{problem:?}");
    }
}

#[test]
fn what_is_not_finite_travels() {
    let Some(kernel) = kernel() else { return };
    let problem = Problem { m: 5, n: 40, k: 64 };
    let (w, weights) = whole_weights(problem.n * problem.k);
    let mut x = vec![1.0; problem.m * problem.k];
    (x[70], x[130], x[200], x[201]) = (f32::NAN, f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY);
    (x[256], x[257]) = (f32::MAX, 1e-45); // rounded, they are infinite and zero
    let mut rounded = widened(&x);
    (rounded[256], rounded[257]) = (f64::INFINITY, 0.0);
    let expected = exact(problem, &weights, &rounded);
    for (i, (found, (exact, _))) in run(kernel, problem, &w, &x).iter().zip(expected).enumerate() {
        let found = f64::from(*found);
        assert!(found == exact || found.is_nan() && exact.is_nan(), "output {i} is {found}, not {exact}");
    }
}

/// Operands in 16 bits, rows apart, and an epilogue.
#[test]
fn products_are_computed_with_epilogues() {
    let Some(kernel) = kernel() else { return };
    let Problem { m, n, k } = Problem { m: 34, n: 19, k: 64 };
    let (w, weights) = whole_weights(n * k);
    let x: Vec<bf16> = (0..m * (k + 3)).map(|i| bf16::from_f32((i % 5) as f32)).collect();
    let bias: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let rows: Vec<f64> = x.chunks_exact(k + 3).flat_map(|row| &row[..k]).map(|x| x.to_f64()).collect();
    let mut y = vec![-1.0; m * (n + 2)];
    let bias = Some(Tensor::new(&bias[..], 1, n).expect("a row"));
    let product = Product {
        x: Tensor::with_stride(&x[..], m, k, k + 3).expect("x"),
        y: TensorMut::with_stride(&mut y[..], m, n, n + 2).expect("y"),
        epilogue: Epilogue { scale: 0.5, bias, ..Epilogue::default() },
    };
    let weights_of_w = Matrix::Blocks { ty: GgmlType::Q8_0, n, k, bytes: bytemuck::cast_slice(&w) };
    kernel.compute(&mut Workspace::new(), weights_of_w, product).expect("valid");
    let expected = exact(Problem { m, n, k }, &weights, &rows);
    for (row, (y, expected)) in y.chunks_exact(n + 2).zip(expected.chunks_exact(n)).enumerate() {
        for (column, (y, exact)) in y.iter().zip(expected).enumerate() {
            assert_eq!(f64::from(*y), exact.0 * 0.5 + column as f64, "row {row}, column {column}");
        }
        assert_eq!(y[n..], [-1.0; 2], "between the rows");
    }
}

/// Ranges and lists of rows, of blocks and of packed weights, that are aligned with the groups and that are not.
#[test]
fn some_rows_give_the_bits_of_the_whole() {
    let Some(kernel) = kernel() else { return };
    let (problem, rows) = (Problem { m: 33, n: 83, k: 544 }, 20..83);
    let Problem { m, n, k } = problem;
    let (w, x): (Vec<Q8_0>, _) = (blocks(&normal(5, n * k)), normal(6, m * k));
    let whole = run(kernel, problem, &w, &x);
    let bytes: &[u8] = bytemuck::cast_slice(&w);
    let packed = PackedMatrix::new(kernel.isa, GgmlType::Q8_0, n, k, bytes).expect("valid weights");
    let beside: Vec<u32> = (28..60).chain([0, 62, 3, 3]).collect();
    for matrix in [Matrix::Blocks { ty: GgmlType::Q8_0, n, k, bytes }, Matrix::Packed(&packed)] {
        let range = matrix.range(rows.clone()).expect("some rows");
        let aligned = matrix.range(32..80).expect("some rows");
        let check = |of: MatrixRows, ids: Vec<usize>| {
            let mut y = vec![f32::MAX; m * ids.len()];
            let x = Tensor::new(&x[..], m, k).expect("x");
            let product = Product::new(x, TensorMut::new(&mut y[..], m, ids.len()).expect("y"));
            kernel.compute(&mut Workspace::new(), of, product).expect("valid");
            for (i, found) in y.iter().enumerate() {
                let expected = whole[i / ids.len() * n + ids[i % ids.len()]];
                assert_eq!(found.to_bits(), expected.to_bits(), "output {i}, rows {ids:?} of {matrix:?}");
            }
        };
        check(range.into(), rows.clone().collect());
        check(aligned.into(), (32..80).collect());
        let ids = beside.iter().map(|id| rows.start + *id as usize).collect();
        check(range.gather(&beside).expect("some rows"), ids);
    }
}

/// Experts have no tiles: their products are those of a gemm.
#[test]
fn experts_are_multiplied_without_tiles() {
    let Some(kernel) = kernel() else { return };
    let (m, n, k) = (40, 17, 64);
    let (w, x): (Vec<Q8_0>, _) = (blocks(&normal(7, 2 * n * k)), normal(8, m * k));
    let matrix = Matrix::Blocks { ty: GgmlType::Q8_0, n: 2 * n, k, bytes: bytemuck::cast_slice(&w) };
    let ids: Vec<u32> = (0..m as u32).map(|row| u32::from(row == 3)).collect();
    let experts = Experts::new(matrix, 2, &ids).expect("two experts");
    let by = |compute: &dyn Fn(&mut Workspace, Product) -> Result<(), crate::Error>| {
        let mut y = vec![f32::MAX; m * n];
        let x = Tensor::new(&x[..], m, k).expect("x");
        let product = Product::new(x, TensorMut::new(&mut y[..], m, n).expect("y"));
        compute(&mut Workspace::new(), product).expect("valid");
        y
    };
    let isa = kernel.isa;
    let gemm = by(&|workspace, product| {
        experts.compute_with(Kernel { isa, routine: Routine::Gemm }, workspace, product)
    });
    assert_eq!(by(&|workspace, product| experts.compute_with(kernel, workspace, product)), gemm);
    assert_eq!(by(&|workspace, product| experts.compute(isa, Numerics::Fast, workspace, product)), gemm);
}

#[test]
fn tiles_are_chosen_for_many_rows_and_fast_numerics() {
    let Some(Kernel { isa, .. }) = kernel() else { return };
    let routine = |isa, numerics, m| Kernel::choose(isa, numerics, Problem { m, n: 64, k: 64 }).routine;
    assert_eq!(routine(isa, Numerics::Fast, 512), Routine::Tiles);
    assert_eq!(routine(isa, Numerics::Fast, 8), Routine::Gemv);
    assert_eq!(routine(isa, Numerics::Reproducible, 512), Routine::Gemm);
    let Isa::Amx(amx) = isa else { unreachable!("the kernel's") };
    assert_eq!(routine(Isa::Avx512Vnni(amx.into()), Numerics::Fast, 512), Routine::Gemm);
    assert_eq!(
        Kernel::choose(isa, Numerics::Fast, Problem { m: 32, n: 1, k: 32 }).id(GgmlType::Q4K),
        "cpu-amx-tiles-q4k"
    );
}

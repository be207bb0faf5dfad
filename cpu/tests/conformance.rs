//! Every instruction set, format, kernel and shape against the definition.

mod common;

use common::{normal, random_blocks, weights};
use warpdot_cpu::{Isa, Kernel, Numerics, PackedMatrix, Problem, Routine, Workspace, dot, matmul, quantize};
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, GgmlType, RUN, reproducible};

/// The kernels that there are here.
fn kernels() -> impl Iterator<Item = Kernel> {
    Isa::available().flat_map(|isa| [Routine::Gemv, Routine::Gemm].map(|routine| Kernel { isa, routine }))
}

/// The product from blocks and from packed weights, which must be the same.
fn run<F: Format>(kernel: Kernel, problem: Problem, weights: &[F], x: &[f32]) -> Vec<f32> {
    let Problem { m, n, k } = problem;
    let (mut y, mut of_packed) = (vec![f32::MAX; m * n], vec![f32::MAX; m * n]);
    let (weights, mut workspace) = (bytemuck::cast_slice(weights), Workspace::new());
    kernel.matmul_bytes(F::TYPE, &mut workspace, problem, weights, x, &mut y).expect("a valid problem");
    let packed = PackedMatrix::new(kernel.isa, F::TYPE, n, k, weights).expect("valid weights");
    kernel.matmul_packed(&mut workspace, m, &packed, x, &mut of_packed).expect("a valid problem");
    assert_same(&of_packed, &y, &format!("{} {problem:?}, packed", kernel.id(F::TYPE)));
    y
}

/// The product by the definition.
fn definition<F: Format>(problem: Problem, weights: &[F], x: &[f32]) -> Vec<f32> {
    let blocks: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
    let rows = blocks.chunks_exact(problem.k / RUN);
    rows.flat_map(|x| weights.chunks_exact(problem.k / F::WEIGHTS).map(|w| reproducible::dot(w, x))).collect()
}

/// The same bits, except that every NaN is as good as any other.
fn assert_same(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{what}: output {i} is {found:e}, not {expected:e}");
    }
}

/// Values of k in blocks of `F`: every tail of an octet, and more octets than there are vectors of chains.
fn lengths<F: Format>() -> Vec<usize> {
    if F::RUNS == 1 { (1..=18).chain([31, 32, 33, 45, 64, 67]).collect() } else { vec![1, 2, 4, 5, 9] }
}

struct EqualsTheDefinition;

impl FormatVisitor for EqualsTheDefinition {
    type Output = ();

    fn visit<F: Format>(self) {
        const SHAPES: [(usize, usize); 12] = [
            (1, 1),
            (1, 37),
            (2, 3),
            (3, 4),
            (4, 17),
            (5, 5),
            (5, 37),
            (6, 1),
            (7, 2),
            (8, 9),
            (9, 6),
            (33, 7),
        ];
        let longest = lengths::<F>().into_iter().max().expect("some") * F::WEIGHTS;
        let (w, x) = (weights::<F>(1, 37, longest), normal(2, 33 * longest));
        for k in lengths::<F>().into_iter().map(|blocks| blocks * F::WEIGHTS) {
            for (m, n) in SHAPES {
                let problem = Problem { m, n, k };
                let (w, x) = (&w[..n * k / F::WEIGHTS], &x[..m * k]);
                let expected = definition(problem, w, x);
                for kernel in kernels() {
                    let what = format!("{} {problem:?}", kernel.id(F::TYPE));
                    assert_same(&run(kernel, problem, w, x), &expected, &what);
                }
            }
        }
    }
}

#[test]
fn every_kernel_gives_the_defined_bits() {
    for ty in GgmlType::ALL {
        ty.visit(EqualsTheDefinition);
    }
}

struct AnyBytes;

impl FormatVisitor for AnyBytes {
    type Output = ();

    fn visit<F: Format>(self) {
        let problem = Problem { m: 3, n: 200, k: 512 };
        let w = random_blocks::<F>(3, problem.n * problem.k / F::WEIGHTS);
        let mut x = normal(4, problem.m * problem.k);
        x[..256].fill(127.0); // the largest codes
        x[256..512].fill(-127.0);
        x[600] = f32::NAN;
        let expected = definition(problem, &w, &x);
        assert!(expected.iter().any(|y| y.is_finite()) && expected.iter().any(|y| y.is_nan()));
        for kernel in kernels() {
            assert_same(&run(kernel, problem, &w, &x), &expected, &kernel.id(F::TYPE));
        }
    }
}

#[test]
fn any_bytes_are_weights() {
    for ty in GgmlType::ALL {
        ty.visit(AnyBytes);
    }
}

#[test]
fn activations_are_quantized_to_the_defined_bits() {
    let mut x = normal(5, 40 * RUN);
    for (i, special) in
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, 1e38, -0.0].into_iter().enumerate()
    {
        x[i * RUN + 5] = special;
    }
    x[10 * RUN..11 * RUN].fill(0.0);
    x[11 * RUN..12 * RUN].fill(-1e-42);
    x[12 * RUN..13 * RUN].fill(2f32.powi(-100));
    for (i, x) in x[13 * RUN..15 * RUN].iter_mut().enumerate() {
        *x = (i as f32 - 31.5) * 2.0; // ties
    }
    let expected: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
    for isa in Isa::available() {
        let mut blocks = vec![ActivationBlock { scale: 0.0, sums: [0; 2], codes: [0; RUN] }; 40];
        quantize(isa, &x, &mut blocks).expect("matching lengths");
        assert_eq!(
            bytemuck::cast_slice::<_, u8>(&blocks),
            bytemuck::cast_slice::<_, u8>(&expected),
            "{isa:?}"
        );
    }
}

struct ErrorBound;

impl FormatVisitor for ErrorBound {
    type Output = f64;

    /// The mean squared error against exact products of the dequantized weights, relative to these.
    fn visit<F: Format>(self) -> f64 {
        let problem = Problem { m: 5, n: 60, k: 4096 };
        let (w, x) = (weights::<F>(6, problem.n, problem.k), normal(7, problem.m * problem.k));
        let mut dequantized = vec![0.0; problem.n * problem.k];
        for (block, out) in w.iter().zip(dequantized.chunks_exact_mut(F::WEIGHTS)) {
            block.dequantize(out);
        }
        let exact: Vec<f64> = x
            .chunks_exact(problem.k)
            .flat_map(|x| {
                let dot = |w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                dequantized.chunks_exact(problem.k).map(dot)
            })
            .collect();
        let mut worst = 0.0f64;
        for isa in Isa::available() {
            let mut y = vec![0.0; problem.m * problem.n];
            matmul(isa, Numerics::Fast, &mut Workspace::new(), problem, &w, &x, &mut y).expect("valid");
            let error: f64 = y.iter().zip(&exact).map(|(y, exact)| (f64::from(*y) - exact).powi(2)).sum();
            worst = worst.max(error / exact.iter().map(|exact| exact * exact).sum::<f64>());
        }
        worst
    }
}

#[test]
fn fast_keeps_its_bound() {
    for ty in GgmlType::ALL {
        let error = ty.visit(ErrorBound);
        assert!(error < 1e-4, "{ty}: the relative mean squared error is {error:e}");
        assert!(error > 1e-6, "{ty}: int8 activations cannot be as exact as {error:e}");
    }
}

struct Threads;

impl FormatVisitor for Threads {
    type Output = ();

    fn visit<F: Format>(self) {
        for (m, n) in [(1, 3001), (4, 700), (40, 123), (300, 3)] {
            let problem = Problem { m, n, k: 2048 };
            let (w, x) = (weights::<F>(8, n.min(16), problem.k), normal(9, m * problem.k));
            let w: Vec<F> = w.iter().copied().cycle().take(n * problem.k / F::WEIGHTS).collect();
            for kernel in kernels().take(2) {
                let [one, two, seven] = [1, 2, 7].map(|threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                    pool.install(|| run(kernel, problem, &w, &x))
                });
                assert_same(&two, &one, &format!("2 threads, {} {problem:?}", kernel.id(F::TYPE)));
                assert_same(&seven, &one, &format!("7 threads, {} {problem:?}", kernel.id(F::TYPE)));
                assert_same(
                    &one[..n.min(9)],
                    &definition(
                        Problem { m: 1, n: n.min(9), ..problem },
                        &w[..n.min(9) * problem.k / F::WEIGHTS],
                        &x[..problem.k],
                    ),
                    "one thread",
                );
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    GgmlType::Q4_0.visit(Threads);
    GgmlType::Q6K.visit(Threads);
}

#[test]
fn a_workspace_serves_problems_of_any_size() {
    let mut workspace = Workspace::new();
    for (m, n, k) in [(9, 5, 96), (2, 3, 1024), (1, 4, 32), (12, 30, 512)] {
        let problem = Problem { m, n, k };
        let (w, x) = (weights::<warpdot_formats::Q8_0>(10, n, k), normal(11, m * k));
        let mut y = vec![0.0; m * n];
        matmul(Isa::best(), Numerics::Reproducible, &mut workspace, problem, &w, &x, &mut y).expect("valid");
        assert_same(&y, &definition(problem, &w, &x), &format!("{problem:?}"));
    }
}

#[test]
fn dot_is_a_product_of_one_row() {
    let (w, x) = (weights::<warpdot_formats::Q4K>(12, 1, 1024), normal(13, 1024));
    let expected = definition(Problem { m: 1, n: 1, k: 1024 }, &w, &x);
    for isa in Isa::available() {
        let y = dot(isa, Numerics::Reproducible, &mut Workspace::new(), &w, &x).expect("valid");
        assert_same(&[y], &expected, isa.name());
    }
}

#[test]
fn bytes_are_read_in_place() {
    let problem = Problem { m: 2, n: 3, k: 512 };
    for &ty in GgmlType::ALL {
        struct Bytes;
        impl FormatVisitor for Bytes {
            type Output = (Vec<u8>, Vec<f32>);
            fn visit<F: Format>(self) -> Self::Output {
                let problem = Problem { m: 2, n: 3, k: 512 };
                let w = weights::<F>(14, problem.n, problem.k);
                let expected = definition(problem, &w, &normal(15, problem.m * problem.k));
                (bytemuck::cast_slice(&w).to_vec(), expected)
            }
        }
        let (bytes, expected) = ty.visit(Bytes);
        for kernel in kernels() {
            let mut y = [0.0; 6];
            let x = normal(15, problem.m * problem.k);
            kernel.matmul_bytes(ty, &mut Workspace::new(), problem, &bytes, &x, &mut y).expect("valid");
            assert_same(&y, &expected, &kernel.id(ty));
        }
    }
}

/// What is packed comes back, and takes the bytes that were foretold.
#[test]
fn packing_loses_nothing() {
    struct RoundTrip;
    impl FormatVisitor for RoundTrip {
        type Output = ();
        fn visit<F: Format>(self) {
            for (n, blocks) in [(1, 1), (15, 2), (16, 1), (16, 5), (33, 3), (50, 8)] {
                let (weights, k) = (random_blocks::<F>(16, n * blocks), blocks * F::WEIGHTS);
                let bytes: &[u8] = bytemuck::cast_slice(&weights);
                for isa in Isa::available() {
                    let packed = PackedMatrix::new(isa, F::TYPE, n, k, bytes).expect("valid weights");
                    let mut row = vec![0; bytes.len() / n];
                    for (i, expected) in bytes.chunks_exact(row.len()).enumerate() {
                        packed.row(i, &mut row).expect("a row");
                        assert_eq!(row, expected, "{} {n} x {k}, row {i}, {}", F::NAME, isa.name());
                    }
                    assert!(packed.row(n, &mut row).is_err() && packed.row(0, &mut row[1..]).is_err());
                }
                let size = PackedMatrix::size(F::TYPE, n, k).expect("a valid shape");
                assert!((bytes.len()..=bytes.len() + n / 16 * 48).contains(&size));
                assert!(!blocks.is_multiple_of(4) || size == bytes.len(), "{}: no byte more", F::NAME);
            }
        }
    }
    GgmlType::ALL.iter().for_each(|ty| ty.visit(RoundTrip));
}

//! Matrix-vector products by bytes of weights a second, matrix-matrix products by operations a second.
//!
//! `WARPDOT_ISA` forces an instruction set, `RAYON_NUM_THREADS` the number of threads. Every product is
//! compared with the definition before it is timed, or with `f64` if it is not reproducible.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_cpu::{Isa, Kernel, Numerics, PackedMatrix, Problem, Routine, Workspace};
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, GgmlType, RUN, reproducible};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let isa = Isa::from_env().expect("an instruction set of this CPU");
    for &ty in GgmlType::ALL {
        for (m, n, k) in [(1, 4096, 14336), (8, 4096, 4096), (64, 4096, 4096), (512, 4096, 4096)] {
            let problem = Problem { m, n, k };
            ty.visit(Case { criterion: &mut criterion, isa, problem });
        }
    }
    criterion.final_summary();
}

struct Case<'a> {
    criterion: &'a mut Criterion,
    isa: Isa,
    problem: Problem,
}

impl FormatVisitor for Case<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let Problem { m, n, k } = self.problem;
        let mut rng = StdRng::seed_from_u64(1);
        let mut uniform = |count| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        // A few rows over and over: their quantization takes longer than the products.
        let few: Vec<F> = uniform(8 * k).chunks_exact(F::WEIGHTS).map(F::quantize).collect();
        let weights: Vec<F> = few.iter().copied().cycle().take(n * k / F::WEIGHTS).collect();
        let (x, mut y, mut workspace) = (uniform(m * k), vec![0.0; m * n], Workspace::new());

        let bytes = bytemuck::cast_slice(&weights);
        let packed = PackedMatrix::new(self.isa, F::TYPE, n, k, bytes).expect("valid weights");
        let kernel = Kernel::choose(self.isa, Numerics::Fast, self.problem);
        let mut run = || {
            kernel.matmul_packed(&mut workspace, m, &packed, black_box(&x), &mut y).expect("valid");
            y[m * n - 1]
        };
        let last_x = &x.as_chunks().0[(m - 1) * k / RUN..];
        let last_w = &weights[(n - 1) * k / F::WEIGHTS..];
        if kernel.routine == Routine::Tiles {
            let (exact, norm) = products(last_w, last_x.as_flattened());
            // Of bf16, which rounds by 2^-9 at most, errors add up like random ones.
            assert!((f64::from(run()) - exact).abs() < norm / 64.0, "{} is not near {exact}", run());
        } else {
            let activations: Vec<_> = last_x.iter().map(ActivationBlock::quantize).collect();
            assert_eq!(run(), reproducible::dot(last_w, &activations));
        }

        let mut group = self.criterion.benchmark_group(kernel.id(F::TYPE));
        group.throughput(match m {
            1 => Throughput::Bytes(size_of_val(&weights[..]) as u64),
            _ => Throughput::Elements(2 * (m * n * k) as u64),
        });
        group.sample_size(if m > 100 { 10 } else { 20 });
        group.bench_function(BenchmarkId::from_parameter(format!("m={m} n={n} k={k}")), |bencher| {
            bencher.iter(&mut run);
        });
    }
}

/// The sum of products, and the root of the sum of their squares.
fn products<F: Format>(weights: &[F], x: &[f32]) -> (f64, f64) {
    let mut numbers = vec![0.0; x.len()];
    for (block, numbers) in weights.iter().zip(numbers.chunks_exact_mut(F::WEIGHTS)) {
        block.dequantize(numbers);
    }
    let products = numbers.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
    (products.clone().sum(), products.map(|product| product * product).sum::<f64>().sqrt())
}

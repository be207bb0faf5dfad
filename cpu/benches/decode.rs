//! Matrix-vector products whose weights come from memory, packed and in blocks, by bytes of weights a second, beside a
//! plain read of the same bytes: the ceiling.
//!
//! `WARPDOT_ISA` forces an instruction set, `RAYON_NUM_THREADS` the number of threads. Every product is compared
//! with the definition before it is timed.

use std::cell::OnceCell;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use warpdot_cpu::{Isa, Kernel, Numerics, PackedMatrix, Problem, Workspace};
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, GgmlType, reproducible};

/// Out of every cache, the weights are matrices that take this many bytes together, used in turn.
const COLD: usize = 1 << 30;

const PROBLEM: Problem = Problem { m: 1, n: 4096, k: 14336 };

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let isa = Isa::from_env().expect("an instruction set of this CPU");
    for &ty in GgmlType::ALL {
        ty.visit(Case { criterion: &mut criterion, isa });
    }
    criterion.final_summary();
}

struct Case<'a> {
    criterion: &'a mut Criterion,
    isa: Isa,
}

/// Matrices of the same few rows, in blocks and packed, and activations.
struct Operands<F> {
    weights: Vec<F>,
    packed: Vec<PackedMatrix>,
    x: Vec<f32>,
}

impl<F: Format> Operands<F> {
    const MATRIX: usize = PROBLEM.n * PROBLEM.k / F::WEIGHTS;

    fn new(isa: Isa) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let mut uniform = |count| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let few: Vec<F> = uniform(2 * PROBLEM.k).par_chunks_exact(F::WEIGHTS).map(F::quantize).collect();
        let matrices = COLD.div_ceil(Self::MATRIX * size_of::<F>());
        let weights: Vec<F> = few.iter().copied().cycle().take(matrices * Self::MATRIX).collect();
        let pack = |weights: &[F]| {
            let bytes = bytemuck::cast_slice(weights);
            PackedMatrix::new(isa, F::TYPE, PROBLEM.n, PROBLEM.k, bytes).expect("valid weights")
        };
        let packed = weights.chunks_exact(Self::MATRIX).map(pack).collect();
        Self { weights, packed, x: uniform(PROBLEM.k) }
    }
}

/// The last element of the first product, by the definition.
fn expected<F: Format>(weights: &[F], x: &[f32]) -> f32 {
    let activations: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
    let row = PROBLEM.k / F::WEIGHTS;
    reproducible::dot(&weights[(PROBLEM.n - 1) * row..][..row], &activations)
}

/// The exclusive or of all words: reads every byte, some rows side by side as the products do.
fn read(bytes: &[u8]) -> u64 {
    const STREAMS: usize = 4;
    let (words, _) = bytes.as_chunks::<64>();
    let streams: Vec<_> = words.chunks(words.len().div_ceil(STREAMS)).collect();
    let mut sums = [[0u64; 8]; STREAMS];
    for i in 0..streams[0].len() {
        for (sums, stream) in sums.iter_mut().zip(&streams) {
            if let Some(line) = stream.get(i) {
                for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
                    *sum ^= u64::from_le_bytes(*word);
                }
            }
        }
    }
    sums.as_flattened().iter().fold(0, |sum, word| sum ^ word)
}

impl FormatVisitor for Case<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let kernel = Kernel::choose(self.isa, Numerics::Fast, PROBLEM);
        let operands = OnceCell::<Operands<F>>::new();
        let mut workspace = Workspace::new();
        let mut y = vec![0.0; PROBLEM.n];

        let mut group = self.criterion.benchmark_group(kernel.id(F::TYPE));
        group.throughput(Throughput::Bytes((Operands::<F>::MATRIX * size_of::<F>()) as u64));
        group.bench_function("packed", |bencher| {
            let Operands { weights, packed, x } = operands.get_or_init(|| Operands::new(self.isa));
            let mut matrices = packed.iter().cycle();
            let mut run = |matrix: &PackedMatrix| {
                kernel.matmul_packed(&mut workspace, 1, matrix, black_box(x), &mut y).expect("valid");
                y[PROBLEM.n - 1]
            };
            assert_eq!(run(&packed[0]), expected(weights, x));
            bencher.iter(|| run(matrices.next().expect("endless")));
        });
        group.bench_function("blocks", |bencher| {
            let Operands { weights, x, .. } = operands.get_or_init(|| Operands::new(self.isa));
            let mut matrices = weights.chunks_exact(Operands::<F>::MATRIX).cycle();
            let mut run = |weights: &[F]| {
                kernel.matmul(&mut workspace, PROBLEM, weights, black_box(x), &mut y).expect("valid");
                y[PROBLEM.n - 1]
            };
            assert_eq!(run(&weights[..Operands::<F>::MATRIX]), expected(weights, x));
            bencher.iter(|| run(matrices.next().expect("endless")));
        });
        group.bench_function("read", |bencher| {
            let operands = operands.get_or_init(|| Operands::new(self.isa));
            let mut matrices = operands.weights.chunks_exact(Operands::<F>::MATRIX).cycle();
            bencher.iter(|| {
                let bytes: &[u8] = bytemuck::cast_slice(matrices.next().expect("endless"));
                let part = bytes.len().div_ceil(rayon::current_num_threads());
                black_box(bytes).par_chunks(part).map(read).reduce(|| 0, |a, b| a ^ b)
            });
        });
    }
}

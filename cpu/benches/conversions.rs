//! Whole matrices from blocks to numbers and back, by bytes read and written a second, each beside its floor: the
//! same bytes read and written without any work.
//!
//! `WARPDOT_ISA` forces an instruction set, `RAYON_NUM_THREADS` the number of threads. Every result is compared with
//! the definition before it is timed.

use std::cell::OnceCell;
use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use half::f16;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_cpu::{Float, Isa, ceilings::read_and_write, dequantize, quantize_blocks};
use warpdot_formats::{Format, FormatVisitor, GgmlType};

/// Weights of a matrix; so many that neither they nor their blocks stay in a cache.
const WEIGHTS: usize = 1 << 26;

/// The formats whose quantization takes no search, so that memory may bound it.
const UNSEARCHED: &[GgmlType] = {
    use GgmlType::*;
    &[Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Tq1_0, Tq2_0, Q1_0, Mxfp4]
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
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

/// The same few weights over and over, and their blocks.
struct Operands<F> {
    weights: Vec<f32>,
    blocks: Vec<F>,
}

impl<F: Format> Operands<F> {
    const BLOCKS: usize = WEIGHTS / F::WEIGHTS;

    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let few: Vec<f32> = (0..1 << 14).map(|_| rng.random_range(-1.0..1.0)).collect();
        let blocks: Vec<F> = few.chunks_exact(F::WEIGHTS).map(F::quantize).collect();
        Self {
            weights: few.into_iter().cycle().take(WEIGHTS).collect(),
            blocks: blocks.into_iter().cycle().take(Self::BLOCKS).collect(),
        }
    }
}

impl FormatVisitor for Case<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let isa = self.isa;
        let operands = OnceCell::new();
        let mut group = self.criterion.benchmark_group(format!("{}-{}", isa.name(), F::TYPE.suffix()));
        dequantize_to::<F, f32>(&mut group, isa, "f32", &operands);
        dequantize_to::<F, f16>(&mut group, isa, "f16", &operands);

        if !UNSEARCHED.contains(&F::TYPE) {
            return;
        }
        let mut blocks = Vec::new();
        group.throughput(Throughput::Bytes((4 * WEIGHTS + Operands::<F>::BLOCKS * size_of::<F>()) as u64));
        group.bench_function("quantize", |bencher| {
            let operands = operands.get_or_init(Operands::<F>::new);
            blocks.resize(operands.blocks.len(), F::zeroed());
            bencher.iter(|| {
                quantize_blocks(isa, black_box(&operands.weights), None, &mut blocks).expect("valid")
            });
            assert!(
                bytemuck::cast_slice::<F, u8>(&blocks) == bytemuck::cast_slice::<F, u8>(&operands.blocks)
            );
        });
        group.bench_function("quantize floor", |bencher| {
            let operands = operands.get_or_init(Operands::<F>::new);
            blocks.resize(operands.blocks.len(), F::zeroed());
            let (from, to) = (bytemuck::cast_slice(&operands.weights), bytemuck::cast_slice_mut(&mut blocks));
            bencher.iter(|| read_and_write(isa, black_box(from), to));
        });
    }
}

fn dequantize_to<F: Format, T: Float + Into<f32>>(
    group: &mut BenchmarkGroup<WallTime>,
    isa: Isa,
    name: &str,
    operands: &OnceCell<Operands<F>>,
) {
    let mut out = Vec::new();
    let bytes = Operands::<F>::BLOCKS * size_of::<F>() + WEIGHTS * size_of::<T>();
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(format!("to {name}"), |bencher| {
        let operands = operands.get_or_init(Operands::new);
        out.resize(WEIGHTS, T::zeroed());
        bencher.iter(|| dequantize(isa, black_box(&operands.blocks), &mut out).expect("valid"));
        let mut expected = vec![0.0; F::WEIGHTS];
        operands.blocks[Operands::<F>::BLOCKS - 1].dequantize(&mut expected);
        for (found, expected) in out[WEIGHTS - F::WEIGHTS..].iter().zip(expected) {
            assert!(((*found).into() - expected).abs() <= expected.abs() * 1e-3);
        }
    });
    group.bench_function(format!("to {name} floor"), |bencher| {
        let operands = operands.get_or_init(Operands::new);
        out.resize(WEIGHTS, T::zeroed());
        let (from, to) = (bytemuck::cast_slice(&operands.blocks), bytemuck::cast_slice_mut(&mut out));
        bencher.iter(|| read_and_write(isa, black_box(from), to));
    });
}

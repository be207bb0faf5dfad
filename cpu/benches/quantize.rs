//! Quantization by bytes of `f32` a second, without importance weights and with them.
//!
//! `WARPDOT_ISA` forces an instruction set, `RAYON_NUM_THREADS` the number of threads.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_cpu::{Isa, quantize_bytes};
use warpdot_formats::GgmlType;

const ROWS: usize = 64;
const COLUMNS: usize = 4096;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let isa = Isa::from_env().expect("an instruction set of this CPU");
    let mut rng = StdRng::seed_from_u64(1);
    let weights: Vec<f32> = (0..ROWS * COLUMNS).map(|_| normal(&mut rng)).collect();
    let importance: Vec<f32> = (0..COLUMNS).map(|_| normal(&mut rng).powi(2)).collect();
    for &ty in GgmlType::ALL {
        let mut bytes = vec![0; weights.len() / ty.block_weights() * ty.block_bytes() + 1];
        let odd = bytes.as_ptr().addr() % 2;
        let length = bytes.len() - 1;
        let bytes = &mut bytes[odd..][..length];
        let mut group = criterion.benchmark_group(format!("quantize-{ty}"));
        group.throughput(Throughput::Bytes(size_of_val(&weights[..]) as u64));
        for (name, importance) in [("plain", None), ("weighted", Some(&importance[..]))] {
            group.bench_function(BenchmarkId::new(name, isa.name()), |bencher| {
                bencher.iter(|| {
                    quantize_bytes(isa, ty, black_box(&weights), importance, bytes).expect("good lengths");
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
}

/// A Gaussian number of unit variance, by Box and Muller.
fn normal(rng: &mut StdRng) -> f32 {
    let (radius, turn) = (1.0 - rng.random::<f32>(), rng.random::<f32>());
    (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * turn).cos()
}

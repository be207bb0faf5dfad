//! Thread instructions per second of one core, with all checks on, over warpdot's own kernels.

#[path = "../tests/common/launching.rs"]
mod launching;

use bytemuck::Zeroable;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::{GgmlType, QuantizedMatrix, ptx};
use warpdot_emulator::DeviceSpec;
use warpdot_formats::{ActivationBlock, FloatType};
use warpdot_host::{Argument, Device};
use warpdot_kernels::arguments::{Ending, View, WeightRows};
use warpdot_kernels::launch::KERNELS;

const N: usize = 64;
const K: usize = 4096;
const ARCH: &str = "sm_90a";

fn throughput(criterion: &mut Criterion) {
    // SAFETY: the emulator's functions have the signatures of the driver's.
    unsafe { warpdot_host::driver::install(warpdot_emulator::lookup) }.expect("no driver was in use");
    let emulated = warpdot_emulator::add_device(DeviceSpec::new(9, 0).expect("a preset"));
    let context = Device::get(emulated.ordinal()).unwrap().context().unwrap();
    warpdot_emulator::set_threads(1);
    let mut rng = StdRng::seed_from_u64(1);
    let mut numbers = |count: usize| (0..count).map(|_| rng.random_range(-1f32..1.0)).collect::<Vec<_>>();
    let mut group = criterion.benchmark_group("thread_instructions");
    for (entry, m, ty) in [
        ("gemv_q4_0_m1", 1, GgmlType::Q4_0),
        ("gemv_q6k_m8", 8, GgmlType::Q6K),
        ("gemm_q4_0", 64, GgmlType::Q4_0),
        ("gemm_q4k", 64, GgmlType::Q4K),
    ] {
        let kernel = KERNELS.iter().find(|kernel| kernel.entry == entry).unwrap();
        let matrix = QuantizedMatrix::quantize(ty, N, K, &numbers(N * K)).unwrap();
        let x: Vec<_> = numbers(m * K).as_chunks().0.iter().map(ActivationBlock::quantize).collect();
        let mut w_buffer = context.alloc(matrix.bytes().len()).unwrap();
        w_buffer.write(matrix.bytes()).unwrap();
        let mut x_buffer = context.alloc(x.len()).unwrap();
        x_buffer.write(&x).unwrap();
        let y = context.alloc::<f32>(m * N).unwrap();
        let module = context.load_module(&ptx::find(ARCH, kernel.family.name()).unwrap().text()).unwrap();
        let (function, stream) = (launching::function(&module, kernel, ARCH), context.stream().unwrap());
        let launch = launching::launch(kernel, ARCH, [m, N, K]).unwrap();
        let view = View { address: y.as_raw(), stride: N as u32, ty: FloatType::F32.id() };
        let ending = Ending { y: view, scale: 1.0, ..Ending::zeroed() };
        let mut run = || {
            let sizes = [m, N, K].map(|size| (size as u32).into());
            let w = WeightRows { address: w_buffer.as_raw(), of: N as u32, first: 0 };
            let arguments = [
                Argument::value(&w),
                (&x_buffer).into(),
                Argument::value(&ending),
                sizes[0],
                sizes[1],
                sizes[2],
            ];
            // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
            unsafe { stream.launch(&function, launch, &arguments) }.unwrap();
            stream.synchronize().unwrap();
        };
        emulated.reset_counters();
        run();
        let counters = &emulated.counters()[0].1;
        println!("{entry}\n{counters}\n");
        group.throughput(Throughput::Elements(counters.thread_instructions()));
        group.sample_size(10).bench_function(entry, |bencher| bencher.iter(&mut run));
    }
}

criterion_group!(benches, throughput);
criterion_main!(benches);

//! What `gemv` kernels move from memory: all of the weights, and next to nothing twice.

mod common;

use bytemuck::Zeroable;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::{GgmlType, QuantizedMatrix, ptx};
use warpdot_emulator::Counters;
use warpdot_formats::{ActivationBlock, FloatType, RUN};
use warpdot_host::{Arch, Argument, Launch};
use warpdot_kernels::arguments::{Ending, View, WeightRows};
use warpdot_kernels::launch::{Family, KERNELS};

const N: usize = 64;
const K: usize = 2048;

/// Multiplies one row of activations by weights of every format, in blocks of eight quads of rows, as they are launched
/// for large matrices; what each kernel did.
fn counters() -> Vec<(GgmlType, Counters)> {
    let arch = *ptx::archs().expect("this build has kernels").last().expect("one at least");
    let capability = arch.parse::<Arch>().expect("an architecture").compute_capability();
    let (emulated, device) = common::device(capability.major, capability.minor);
    let context = device.context().expect("a context");
    let text = ptx::find(arch, Family::Gemv.name()).expect("kernels").text();
    let module = context.load_module(&text).expect("good PTX");
    let stream = context.stream().expect("a stream");
    let mut x = context.alloc::<ActivationBlock>(K / RUN).expect("memory");
    x.write(&[ActivationBlock::quantize(&[1.0; RUN]); K / RUN]).expect("as many");
    let y = context.alloc::<f32>(N).expect("memory");
    let view = View { address: y.as_raw(), stride: N as u32, ty: FloatType::F32.id() };
    let ending = Ending { y: view, scale: 1.0, ..Ending::zeroed() };

    let mut rng = StdRng::seed_from_u64(12);
    let of_type = |&ty: &GgmlType| {
        let bytes: Vec<u8> =
            (0..N * K / ty.block_weights() * ty.block_bytes()).map(|_| rng.random()).collect();
        let packed = common::packed::pack(&QuantizedMatrix::from_bytes(ty, N, K, bytes).expect("good sizes"));
        let mut w = context.alloc(packed.len()).expect("memory");
        w.write(&packed).expect("as many");
        let of_type = |kernel: &&warpdot_kernels::launch::Kernel| {
            kernel.family == Family::Gemv && kernel.ty == Some(ty) && kernel.columns == 1
        };
        let kernel = KERNELS.iter().find(of_type).expect("a kernel for a column");
        let launch = common::launching::launch(kernel, arch, [1, N, K]).expect("a launch");
        let launch = Launch { grid: [N as u32 / 32, 1, 1], block: [256, 1, 1], ..launch };
        let sizes = [1, N, K].map(|size| (size as u32).into());
        let rows = WeightRows { address: w.as_raw(), of: N as u32, first: 0 };
        let (w, ending) = (Argument::value(&rows), Argument::value(&ending));
        let arguments = [w, (&x).into(), ending, sizes[0], sizes[1], sizes[2]];
        let function = common::launching::function(&module, kernel, arch);
        emulated.reset_counters();
        // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
        unsafe { stream.launch(&function, launch, &arguments) }.expect("a launch");
        stream.synchronize().expect("no error");
        let counters = emulated.counters().pop().expect("one kernel").1;
        (ty, counters)
    };
    GgmlType::ALL.iter().map(of_type).collect()
}

/// Words are the only loads of 16 bytes. Odd fields are loads of 8 or 4 bytes, and so are the activations, which all
/// formats load alike: what Q4_1 has of those, which has no odd fields, is theirs.
#[test]
fn weights_are_read_once() {
    let all = counters();
    let narrow =
        |counters: &Counters| counters.global_sectors_of_width(8) + counters.global_sectors_of_width(4);
    let of_activations = all
        .iter()
        .find(|(ty, _)| *ty == GgmlType::Q4_1)
        .map(|(_, counters)| narrow(counters))
        .expect("in the list");
    let mut failures = Vec::new();
    for (ty, counters) in &all {
        let moved = 32 * (counters.global_sectors_of_width(16) + narrow(counters) - of_activations);
        let weights = (N * K / ty.block_weights() * ty.block_bytes()) as u64;
        println!("{ty}: {moved} bytes moved for {weights} bytes of weights");
        if moved < weights || 100 * moved > 102 * weights {
            failures.push(format!("{ty}: {moved} bytes moved for {weights} bytes of weights"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

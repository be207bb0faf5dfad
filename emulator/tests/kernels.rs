//! warpdot's own kernels, of every architecture, against the definition of a reproducible product: the
//! bits have to be equal.

mod common;

use std::collections::{BTreeSet, HashSet};

use bytemuck::Zeroable;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::ptx::{self, Ptx};
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_formats::{ActivationBlock, FloatType, Format, FormatVisitor, RUN, reproducible};
use warpdot_host::{Arch, Argument, Context, Launch, Module};
use warpdot_kernels::arguments::{Ending, View};
use warpdot_kernels::launch::{Family, KERNELS, Kernel};

#[derive(Clone, Copy, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

/// Numbers of very different sizes, both signs.
fn numbers(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1f32..1.0).powi(3)).collect()
}

struct Reference<'a> {
    matrix: &'a QuantizedMatrix,
    activations: &'a [ActivationBlock],
}

impl FormatVisitor for Reference<'_> {
    type Output = Vec<f32>;

    fn visit<F: Format>(self) -> Vec<f32> {
        let k = self.matrix.columns();
        let blocks: &[F] = bytemuck::cast_slice(self.matrix.bytes());
        let rows = || blocks.chunks_exact(k / F::WEIGHTS);
        self.activations.chunks_exact(k / RUN).flat_map(|x| rows().map(|w| reproducible::dot(w, x))).collect()
    }
}

/// Runs every kernel of a module family that takes the shape; returns what differs.
fn check(context: &Context, module: &Module, ptx: &Ptx, shape: Shape, rng: &mut StdRng) -> Vec<String> {
    let Shape { m, n, k } = shape;
    let arch = ptx.arch;
    let stream = context.stream().unwrap();
    let size = |kernel: &Kernel| {
        let size = kernel.size(m as u32, n as u32, k as u32)?;
        let [x, y] = size.grid;
        Some(Launch { grid: [x, y, 1], block: [size.block, 1, 1], shared_bytes: size.shared_bytes })
    };
    let x = numbers(rng, m * k);
    let activations: Vec<ActivationBlock> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
    let mut failures = Vec::new();
    if ptx.family == Family::Quantize.name() {
        let kernel = KERNELS.iter().find(|kernel| kernel.family == Family::Quantize).unwrap();
        let mut x_buffer = context.alloc(x.len()).unwrap();
        x_buffer.write(&x).unwrap();
        let mut out = context.alloc::<ActivationBlock>(activations.len()).unwrap();
        let view = View { address: x_buffer.as_raw(), stride: k as u32, ty: FloatType::F32.id() };
        let sizes = [k / RUN, activations.len()].map(|size| (size as u32).into());
        let arguments = [Argument::value(&view), (&mut out).into(), sizes[0], sizes[1]];
        let function = module.function(kernel.entry).unwrap();
        // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
        unsafe { stream.launch(&function, size(kernel).unwrap(), &arguments) }.unwrap();
        stream.synchronize().unwrap();
        let mut found = vec![bytemuck::Zeroable::zeroed(); activations.len()];
        out.read(&mut found).unwrap();
        if bytemuck::cast_slice::<_, u8>(&found) != bytemuck::cast_slice::<_, u8>(&activations) {
            failures.push(format!("{arch} {} {shape:?}", kernel.entry));
        }
        return failures;
    }
    let rows = ptx.family == Family::Rows.name();
    let experts = ptx.family == Family::GemvId.name();
    // Rows of weights, or one expert for all.
    let ids: Vec<u32> = (0..m).map(|_| rng.random_range(0..if experts { 1 } else { n as u32 })).collect();
    let mut x_buffer = context.alloc(activations.len()).unwrap();
    x_buffer.write(&activations).unwrap();
    let mut ids_buffer = context.alloc(m).unwrap();
    ids_buffer.write(&ids).unwrap();
    for &ty in GgmlType::ALL.iter().filter(|ty| k % ty.block_weights() == 0) {
        let matrix = QuantizedMatrix::quantize(ty, n, k, &numbers(rng, n * k)).unwrap();
        let expected = if rows {
            let mut expected = vec![0.0; m * k];
            for (&id, row) in ids.iter().zip(expected.chunks_exact_mut(k)) {
                matrix.dequantize_row(id as usize, row).unwrap();
            }
            expected
        } else {
            ty.visit(Reference { matrix: &matrix, activations: &activations })
        };
        let packed = common::packed::pack(&matrix);
        let mut w = context.alloc(packed.len()).unwrap();
        w.write(&packed).unwrap();
        let of_module = |kernel: &&Kernel| kernel.family.name() == ptx.family && kernel.ty == Some(ty);
        for kernel in KERNELS.iter().filter(of_module) {
            let Some(launch) = size(kernel) else { continue };
            for launch in launches(kernel, launch, n) {
                let y = context.alloc::<f32>(expected.len()).unwrap();
                let function = module.function(kernel.entry).unwrap();
                let sizes = [m, n, k].map(|size| (size as u32).into());
                let stride = if rows { k } else { n } as u32;
                let view = View { address: y.as_raw(), stride, ty: FloatType::F32.id() };
                let ending = Ending { y: view, scale: 1.0, ..Ending::zeroed() };
                let (w, x, ids) = ((&w).into(), (&x_buffer).into(), (&ids_buffer).into());
                let arguments = match kernel.family {
                    Family::Rows => vec![w, ids, Argument::value(&view), 0u32.into()],
                    Family::GemvId => vec![w, x, ids, Argument::value(&ending)],
                    _ => vec![w, x, Argument::value(&ending)],
                };
                let of_experts = [1u32, 1].map(Argument::from);
                let arguments = [&arguments[..], &sizes, if experts { &of_experts } else { &[] }].concat();
                // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
                unsafe { stream.launch(&function, launch, &arguments) }.unwrap();
                stream.synchronize().unwrap();
                let mut found = vec![0f32; expected.len()];
                y.read(&mut found).unwrap();
                let wrong = found.iter().zip(&expected).position(|(a, b)| a.to_bits() != b.to_bits());
                if let Some(at) = wrong {
                    failures.push(format!(
                        "{arch} {} {shape:?} {launch:?}: product {at} is {:e}, expected {:e}",
                        kernel.entry, found[at], expected[at]
                    ));
                }
            }
        }
    }
    failures
}

/// All the launches that a kernel can have for n rows of weights: a `gemv`, blocks of one, two or four quads of rows.
fn launches(kernel: &Kernel, launch: Launch, n: usize) -> Vec<Launch> {
    if kernel.family != Family::Gemv {
        return vec![launch];
    }
    let of_quads = |quads: usize| Launch {
        grid: [n.div_ceil(4).div_ceil(quads) as u32, 1, 1],
        block: [32 * quads as u32, 1, 1],
        ..launch
    };
    let launches = [1, 2, 4].map(of_quads).to_vec();
    assert!(launches.contains(&launch), "{launch:?} for n = {n}");
    launches
}

/// Packs weights whole, and tile after tile; returns what differs.
fn check_packing(
    context: &Context,
    module: &Module,
    ptx: &Ptx,
    shape: Shape,
    rng: &mut StdRng,
) -> Vec<String> {
    let Shape { n, k, .. } = shape;
    let stream = context.stream().unwrap();
    let mut failures = Vec::new();
    for &ty in GgmlType::ALL.iter().filter(|ty| k % ty.block_weights() == 0) {
        let bytes: Vec<u8> =
            (0..n * (k / ty.block_weights()) * ty.block_bytes()).map(|_| rng.random()).collect();
        let matrix = QuantizedMatrix::from_bytes(ty, n, k, bytes.clone()).unwrap();
        let expected = common::packed::pack(&matrix);
        let kernel =
            KERNELS.iter().find(|kernel| kernel.family == Family::Pack && kernel.ty == Some(ty)).unwrap();
        let function = module.function(kernel.entry).unwrap();
        for chunk_rows in [n, 32] {
            let mut packed = context.alloc(expected.len()).unwrap();
            packed.write(&vec![0xdead_beef; expected.len()]).unwrap();
            for (i, bytes) in bytes.chunks(bytes.len() / n * chunk_rows).enumerate() {
                let rows = chunk_rows.min(n - i * chunk_rows);
                let mut blocks = context.alloc(bytes.len()).unwrap();
                blocks.write(bytes).unwrap();
                let size = kernel.size(rows as u32, n as u32, k as u32).unwrap();
                let launch =
                    Launch { grid: [size.grid[0], 1, 1], block: [size.block, 1, 1], shared_bytes: 0 };
                let sizes = [i * chunk_rows, rows, n, k].map(|size| (size as u32).into());
                let arguments =
                    [(&blocks).into(), (&mut packed).into(), sizes[0], sizes[1], sizes[2], sizes[3]];
                // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
                unsafe { stream.launch(&function, launch, &arguments) }.unwrap();
                stream.synchronize().unwrap();
            }
            let mut found = vec![0; expected.len()];
            packed.read(&mut found).unwrap();
            if let Some(at) = (0..found.len()).find(|&i| found[i] != expected[i]) {
                failures.push(format!(
                    "{} {} n = {n}, k = {k}, {chunk_rows} at once: word {at}",
                    ptx.arch, kernel.entry
                ));
            }
        }
    }
    failures
}

/// Quantizes m rows, as the library does on the CPU; returns what differs.
fn check_quantizers(
    context: &Context,
    module: &Module,
    ptx: &Ptx,
    shape: Shape,
    rng: &mut StdRng,
) -> Vec<String> {
    let Shape { m, k, .. } = shape;
    let stream = context.stream().unwrap();
    let x = numbers(rng, m * k);
    let mut x_buffer = context.alloc(x.len()).unwrap();
    x_buffer.write(&x).unwrap();
    let view = View { address: x_buffer.as_raw(), stride: k as u32, ty: FloatType::F32.id() };
    let mut failures = Vec::new();
    for kernel in KERNELS.iter().filter(|kernel| kernel.family == Family::QuantizeRows) {
        let matrix = QuantizedMatrix::quantize(kernel.ty.unwrap(), m, k, &x).unwrap();
        let mut out = context.alloc::<u8>(matrix.bytes().len()).unwrap();
        let size = kernel.size(m as u32, m as u32, k as u32).unwrap();
        let launch =
            Launch { grid: [size.grid[0], 1, 1], block: [size.block, 1, 1], shared_bytes: size.shared_bytes };
        let sizes = [m, m, k].map(|size| (size as u32).into());
        let everyone = Argument::pointer(0);
        let arguments = [Argument::value(&view), everyone, (&mut out).into(), sizes[0], sizes[1], sizes[2]];
        let function = module.function(kernel.entry).unwrap();
        // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
        unsafe { stream.launch(&function, launch, &arguments) }.unwrap();
        stream.synchronize().unwrap();
        let mut found = vec![0; matrix.bytes().len()];
        out.read(&mut found).unwrap();
        if let Some(at) = (0..found.len()).find(|&i| found[i] != matrix.bytes()[i]) {
            failures.push(format!("{} {} {shape:?}: byte {at}", ptx.arch, kernel.entry));
        }
    }
    failures
}

const SMOKE: &[Shape] = &[Shape { m: 1, n: 5, k: 256 }, Shape { m: 7, n: 66, k: 1280 }];

/// Ragged m and n around every tile, and every tail of k.
fn full_grid() -> Vec<Shape> {
    let mut shapes = vec![
        Shape { m: 300, n: 65, k: 256 },
        Shape { m: 129, n: 3, k: 2304 },
        Shape { m: 64, n: 130, k: 1024 },
    ];
    for (i, m) in [1, 2, 3, 4, 5, 7, 8, 9, 63, 65].into_iter().enumerate() {
        for (j, n) in [1, 4, 63, 65].into_iter().enumerate() {
            shapes.push(Shape { m, n, k: [32, 96, 256, 1056, 1280][(i + j) % 5] });
        }
    }
    for m in 1..=300 {
        shapes.push(Shape { m, n: [1, 5, 33][m % 3], k: [64, 256, 160, 512, 288][m % 5] });
    }
    shapes.extend((1..=40).map(|runs| Shape { m: 1, n: 2, k: 32 * runs }));
    shapes.extend((1..=9).map(|blocks| Shape { m: 2, n: 3, k: 256 * blocks }));
    shapes
}

#[test]
fn every_kernel_of_every_architecture_gives_the_reproducible_bits() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut seen = HashSet::new();
    let mut failures = Vec::new();
    for arch in ptx::archs().expect("this build has kernels") {
        let capability = arch.parse::<Arch>().unwrap().compute_capability();
        let (emulated, device) = common::device(capability.major, capability.minor);
        let context = device.context().unwrap();
        let families: BTreeSet<Family> = KERNELS.iter().map(|kernel| kernel.family).collect();
        for family in families {
            let ptx = ptx::find(arch, family.name()).unwrap();
            let module = context.load_module(&ptx.text()).unwrap();
            let shapes = if seen.insert(ptx.body()) { full_grid() } else { SMOKE.to_vec() };
            let start = std::time::Instant::now();
            let count = shapes.len();
            for shape in shapes {
                let check = match family {
                    Family::Pack => check_packing,
                    Family::QuantizeRows => check_quantizers,
                    _ => check,
                };
                failures.extend(check(&context, &module, ptx, shape, &mut rng));
            }
            println!("{arch} {}: {count} shapes in {:.1?}", family.name(), start.elapsed());
        }
        assert_eq!(emulated.last_report(), None);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

//! warpdot's own kernels, of every architecture, against the definition of a reproducible product: the
//! bits have to be equal.

mod common;
#[path = "../../tests/special_rows/mod.rs"]
mod special_rows;

use common::launching;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytemuck::Zeroable;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::ptx::{self, Ptx};
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_emulator::EmulatedDevice;
use warpdot_formats::{ActivationBlock, FloatType, Format, FormatVisitor, RUN, reproducible};
use warpdot_host::{Arch, Argument, Context, Launch, Module};
use warpdot_kernels::arguments::{Ending, View, WeightRows};
use warpdot_kernels::launch::{Family, KERNELS, Kernel};

#[derive(Clone, Copy, Debug, PartialEq)]
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

/// A module of an architecture, loaded.
struct Loaded {
    ptx: &'static Ptx,
    context: Context,
    module: Module,
    /// Whether an earlier one has the same code: a few shapes will do.
    known: bool,
}

/// A product, and what it has to be.
struct Case {
    shape: Shape,
    matrix: QuantizedMatrix,
    packed: Vec<u32>,
    x: Vec<f32>,
    activations: Vec<ActivationBlock>,
    products: Vec<f32>,
    /// Rows of the matrix.
    ids: Vec<u32>,
}

impl Case {
    fn new(ty: GgmlType, shape: Shape, rng: &mut StdRng) -> Self {
        let Shape { m, n, k } = shape;
        let x = numbers(rng, m * k);
        let activations: Vec<ActivationBlock> =
            x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
        let matrix = QuantizedMatrix::quantize(ty, n, k, &numbers(rng, n * k)).unwrap();
        let products = ty.visit(Reference { matrix: &matrix, activations: &activations });
        let ids: Vec<u32> = (0..m).map(|_| rng.random_range(0..n as u32)).collect();
        Self { shape, packed: common::packed::pack(&matrix), matrix, x, activations, products, ids }
    }

    /// A row of the matrix.
    fn row(&self, row: usize) -> Vec<f32> {
        let mut weights = vec![0.0; self.shape.k];
        self.matrix.dequantize_row(row, &mut weights).unwrap();
        weights
    }

    /// Runs every kernel of a module that takes the shape; returns what differs.
    fn check(&self, loaded: &Loaded) -> Vec<String> {
        let family = loaded.ptx.family;
        if family == Family::Quantize.name() {
            self.check_quantization(loaded)
        } else if family == Family::Pack.name() {
            self.check_packing(loaded)
        } else if family == Family::QuantizeRows.name() {
            self.check_quantizer(loaded)
        } else {
            let suits =
                |kernel: &&Kernel| kernel.family.name() == family && kernel.ty == Some(self.matrix.ty());
            let parts = [Some(0..self.shape.n), self.slice()].into_iter().flatten();
            let check = |rows: Range<usize>| {
                let kernels = KERNELS.iter().filter(suits);
                kernels.flat_map(move |kernel| self.check_kernel(loaded, kernel, rows.clone()))
            };
            parts.flat_map(check).collect()
        }
    }

    /// Some of the rows, in any place of their first and last quads.
    fn slice(&self) -> Option<Range<usize>> {
        let Shape { m, n, k } = self.shape;
        let seed = m + k / RUN;
        let first = 1 + seed % n.checked_sub(1).filter(|&rows| rows > 0)?;
        Some(first..(n - seed % 3).max(first + 1))
    }

    fn launch(&self, kernel: &Kernel, ptx: &Ptx) -> Option<Launch> {
        let Shape { m, n, k } = self.shape;
        launching::launch(kernel, ptx.arch, [m, n, k])
    }

    fn check_quantization(&self, Loaded { ptx, context, module, .. }: &Loaded) -> Vec<String> {
        let k = self.shape.k;
        let kernel = KERNELS.iter().find(|kernel| kernel.family == Family::Quantize).unwrap();
        let mut x = context.alloc(self.x.len()).unwrap();
        x.write(&self.x).unwrap();
        let mut out = context.alloc::<ActivationBlock>(self.activations.len()).unwrap();
        let view = View { address: x.as_raw(), stride: k as u32, ty: FloatType::F32.id() };
        let sizes = [k / RUN, self.activations.len()].map(|size| (size as u32).into());
        let arguments = [Argument::value(&view), (&mut out).into(), sizes[0], sizes[1]];
        let (stream, function) = (context.stream().unwrap(), module.function(kernel.entry).unwrap());
        // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
        unsafe { stream.launch(&function, self.launch(kernel, ptx).unwrap(), &arguments) }.unwrap();
        stream.synchronize().unwrap();
        let mut found = vec![bytemuck::Zeroable::zeroed(); self.activations.len()];
        out.read(&mut found).unwrap();
        let same = bytemuck::cast_slice::<_, u8>(&found) == bytemuck::cast_slice::<_, u8>(&self.activations);
        (!same).then(|| format!("{} {} {:?}", ptx.arch, kernel.entry, self.shape)).into_iter().collect()
    }

    /// Runs a kernel with some rows of the matrix.
    fn check_kernel(&self, loaded: &Loaded, kernel: &Kernel, rows: Range<usize>) -> Vec<String> {
        let Loaded { ptx, context, module, .. } = loaded;
        let Shape { m, n: of, k } = self.shape;
        let (first, n) = (rows.start, rows.len());
        let Some(launch) = launching::launch_from(first, kernel, ptx.arch, [m, n, k]) else {
            return Vec::new();
        };
        let stream = context.stream().unwrap();
        // Rows of weights, or one expert for all.
        let experts = kernel.family == Family::GemvId;
        let ids: Vec<u32> =
            if experts { vec![0; m] } else { self.ids.iter().map(|id| id % n as u32).collect() };
        let expected: Vec<f32> = match kernel.family {
            Family::Rows => ids.iter().flat_map(|&id| self.row(first + id as usize)).collect(),
            _ => self.products.chunks_exact(of).flat_map(|row| &row[rows.clone()]).copied().collect(),
        };
        let mut x = context.alloc(self.activations.len()).unwrap();
        x.write(&self.activations).unwrap();
        let mut ids_buffer = context.alloc(m).unwrap();
        ids_buffer.write(&ids).unwrap();
        let mut w = context.alloc(self.packed.len()).unwrap();
        w.write(&self.packed).unwrap();
        let function = launching::function(module, kernel, ptx.arch);
        let mut failures = Vec::new();
        for launch in launches(kernel, launch, first % 4 + n) {
            let y = context.alloc::<f32>(expected.len()).unwrap();
            let sizes = [m, n, k].map(|size| (size as u32).into());
            let stride = if kernel.family == Family::Rows { k } else { n } as u32;
            let view = View { address: y.as_raw(), stride, ty: FloatType::F32.id() };
            let ending = Ending { y: view, scale: 1.0, ..Ending::zeroed() };
            let w = WeightRows { address: w.as_raw(), of: of as u32, first: first as u32 };
            let (w, x, ids) = (Argument::value(&w), (&x).into(), (&ids_buffer).into());
            let arguments = match kernel.family {
                Family::Rows => vec![w, ids, Argument::value(&view)],
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
                    "{} {} {:?} {rows:?} {launch:?}: product {at} is {:e}, expected {:e}",
                    ptx.arch, kernel.entry, self.shape, found[at], expected[at]
                ));
            }
        }
        failures
    }

    /// Quantizes rows of X.
    fn check_quantizer(&self, loaded: &Loaded) -> Vec<String> {
        let kernel = quantizers().find(|kernel| kernel.ty == Some(self.matrix.ty()));
        kernel.and_then(|kernel| check_quantizer(loaded, kernel, self.shape.k, &self.x)).into_iter().collect()
    }

    /// Packs weights whole, and tile after tile.
    fn check_packing(&self, Loaded { ptx, context, module, .. }: &Loaded) -> Vec<String> {
        let (Shape { n, k, .. }, ty) = (self.shape, self.matrix.ty());
        let stream = context.stream().unwrap();
        let mut failures = Vec::new();
        let (bytes, expected) = (self.matrix.bytes(), &self.packed);
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
                let launch = launching::launch(kernel, ptx.arch, [rows, n, k]).unwrap();
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
        failures
    }
}

fn quantizers() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|kernel| kernel.family == Family::QuantizeRows)
}

/// Quantizes rows of `k` numbers as the library does on the CPU; returns what differs.
fn check_quantizer(
    Loaded { ptx, context, module, .. }: &Loaded,
    kernel: &Kernel,
    k: usize,
    numbers: &[f32],
) -> Option<String> {
    let (m, ty) = (numbers.len() / k, kernel.ty.unwrap());
    let mut x = context.alloc(numbers.len()).unwrap();
    x.write(numbers).unwrap();
    let view = View { address: x.as_raw(), stride: k as u32, ty: FloatType::F32.id() };
    let expected = QuantizedMatrix::quantize(ty, m, k, numbers).unwrap();
    let mut out = context.alloc::<u8>(expected.bytes().len()).unwrap();
    let launch = launching::launch(kernel, ptx.arch, [m, m, k]).unwrap();
    let sizes = [m, m, k].map(|size| (size as u32).into());
    let everyone = Argument::pointer(0);
    let arguments = [Argument::value(&view), everyone, (&mut out).into(), sizes[0], sizes[1], sizes[2]];
    let (stream, function) = (context.stream().unwrap(), module.function(kernel.entry).unwrap());
    // SAFETY: these are the kernel's arguments, and the buffers have the sizes it expects.
    unsafe { stream.launch(&function, launch, &arguments) }.unwrap();
    stream.synchronize().unwrap();
    let mut found = vec![0; expected.bytes().len()];
    out.read(&mut found).unwrap();
    let wrong = (0..found.len()).find(|&i| found[i] != expected.bytes()[i]);
    wrong.map(|at| format!("{} {} {m} x {k}: byte {at}", ptx.arch, kernel.entry))
}

/// All the launches that a kernel can have for n rows of weights from the first of a quad on: a `gemv` of one or two
/// columns, blocks of one, two, four or eight quads of rows.
fn launches(kernel: &Kernel, launch: Launch, n: usize) -> Vec<Launch> {
    if kernel.family != Family::Gemv || kernel.columns >= 4 {
        return vec![launch];
    }
    let of_quads = |quads: usize| Launch {
        grid: [n.div_ceil(4).div_ceil(quads) as u32, 1, 1],
        block: [32 * quads as u32, 1, 1],
        ..launch
    };
    let launches = [1, 2, 4, 8].map(of_quads).to_vec();
    assert!(launches.contains(&launch), "{launch:?} for n = {n}");
    launches
}

/// What is tried with every architecture, though others have the same code.
const SMOKE: &[Shape] = &[Shape { m: 1, n: 5, k: 256 }, Shape { m: 7, n: 66, k: 1280 }];

/// What is tried with the code of each architecture.
///
/// Ragged m and n around every tile, and every tail of k.
fn full_grid() -> Vec<Shape> {
    let mut shapes = SMOKE.to_vec();
    shapes.extend([
        Shape { m: 300, n: 65, k: 256 },
        Shape { m: 129, n: 3, k: 2304 },
        Shape { m: 64, n: 130, k: 1024 },
    ]);
    for (i, m) in [1, 2, 3, 4, 5, 7, 8, 9, 63, 65].into_iter().enumerate() {
        for (j, n) in [1, 4, 63, 65].into_iter().enumerate() {
            shapes.push(Shape { m, n, k: [32, 96, 256, 1056, 1280][(i + j) % 5] });
        }
    }
    shapes.extend((1..=40).map(|runs| Shape { m: 1 + runs % 8, n: 2, k: 32 * runs }));
    shapes.extend((1..=9).map(|blocks| Shape { m: 2, n: 3, k: 256 * blocks }));
    shapes
}

/// Every m up to 300, for one format each: how columns are tiled is the same for all.
fn every_m(ty: GgmlType) -> impl Iterator<Item = Shape> {
    let types = GgmlType::ALL.len();
    let first = GgmlType::ALL.iter().position(|&other| other == ty).unwrap();
    (1..=300).skip(first).step_by(types).map(|m| Shape { m, n: [1, 5, 33][m % 3], k: [256, 512][m % 2] })
}

/// The modules of every architecture that are `wanted`, and the devices that have them.
fn load(wanted: impl Fn(&Ptx) -> bool) -> (Vec<Loaded>, Vec<EmulatedDevice>) {
    let (mut loaded, mut devices) = (Vec::<Loaded>::new(), Vec::new());
    for arch in ptx::archs().expect("this build has kernels") {
        let capability = arch.parse::<Arch>().unwrap().compute_capability();
        let (emulated, device) = common::device(capability.major, capability.minor);
        for ptx in ptx::all().unwrap().iter().filter(|ptx| ptx.arch == arch && wanted(ptx)) {
            let context = device.context().unwrap();
            let module = context.load_module(&ptx.text()).unwrap();
            let known = loaded.iter().any(|earlier| earlier.ptx.same_code(ptx));
            loaded.push(Loaded { ptx, context, module, known });
        }
        devices.push(emulated);
    }
    (loaded, devices)
}

#[test]
fn every_kernel_of_every_architecture_gives_the_reproducible_bits() {
    let (loaded, devices) = load(|_| true);
    let cases: Vec<(GgmlType, Shape)> = GgmlType::ALL
        .iter()
        .flat_map(|&ty| full_grid().into_iter().chain(every_m(ty)).map(move |shape| (ty, shape)))
        .filter(|(ty, shape)| shape.k % ty.block_weights() == 0)
        .collect();
    let check = |(number, &(ty, shape)): (usize, &(GgmlType, Shape))| {
        let case = Case::new(ty, shape, &mut StdRng::seed_from_u64(number as u64));
        let modules = loaded.iter().filter(|loaded| !loaded.known || SMOKE.contains(&shape));
        modules.flat_map(|loaded| case.check(loaded)).collect::<Vec<_>>()
    };
    // Threads of their own: for those of rayon the emulator would start one more for each launch.
    let next = AtomicUsize::new(0);
    let worker = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        let cases = numbers.map_while(|number| cases.get(number).map(|case| (number, case)));
        cases.flat_map(check).collect::<Vec<_>>()
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
    for emulated in devices {
        assert_eq!(emulated.last_report(), None);
    }
}

#[test]
fn quantizers_agree_on_special_rows() {
    let (loaded, devices) = load(|ptx| ptx.family == Family::QuantizeRows.name());
    let numbers = special_rows::special_rows(&mut StdRng::seed_from_u64(1));
    let failures: Vec<String> = loaded
        .iter()
        .filter(|loaded| !loaded.known)
        .flat_map(|loaded| quantizers().map(move |kernel| (loaded, kernel)))
        .filter_map(|(loaded, kernel)| check_quantizer(loaded, kernel, special_rows::COLUMNS, &numbers))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    for emulated in devices {
        assert_eq!(emulated.last_report(), None);
    }
}

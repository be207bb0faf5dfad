//! Products in device memory, queued on streams: every type, stride and epilogue gives the bits of their definition,
//! and queueing does nothing but launch.

#[expect(dead_code, reason = "only GPUs queue products")]
mod devices;

use devices::gpus;
use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::cuda::{Buffer, Epilogue, Experts, Product, Stream, Tensor, Workspace};
use warpdot::{Activation, Device, DeviceMatrix, Error, FloatType, GgmlType, QuantizedMatrix};
use warpdot_emulator::{Call, Failure, Fault};
use warpdot_formats::epilogue::Operands;
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, reproducible};

/// What lies between rows, and must stay.
const GAP: u8 = 0xa5;

fn to_bytes(ty: FloatType, number: f32) -> Vec<u8> {
    match ty {
        FloatType::F32 => number.to_le_bytes().to_vec(),
        FloatType::F16 => f16::from_f32(number).to_le_bytes().to_vec(),
        FloatType::Bf16 => bf16::from_f32(number).to_le_bytes().to_vec(),
    }
}

fn to_number(ty: FloatType, bytes: &[u8]) -> f32 {
    match ty {
        FloatType::F32 => f32::from_le_bytes(bytes.try_into().expect("four bytes")),
        FloatType::F16 => f16::from_le_bytes(bytes.try_into().expect("two bytes")).to_f32(),
        FloatType::Bf16 => bf16::from_le_bytes(bytes.try_into().expect("two bytes")).to_f32(),
    }
}

/// A matrix on the device, with gaps between its rows.
struct Numbers {
    ty: FloatType,
    rows: usize,
    columns: usize,
    stride: usize,
    /// As they are after rounding to the type.
    host: Vec<f32>,
    buffer: Buffer<u8>,
}

impl Numbers {
    fn new(
        device: &Device,
        ty: FloatType,
        rows: usize,
        columns: usize,
        gap: usize,
        rng: &mut StdRng,
    ) -> Self {
        let stride = columns + gap;
        let host: Vec<f32> =
            (0..rows * columns).map(|_| rng.random_range(-1f32..1.0).powi(3) * 4.0).collect();
        let mut bytes = vec![GAP; rows * stride * ty.bytes()];
        let mut rounded = Vec::new();
        for (row, bytes) in host.chunks_exact(columns).zip(bytes.chunks_exact_mut(stride * ty.bytes())) {
            for (number, bytes) in row.iter().zip(bytes.chunks_exact_mut(ty.bytes())) {
                bytes.copy_from_slice(&to_bytes(ty, *number));
                rounded.push(to_number(ty, bytes));
            }
        }
        let mut buffer = device.cuda_context().expect("a GPU").alloc(bytes.len()).expect("memory");
        buffer.write(&bytes).expect("a copy");
        Self { ty, rows, columns, stride, host: rounded, buffer }
    }

    fn tensor(&self) -> Tensor {
        let tensor = Tensor::new(self.buffer.as_raw(), self.ty, self.rows, self.columns);
        Tensor { stride: self.stride, ..tensor }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        self.host[if self.rows == 1 { 0 } else { row } * self.columns + column]
    }

    /// Its bytes now.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.buffer.len()];
        self.buffer.read(&mut bytes).expect("a copy");
        bytes
    }

    /// What is not as expected: numbers by their bits, and the gaps.
    fn wrong(&self, expected: impl Fn(usize, usize) -> f32) -> Option<String> {
        let (bytes, size) = (self.bytes(), self.ty.bytes());
        for (row, bytes) in bytes.chunks_exact(self.stride * size).enumerate() {
            for (column, found) in bytes.chunks_exact(size).enumerate() {
                let expected = match column < self.columns {
                    true => to_bytes(self.ty, expected(row, column)),
                    false => vec![GAP; size],
                };
                if found != expected {
                    let [found, expected] = [found, &expected].map(|bytes| to_number(self.ty, bytes));
                    return Some(format!("({row}, {column}) is {found:e}, expected {expected:e}"));
                }
            }
        }
        None
    }
}

/// The definition of the product of one row of activations and all rows of weights.
struct Row<'a>(&'a QuantizedMatrix, &'a [f32]);

impl FormatVisitor for Row<'_> {
    type Output = Vec<f32>;

    fn visit<F: Format>(self) -> Vec<f32> {
        let blocks: &[F] = bytemuck::cast_slice(self.0.bytes());
        let activations: Vec<_> = self.1.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
        let rows = blocks.chunks_exact(self.0.columns() / F::WEIGHTS);
        rows.map(|row| reproducible::dot(row, &activations)).collect()
    }
}

fn products(w: &QuantizedMatrix, x: &Numbers) -> Vec<Vec<f32>> {
    x.host.chunks_exact(x.columns).map(|x| w.ty().visit(Row(w, x))).collect()
}

fn weights(ty: GgmlType, n: usize, k: usize, rng: &mut StdRng) -> QuantizedMatrix {
    let weights: Vec<f32> = (0..n * k).map(|_| rng.random_range(-1f32..1.0).powi(3)).collect();
    QuantizedMatrix::quantize(ty, n, k, &weights).expect("good weights")
}

/// Scratch memory of the exact size, whose end the emulator guards.
fn scratch(device: &Device, bytes: usize) -> (Buffer<u8>, Workspace) {
    let buffer = device.cuda_context().expect("a GPU").alloc::<u8>(bytes).expect("memory");
    let workspace = Workspace { pointer: buffer.as_raw(), bytes };
    (buffer, workspace)
}

fn run(w: &DeviceMatrix, stream: &Stream, product: &Product) {
    // SAFETY: the callers keep what the product is made of until the stream is done, and use it for nothing else.
    unsafe { w.enqueue(stream.as_raw(), product) }.expect("a product");
    stream.synchronize().expect("it works");
}

#[test]
fn every_type_stride_and_epilogue_is_as_defined() {
    let mut rng = StdRng::seed_from_u64(10);
    let types = FloatType::ALL;
    for (i, device) in gpus().iter().enumerate() {
        let stream = device.cuda_context().expect("a GPU").stream().expect("a stream");
        for (j, &ty) in GgmlType::ALL.iter().enumerate() {
            // One column, several, and tiles of a gemm; all combinations come up with one format or another.
            let m = [1, 3, 8, 70][(i + j) % 4];
            let (n, k) = (66, ty.block_weights().max(64));
            let case = i + 5 * j;
            let mut pick = |rows: usize, columns: usize, salt: usize| {
                let (ty, gap) = (types[(case / (salt + 1) + salt) % 3], [0, 1, 6][(case + salt) % 3]);
                Numbers::new(device, ty, rows, columns, gap, &mut rng)
            };
            let (x, y) = (pick(m, k, 0), pick(m, n, 1));
            let (bias, factor) = (pick(1, n, 2), pick(m, n, 3));
            let residual = pick(if case.is_multiple_of(2) { m } else { 1 }, n, 4);
            let activation = Activation::ALL[case % 4];
            let matrix = weights(ty, n, k, &mut rng);
            let w = device.upload(&matrix).expect("it fits");
            let (_memory, workspace) = scratch(device, w.workspace_bytes(m).expect("a size"));
            let plain = Product::new(x.tensor(), y.tensor(), workspace);
            let products = products(&matrix, &x);
            let name = format!("{ty} on {device:?}, m = {m}, {case}");

            run(&w, &stream, &plain);
            assert_eq!(y.wrong(|row, column| products[row][column]), None, "{name}");

            let epilogue = Epilogue {
                scale: 0.75,
                bias: Some(bias.tensor()),
                activation,
                factor: Some(factor.tensor()),
                residual: Some(residual.tensor()),
            };
            run(&w, &stream, &Product { epilogue, ..plain.clone() });
            let operands = |row, column| Operands {
                scale: 0.75,
                bias: bias.at(row, column),
                activation,
                factor: factor.at(row, column),
                residual: residual.at(row, column),
            };
            let expected = |row: usize, column: usize| operands(row, column).apply(products[row][column]);
            assert_eq!(y.wrong(expected), None, "{name}, {activation:?}");

            // Y as its own residual, as where a layer's output is added to its input; without the rest.
            let y = Numbers::new(device, y.ty, m, n, 3, &mut rng);
            let epilogue = Epilogue { residual: Some(y.tensor()), ..Epilogue::default() };
            run(&w, &stream, &Product { y: y.tensor(), epilogue, ..plain });
            assert_eq!(y.wrong(|row, column| products[row][column] + y.at(row, column)), None, "{name}");
        }
    }
}

#[test]
fn experts_are_chosen_on_the_device() {
    let mut rng = StdRng::seed_from_u64(11);
    for (i, device) in gpus().iter().enumerate() {
        let context = device.cuda_context().expect("a GPU");
        let stream = context.stream().expect("a stream");
        for &ty in GgmlType::ALL {
            let (count, n, k) = (5, 7, 2 * ty.block_weights());
            let matrix = weights(ty, count * n, k, &mut rng);
            let experts = device.upload(&matrix).expect("it fits").into_experts(count).expect("7 rows each");
            assert_eq!((experts.count(), experts.rows(), experts.columns()), (count, n, k));
            // Two experts for each of three tokens, or one; one of them does not exist.
            let (tokens, repeat) = [(3, 2), (6, 1)][i % 2];
            let ids = [4, 0, 3, 5, 1, 4];
            let mut ids_buffer = context.alloc::<u32>(6).expect("memory");
            ids_buffer.write(&ids).expect("a copy");
            let x = Numbers::new(device, FloatType::Bf16, tokens, k, 2, &mut rng);
            let y = Numbers::new(device, FloatType::F16, 6, n, 1, &mut rng);
            let bias = Numbers::new(device, FloatType::F32, 1, n, 0, &mut rng);
            let (_memory, workspace) = scratch(device, experts.workspace_bytes(tokens).expect("a size"));
            let epilogue =
                Epilogue { bias: Some(bias.tensor()), activation: Activation::Silu, ..Epilogue::default() };
            let product = Product { epilogue, ..Product::new(x.tensor(), y.tensor(), workspace) };
            // SAFETY: all of this lives until the stream is done, and is used for nothing else.
            unsafe { experts.enqueue(stream.as_raw(), ids_buffer.as_raw(), &product) }.expect("a product");
            stream.synchronize().expect("it works");
            let products = products(&matrix, &x);
            let expected = |row: usize, column: usize| match ids[row] as usize {
                id if id < count => {
                    let product = products[row / repeat][id * n + column];
                    Activation::Silu.apply(product + bias.at(0, column))
                }
                _ => y.at(row, column),
            };
            assert_eq!(y.wrong(expected), None, "{ty} on {device:?}");
        }
    }
}

/// What a graph must not capture fails if it is tried: allocations, waits, copies, loading.
#[test]
fn queueing_does_nothing_but_launch() {
    if std::env::var_os("WARPDOT_TEST_GPU").is_some_and(|kind| kind == "real") {
        return;
    }
    let mut rng = StdRng::seed_from_u64(12);
    // A device of its own, whose faults no other test meets.
    gpus();
    let emulated = warpdot_emulator::add_device(warpdot_emulator::DeviceSpec::new(9, 0).expect("a preset"));
    let device = Device::cuda(emulated.ordinal()).expect("a GPU with kernels");
    let stream = device.cuda_context().expect("a GPU").stream().expect("a stream");
    let matrix = weights(GgmlType::Q4K, 8, 256, &mut rng);
    let w = device.upload(&matrix).expect("it fits");
    let experts = device.upload(&matrix).expect("it fits").into_experts(2).expect("4 rows each");
    for m in [1, 2, 4, 8, 9] {
        let x = Numbers::new(&device, FloatType::F32, m, 256, 0, &mut rng);
        let y = Numbers::new(&device, FloatType::F32, m, 8, 0, &mut rng);
        let of_expert = Numbers::new(&device, FloatType::F32, m, 4, 0, &mut rng);
        let mut ids = device.cuda_context().expect("a GPU").alloc::<u32>(m).expect("memory");
        ids.write(&vec![1; m]).expect("a copy");
        let (_memory, workspace) = scratch(&device, w.workspace_bytes(m).expect("a size"));
        let product = Product::new(x.tensor(), y.tensor(), workspace);
        let before = emulated.holdings();
        let others = Call::ALL.into_iter().filter(|call| *call != Call::Launch);
        others.clone().for_each(|call| emulated.inject(Fault::new(call, 1, Failure::Sticky)));
        // SAFETY: all of this lives until the stream is done, and is used for nothing else.
        unsafe {
            w.enqueue(stream.as_raw(), &product).expect("a product");
            let product = Product { y: of_expert.tensor(), ..product };
            experts.enqueue(stream.as_raw(), ids.as_raw(), &product).expect("a product");
        }
        assert_eq!(emulated.clear_faults(), others.count(), "m = {m}: something was called");
        assert_eq!(emulated.holdings(), before);
        stream.synchronize().expect("it works");
        assert_eq!(y.wrong(|row, column| products(&matrix, &x)[row][column]), None);
        assert_eq!(of_expert.wrong(|row, column| products(&matrix, &x)[row][4 + column]), None);
    }
}

#[test]
fn one_matrix_serves_several_threads_and_streams() {
    fn shared<T: Send + Sync>() {}
    shared::<(Device, DeviceMatrix, Experts, Product, Epilogue, Tensor, Workspace)>();

    let mut rng = StdRng::seed_from_u64(13);
    let matrix = weights(GgmlType::Q5_1, 33, 320, &mut rng);
    for device in gpus() {
        let w = device.upload(&matrix).expect("it fits");
        let inputs: Vec<Numbers> =
            (1..5).map(|m| Numbers::new(&device, FloatType::F16, 3 * m, 320, m, &mut rng)).collect();
        std::thread::scope(|scope| {
            for (seed, x) in inputs.iter().enumerate() {
                let (w, matrix, device) = (&w, &matrix, &device);
                scope.spawn(move || {
                    let mut rng = StdRng::seed_from_u64(seed as u64);
                    let stream = device.cuda_context().expect("a GPU").stream().expect("a stream");
                    let y = Numbers::new(device, FloatType::F32, x.rows, 33, 0, &mut rng);
                    let (_memory, workspace) = scratch(device, w.workspace_bytes(x.rows).expect("a size"));
                    run(w, &stream, &Product::new(x.tensor(), y.tensor(), workspace));
                    let products = products(matrix, x);
                    assert_eq!(y.wrong(|row, column| products[row][column]), None, "{device:?}");
                });
            }
        });
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let mut rng = StdRng::seed_from_u64(14);
    let matrix = weights(GgmlType::Q8_0, 6, 64, &mut rng);
    let device = gpus().remove(0);
    let stream = device.cuda_context().expect("a GPU").stream().expect("a stream");
    let w = device.upload(&matrix).expect("it fits");
    let x = Numbers::new(&device, FloatType::F16, 4, 64, 0, &mut rng);
    let y = Numbers::new(&device, FloatType::F32, 4, 6, 0, &mut rng);
    let (_memory, workspace) = scratch(&device, w.workspace_bytes(4).expect("a size"));
    let good = Product::new(x.tensor(), y.tensor(), workspace);
    let (x, y) = (good.x, good.y);
    let message = |product: Product| {
        // SAFETY: it is refused.
        unsafe { w.enqueue(stream.as_raw(), &product) }.expect_err("bad").to_string()
    };
    let with = |epilogue| message(Product { epilogue, ..good.clone() });

    let narrow = Tensor { columns: 32, ..x };
    assert_eq!(
        message(Product { x: narrow, ..good.clone() }),
        "x has 4 x 32 numbers where 4 x 64 were expected"
    );
    let none = Tensor { rows: 0, ..x };
    assert_eq!(
        message(Product { x: none, ..good.clone() }),
        "m is 0: every dimension of a product must be at least 1"
    );
    let many = Tensor { rows: usize::MAX / 8, ..x };
    assert!(message(Product { x: many, ..good.clone() }).contains("overflows"));
    let short = Tensor { rows: 3, ..y };
    assert_eq!(
        message(Product { y: short, ..good.clone() }),
        "y has 3 x 6 numbers where 4 x 6 were expected"
    );
    let bias = Some(Tensor { rows: 2, ..y });
    assert_eq!(
        with(Epilogue { bias, ..Epilogue::default() }),
        "bias has 2 x 6 numbers where 4 x 6 were expected"
    );
    for stride in [5, 1 << 32] {
        assert_eq!(
            message(Product { y: Tensor { stride, ..y }, ..good.clone() }),
            format!("the rows of y start every {stride} numbers: expected 6, its columns, up to 4294967295")
        );
    }
    let residual = Some(Tensor { pointer: y.pointer + 2, ..y });
    assert_eq!(
        with(Epilogue { residual, ..Epilogue::default() }),
        format!(
            "residual is at the device address {:#x}: expected a multiple of 4 other than 0",
            y.pointer + 2
        )
    );
    let factor = Some(Tensor { pointer: 0, ..y });
    assert!(
        with(Epilogue { factor, ..Epilogue::default() }).starts_with("factor is at the device address 0x0")
    );
    let small = Workspace { bytes: workspace.bytes - 1, ..workspace };
    assert_eq!(
        message(Product { workspace: small, ..good.clone() }),
        format!("the workspace has {} bytes where at least {} were expected", small.bytes, workspace.bytes)
    );
    let odd = Workspace { pointer: workspace.pointer + 8, ..workspace };
    assert!(message(Product { workspace: odd, ..good.clone() }).contains("expected a multiple of 256"));
    let mut forced = good.clone();
    forced.options.kernel = Some("cuda-sm1-gemv-q8_0".parse().expect("an id"));
    assert!(message(forced).starts_with("cuda-sm1-gemv-q8_0 cannot compute this product on cuda:0"));
    assert!(matches!(w.workspace_bytes(0), Err(Error::ZeroSize { what: "m" })));

    let cpu = Device::cpu();
    let on_cpu = cpu.upload(&matrix).expect("no copy");
    let refusal = "only products on a GPU can be queued, and this device is cpu";
    // SAFETY: it is refused.
    assert_eq!(unsafe { on_cpu.enqueue(stream.as_raw(), &good) }.expect_err("no GPU").to_string(), refusal);
    assert_eq!(on_cpu.workspace_bytes(1).expect_err("no GPU").to_string(), refusal);
    assert_eq!(cpu.cuda_context().expect_err("no GPU").to_string(), refusal);
    let experts_there = on_cpu.into_experts(2).expect("3 rows each");
    assert_eq!(experts_there.workspace_bytes(1).expect_err("no GPU").to_string(), refusal);
    // SAFETY: it is refused.
    let refused = unsafe { experts_there.enqueue(stream.as_raw(), 4, &good) };
    assert_eq!(refused.expect_err("no GPU").to_string(), refusal);

    assert_eq!(
        device.upload(&matrix).expect("it fits").into_experts(4).expect_err("6 rows").to_string(),
        "n = 6 rows cannot be divided among 4 experts: expected a number that divides n"
    );
    let experts = w.into_experts(3).expect("2 rows each");
    let y = Tensor { rows: 6, columns: 2, stride: 2, ..good.y };
    let message = |ids, y| {
        // SAFETY: it is refused.
        let refused = unsafe { experts.enqueue(stream.as_raw(), ids, &Product { y, ..good.clone() }) };
        refused.expect_err("bad").to_string()
    };
    assert_eq!(message(good.y.pointer, y), "y has 6 rows, and x has 4: expected a multiple of those of x");
    let y = Tensor { rows: 8, ..y };
    assert_eq!(message(0, y), "ids is at the device address 0x0: expected a multiple of 4 other than 0");
    let y = Tensor { rows: 65_536, ..y };
    assert!(
        message(good.y.pointer, y)
            .starts_with("m = 65536, n = 2, k = 64 is too large for the kernel gemv_id_q8_0")
    );
}

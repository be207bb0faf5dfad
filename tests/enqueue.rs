//! Products in device memory, queued on streams: every type, stride and epilogue gives the bits of their definition,
//! and queueing does nothing but launch.

#[expect(dead_code, reason = "only GPUs queue products")]
mod devices;
mod numbers;

use devices::gpus;
use numbers::Numbers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::cuda::{BlockRows, Buffer, Epilogue, Experts, Product, Stream, Tensor, Workspace};
use warpdot::{Activation, Device, DeviceMatrix, Error, FloatType, GgmlType, QuantizedMatrix};
use warpdot_emulator::{Call, Failure, Fault};
use warpdot_formats::epilogue::Operands;
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, reproducible};

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

/// A gate and a way up in one launch, for matrices and for experts.
#[test]
fn gated_products_are_two_products() {
    let mut rng = StdRng::seed_from_u64(15);
    for (j, &ty) in GgmlType::ALL.iter().enumerate() {
        let (count, n, k) = (3, 21, [1, 2][j % 2] * ty.block_weights().max(64));
        let matrices = [0, 1].map(|_| weights(ty, count * n, k, &mut rng));
        for (i, device) in gpus().iter().enumerate() {
            let context = device.cuda_context().expect("a GPU");
            let stream = context.stream().expect("a stream");
            let case = i + 3 * j;
            let (m, repeat) = ([1, 2, 3, 8, 9][case % 5], [1, 2][case % 2]);
            let [gate, up] = [0, 1].map(|which| device.upload(&matrices[which]).expect("it fits"));
            let x = Numbers::new(device, FloatType::F16, m, k, 1, &mut rng);
            let y = Numbers::new(device, FloatType::ALL[case % 3], m, count * n, 3, &mut rng);
            let residual = Numbers::new(device, FloatType::F32, 1, count * n, 0, &mut rng);
            let epilogue = Epilogue {
                scale: 0.5,
                activation: Activation::ALL[case % 4],
                residual: Some(residual.tensor()),
                ..Epilogue::default()
            };
            let [gates, ups] = matrices.each_ref().map(|matrix| products(matrix, &x));
            let of = |row: usize, column: usize, residual: f32| {
                let (activation, factor) = (epilogue.activation, ups[row][column]);
                let operands = Operands { scale: 0.5, activation, factor, residual, ..Operands::NONE };
                operands.apply(gates[row][column])
            };
            let (_memory, workspace) = scratch(device, gate.gated_workspace_bytes(m).expect("a size"));
            let product = Product { epilogue, ..Product::new(x.tensor(), y.tensor(), workspace) };
            // SAFETY: all of this lives until the stream is done, and is used for nothing else.
            unsafe { gate.enqueue_gated(&up, stream.as_raw(), &product) }.expect("a product");
            stream.synchronize().expect("it works");
            let wrong = y.wrong(|row, column| of(row, column, residual.at(row, column)));
            assert_eq!(wrong, None, "{ty} on {device:?}, m = {m}");

            let [gate, up] = [gate, up].map(|matrix| matrix.into_experts(count).expect("21 rows each"));
            let ids: Vec<u32> = (0..m * repeat).map(|row| [2, 0, 3, 1, 2][(row + case) % 5]).collect();
            let mut list = context.alloc::<u32>(ids.len()).expect("memory");
            list.write(&ids).expect("a copy");
            let y = Numbers::new(device, FloatType::F32, ids.len(), n, 0, &mut rng);
            let bytes = gate.gated_workspace_bytes(m, ids.len()).expect("a size");
            let (_memory, workspace) = scratch(device, bytes);
            let epilogue = Epilogue { residual: None, ..epilogue };
            let product = Product { epilogue, ..Product::new(x.tensor(), y.tensor(), workspace) };
            // SAFETY: as above.
            unsafe { gate.enqueue_gated(&up, stream.as_raw(), list.as_raw(), &product) }.expect("a product");
            stream.synchronize().expect("it works");
            let expected = |row: usize, column: usize| match ids[row] as usize {
                id if id < count => of(row / repeat, id * n + column, Operands::NONE.residual),
                _ => y.at(row, column),
            };
            assert_eq!(y.wrong(expected), None, "experts of {ty} on {device:?}, m = {m}");
        }
    }
}

/// The gate and the way up of one fused matrix: slices whose first rows are the same ones of their quads, or others.
#[test]
fn gated_slices_are_two_products() {
    let mut rng = StdRng::seed_from_u64(16);
    let k = 256;
    for (i, device) in gpus().iter().enumerate() {
        let stream = device.cuda_context().expect("a GPU").stream().expect("a stream");
        for (j, (n, first, up_first)) in
            [(35, 0, 35), (36, 0, 36), (21, 6, 38), (21, 41, 7), (5, 2, 9)].into_iter().enumerate()
        {
            let (m, ty) = ([1, 4, 2, 9, 8][(i + j) % 5], [GgmlType::Q5_0, GgmlType::Q3K][j % 2]);
            let matrix = weights(ty, 73, k, &mut rng);
            let fused = device.upload(&matrix).expect("it fits");
            let [gate, up] = [first, up_first].map(|first| fused.slice(first..first + n).expect("some rows"));
            let x = Numbers::new(device, FloatType::Bf16, m, k, 3, &mut rng);
            let y = Numbers::new(device, FloatType::F32, m, n, 2, &mut rng);
            let bias = Numbers::new(device, FloatType::F32, 1, n, 0, &mut rng);
            let of = |bias: f32, products: (f32, f32)| {
                let operands =
                    Operands { activation: Activation::ALL[1], bias, factor: products.1, ..Operands::NONE };
                operands.apply(products.0)
            };
            let products = products(&matrix, &x);
            let name = format!("{ty}, {n} rows from {first} and {up_first} on, m = {m}, on {device:?}");

            let (_memory, workspace) = scratch(device, gate.gated_workspace_bytes(m).expect("a size"));
            let epilogue =
                Epilogue { bias: Some(bias.tensor()), activation: Activation::ALL[1], ..Epilogue::default() };
            let product = Product { epilogue, ..Product::new(x.tensor(), y.tensor(), workspace) };
            // SAFETY: all of this lives until the stream is done, and is used for nothing else.
            unsafe { gate.enqueue_gated(&up, stream.as_raw(), &product) }.expect("a product");
            stream.synchronize().expect("it works");
            let expected = |row: usize, column: usize| {
                let products = (products[row][first + column], products[row][up_first + column]);
                of(bias.at(0, column), products)
            };
            assert_eq!(y.wrong(expected), None, "{name}");

            let [gate, up] = [gate, up].map(|matrix| matrix.into_experts(n).expect("a row each"));
            let ids: Vec<u32> = (0..m).map(|row| (7 * row % n) as u32).collect();
            let mut list = device.cuda_context().expect("a GPU").alloc::<u32>(m).expect("memory");
            list.write(&ids).expect("a copy");
            let y = Numbers::new(device, FloatType::F32, m, 1, 0, &mut rng);
            let (_memory, workspace) = scratch(device, gate.gated_workspace_bytes(m, m).expect("a size"));
            let epilogue = Epilogue { bias: None, ..epilogue };
            let product = Product { epilogue, ..Product::new(x.tensor(), y.tensor(), workspace) };
            // SAFETY: as above.
            unsafe { gate.enqueue_gated(&up, stream.as_raw(), list.as_raw(), &product) }.expect("a product");
            stream.synchronize().expect("it works");
            let expected = |row: usize, _| {
                let (id, none) = (ids[row] as usize, Operands::NONE.bias);
                of(none, (products[row][first + id], products[row][up_first + id]))
            };
            assert_eq!(y.wrong(expected), None, "experts, {name}");
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
    let quantizer = device.quantizer(GgmlType::Q8_0).expect("a kernel");
    for m in [1, 2, 4, 8, 9] {
        let x = Numbers::new(&device, FloatType::F32, m, 256, 0, &mut rng);
        let y = Numbers::new(&device, FloatType::F32, m, 8, 0, &mut rng);
        let of_expert = Numbers::new(&device, FloatType::F32, m, 4, 0, &mut rng);
        let mut ids = device.cuda_context().expect("a GPU").alloc::<u32>(m).expect("memory");
        ids.write(&vec![1; m]).expect("a copy");
        let (_memory, workspace) = scratch(&device, w.workspace_bytes(m).expect("a size"));
        let product = Product::new(x.tensor(), y.tensor(), workspace);
        let rows = Numbers::new(&device, FloatType::F16, m, 256, 0, &mut rng);
        let cache = device.cuda_context().expect("a GPU").alloc::<u8>(2 * 8 * 34).expect("memory");
        let cache_rows = BlockRows { pointer: cache.as_raw(), rows: 2 };
        let one = Tensor { rows: 1, ..x.tensor() };
        let before = emulated.holdings();
        let others = Call::ALL.into_iter().filter(|call| *call != Call::Launch);
        others.clone().for_each(|call| emulated.inject(Fault::new(call, 1, Failure::Sticky)));
        // SAFETY: all of this lives until the stream is done, and is used for nothing else.
        unsafe {
            w.enqueue(stream.as_raw(), &product).expect("a product");
            let product = Product { y: of_expert.tensor(), ..product };
            experts.enqueue(stream.as_raw(), ids.as_raw(), &product).expect("a product");
            w.enqueue_rows(stream.as_raw(), ids.as_raw(), &rows.tensor()).expect("rows");
            w.enqueue_dequantize(stream.as_raw(), 2, &Tensor { rows: 1, ..rows.tensor() }).expect("a row");
            quantizer.enqueue(stream.as_raw(), &one, Some(ids.as_raw()), &cache_rows).expect("a row");
        }
        assert_eq!(emulated.clear_faults(), others.count(), "m = {m}: something was called");
        assert_eq!(emulated.holdings(), before);
        stream.synchronize().expect("it works");
        let mut weights = vec![0.0; 8 * 256];
        matrix.dequantize(&mut weights).expect("as many");
        assert_eq!(rows.wrong(|row, column| weights[256 * if row == 0 { 2 } else { 1 } + column]), None);
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
    let refusal = "only work for a GPU can be queued, and this device is cpu";
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

    let gated = |gate: &DeviceMatrix, up: &QuantizedMatrix, product: &Product| {
        let up = device.upload(up).expect("it fits");
        // SAFETY: it is refused.
        unsafe { gate.enqueue_gated(&up, stream.as_raw(), product) }.expect_err("bad").to_string()
    };
    assert_eq!(
        gated(&w, &weights(GgmlType::Q4_0, 6, 64, &mut rng), &good),
        "up is Q4_0 of 6 x 64 and the gate Q8_0 of 6 x 64: expected the same format and shape"
    );
    let expected = w.gated_workspace_bytes(4).expect("a size");
    assert_eq!(expected, 512 + 4 * 6 * 4); // two blocks of 40 bytes for each row of X, and 4 x 6 factors
    assert_eq!(
        gated(&w, &matrix, &good),
        format!("the workspace has {} bytes where at least {expected} were expected", workspace.bytes)
    );
    let mut two = good.clone();
    two.epilogue.factor = Some(y);
    assert_eq!(
        gated(&w, &matrix, &two),
        "the epilogue of a gated product has a factor: expected none, as the other product is one"
    );
    if let Some(other) = gpus().get(1) {
        let up = other.upload(&matrix).expect("it fits");
        // SAFETY: it is refused.
        let refused = unsafe { w.enqueue_gated(&up, stream.as_raw(), &good) };
        assert_eq!(
            refused.expect_err("bad").to_string(),
            "the matrices of a product are on cuda:0 and cuda:1: expected one device"
        );
    }

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

//! Weights to plain numbers and back in device memory, queued on streams: the bits are those of the CPU.

#[expect(dead_code, reason = "only GPUs have a memory of their own")]
mod devices;
mod numbers;
mod special_rows;

use devices::gpus;
use numbers::Numbers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use special_rows::{COLUMNS, special_rows};
use warpdot::cuda::{BlockRows, Buffer, Quantizer, Tensor};
use warpdot::{Device, FloatType, GgmlType, QuantizedMatrix};
use warpdot_formats::{Format, FormatVisitor};

/// Bytes that no quantizer wrote, NaN and infinite scales among them.
fn any_blocks(ty: GgmlType, n: usize, k: usize, rng: &mut StdRng) -> QuantizedMatrix {
    let bytes: Vec<u8> = (0..n * k / ty.block_weights() * ty.block_bytes()).map(|_| rng.random()).collect();
    QuantizedMatrix::from_bytes(ty, n, k, bytes).expect("as many bytes as it takes")
}

fn ids_on(device: &Device, ids: &[u32]) -> Buffer<u32> {
    let mut buffer = device.cuda_context().expect("a GPU").alloc(ids.len()).expect("memory");
    buffer.write(ids).expect("a copy");
    buffer
}

#[test]
fn matrices_and_rows_are_dequantized_to_every_type_and_stride() {
    let mut rng = StdRng::seed_from_u64(20);
    for (i, device) in gpus().iter().enumerate() {
        let stream = device.cuda_context().expect("a GPU").stream().expect("a stream");
        for (j, &ty) in GgmlType::ALL.iter().enumerate() {
            let case = i + 4 * j;
            let (n, k) = (70, [1, 2, 5][case % 3] * ty.block_weights());
            // A whole matrix, or a slice.
            let (before, after) = [(0, 0), (5, 4), (33, 0)][(i + j) % 3];
            let matrix = any_blocks(ty, before + n + after, k, &mut rng);
            let w = device.upload(&matrix).and_then(|w| w.slice(before..before + n)).expect("it fits");
            let mut weights = vec![0.0; matrix.rows() * k];
            matrix.dequantize(&mut weights).expect("as many");
            let weight = |row: usize, column: usize| weights[(before + row) * k + column];
            let out = |rows: usize, salt: usize, rng: &mut StdRng| {
                let float = FloatType::ALL[(case + salt) % 3];
                Numbers::new(device, float, rows, k, [0, 1, 4, 6][(case / 3 + salt) % 4], rng)
            };

            // All rows, and some from any row of a tile on.
            for (first, rows) in [(0, n), [(1, 1), (33, 37), (69, 1), (3, 20)][case % 4]] {
                let out = out(rows, first, &mut rng);
                // SAFETY: the matrix and the output live until the stream is done, and are used for nothing else.
                unsafe { w.enqueue_dequantize(stream.as_raw(), first, &out.tensor()) }.expect("rows");
                stream.synchronize().expect("it works");
                let wrong = out.wrong(|row, column| weight(first + row, column));
                assert_eq!(wrong, None, "{ty} on {device:?}: {rows} rows from {first} on to {}", out.ty);
            }

            // Any rows in any order; the last of them, and one in the padding of the layout, do not exist.
            let ids = [[69, 0, 70, 17, 3, 3, u32::MAX].as_slice(), &[68, 71, 1], &[44]][case % 3];
            let (list, out) = (ids_on(device, ids), out(ids.len(), 2, &mut rng));
            // SAFETY: as above, and so does the list.
            unsafe { w.enqueue_rows(stream.as_raw(), list.as_raw(), &out.tensor()) }.expect("rows");
            stream.synchronize().expect("it works");
            let expected = |row: usize, column: usize| match ids[row] as usize {
                id if id < n => weight(id, column),
                _ => out.at(row, column),
            };
            assert_eq!(out.wrong(expected), None, "{ty} on {device:?}: rows {ids:?} to {}", out.ty);
        }
    }
}

/// The blocks that the format's definition makes of a row.
struct Blocks<'a>(&'a [f32]);

impl FormatVisitor for Blocks<'_> {
    type Output = Vec<u8>;

    fn visit<F: Format>(self) -> Vec<u8> {
        let blocks: Vec<F> = self.0.chunks_exact(F::WEIGHTS).map(F::quantize).collect();
        bytemuck::cast_slice(&blocks).to_vec()
    }
}

#[test]
fn rows_are_quantized_as_by_the_definition() {
    let mut rng = StdRng::seed_from_u64(21);
    let types: Vec<GgmlType> = Quantizer::types().collect();
    assert_eq!(types.len(), 11);
    for (i, device) in gpus().iter().enumerate() {
        let context = device.cuda_context().expect("a GPU");
        let stream = context.stream().expect("a stream");
        for (j, &ty) in types.iter().enumerate() {
            let quantizer = device.quantizer(ty).expect("a kernel");
            assert_eq!(quantizer.ty(), ty);
            for (c, &float) in FloatType::ALL.iter().enumerate() {
                let (k, gap) = (COLUMNS, [0, 1, 5][(i + j + c) % 3]);
                let x = Numbers::of(device, float, k, gap, &special_rows(&mut rng));
                let row_bytes = k / ty.block_weights() * ty.block_bytes();
                let expected: Vec<u8> =
                    x.host.chunks_exact(k).flat_map(|row| ty.visit(Blocks(row))).collect();

                // Exactly as much as it takes, whose end the emulator guards.
                let out = context.alloc::<u8>(expected.len()).expect("memory");
                let rows = BlockRows { pointer: out.as_raw(), rows: x.rows };
                // SAFETY: the buffers live until the stream is done, and are used for nothing else.
                unsafe { quantizer.enqueue(stream.as_raw(), &x.tensor(), None, &rows) }.expect("rows");
                stream.synchronize().expect("it works");
                let mut found = vec![0; expected.len()];
                out.read(&mut found).expect("a copy");
                let wrong =
                    (0..found.len()).find(|&at| found[at] != expected[at]).map(|at| at / ty.block_bytes());
                let of_block = |block: usize| {
                    let (bytes, weights) = (ty.block_bytes(), ty.block_weights());
                    let bytes = block * bytes..(block + 1) * bytes;
                    let numbers = &x.host[block * weights..(block + 1) * weights];
                    (block, numbers, &found[bytes.clone()], &expected[bytes])
                };
                assert_eq!(wrong.map(of_block), None, "{ty} from {float} on {device:?}");

                // Three of them to rows of a cache of five; the second has no place in it.
                let (three, ids) = (Tensor { rows: 3, ..x.tensor() }, ids_on(device, &[4, 5, 1]));
                let mut cache = context.alloc::<u8>(5 * row_bytes).expect("memory");
                cache.write(&vec![0x5a; 5 * row_bytes]).expect("a copy");
                let rows = BlockRows { pointer: cache.as_raw(), rows: 5 };
                // SAFETY: as above.
                unsafe { quantizer.enqueue(stream.as_raw(), &three, Some(ids.as_raw()), &rows) }
                    .expect("rows");
                stream.synchronize().expect("it works");
                let mut found = vec![0; 5 * row_bytes];
                cache.read(&mut found).expect("a copy");
                let row = |row: Option<usize>| match row {
                    Some(row) => expected[row * row_bytes..(row + 1) * row_bytes].to_vec(),
                    None => vec![0x5a; row_bytes],
                };
                assert_eq!(
                    found,
                    [None, Some(2), None, None, Some(0)].map(row).concat(),
                    "{ty} on {device:?}"
                );
            }
        }
    }
}

/// What a host refuses does no harm to the blocks beside it.
#[test]
fn numbers_without_a_block_stay_in_theirs() {
    let mut rng = StdRng::seed_from_u64(22);
    let device = &gpus()[0];
    let context = device.cuda_context().expect("a GPU");
    let stream = context.stream().expect("a stream");
    for ty in Quantizer::types() {
        let (mut host, weights) = (special_rows(&mut rng), ty.block_weights());
        for (i, block) in host.chunks_exact_mut(weights).enumerate().filter(|(i, _)| i % 3 == 1) {
            block[i % weights] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX][i / 3 % 4];
        }
        let x = Numbers::of(device, FloatType::F32, COLUMNS, 0, &host);
        let expected: Vec<u8> = x.host.chunks_exact(COLUMNS).flat_map(|row| ty.visit(Blocks(row))).collect();
        let out = context.alloc::<u8>(expected.len()).expect("memory");
        let quantizer = device.quantizer(ty).expect("a kernel");
        let rows = BlockRows { pointer: out.as_raw(), rows: x.rows };
        // SAFETY: the buffers live until the stream is done, and are used for nothing else.
        unsafe { quantizer.enqueue(stream.as_raw(), &x.tensor(), None, &rows) }.expect("rows");
        stream.synchronize().expect("it works");
        let mut found = vec![0; expected.len()];
        out.read(&mut found).expect("a copy");
        let blocks = found.chunks_exact(ty.block_bytes()).zip(expected.chunks_exact(ty.block_bytes()));
        let wrong = blocks.enumerate().find(|(i, (found, expected))| i % 3 != 1 && found != expected);
        assert_eq!(wrong, None, "{ty}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let mut rng = StdRng::seed_from_u64(23);
    let device = gpus().remove(0);
    let stream = device.cuda_context().expect("a GPU").stream().expect("a stream");
    let matrix = any_blocks(GgmlType::Q8_0, 6, 64, &mut rng);
    let w = device.upload(&matrix).expect("it fits");
    let numbers = Numbers::new(&device, FloatType::F32, 6, 64, 0, &mut rng);
    let good = numbers.tensor();

    // SAFETY: it is refused.
    let from = |first, out| unsafe { w.enqueue_dequantize(stream.as_raw(), first, &out) };
    let message = |first, out| from(first, out).expect_err("bad").to_string();
    assert_eq!(message(1, good), "there is no row 6: the matrix has 6 rows, counted from 0");
    assert_eq!(
        message(usize::MAX, good),
        format!("there is no row {}: the matrix has 6 rows, counted from 0", usize::MAX)
    );
    assert_eq!(
        message(0, Tensor { columns: 32, ..good }),
        "out has 6 x 32 numbers where 6 x 64 were expected"
    );
    assert_eq!(
        message(0, Tensor { stride: 63, ..good }),
        "the rows of out start every 63 numbers: expected 64, its columns, up to 4294967295"
    );
    from(6, Tensor { rows: 0, ..good }).expect("no rows at all");
    // SAFETY: it is refused.
    let refused = unsafe { w.enqueue_rows(stream.as_raw(), 6, &good) };
    assert_eq!(
        refused.expect_err("bad").to_string(),
        "ids is at the device address 0x6: expected a multiple of 4 other than 0"
    );

    let quantizer = device.quantizer(GgmlType::Q4_0).expect("a kernel");
    let rows = BlockRows { pointer: good.pointer, rows: 6 };
    let message = |x, ids, rows| {
        // SAFETY: it is refused.
        unsafe { quantizer.enqueue(stream.as_raw(), &x, ids, &rows) }.expect_err("bad").to_string()
    };
    assert_eq!(
        message(Tensor { columns: 33, ..good }, None, rows),
        "k = 33 is not a multiple of 32, the weights in a block of Q4_0"
    );
    assert_eq!(
        message(good, None, BlockRows { rows: 7, ..rows }),
        "out (rows of x) has 7 elements where 6 were expected"
    );
    assert_eq!(
        message(good, None, BlockRows { pointer: 3, ..rows }),
        "out is at the device address 0x3: expected a multiple of 2 other than 0"
    );
    assert_eq!(
        message(good, Some(0), rows),
        "ids is at the device address 0x0: expected a multiple of 4 other than 0"
    );
    assert_eq!(
        device.quantizer(GgmlType::Iq2S).expect_err("no kernel").to_string(),
        "a GPU cannot quantize to IQ2_S: expected Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4, Q2_K, Q3_K, Q4_K, Q5_K, \
         Q6_K"
    );
    let cpu = Device::cpu();
    let refusal = "only work for a GPU can be queued, and this device is cpu";
    assert_eq!(cpu.quantizer(GgmlType::Q4_0).expect_err("no GPU").to_string(), refusal);
    let on_cpu = cpu.upload(&matrix).expect("no copy");
    // SAFETY: it is refused.
    let refused = unsafe { on_cpu.enqueue_dequantize(stream.as_raw(), 0, &good) };
    assert_eq!(refused.expect_err("no GPU").to_string(), refusal);
}

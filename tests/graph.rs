//! Products and reads as CUDA graphs: what benches time.

#[expect(dead_code, reason = "only GPUs have graphs")]
mod devices;

use devices::gpus;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::cuda::{Product, Tensor, Workspace};
use warpdot::{Error, FloatType, GgmlType, QuantizedMatrix};

#[test]
fn a_graph_multiplies_by_whatever_x_is_when_it_runs() {
    let mut rng = StdRng::seed_from_u64(20);
    let (n, k) = (37, 256);
    for (i, device) in gpus().iter().enumerate() {
        let (m, ty) = ([1, 2, 8, 65][i % 4], [GgmlType::Q4_0, GgmlType::Q6K][i % 2]);
        let mut numbers = |len| -> Vec<f32> { (0..len).map(|_| rng.random_range(-1f32..1.0)).collect() };
        let w = QuantizedMatrix::quantize(ty, n, k, &numbers(n * k)).expect("good weights");
        let w = device.upload(&w).expect("it fits");
        let context = device.cuda_context().expect("a GPU");
        let stream = context.stream().expect("a stream");
        let scratch = context.alloc::<u8>(w.workspace_bytes(m).expect("a size")).expect("memory");
        let (mut x, y) =
            (context.alloc::<f32>(m * k).expect("memory"), context.alloc::<f32>(m * n).expect("memory"));
        let product = Product::new(
            Tensor::new(x.as_raw(), FloatType::F32, m, k),
            Tensor::new(y.as_raw(), FloatType::F32, m, n),
            Workspace { pointer: scratch.as_raw(), bytes: scratch.len() },
        );
        // SAFETY: what the product is made of outlives the graph, and is used for nothing else while that runs.
        let graph =
            stream.capture(|| unsafe { w.enqueue(stream.as_raw(), &product) }).expect("it can be captured");
        for _ in 0..2 {
            let numbers = numbers(m * k);
            x.write(&numbers).expect("as many");
            // SAFETY: as above.
            unsafe { graph.launch(&stream) }.expect("a launch");
            stream.synchronize().expect("it works");
            let (mut found, mut expected) = (vec![f32::NAN; m * n], vec![0.0; m * n]);
            y.read(&mut found).expect("as many");
            w.matmul(m, &numbers, &mut expected).expect("a product");
            assert_eq!(found, expected, "{ty}, m = {m} on {device:?}");
        }
    }
}

/// The exclusive or of all bytes is the same before and after packing, which only moves them.
#[test]
fn all_weights_are_read() {
    let mut rng = StdRng::seed_from_u64(21);
    let (n, k) = (64, 1024);
    let fold = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all ^ byte);
    for &ty in GgmlType::ALL {
        let len = QuantizedMatrix::byte_len(ty, n, k).expect("a size");
        let w = QuantizedMatrix::from_bytes(ty, n, k, (0..len).map(|_| rng.random()).collect::<Vec<u8>>());
        let w = w.expect("so many bytes");
        for device in gpus() {
            let context = device.cuda_context().expect("a GPU");
            let stream = context.stream().expect("a stream");
            let (reader, there) = (device.reader().expect("a kernel"), device.upload(&w).expect("it fits"));
            let bytes = reader.workspace_bytes(&there).expect("a size");
            let mut sums = context.alloc::<u8>(bytes).expect("memory");
            sums.write(&vec![0xa5; bytes]).expect("as many");
            let workspace = Workspace { pointer: sums.as_raw(), bytes };
            // SAFETY: the weights and the sums outlive the work, and are used for nothing else meanwhile.
            unsafe { reader.enqueue(stream.as_raw(), &there, workspace) }.expect("a launch");
            stream.synchronize().expect("it works");
            let mut found = vec![0; bytes];
            sums.read(&mut found).expect("as many");
            assert_eq!(fold(&found), fold(w.bytes()), "{ty} on {device:?}");

            let slice = there.slice(1..n).expect("some rows");
            assert_eq!(
                reader.workspace_bytes(&slice).expect_err("no memory of its own").to_string(),
                "a slice of 63 rows cannot be read alone: expected all 64 rows of the matrix"
            );
            let small = Workspace { bytes: bytes - 1, ..workspace };
            // SAFETY: it is refused.
            let refused = unsafe { reader.enqueue(stream.as_raw(), &there, small) }.expect_err("too small");
            assert!(
                matches!(refused, Error::WorkspaceTooSmall { expected, found } if expected == bytes && found == bytes - 1)
            );
        }
    }
}

//! Multiplies memory that the crate `cudarc` owns where it is, on a stream of cudarc's: what candle and other engines
//! that allocate with cudarc would do.
//!
//! ```sh
//! cargo run --features cuda --example cudarc
//! ```

use cudarc::driver::{CudaContext, DevicePtr, DevicePtrMut};
use warpdot::cuda::{Epilogue, Product, Tensor, Workspace};
use warpdot::{Activation, Device, FloatType, GgmlType, QuantizedMatrix};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Err(error) = Device::cuda(0) {
        println!("nothing to show here: {error}");
        return Ok(());
    }
    let largest = run()?;
    println!("SiLU(X · Wᵀ + bias) in memory of cudarc, at most {largest:e} from the CPU's");
    Ok(())
}

/// Returns the largest difference from the product that the CPU computes.
pub(crate) fn run() -> Result<f32, Box<dyn std::error::Error>> {
    let (m, n, k) = (3, 64, 256);
    let wave = |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>();
    let weights = QuantizedMatrix::quantize(GgmlType::Q4K, n, k, &wave(n * k, 0.37))?;
    let (x_host, bias_host) = (wave(m * k, 0.11), wave(n, 1.3));

    // The engine's: cudarc's context is the device's primary one, and so is warpdot's.
    let context = CudaContext::new(0)?;
    let stream = context.new_stream()?;
    let x = stream.clone_htod(&x_host)?;
    let bias = stream.clone_htod(&bias_host)?;
    let mut y = stream.alloc_zeros::<f32>(m * n)?;

    let w = Device::cuda(context.ordinal())?.upload(&weights)?;
    let bytes = w.workspace_bytes(m)?;
    let mut scratch = stream.alloc_zeros::<u8>(bytes)?;
    {
        // The guards make cudarc's other streams wait for this one where they meet its memory.
        let (x, _reads_x) = x.device_ptr(&stream);
        let (bias, _reads_bias) = bias.device_ptr(&stream);
        let (y, _writes_y) = y.device_ptr_mut(&stream);
        let (scratch, _writes_scratch) = scratch.device_ptr_mut(&stream);
        let product = Product {
            epilogue: Epilogue {
                bias: Some(Tensor::new(bias, FloatType::F32, 1, n)),
                activation: Activation::Silu,
                ..Epilogue::default()
            },
            ..Product::new(
                Tensor::new(x, FloatType::F32, m, k),
                Tensor::new(y, FloatType::F32, m, n),
                Workspace { pointer: scratch, bytes },
            )
        };
        // SAFETY: the slices have these sizes and types, are distinct, and are freed on the same stream, after the
        // product; `w` lives until the stream is synchronized below.
        unsafe { w.enqueue(stream.cu_stream().cast(), &product) }?;
    }
    let y = stream.clone_dtoh(&y)?;
    stream.synchronize()?;

    let mut expected = vec![0.0; m * n];
    Device::cpu().upload(&weights)?.matmul(m, &x_host, &mut expected)?;
    let expected =
        expected.iter().zip(bias_host.iter().cycle()).map(|(y, bias)| Activation::Silu.apply(y + bias));
    Ok(y.iter().zip(expected).map(|(y, expected)| (y - expected).abs()).fold(0.0, f32::max))
}

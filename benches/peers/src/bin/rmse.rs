//! How well Gaussian weights survive quantization by warpdot and by candle, whose quantizers are ports of
//! ggml's.
//!
//! ```sh
//! cd benches/peers && cargo run --release --bin rmse
//! ```

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_formats::{Format, FormatVisitor, GgmlType};

const SEED: u64 = 1;
const ROWS: usize = 1024;
const COLUMNS: usize = 4096;

fn main() -> candle_core::Result<()> {
    let mut rng = StdRng::seed_from_u64(SEED);
    // Box and Muller's way from uniform to normal numbers.
    let weights: Vec<f32> = (0..ROWS * COLUMNS)
        .map(|_| {
            let (radius, angle): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
            ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
        })
        .collect();
    println!("root mean square error of {ROWS} x {COLUMNS} normal weights of unit variance, seed {SEED}");
    println!("{:<6} {:>10} {:>10} {:>16}", "format", "warpdot", "candle", "warpdot / candle");
    for (ty, dtype) in [
        (GgmlType::Q4_0, GgmlDType::Q4_0),
        (GgmlType::Q8_0, GgmlDType::Q8_0),
        (GgmlType::Q4K, GgmlDType::Q4K),
        (GgmlType::Q6K, GgmlDType::Q6K),
    ] {
        let ours = rms(&weights, &ty.visit(RoundTrip(&weights)));
        let tensor = Tensor::from_slice(&weights, (ROWS, COLUMNS), &Device::Cpu)?;
        let theirs = QTensor::quantize(&tensor, dtype)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let theirs = rms(&weights, &theirs);
        println!("{ty:<6} {ours:>10.6} {theirs:>10.6} {:>16.4}", ours / theirs);
    }
    Ok(())
}

/// Quantizes and dequantizes.
struct RoundTrip<'a>(&'a [f32]);

impl FormatVisitor for RoundTrip<'_> {
    type Output = Vec<f32>;

    fn visit<F: Format>(self) -> Vec<f32> {
        let mut out = vec![0.0; self.0.len()];
        for (weights, out) in self.0.chunks_exact(F::WEIGHTS).zip(out.chunks_exact_mut(F::WEIGHTS)) {
            F::quantize(weights).dequantize(out);
        }
        out
    }
}

fn rms(weights: &[f32], stored: &[f32]) -> f64 {
    let squares: f64 = weights.iter().zip(stored).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (squares / weights.len() as f64).sqrt()
}

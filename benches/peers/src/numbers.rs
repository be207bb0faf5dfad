//! Weights to quantize, random and real.

use std::error::Error;
use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A row-major matrix of weights.
pub struct Matrix {
    /// Where it comes from.
    pub name: String,
    /// Weights in a row.
    pub columns: usize,
    /// All rows.
    pub weights: Vec<f32>,
}

/// Normal numbers of unit variance, by Box and Muller's way from uniform ones.
pub fn gaussian(rng: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Numbers of Student's distribution with 3 degrees of freedom, whose tails are heavy: a normal number by the root
/// mean square of three others.
pub fn student_t3(rng: &mut StdRng) -> f64 {
    let squares: f64 = (0..3).map(|_| gaussian(rng).powi(2)).sum();
    gaussian(rng) / (squares / 3.0).sqrt()
}

impl Matrix {
    /// Random numbers.
    pub fn random(
        name: &str,
        rows: usize,
        columns: usize,
        seed: u64,
        number: impl Fn(&mut StdRng) -> f64,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let weights = (0..rows * columns).map(|_| number(&mut rng) as f32).collect();
        Self { name: name.to_owned(), columns, weights }
    }

    /// All matrices of a GGUF or safetensors file whose rows are whole blocks of every format, one below the
    /// other; they must be equally wide.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        const LARGEST_BLOCK: usize = 256;
        let mut tensors: Vec<(String, Tensor)> = if path.extension().is_some_and(|e| e == "gguf") {
            let mut file = File::open(path)?;
            let content = gguf_file::Content::read(&mut file)?;
            let names: Vec<String> = content.tensor_infos.keys().cloned().collect();
            let mut tensors = Vec::new();
            for name in names {
                let tensor = content.tensor(&mut file, &name, &Device::Cpu)?.dequantize(&Device::Cpu)?;
                tensors.push((name, tensor));
            }
            tensors
        } else {
            candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect()
        };
        tensors.retain(|(_, tensor)| matches!(tensor.dims(), [_, k] if k.is_multiple_of(LARGEST_BLOCK)));
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let columns = match tensors.first() {
            Some((_, tensor)) => tensor.dim(1)?,
            None => return Err(format!("{name} has no matrix whose k is a multiple of 256").into()),
        };
        let mut weights = Vec::new();
        for (name, tensor) in tensors {
            if tensor.dim(1)? != columns {
                return Err(format!("{name} has k = {}, others {columns}", tensor.dim(1)?).into());
            }
            weights.extend(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(Self { name, columns, weights })
    }
}

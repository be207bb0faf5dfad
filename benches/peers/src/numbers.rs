//! Weights to quantize, random and real.

use std::collections::BTreeMap;
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

    /// Matrices of a GGUF or safetensors file whose rows are whole blocks of every format, one below the other: all
    /// those of one width, the one that most weights have.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        const LARGEST_BLOCK: usize = 256;
        let mut widths: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        for (_, tensor) in tensors(path)? {
            let &[_, columns] = tensor.dims() else { continue };
            if columns.is_multiple_of(LARGEST_BLOCK) && tensor.dtype().is_float() {
                let weights = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                widths.entry(columns).or_default().extend(weights);
            }
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match widths.into_iter().max_by_key(|(_, weights)| weights.len()) {
            Some((columns, weights)) => Ok(Self { name, columns, weights }),
            None => Err(format!("{name} has no matrix whose k is a multiple of {LARGEST_BLOCK}").into()),
        }
    }
}

/// The tensors of a file, by name; quantized ones dequantized.
fn tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Box<dyn Error>> {
    if path.extension().is_none_or(|extension| extension != "gguf") {
        return Ok(candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect());
    }
    let mut file = File::open(path)?;
    let content = gguf_file::Content::read(&mut file)?;
    let mut tensors = BTreeMap::new();
    for name in content.tensor_infos.keys() {
        let tensor = content.tensor(&mut file, name, &Device::Cpu)?;
        tensors.insert(name.clone(), tensor.dequantize(&Device::Cpu)?);
    }
    Ok(tensors)
}

//! Where weights and activations come from: a GGUF file, or a seeded generator.

use crate::{
    args::{RunArgs, names},
    error::Error,
    floats::Floats,
    pieces,
};
use rand::{SeedableRng, rngs::ChaCha8Rng};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::path::Path;
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_formats::FloatType;
use warpdot_gguf::{Gguf, Tensor, TensorType};

/// A matrix that is to be multiplied, before it is made.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) ty: GgmlType,
    /// Rows.
    pub(crate) n: usize,
    /// Columns.
    pub(crate) k: usize,
    origin: Origin,
}

enum Origin {
    /// Gaussian weights of variance 1 / k.
    Seed(u64),
    /// A tensor that is of the source's type already.
    Blocks(Tensor),
    /// A tensor of floats that are to be quantized.
    Floats(Floats),
}

/// The matrices that the arguments ask for.
pub(crate) fn sources(args: &RunArgs) -> Result<Vec<Source>, Error> {
    let formats = args.formats();
    match &args.gguf {
        Some(path) => stored(path, &args.tensors, &formats),
        None => {
            let formats = if formats.is_empty() { GgmlType::ALL } else { &formats };
            Ok(formats.iter().map(|&ty| Source::synthetic(ty, args.n, args.k, args.seed)).collect())
        }
    }
}

fn stored(path: &Path, names: &[String], formats: &[GgmlType]) -> Result<Vec<Source>, Error> {
    let error = |source| Error::Gguf { path: path.to_owned(), source };
    let file = Gguf::open(path).map_err(error)?;
    let mut sources = Vec::new();
    if names.is_empty() {
        for tensor in file.tensors().filter(|tensor| is_matrix(tensor)) {
            sources.extend(of_tensor(tensor, formats).map_err(error)?);
        }
        if sources.is_empty() {
            let (expected, count) = (expected(formats), file.tensors().len());
            return Err(Error::NoMatrix { path: path.to_owned(), expected, count });
        }
    }
    for name in names {
        let tensor = file.tensor(name).map_err(error)?;
        if !is_matrix(tensor) {
            return Err(Error::NotAMatrix { name: name.clone(), dims: tensor.dims().to_vec() });
        }
        let found = of_tensor(tensor, formats).map_err(error)?;
        if found.is_empty() {
            let ty = tensor.ty().to_string();
            return Err(Error::TensorType { name: name.clone(), ty, expected: expected(formats) });
        }
        sources.extend(found);
    }
    Ok(sources)
}

fn is_matrix(tensor: &Tensor) -> bool {
    tensor.dims().len() == 2
}

/// What the arguments want of a matrix: itself, its quantized forms, or nothing.
fn of_tensor(tensor: &Tensor, formats: &[GgmlType]) -> Result<Vec<Source>, warpdot_gguf::Error> {
    let (n, k) = tensor.shape()?;
    let source = |ty, origin| Source { name: tensor.name().to_owned(), ty, n, k, origin };
    Ok(match tensor.ty().format() {
        Some(ty) if formats.is_empty() || formats.contains(&ty) => {
            vec![source(ty, Origin::Blocks(tensor.clone()))]
        }
        None if tensor.ty() == TensorType::F32 => {
            let floats = Floats::Plain(FloatType::F32, tensor.bytes()?);
            formats.iter().map(|&ty| source(ty, Origin::Floats(floats.clone()))).collect()
        }
        _ => Vec::new(),
    })
}

fn expected(formats: &[GgmlType]) -> String {
    match formats {
        [] => format!("{}, or F32 and a --type to quantize it to", names(GgmlType::ALL)),
        _ => format!("{} or F32", names(formats)),
    }
}

impl Source {
    /// Gaussian weights of variance 1 / k.
    pub(crate) fn synthetic(ty: GgmlType, n: usize, k: usize, seed: u64) -> Self {
        Self { name: "synthetic".into(), ty, n, k, origin: Origin::Seed(seed) }
    }

    /// Makes the matrix; a tensor in blocks stays where the file is mapped.
    pub(crate) fn load(&self) -> Result<QuantizedMatrix, Error> {
        match &self.origin {
            Origin::Seed(seed) => {
                let deviation = 1.0 / (self.k as f32).sqrt();
                self.quantize(|row, out| {
                    gaussian(out, deviation, *seed, row as u64);
                    Ok(())
                })
            }
            Origin::Blocks(tensor) => {
                // A tensor of a known format has bytes, so there is no file to name here.
                let bytes =
                    tensor.bytes().map_err(|source| Error::Gguf { path: tensor.name().into(), source })?;
                let matrix = QuantizedMatrix::from_bytes(self.ty, self.n, self.k, bytes);
                matrix.map_err(|error| Error::from(error).in_tensor(&self.name))
            }
            Origin::Floats(floats) => self
                .quantize(|row, out| floats.read_row(row, out))
                .map_err(|error| error.in_tensor(&self.name)),
        }
    }

    /// Quantizes the rows that `fill` writes, some at a time.
    fn quantize(&self, fill: impl pieces::Fill) -> Result<QuantizedMatrix, Error> {
        let &Self { ty, n, k, .. } = self;
        let mut bytes = pieces::allocate("the quantized weights", QuantizedMatrix::byte_len(ty, n, k)?)?;
        pieces::quantize(ty, 0..n, k, None, fill, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(QuantizedMatrix::from_bytes(ty, n, k, bytes)?)
    }
}

/// m rows of k Gaussian activations of variance 1.
pub(crate) fn activations(m: usize, k: usize, seed: u64) -> Result<Vec<f32>, Error> {
    let mut x = pieces::zeros("X", m * k)?;
    // Rows of weights take the generator's streams from the bottom.
    x.par_chunks_mut(k).enumerate().for_each(|(row, out)| gaussian(out, 1.0, seed, u64::MAX - row as u64));
    Ok(x)
}

/// Fills `out` with normally distributed numbers: ChaCha8 of this seed and stream, the same everywhere.
fn gaussian(out: &mut [f32], deviation: f32, seed: u64, stream: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    for x in out {
        let normal: f32 = StandardNormal.sample(&mut rng);
        *x = normal * deviation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than a piece, and not a whole number of them.
    const N: usize = 2 * pieces::PIECE / K + 3;
    const K: usize = 8192;

    fn source() -> Source {
        Source { name: "test".into(), ty: GgmlType::Q8_0, n: N, k: K, origin: Origin::Seed(3) }
    }

    #[test]
    fn pieces_make_the_matrix_that_the_whole_would() {
        let weight = |row: usize, column: usize| ((row * 31 + column) as f32).sin();
        let whole: Vec<f32> = (0..N * K).map(|i| weight(i / K, i % K)).collect();
        let expected = QuantizedMatrix::quantize(GgmlType::Q8_0, N, K, &whole).unwrap();
        let fill = |row: usize, out: &mut [f32]| {
            out.iter_mut().enumerate().for_each(|(column, out)| *out = weight(row, column));
            Ok(())
        };
        assert!(source().quantize(fill).unwrap().bytes() == expected.bytes());
    }

    #[test]
    fn errors_name_the_row_of_the_matrix() {
        for (value, message) in [
            (f32::NAN, "the weight in row 200, column 7 is NaN: only finite weights can be quantized"),
            (
                1e30,
                "the weights from row 200, column 0 on are too large for Q8_0: no scale of it reaches so far",
            ),
        ] {
            let fill = |row: usize, out: &mut [f32]| {
                out[7] = if row == 200 { value } else { 0.0 };
                Ok(())
            };
            assert_eq!(source().quantize(fill).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn synthetic_weights_and_activations_are_gaussian_and_all_different() {
        const N: usize = 16;
        let matrix = Source { n: N, ..source() }.load().unwrap();
        let mut rows = vec![vec![0.0; K]; N];
        rows.iter_mut().enumerate().for_each(|(i, row)| matrix.dequantize_row(i, row).unwrap());
        let x = activations(3, K, 3).unwrap();
        let scale = (K as f32).sqrt();
        let weights = rows.iter().map(|row| row.iter().map(|w| w * scale).collect::<Vec<f32>>());
        let all: Vec<Vec<f32>> = weights.chain(x.chunks(K).map(<[f32]>::to_vec)).collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / K as f32;
        for (i, a) in all.iter().enumerate() {
            assert!((dot(a, a) - 1.0).abs() < 0.1, "variance of row {i}");
            assert!((a.iter().sum::<f32>() / K as f32).abs() < 0.1, "mean of row {i}");
            // Rows that came from one stream would correlate to 1.
            for b in &all[i + 1..] {
                assert!(dot(a, b).abs() < 0.1, "row {i} and another");
            }
        }
        assert_eq!(activations(3, K, 3).unwrap(), x);
        assert_ne!(activations(3, K, 4).unwrap(), x);
    }
}

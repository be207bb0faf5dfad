//! Matrices in a block format, in host memory.

use bytes::Bytes;
use rayon::prelude::*;
use warpdot_cpu::{Float, Isa};
use warpdot_formats::{Format, FormatVisitor, GgmlType};

use crate::Error;

/// A matrix W\[n, k\] of quantized weights: n rows of k weights in ggml's block layout, row after row.
///
/// Its shape and size were checked when it was made. Cloning shares the bytes.
#[derive(Clone)]
pub struct QuantizedMatrix {
    ty: GgmlType,
    rows: usize,
    columns: usize,
    bytes: Bytes,
}

impl QuantizedMatrix {
    /// Quantizes the n x k row-major `weights`, blocks in parallel, each for the smallest squared error where its
    /// format leaves a choice.
    ///
    /// # Errors
    /// If a dimension is zero, `k` is not a multiple of the format's block, `weights` does not have n * k
    /// elements, or a weight is not finite or too large for the format.
    pub fn quantize(ty: GgmlType, n: usize, k: usize, weights: &[f32]) -> Result<Self, Error> {
        Self::quantize_rows(ty, n, k, weights, None)
    }

    /// As [`quantize`](Self::quantize), where squared errors count as much as the `importance` of their column
    /// says, one number for each of the k: the mean squares of the activations that the columns meet, for one.
    /// Only the ratios within a block matter. Where all are zero, all weights matter equally.
    ///
    /// [`Format::quantize_weighted`] names the formats for which importance makes no difference.
    ///
    /// # Errors
    /// As [`quantize`](Self::quantize), and if `importance` does not have k elements, or one of them is negative or
    /// not finite.
    pub fn quantize_weighted(
        ty: GgmlType,
        n: usize,
        k: usize,
        weights: &[f32],
        importance: &[f32],
    ) -> Result<Self, Error> {
        expect_length("importance (k)", k, importance.len())?;
        let bad = |value: &f32| !value.is_finite() || *value < 0.0;
        if let Some(column) = importance.iter().position(bad) {
            return Err(Error::Importance { column, value: importance[column] });
        }
        Self::quantize_rows(ty, n, k, weights, Some(importance))
    }

    fn quantize_rows(
        ty: GgmlType,
        n: usize,
        k: usize,
        weights: &[f32],
        importance: Option<&[f32]>,
    ) -> Result<Self, Error> {
        let row_bytes = row_bytes(ty, n, k)?;
        expect_length("weights (n * k)", n * k, weights.len())?;
        if let Some(i) = weights.par_iter().position_first(|weight| !weight.is_finite()) {
            return Err(Error::NonFiniteWeight { row: i / k, column: i % k, value: weights[i] });
        }
        let mut bytes = AlignedBytes::zeroed(n * row_bytes);
        warpdot_cpu::quantize_bytes(Isa::best(), ty, weights, importance, bytes.as_mut())?;
        let cut_off =
            bytes.as_ref().par_chunks(row_bytes).zip(weights.par_chunks(k)).enumerate().find_map_first(
                |(row, (bytes, weights))| Some((row, ty.visit(ColumnCutOff { bytes, weights })?)),
            );
        match cut_off {
            Some((row, column)) => Err(Error::WeightTooLarge { row, column, ty }),
            None => Ok(Self { ty, rows: n, columns: k, bytes: Bytes::from_owner(bytes) }),
        }
    }

    /// Takes n rows of k weights that are in the format's blocks already, without copying them: a `Vec<u8>`, a
    /// `&'static [u8]`, or a tensor of a mapped file. (Bytes at an odd address, which GGUF files never have,
    /// are copied to an even one.)
    ///
    /// # Errors
    /// If a dimension is zero, `k` is not a multiple of the format's block, or the bytes are not as many as n
    /// rows take.
    pub fn from_bytes(ty: GgmlType, n: usize, k: usize, bytes: impl Into<Bytes>) -> Result<Self, Error> {
        let mut bytes = bytes.into();
        expect_length("bytes (n rows of blocks)", n * row_bytes(ty, n, k)?, bytes.len())?;
        if !bytes.as_ptr().cast::<u16>().is_aligned() {
            let mut aligned = AlignedBytes::zeroed(bytes.len());
            aligned.as_mut().copy_from_slice(&bytes);
            bytes = Bytes::from_owner(aligned);
        }
        Ok(Self { ty, rows: n, columns: k, bytes })
    }

    /// [`from_bytes`](Self::from_bytes) for bytes that are written here.
    pub(crate) fn from_aligned(ty: GgmlType, n: usize, k: usize, bytes: AlignedBytes) -> Result<Self, Error> {
        Self::from_bytes(ty, n, k, Bytes::from_owner(bytes))
    }

    /// How many bytes n rows of k weights take.
    ///
    /// # Errors
    /// If a dimension is zero, `k` is not a multiple of the format's block, or the size overflows.
    pub fn byte_len(ty: GgmlType, n: usize, k: usize) -> Result<usize, Error> {
        Ok(n * row_bytes(ty, n, k)?)
    }

    /// The format.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// n.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// k.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The blocks as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the weights of row `row` to `out`, of length k.
    ///
    /// # Errors
    /// If there is no such row, or `out` has another length.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) -> Result<(), Error> {
        if row >= self.rows {
            return Err(Error::NoSuchRow { row, rows: self.rows });
        }
        expect_length("out (k)", self.columns, out.len())?;
        let row_bytes = self.bytes.len() / self.rows;
        let bytes = &self.bytes[row * row_bytes..][..row_bytes];
        Ok(warpdot_cpu::dequantize_bytes(Isa::best(), self.ty, bytes, out)?)
    }

    /// Writes all weights, n rows of k, to `out`, by threads of rayon's current pool: as `f32`, or rounded to
    /// `half::f16` or `half::bf16`.
    ///
    /// # Errors
    /// If `out` does not have n * k elements.
    pub fn dequantize<T: Float>(&self, out: &mut [T]) -> Result<(), Error> {
        expect_length("out (n * k)", self.rows * self.columns, out.len())?;
        Ok(warpdot_cpu::dequantize_bytes(Isa::best(), self.ty, &self.bytes, out)?)
    }
}

impl QuantizedMatrix {
    /// Writes rows `ids`, counted from `first`, to `out`, in parallel; lengths and ids have been checked.
    pub(crate) fn dequantize_rows(&self, first: usize, ids: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let rows = ids.par_iter().zip(out.par_chunks_exact_mut(self.columns));
        rows.try_for_each(|(&id, out)| self.dequantize_row(first + id as usize, out))
    }
}

impl std::fmt::Debug for QuantizedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuantizedMatrix({} x {} {}, {} bytes)", self.rows, self.columns, self.ty, self.bytes.len())
    }
}

/// The bytes of a row, after checking the shape; n of them fit the address space.
fn row_bytes(ty: GgmlType, n: usize, k: usize) -> Result<usize, Error> {
    let block = ty.block_weights();
    for (what, value) in [("n", n), ("k", k)] {
        if value == 0 {
            return Err(Error::ZeroSize { what });
        }
    }
    if !k.is_multiple_of(block) {
        return Err(Error::PartialBlock { k, ty, block });
    }
    // Four bytes a weight leave room for their f32 form, too.
    n.checked_mul(k).and_then(|weights| weights.checked_mul(4)).ok_or(Error::Overflow { m: 1, n, k })?;
    Ok(k / block * ty.block_bytes())
}

pub(crate) fn expect_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// Bytes at an address that suits every block type.
pub(crate) struct AlignedBytes {
    words: Vec<u64>,
    length: usize,
}

impl AlignedBytes {
    pub(crate) fn zeroed(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(size_of::<u64>())], length }
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}

/// Looks for a block of a row that cannot hold its weights.
struct ColumnCutOff<'a> {
    bytes: &'a [u8],
    weights: &'a [f32],
}

impl FormatVisitor for ColumnCutOff<'_> {
    /// The block's first column.
    type Output = Option<usize>;

    fn visit<F: Format>(self) -> Self::Output {
        let blocks: &[F] = bytemuck::cast_slice(self.bytes);
        let held = |(block, weights): (&F, &[f32])| {
            let finite = (0..F::RUNS).all(|run| {
                let scales = block.scales(run);
                scales.scale.iter().chain(&scales.offset).all(|scale| scale.is_finite())
            });
            finite && weights.iter().all(|weight| weight.abs() <= F::SATURATION)
        };
        let cut_off = blocks.iter().zip(self.weights.chunks_exact(F::WEIGHTS)).position(|block| !held(block));
        cut_off.map(|block| block * F::WEIGHTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TY: GgmlType = GgmlType::Q4_0;

    fn message(result: Result<QuantizedMatrix, Error>) -> String {
        result.expect_err("bad input").to_string()
    }

    #[test]
    fn shapes_are_checked() {
        assert_eq!(
            message(QuantizedMatrix::quantize(TY, 0, 32, &[])),
            "n is 0: every dimension of a product must be at least 1"
        );
        assert_eq!(
            message(QuantizedMatrix::quantize(TY, 1, 0, &[])),
            "k is 0: every dimension of a product must be at least 1"
        );
        assert_eq!(
            message(QuantizedMatrix::quantize(GgmlType::Q6K, 1, 384, &[0.0; 384])),
            "k = 384 is not a multiple of 256, the weights in a block of Q6_K"
        );
        assert_eq!(
            message(QuantizedMatrix::quantize(TY, 2, 32, &[0.0; 65])),
            "weights (n * k) has 65 elements where 64 were expected"
        );
        assert_eq!(
            message(QuantizedMatrix::from_bytes(TY, 2, 64, vec![0; 71])),
            "bytes (n rows of blocks) has 71 elements where 72 were expected"
        );
        assert!(message(QuantizedMatrix::from_bytes(TY, usize::MAX / 32, 32, vec![])).contains("overflows"));
        assert_eq!(QuantizedMatrix::byte_len(TY, 2, 64).expect("a good shape"), 72);
        assert!(QuantizedMatrix::byte_len(TY, 2, 65).is_err());
    }

    #[test]
    fn weights_are_checked() {
        let mut weights = vec![0.0; 96];
        weights[70] = f32::NAN;
        assert_eq!(
            message(QuantizedMatrix::quantize(TY, 3, 32, &weights)),
            "the weight in row 2, column 6 is NaN: only finite weights can be quantized"
        );
        weights[70] = 0.0;
        weights.resize(512, 0.0);
        weights[260] = 3e38;
        for &ty in GgmlType::ALL {
            let result = QuantizedMatrix::quantize(ty, 1, 512, &weights);
            if ty == GgmlType::Mxfp4 {
                // The one format whose scales reach as far as f32.
                let mut row = [0.0; 512];
                result.expect("large scales").dequantize_row(0, &mut row).expect("a row");
                assert!((row[260] / 3e38 - 1.0).abs() < 0.2, "{}", row[260]);
            } else {
                let error = result.expect_err("too large");
                assert!(matches!(error, Error::WeightTooLarge { row: 0, .. }), "{error}");
            }
        }
    }

    #[test]
    fn importance_is_checked() {
        let weights = vec![1.0; 96];
        let quantize =
            |importance: &[f32]| message(QuantizedMatrix::quantize_weighted(TY, 3, 32, &weights, importance));
        assert_eq!(quantize(&[1.0; 31]), "importance (k) has 31 elements where 32 were expected");
        for (value, name) in [(-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let mut importance = [1.0; 32];
            importance[9] = value;
            assert_eq!(
                quantize(&importance),
                format!(
                    "the importance of column 9 is {name}: expected a finite number that is not negative"
                )
            );
        }
    }

    #[test]
    fn every_row_has_the_importance_of_its_columns() {
        let weights: Vec<f32> = (0..3 * 512).map(|i| (i as f32).sin()).collect();
        let importance: Vec<f32> = (0..512).map(|i| (i as f32 * 0.7).sin().abs()).collect();
        for &ty in GgmlType::ALL {
            let matrix =
                QuantizedMatrix::quantize_weighted(ty, 3, 512, &weights, &importance).expect("good input");
            let row_bytes = matrix.bytes().len() / 3;
            for (row, bytes) in weights.chunks(512).zip(matrix.bytes().chunks(row_bytes)) {
                for (i, bytes) in bytes.chunks(ty.block_bytes()).enumerate() {
                    let block = i * ty.block_weights()..(i + 1) * ty.block_weights();
                    assert_eq!(bytes, ty.visit(WeightedBlock(&row[block.clone()], &importance[block])));
                }
            }
        }
    }

    struct WeightedBlock<'a>(&'a [f32], &'a [f32]);

    impl FormatVisitor for WeightedBlock<'_> {
        type Output = Vec<u8>;

        fn visit<F: Format>(self) -> Vec<u8> {
            bytemuck::bytes_of(&F::quantize_weighted(self.0, self.1)).to_vec()
        }
    }

    #[test]
    fn bytes_are_shared_not_copied_unless_misaligned() {
        let bytes = Bytes::from(vec![7u8; 18 * 4 + 1]);
        let even = usize::from(!bytes.as_ptr().cast::<u16>().is_aligned());
        let shared =
            QuantizedMatrix::from_bytes(TY, 2, 64, bytes.slice(even..even + 72)).expect("good bytes");
        assert_eq!(shared.bytes().as_ptr(), bytes[even..].as_ptr());
        let copied =
            QuantizedMatrix::from_bytes(TY, 2, 64, bytes.slice(1 - even..73 - even)).expect("good bytes");
        assert_eq!(copied.bytes(), shared.bytes());
        assert!(copied.bytes().as_ptr().cast::<u16>().is_aligned());
    }

    #[test]
    fn rows_come_back() {
        let weights: Vec<f32> = (0..3 * 64).map(|i| (i as f32).sin()).collect();
        let matrix = QuantizedMatrix::quantize(GgmlType::Q8_0, 3, 64, &weights).expect("good weights");
        let mut row = [0.0; 64];
        matrix.dequantize_row(2, &mut row).expect("a row");
        assert!(row.iter().zip(&weights[128..]).all(|(a, b)| (a - b).abs() < 0.005));
        assert_eq!(
            matrix.dequantize_row(3, &mut row).expect_err("no row").to_string(),
            "there is no row 3: the matrix has 3 rows, counted from 0"
        );
        assert!(matrix.dequantize_row(0, &mut row[1..]).is_err());
        let mut all = [0.0; 3 * 64];
        matrix.dequantize(&mut all).expect("three rows");
        assert_eq!(all[128..], row);
        assert!(matrix.dequantize(&mut all[1..]).is_err());
    }
}

//! Tensors as rows of f32s, whatever they are stored as.

use bytes::Bytes;
use warpdot::QuantizedMatrix;
use warpdot_formats::FloatType;

/// The rows of a tensor.
#[derive(Clone)]
pub(crate) enum Floats {
    Plain(FloatType, Bytes),
    Blocks(QuantizedMatrix),
}

impl Floats {
    /// Writes row `row`, which is as long as `out`.
    pub(crate) fn read_row(&self, row: usize, out: &mut [f32]) -> Result<(), warpdot::Error> {
        match self {
            Self::Plain(ty, bytes) => {
                let row_bytes = out.len() * ty.bytes();
                ty.decode(&bytes[row * row_bytes..][..row_bytes], out);
                Ok(())
            }
            Self::Blocks(matrix) => matrix.dequantize_row(row, out),
        }
    }
}

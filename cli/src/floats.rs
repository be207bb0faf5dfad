//! Tensors as rows of f32s, whatever they are stored as.

use bytes::Bytes;
use warpdot::QuantizedMatrix;
use warpdot_formats::F16;

/// The rows of a tensor.
#[derive(Clone)]
pub(crate) enum Floats {
    F32(Bytes),
    F16(Bytes),
    /// The upper halves of f32s.
    Bf16(Bytes),
    Blocks(QuantizedMatrix),
}

impl Floats {
    /// Writes row `row`, which is as long as `out`.
    pub(crate) fn read_row(&self, row: usize, out: &mut [f32]) -> Result<(), warpdot::Error> {
        match self {
            Self::F32(bytes) => read(bytes, row, out, f32::from_le_bytes),
            Self::F16(bytes) => read(bytes, row, out, |half| F16(u16::from_le_bytes(half)).to_f32()),
            Self::Bf16(bytes) => {
                read(bytes, row, out, |half| f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16));
            }
            Self::Blocks(matrix) => return matrix.dequantize_row(row, out),
        }
        Ok(())
    }
}

fn read<const N: usize>(bytes: &[u8], row: usize, out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    let (all, _) = bytes.as_chunks::<N>();
    let floats = &all[row * out.len()..];
    for (out, float) in out.iter_mut().zip(floats) {
        *out = convert(*float);
    }
}

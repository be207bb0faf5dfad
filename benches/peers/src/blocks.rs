//! warpdot's side of conversions between weights and blocks, for a format known at run time.

use warpdot_cpu::{Isa, dequantize_bytes, quantize_bytes};
use warpdot_formats::GgmlType;

/// Writes the blocks of `weights` to `out`, on the threads of rayon's current pool; with one importance for each
/// column, or with none.
///
/// # Panics
/// If the sizes do not match.
pub fn quantize(ty: GgmlType, weights: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let isa = Isa::from_env().expect("an instruction set of this CPU");
    quantize_bytes(isa, ty, weights, importance, out).expect("matching sizes");
}

/// Writes the weights of `blocks` to `out`, on the threads of rayon's current pool.
///
/// # Panics
/// If the sizes do not match.
pub fn dequantize(ty: GgmlType, blocks: &[u8], out: &mut [f32]) {
    let isa = Isa::from_env().expect("an instruction set of this CPU");
    dequantize_bytes(isa, ty, blocks, out).expect("matching sizes");
}

/// Room for the blocks of so many weights, at an address that suits every library.
pub struct Blocks {
    words: Vec<u64>,
    bytes: usize,
}

impl Blocks {
    /// Zeros.
    pub fn new(ty: GgmlType, weights: usize) -> Self {
        let bytes = weights / ty.block_weights() * ty.block_bytes();
        Self { words: vec![0; bytes.div_ceil(size_of::<u64>())], bytes }
    }

    /// The blocks.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }

    /// The blocks, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }
}

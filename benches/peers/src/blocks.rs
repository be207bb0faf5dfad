//! warpdot's side of conversions between weights and blocks, for a format known at run time.

use warpdot_formats::{Format, FormatVisitor, GgmlType};

/// Writes the blocks of `weights` to `out`.
///
/// # Panics
/// If the sizes do not match.
pub fn quantize(ty: GgmlType, weights: &[f32], out: &mut [u8]) {
    struct Quantize<'a>(&'a [f32], &'a mut [u8]);
    impl FormatVisitor for Quantize<'_> {
        type Output = ();
        fn visit<F: Format>(self) {
            assert_eq!(self.1.len(), self.0.len() / F::WEIGHTS * size_of::<F>());
            let blocks: &mut [F] = bytemuck::cast_slice_mut(self.1);
            for (block, weights) in blocks.iter_mut().zip(self.0.chunks_exact(F::WEIGHTS)) {
                *block = F::quantize(weights);
            }
        }
    }
    ty.visit(Quantize(weights, out));
}

/// Writes the weights of `blocks` to `out`.
///
/// # Panics
/// If the sizes do not match.
pub fn dequantize(ty: GgmlType, blocks: &[u8], out: &mut [f32]) {
    struct Dequantize<'a>(&'a [u8], &'a mut [f32]);
    impl FormatVisitor for Dequantize<'_> {
        type Output = ();
        fn visit<F: Format>(self) {
            let blocks: &[F] = bytemuck::cast_slice(self.0);
            assert_eq!(self.1.len(), blocks.len() * F::WEIGHTS);
            for (block, out) in blocks.iter().zip(self.1.chunks_exact_mut(F::WEIGHTS)) {
                block.dequantize(out);
            }
        }
    }
    ty.visit(Dequantize(blocks, out));
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

//! int8 with a scale per row.

use rayon::prelude::*;
use warpdot_formats::{FromCodes, GgmlType, Q8_0, RUN};

use super::{Imported, Scales};
use crate::matrix::{AlignedBytes, expect_length};
use crate::{Error, QuantizedMatrix};

/// The weights of a linear layer with n outputs and k inputs that were quantized to int8, symmetrically, with a
/// scale per output: those of W8A8 models.
///
/// Weight W\[j, c\] is `scales[j] * weights[j, c]`.
#[derive(Clone, Copy, Debug)]
pub struct Int8<'a> {
    /// Outputs.
    pub n: usize,
    /// Inputs, a multiple of 32.
    pub k: usize,
    /// `[n, k]`.
    pub weights: &'a [i8],
    /// `[n]`.
    pub scales: Scales<'a>,
}

impl Int8<'_> {
    /// The same weights as Q8_0 blocks, up to the scales' rounding to half precision.
    ///
    /// # Errors
    /// If a size is zero, k is not a multiple of 32, a tensor does not have as many elements as its shape says, or
    /// half precision cannot hold a scale.
    pub fn import(&self) -> Result<Imported, Error> {
        let &Self { n, k, weights, scales } = self;
        let length = QuantizedMatrix::byte_len(GgmlType::Q8_0, n, k)?;
        expect_length("weights (n * k)", n * k, weights.len())?;
        let (scales, scale_error) = scales.round("scales (n)", 1, n)?;
        let mut bytes = AlignedBytes::zeroed(length);
        let blocks: &mut [Q8_0] = bytemuck::cast_slice_mut(bytes.as_mut());
        let rows = blocks.par_chunks_mut(k / RUN).zip(weights.par_chunks(k)).zip(scales);
        rows.for_each(|((blocks, weights), scale)| {
            for (block, codes) in blocks.iter_mut().zip(weights.as_chunks::<RUN>().0) {
                *block = Q8_0::from_codes(scale, codes);
            }
        });
        let matrix = QuantizedMatrix::from_aligned(GgmlType::Q8_0, n, k, bytes)?;
        Ok(Imported { matrix, columns: None, scale_error })
    }
}

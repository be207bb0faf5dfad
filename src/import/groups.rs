//! Four-bit weights with a scale and a zero point per group.

use rayon::prelude::*;
use warpdot_formats::{F16, FromCodes, GgmlType, Q4_0, Q5_0, RUN};

use super::columns::{ColumnOrder, Grouping};
use super::nibbles::{AlongColumns, Nibbles};
use super::{Imported, Scales};
use crate::matrix::{AlignedBytes, expect_length};
use crate::{Error, QuantizedMatrix};

/// The sizes of a layout, checked.
pub(super) struct Shape {
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) group: usize,
}

impl Shape {
    pub(super) fn new(n: usize, k: usize, group: usize) -> Result<Self, Error> {
        QuantizedMatrix::byte_len(GgmlType::Q5_0, n, k)?;
        if !n.is_multiple_of(8) {
            return Err(Error::PartialWord { n });
        }
        if group == 0 {
            return Err(Error::ZeroSize { what: "group" });
        }
        Ok(Self { n, k, group: group.min(k) })
    }

    pub(super) fn groups(&self) -> usize {
        self.k.div_ceil(self.group)
    }
}

/// Weights `scale * (q - zero)`, whose sizes have been checked.
pub(super) struct Weights<'a, Q> {
    pub(super) shape: Shape,
    /// k rows of n.
    pub(super) q: Q,
    /// Zero points but for `zero_offset`: a row of n for each group.
    pub(super) zeros: AlongColumns<'a>,
    pub(super) zero_offset: u8,
    pub(super) scales: Scales<'a>,
    pub(super) grouping: Grouping,
}

/// The zero point of symmetric quantization.
const MIDDLE: u8 = 8;

impl<Q: Nibbles> Weights<'_, Q> {
    pub(super) fn import(self) -> Result<Imported, Error> {
        let (n, groups) = (self.shape.n, self.shape.groups());
        expect_length("qzeros (groups * n / 8)", groups * (n / 8), self.zeros.words.len())?;
        let (scales, scale_error) = self.scales.round("scales (groups * n)", groups, n)?;
        let middle = u32::from(MIDDLE - self.zero_offset) * 0x1111_1111;
        let symmetric = self.zeros.words.par_iter().all(|word| *word as u32 == middle);
        let matrix = if symmetric { self.blocks::<Q4_0>(&scales) } else { self.blocks::<Q5_0>(&scales) }?;
        Ok(Imported { matrix, columns: self.grouping.order, scale_error })
    }

    /// Transposes strips of some rows of the result, 32 columns at a time.
    fn blocks<F: FromCodes>(&self, scales: &[F16]) -> Result<QuantizedMatrix, Error> {
        /// A few cache lines of a row of the source; and the blocks of as many rows of the result fit the cache.
        const STRIP: usize = 64;
        let Shape { n, k, .. } = self.shape;
        let runs = k / RUN;
        let order = self.grouping.order.as_ref().map(ColumnOrder::as_slice);
        let mut bytes = AlignedBytes::zeroed(n * runs * size_of::<F>());
        let blocks: &mut [F] = bytemuck::cast_slice_mut(bytes.as_mut());
        blocks.par_chunks_mut(STRIP * runs).enumerate().for_each(|(strip, blocks)| {
            let (first, width) = (strip * STRIP, blocks.len() / runs);
            let (mut zeros, mut q, mut codes) = ([0; STRIP], [0; STRIP], [[0; RUN]; STRIP]);
            let (zeros, q, codes) = (&mut zeros[..width], &mut q[..width], &mut codes[..width]);
            for (run, &group) in self.grouping.groups.iter().enumerate() {
                self.zeros.read(group, first, zeros);
                for i in 0..RUN {
                    let column = run * RUN + i;
                    self.q.read(order.map_or(column, |order| order[column] as usize), first, q);
                    for ((codes, q), zero) in codes.iter_mut().zip(&*q).zip(&*zeros) {
                        codes[i] = (q.wrapping_sub(zero + self.zero_offset)) as i8;
                    }
                }
                let scales = &scales[group * n + first..][..width];
                for (row, (codes, scale)) in codes.iter().zip(scales).enumerate() {
                    blocks[row * runs + run] = F::from_codes(*scale, codes);
                }
            }
        });
        QuantizedMatrix::from_aligned(F::TYPE, n, k, bytes)
    }
}

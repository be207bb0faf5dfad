//! Weights go through memory in pieces, so that it holds what becomes of a matrix but never all of its f32 form.

use crate::error::Error;
use rayon::prelude::*;
use std::ops::Range;
use warpdot::{GgmlType, QuantizedMatrix};

/// About as many weights are in a piece, but at least one row.
pub(crate) const PIECE: usize = 1 << 20;

/// Writes the row of this number to a slice.
pub(crate) trait Fill: Fn(usize, &mut [f32]) -> Result<(), warpdot::Error> + Sync {}
impl<F: Fn(usize, &mut [f32]) -> Result<(), warpdot::Error> + Sync> Fill for F {}

/// Calls `act` with the number of the first row of each piece, and the piece: whole rows of k weights.
pub(crate) fn for_each(
    rows: Range<usize>,
    k: usize,
    fill: impl Fill,
    mut act: impl FnMut(usize, &[f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    let piece_rows = (PIECE / k).clamp(1, rows.len().max(1));
    let mut piece = zeros("a row of weights", piece_rows * k)?;
    for first in rows.clone().step_by(piece_rows) {
        let piece = &mut piece[..piece_rows.min(rows.end - first) * k];
        piece.par_chunks_mut(k).enumerate().try_for_each(|(row, out)| fill(first + row, out))?;
        act(first, piece)?;
    }
    Ok(())
}

/// Calls `sink` with the blocks of each piece in turn; `importance` is that of the k columns, if they have any.
pub(crate) fn quantize(
    ty: GgmlType,
    rows: Range<usize>,
    k: usize,
    importance: Option<&[f32]>,
    fill: impl Fill,
    mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    for_each(rows, k, fill, |first, piece| {
        let n = piece.len() / k;
        let quantized = match importance {
            None => QuantizedMatrix::quantize(ty, n, k, piece),
            Some(importance) => QuantizedMatrix::quantize_weighted(ty, n, k, piece, importance),
        };
        sink(quantized.map_err(|error| below(first, error))?.bytes())
    })
}

/// An error about rows of a piece, as one about rows of the matrix.
fn below(first: usize, error: warpdot::Error) -> warpdot::Error {
    use warpdot::Error::{NonFiniteWeight, WeightTooLarge};
    match error {
        NonFiniteWeight { row, column, value } => NonFiniteWeight { row: first + row, column, value },
        WeightTooLarge { row, column, ty } => WeightTooLarge { row: first + row, column, ty },
        other => other,
    }
}

/// As `vec![0.0; len]`, but too large a size is an error.
pub(crate) fn zeros(what: &'static str, len: usize) -> Result<Vec<f32>, Error> {
    let mut zeros = allocate(what, len)?;
    zeros.resize(len, 0.0);
    Ok(zeros)
}

pub(crate) fn allocate<T>(what: &'static str, len: usize) -> Result<Vec<T>, Error> {
    let mut vec = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    vec.try_reserve_exact(len).map_err(|_| Error::Memory { what, bytes })?;
    Ok(vec)
}

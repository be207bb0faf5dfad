//! Matrices of weights, and some rows of them.

use std::ops::Range;

use warpdot_formats::{Format, GgmlType};

use crate::bytes::{blocks_of_bytes, expect_length};
use crate::weights::Weights;
use crate::{Error, PackedMatrix, Problem};

/// A matrix W\[n, k\] of weights.
#[derive(Clone, Copy, Debug)]
pub enum Matrix<'a> {
    /// In ggml's blocks.
    Blocks {
        /// The format.
        ty: GgmlType,
        /// Rows.
        n: usize,
        /// Weights in a row.
        k: usize,
        /// The blocks, row after row.
        bytes: &'a [u8],
    },
    /// Packed.
    Packed(&'a PackedMatrix),
    /// Some of the rows of a packed one.
    PackedRows {
        /// All rows.
        matrix: &'a PackedMatrix,
        /// The first of these.
        first: usize,
        /// How many there are.
        n: usize,
    },
}

impl<'a> Matrix<'a> {
    /// The format.
    pub fn ty(&self) -> GgmlType {
        match self {
            Self::Blocks { ty, .. } => *ty,
            Self::Packed(matrix) | Self::PackedRows { matrix, .. } => matrix.ty(),
        }
    }

    /// n.
    pub fn rows(&self) -> usize {
        match self {
            Self::Blocks { n, .. } | Self::PackedRows { n, .. } => *n,
            Self::Packed(matrix) => matrix.rows(),
        }
    }

    /// k.
    pub fn columns(&self) -> usize {
        match self {
            Self::Blocks { k, .. } => *k,
            Self::Packed(matrix) | Self::PackedRows { matrix, .. } => matrix.columns(),
        }
    }

    /// The rows of a range, which products read where they are: the queries of a fused QKV matrix, the share of one of
    /// several machines. Any range will do; of a packed matrix, one from a multiple of 16 on is quicker.
    ///
    /// # Errors
    /// If the range is empty, or ends after the last row; or if blocks are not as many bytes as n rows take.
    pub fn range(self, rows: Range<usize>) -> Result<Self, Error> {
        let Range { start, end } = rows;
        if start >= end || end > self.rows() {
            return Err(Error::RowRange { start, end, rows: self.rows() });
        }
        self.check()?;
        let n = end - start;
        Ok(match self {
            Self::Blocks { ty, k, bytes, .. } => {
                let row = k / ty.block_weights() * ty.block_bytes();
                Self::Blocks { ty, n, k, bytes: &bytes[start * row..end * row] }
            }
            Self::Packed(matrix) => Self::PackedRows { matrix, first: start, n },
            Self::PackedRows { matrix, first, .. } => Self::PackedRows { matrix, first: first + start, n },
        })
    }

    /// The rows `ids`, in any order and as often as one likes, which products read where they are: the candidates of a
    /// search. Of a packed matrix, sixteen that lie beside each other there, in order, are quicker than others, and of
    /// others the blocks as they are.
    ///
    /// # Errors
    /// If there are no ids, or no row for one of them.
    pub fn gather(self, ids: &'a [u32]) -> Result<MatrixRows<'a>, Error> {
        if ids.is_empty() {
            return Err(Error::ZeroSize { what: "n" });
        }
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.rows()) {
            return Err(Error::NoSuchRow { row: id as usize, rows: self.rows() });
        }
        Ok(MatrixRows { matrix: self, ids: Some(ids) })
    }

    /// Checks the shape, and that the rows are there.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (ty, n, k) = (self.ty(), self.rows(), self.columns());
        Problem { m: 1, n, k }.check(ty)?;
        match *self {
            Self::Blocks { bytes, .. } => {
                let row = k / ty.block_weights() * ty.block_bytes();
                let expected = n.checked_mul(row).ok_or(Error::Overflow { m: 1, n, k })?;
                expect_length("weights (bytes of n rows)", expected, bytes.len())
            }
            Self::PackedRows { matrix, first, n }
                if first.checked_add(n).is_none_or(|end| end > matrix.rows()) =>
            {
                Err(Error::RowRange { start: first, end: first.saturating_add(n), rows: matrix.rows() })
            }
            _ => Ok(()),
        }
    }

    /// The weights as products of the format's blocks take them.
    fn weights<F: Format>(self) -> Result<Weights<'a, F>, Error> {
        Ok(match self {
            Self::Blocks { k, bytes, .. } => Weights::new(k / F::WEIGHTS, &[], blocks_of_bytes::<F>(bytes)?),
            Self::Packed(matrix) => matrix.weights(),
            Self::PackedRows { matrix, first, .. } => matrix.weights().starting_at(first),
        })
    }
}

/// Rows of a matrix in a certain order: all of them, or what [`Matrix::gather`] chooses.
#[derive(Clone, Copy, Debug)]
pub struct MatrixRows<'a> {
    matrix: Matrix<'a>,
    ids: Option<&'a [u32]>,
}

impl<'a> From<Matrix<'a>> for MatrixRows<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        Self { matrix, ids: None }
    }
}

impl<'a> MatrixRows<'a> {
    /// The format.
    pub fn ty(&self) -> GgmlType {
        self.matrix.ty()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.ids.map_or(self.matrix.rows(), <[u32]>::len)
    }

    /// Weights in a row.
    pub fn columns(&self) -> usize {
        self.matrix.columns()
    }

    /// Checks the shape, and that the rows are there.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.matrix.check()
    }

    /// The weights as products of the format's blocks take them.
    pub(crate) fn weights<F: Format>(&self) -> Result<Weights<'a, F>, Error> {
        let weights = self.matrix.weights()?;
        Ok(match self.ids {
            Some(ids) => weights.gather(ids),
            None => weights,
        })
    }
}

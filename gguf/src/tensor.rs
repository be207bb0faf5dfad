//! One tensor of a file: what the header says about it, and its bytes.

use crate::{Error, TensorType, cursor::Cursor};
use bytes::Bytes;

/// ggml's limit.
const MAX_DIMS: usize = 4;

/// The least that a tensor takes in the header: an empty name, no dimensions, type, offset.
pub(crate) const LEAST_RECORD: usize = 8 + 4 + 4 + 8;

/// A tensor of a GGUF file.
///
/// It shares the file's memory, and keeps it alive, even when the [`Gguf`](crate::Gguf) is gone.
#[derive(Clone, Debug)]
pub struct Tensor {
    name: String,
    ty: TensorType,
    dims: Vec<u64>,
    /// Absent where the type, and so the size, is unknown.
    data: Option<Bytes>,
}

impl Tensor {
    /// The name, unique in its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its weights.
    pub fn ty(&self) -> TensorType {
        self.ty
    }

    /// The dimensions as the file has them, the fastest first: `[k, n]` for a matrix of n rows.
    pub fn dims(&self) -> &[u64] {
        &self.dims
    }

    /// The shape as a matrix: rows n (all but the fastest dimension), columns k.
    ///
    /// # Errors
    /// [`Error::ShapeOverflow`] where that does not fit this machine's `usize`.
    pub fn shape(&self) -> Result<(usize, usize), Error> {
        let overflow = || Error::ShapeOverflow { name: self.name.clone(), dims: self.dims.clone() };
        let (rows, cols) = rows_and_cols(&self.dims).ok_or_else(overflow)?;
        Ok((rows.try_into().map_err(|_| overflow())?, cols.try_into().map_err(|_| overflow())?))
    }

    /// The tensor's bytes: a view of the file, not a copy.
    ///
    /// # Errors
    /// [`Error::UnknownType`] where the type, and so the size, is unknown.
    pub fn bytes(&self) -> Result<Bytes, Error> {
        self.data.clone().ok_or_else(|| Error::UnknownType { name: self.name.clone(), id: self.ty.id() })
    }
}

/// A tensor's record in the header, before it is known where the data begin.
pub(crate) struct Record {
    pub(crate) name: String,
    ty: TensorType,
    dims: Vec<u64>,
    offset: u64,
}

impl Record {
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let name = cursor.string("a tensor name")?;
        let found = cursor.u32("a tensor's number of dimensions")?;
        check_dimensions(&name, found)?;
        let dims = (0..found).map(|_| cursor.u64("a tensor dimension")).collect::<Result<_, _>>()?;
        let ty = TensorType::from_id(cursor.u32("a tensor type")?);
        let offset = cursor.u64("a tensor offset")?;
        Ok(Self { name, ty, dims, offset })
    }

    /// Finds the tensor's bytes in `data`, the section behind the header.
    pub(crate) fn locate(self, data: &Bytes, alignment: u32) -> Result<Tensor, Error> {
        if !self.offset.is_multiple_of(alignment.into()) {
            return Err(Error::Misaligned { name: self.name, offset: self.offset, alignment });
        }
        let bytes = byte_len(&self.name, self.ty, &self.dims)?;
        let data = bytes.map(|bytes| self.slice(data, bytes)).transpose()?;
        Ok(Tensor { name: self.name, ty: self.ty, dims: self.dims, data })
    }

    fn slice(&self, data: &Bytes, bytes: u64) -> Result<Bytes, Error> {
        let end = self.offset.checked_add(bytes).filter(|&end| end <= data.len() as u64);
        match end {
            // Both bounds are at most a `usize` length.
            Some(end) => Ok(data.slice(self.offset as usize..end as usize)),
            None => Err(Error::PastEnd {
                name: self.name.clone(),
                offset: self.offset,
                bytes,
                available: data.len(),
            }),
        }
    }
}

/// How many bytes a tensor takes; `None` where its type is unknown.
pub(crate) fn byte_len(name: &str, ty: TensorType, dims: &[u64]) -> Result<Option<u64>, Error> {
    let Some((weights, bytes)) = ty.block() else { return Ok(None) };
    let cols = dims.first().copied().unwrap_or(1);
    if !cols.is_multiple_of(weights) {
        return Err(Error::PartialBlock { name: name.to_owned(), cols, ty: ty.to_string(), block: weights });
    }
    rows_and_cols(dims)
        .and_then(|(rows, cols)| rows.checked_mul((cols / weights).checked_mul(bytes)?))
        .map(Some)
        .ok_or_else(|| Error::ShapeOverflow { name: name.to_owned(), dims: dims.to_vec() })
}

/// Refuses more dimensions than the format has.
pub(crate) fn check_dimensions(name: &str, found: u32) -> Result<(), Error> {
    if found as usize > MAX_DIMS {
        return Err(Error::Dimensions { name: name.to_owned(), found, limit: MAX_DIMS });
    }
    Ok(())
}

/// The first dimension, and the product of the others; `None` where that overflows.
fn rows_and_cols(dims: &[u64]) -> Option<(u64, u64)> {
    let (&cols, rest) = dims.split_first().unwrap_or((&1, &[]));
    let rows = rest.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))?;
    Some((rows, cols))
}

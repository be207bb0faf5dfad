//! What a file is to hold: everything about it but the tensors' bytes.

use crate::{
    Error, TensorType, Value, Writer,
    field::Put,
    file::{MAGIC, alignment},
    tensor::{byte_len, check_dimensions},
};
use indexmap::{IndexMap, map::Entry};
use std::path::Path;

/// The version of the format that is written.
const VERSION: u32 = 3;

/// The metadata of a file, and the names, types and shapes of its tensors, in file order.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    metadata: IndexMap<String, Value>,
    tensors: IndexMap<String, Planned>,
}

/// A tensor whose bytes are still to come.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    ty: TensorType,
    dims: Vec<u64>,
    pub(crate) bytes: u64,
}

impl Outline {
    /// A file without metadata and tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the metadata value of `key`: in its place if the key is there, else behind the others.
    ///
    /// `general.alignment` says what the tensors' offsets are multiples of, as in any file.
    pub fn set(&mut self, key: impl Into<String>, value: Value) {
        self.metadata.insert(key.into(), value);
    }

    /// Adds a tensor behind the others; `dims` has the fastest dimension first.
    ///
    /// # Errors
    /// If there is a tensor of this name, or its type and shape are not those of a tensor of a known size.
    pub fn add_tensor(&mut self, name: impl Into<String>, ty: TensorType, dims: &[u64]) -> Result<(), Error> {
        let name = name.into();
        check_dimensions(&name, dims.len().try_into().unwrap_or(u32::MAX))?;
        let Some(bytes) = byte_len(&name, ty, dims)? else {
            return Err(Error::UnknownType { name, id: ty.id() });
        };
        match self.tensors.entry(name) {
            Entry::Vacant(entry) => entry.insert(Planned { ty, dims: dims.to_vec(), bytes }),
            Entry::Occupied(entry) => return Err(Error::DuplicateTensor { name: entry.key().clone() }),
        };
        Ok(())
    }

    /// Begins the file that is to be at `path`; see [`Writer`].
    ///
    /// # Errors
    /// If the metadata have an unsound alignment or arrays that are nested too deeply, the tensors together are
    /// too large to address, or the operating system refuses a file beside `path`.
    pub fn create(self, path: impl AsRef<Path>) -> Result<Writer, Error> {
        let alignment = alignment(&self.metadata)?;
        let header = self.header(alignment)?;
        Writer::create(path.as_ref(), &header, self.tensors, alignment)
    }

    fn header(&self, alignment: u32) -> Result<Vec<u8>, Error> {
        let mut out = MAGIC.to_vec();
        out.put(&VERSION);
        out.put(&(self.tensors.len() as u64));
        out.put(&(self.metadata.len() as u64));
        for (key, value) in &self.metadata {
            out.put(key);
            value.write(&mut out, key)?;
        }
        let mut offset = 0u64;
        for (name, Planned { ty, dims, bytes }) in &self.tensors {
            out.put(name);
            out.put(&(dims.len() as u32));
            dims.iter().for_each(|dim| out.put(dim));
            out.put(&ty.id());
            out.put(&offset);
            offset = offset
                .checked_add(*bytes)
                .and_then(|end| end.checked_next_multiple_of(alignment.into()))
                .ok_or_else(|| Error::ShapeOverflow { name: name.clone(), dims: dims.clone() })?;
        }
        Ok(out)
    }
}

//! A whole file: header, metadata, tensors.

use crate::{
    Error, Tensor, Value,
    cursor::Cursor,
    tensor::{LEAST_RECORD, Record},
};
use bytes::Bytes;
use indexmap::{IndexMap, map::Entry};
use std::{fs::File, path::Path};

pub(crate) const MAGIC: [u8; 4] = *b"GGUF";
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u32 = 32;

/// The least that a metadata entry takes: an empty key, a type, one byte.
const LEAST_ENTRY: usize = 8 + 4 + 1;

/// A GGUF file, read and checked: every tensor of a known type lies inside it.
#[derive(Clone, Debug)]
pub struct Gguf {
    version: u32,
    alignment: u32,
    metadata: IndexMap<String, Value>,
    tensors: IndexMap<String, Tensor>,
}

impl Gguf {
    /// Maps the file at `path` and reads its header. Tensors are not read until their bytes are.
    ///
    /// The file must not be shortened or written to while it is mapped, that is, while this value or
    /// any tensor's bytes live: as with every memory map, a read behind a new end kills the process,
    /// and written bytes show through. Where that cannot be promised, read the file into memory and
    /// use [`Gguf::from_bytes`].
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or mapped; any other error if it is not a sound GGUF file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_bytes(map(path).map_err(|source| Error::Io { path: path.to_owned(), source })?)
    }

    /// Reads a file that is in memory already.
    ///
    /// # Errors
    /// As [`Gguf::open`], without [`Error::Io`].
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let mut cursor = Cursor::new(&bytes);
        let version = version(&mut cursor)?;
        let tensor_count_at = cursor.position();
        let tensor_count = cursor.u64("the number of tensors")?;
        let entry_count = cursor.count("the number of metadata entries", LEAST_ENTRY)?;
        let metadata = metadata(&mut cursor, entry_count)?;
        let alignment = alignment(&metadata)?;
        let tensor_count =
            cursor.fits("the number of tensors", tensor_count, tensor_count_at, LEAST_RECORD)?;
        let records = (0..tensor_count).map(|_| Record::read(&mut cursor)).collect::<Result<Vec<_>, _>>()?;

        let data = data_section(&bytes, cursor.position(), alignment);
        let mut tensors = IndexMap::new();
        for record in records {
            match tensors.entry(record.name.clone()) {
                Entry::Vacant(entry) => entry.insert(record.locate(&data, alignment)?),
                Entry::Occupied(entry) => {
                    return Err(Error::DuplicateTensor { name: entry.key().clone() });
                }
            };
        }
        Ok(Self { version, alignment, metadata, tensors })
    }

    /// The version of the format that the file states: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What every tensor's offset is a multiple of.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// The metadata, in file order.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The metadata value of `key`, if the file has it.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// The tensors, in file order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.tensors.values()
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`] if the file has none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, Error> {
        let missing = || Error::NoSuchTensor { name: name.to_owned(), count: self.tensors.len() };
        self.tensors.get(name).ok_or_else(missing)
    }
}

fn map(path: &Path) -> std::io::Result<Bytes> {
    let file = File::open(path)?;
    // SAFETY: the map is read-only and private to this process; that nobody shortens or writes to the
    // file meanwhile is the documented duty of whoever calls `Gguf::open`.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

fn version(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    let found = cursor.array("the magic")?;
    if found != MAGIC {
        return Err(Error::Magic { found });
    }
    match cursor.u32("the version")? {
        version @ 2..=3 => Ok(version),
        // A small big-endian number has its bytes at the other end.
        version if version != 0 && version & 0xffff == 0 => Err(Error::BigEndian { version }),
        found => Err(Error::Version { found }),
    }
}

fn metadata(cursor: &mut Cursor<'_>, count: usize) -> Result<IndexMap<String, Value>, Error> {
    let mut metadata = IndexMap::new();
    for _ in 0..count {
        let key = cursor.string("a metadata key")?;
        let value = Value::read(cursor, &key)?;
        match metadata.entry(key) {
            Entry::Vacant(entry) => entry.insert(value),
            Entry::Occupied(entry) => return Err(Error::DuplicateKey { key: entry.key().clone() }),
        };
    }
    Ok(metadata)
}

pub(crate) fn alignment(metadata: &IndexMap<String, Value>) -> Result<u32, Error> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(alignment)) if alignment.is_power_of_two() => Ok(alignment),
        Some(other) => Err(Error::Alignment { found: format!("{other:?}") }),
    }
}

/// What follows the header, from the next aligned byte on; empty where the file ends before it.
fn data_section(bytes: &Bytes, header: usize, alignment: u32) -> Bytes {
    let start = header.checked_next_multiple_of(alignment as usize).unwrap_or(bytes.len());
    bytes.slice(start.min(bytes.len())..)
}

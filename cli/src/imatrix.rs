//! llama.cpp's importance matrices: the mean squares of the activations that met each column of a model's matrices,
//! in either of the two forms that `llama-imatrix` writes.

use crate::error::Error;
use indexmap::IndexMap;
use std::{fs, path::Path};
use warpdot_gguf::{Array, Gguf, Tensor, TensorType, Value};

/// What is wrong with an importance matrix.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("{0}")]
    Open(#[from] std::io::Error),

    #[error(transparent)]
    Gguf(#[from] warpdot_gguf::Error),

    #[error("the file's general.type is {found}; expected \"imatrix\"")]
    GeneralType { found: String },

    #[error("the file ends too early: {what} at byte {offset} needs {needed} bytes, {available} are left")]
    Truncated { what: &'static str, offset: usize, needed: usize, available: usize },

    #[error("{what} at byte {offset} is {found}; expected a number that is not negative")]
    Negative { what: &'static str, offset: usize, found: i32 },

    #[error("the file has no entries; expected at least one")]
    Empty,

    #[error("the name at byte {offset} is not UTF-8")]
    Name { offset: usize },

    #[error("`{name}` is there twice; expected each entry once")]
    Duplicate { name: String },

    #[error("`{name}.in_sum2` has no `{name}.counts` beside it")]
    NoCounts { name: String },

    #[error("`{name}` is {ty}; expected F32")]
    Type { name: String, ty: String },

    #[error("`{name}` has {values} sums and {counts} counts; expected as many sums for each count")]
    Counts { name: String, values: usize, counts: usize },

    #[error("value {index} of `{name}` is {value}; expected a finite number that is not negative")]
    Value { name: String, index: usize, value: f32 },
}

/// An importance matrix.
#[derive(Debug)]
pub(crate) struct Imatrix {
    entries: IndexMap<String, Vec<f32>>,
    /// The text that the activations came from, if the file says so.
    dataset: Option<String>,
    /// How many pieces of it there were.
    chunks: Option<u32>,
}

/// Matrices whose entries may have another length: what is looked up instead of multiplied has no activations.
const EMBEDDINGS: [&str; 2] = ["token_embd.weight", "per_layer_token_embd.weight"];

impl Imatrix {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Self::read(path).map_err(|source| Error::Imatrix { path: path.to_owned(), source })
    }

    fn read(path: &Path) -> Result<Self, Damage> {
        let bytes = fs::read(path)?;
        let new = if bytes.starts_with(b"GGUF") {
            Self::from_gguf(&Gguf::from_bytes(bytes)?)?
        } else {
            Self::from_legacy(&bytes)?
        };
        for (name, values) in &new.entries {
            if let Some(index) = values.iter().position(|value| !value.is_finite() || *value < 0.0) {
                return Err(Damage::Value { name: name.clone(), index, value: values[index] });
            }
        }
        if new.entries.is_empty() { Err(Damage::Empty) } else { Ok(new) }
    }

    /// The newer form: sums of squares and how many of them, a count for each expert.
    fn from_gguf(file: &Gguf) -> Result<Self, Damage> {
        match file.value("general.type") {
            Some(Value::String(ty)) if ty == "imatrix" => {}
            other => {
                return Err(Damage::GeneralType {
                    found: other.map_or("absent".into(), |v| format!("{v:?}")),
                });
            }
        }
        let mut entries = IndexMap::new();
        for sums in file.tensors() {
            let Some(name) = sums.name().strip_suffix(".in_sum2") else { continue };
            let counts = file
                .tensor(&format!("{name}.counts"))
                .map_err(|_| Damage::NoCounts { name: name.to_owned() })?;
            let (mut values, counts) = (floats(sums)?, floats(counts)?);
            if counts.is_empty() || values.is_empty() || !values.len().is_multiple_of(counts.len()) {
                let name = name.to_owned();
                return Err(Damage::Counts { name, values: values.len(), counts: counts.len() });
            }
            let columns = values.len() / counts.len();
            for (values, &count) in values.chunks_mut(columns).zip(&counts) {
                // An expert that was never asked has no sums.
                values.iter_mut().for_each(|value| *value = if count > 0.0 { *value / count } else { 1.0 });
            }
            entries.insert(name.to_owned(), values);
        }
        let dataset = match file.value("imatrix.datasets") {
            Some(Value::Array(Array::String(names))) => names.first().cloned(),
            _ => None,
        };
        let chunks = file.value("imatrix.chunk_count").and_then(Value::as_u64);
        Ok(Self { entries, dataset, chunks: chunks.and_then(|chunks| chunks.try_into().ok()) })
    }

    /// The older form: mean squares times how many they are of; numbers of 32 bits, little-endian.
    fn from_legacy(bytes: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader { bytes, at: 0 };
        let mut entries = IndexMap::new();
        for _ in 0..reader.count("the number of entries")? {
            let name = reader.text("the length of a name")?;
            let calls = reader.count("the number of calls")?;
            let length = reader.count("the number of values")?;
            let values = reader.take("the values", length.saturating_mul(4))?;
            let divisor = calls.max(1) as f32;
            let values = values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value) / divisor);
            if entries.insert(name.clone(), values.collect()).is_some() {
                return Err(Damage::Duplicate { name });
            }
        }
        // What follows came later, and may be absent.
        let (mut chunks, mut dataset) = (None, None);
        if reader.at < bytes.len() {
            chunks = u32::try_from(reader.count("the number of chunks")?).ok();
            dataset = Some(reader.text("the length of the dataset's name")?).filter(|name| !name.is_empty());
        }
        Ok(Self { entries, dataset, chunks })
    }

    /// The importance of the columns of a tensor, of each expert's in turn, if there is an entry for it.
    pub(crate) fn of(&self, tensor: &Tensor) -> Result<Option<&[f32]>, Error> {
        let Some(values) = self.entries.get(tensor.name()) else { return Ok(None) };
        let dim = |i: usize| tensor.dims().get(i).copied().unwrap_or(1);
        let expected = dim(0).saturating_mul(dim(2));
        if values.len() as u64 == expected {
            Ok(Some(values))
        } else if EMBEDDINGS.contains(&tensor.name()) {
            Ok(None)
        } else {
            let name = tensor.name().to_owned();
            Err(Error::ImatrixLength { name, found: values.len(), expected })
        }
    }

    /// What llama-quantize notes about it in the files that it writes.
    pub(crate) fn metadata(&self, path: &Path) -> impl Iterator<Item = (&'static str, Value)> {
        let number = |count: u32| Some(Value::U32(count));
        [
            ("quantize.imatrix.file", Some(Value::String(path.to_string_lossy().into_owned()))),
            ("quantize.imatrix.dataset", self.dataset.clone().map(Value::String)),
            ("quantize.imatrix.entries_count", self.entries.len().try_into().ok().and_then(number)),
            ("quantize.imatrix.chunks_count", self.chunks.filter(|&chunks| chunks > 0).and_then(number)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, Damage> {
    if tensor.ty() != TensorType::F32 {
        return Err(Damage::Type { name: tensor.name().to_owned(), ty: tensor.ty().to_string() });
    }
    let bytes = tensor.bytes()?;
    Ok(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, what: &'static str, needed: usize) -> Result<&'a [u8], Damage> {
        let rest = &self.bytes[self.at..];
        let truncated = Damage::Truncated { what, offset: self.at, needed, available: rest.len() };
        let taken = rest.get(..needed).ok_or(truncated)?;
        self.at += needed;
        Ok(taken)
    }

    fn count(&mut self, what: &'static str) -> Result<usize, Damage> {
        let offset = self.at;
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(what, 4)?);
        let found = i32::from_le_bytes(bytes);
        found.try_into().map_err(|_| Damage::Negative { what, offset, found })
    }

    fn text(&mut self, length: &'static str) -> Result<String, Damage> {
        let length = self.count(length)?;
        let offset = self.at;
        let text = self.take("a name", length)?;
        String::from_utf8(text.to_vec()).map_err(|_| Damage::Name { offset })
    }
}

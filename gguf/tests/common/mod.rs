//! Writes GGUF files field by field, sound ones and, with one field changed, every unsound one.
#![allow(dead_code)] // each test binary uses its part

use warpdot_gguf::Gguf;

/// A metadata entry: key, number of the value's type, the value's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) type_id: u32,
    pub(crate) value: Vec<u8>,
}

/// A tensor's record in the header.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) name: Vec<u8>,
    pub(crate) dims: Vec<u64>,
    pub(crate) type_id: u32,
    pub(crate) offset: u64,
}

/// A file before it is bytes. The counts are those of the lists unless they are overridden.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) entry_count: Option<u64>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) tensors: Vec<Record>,
    pub(crate) alignment: usize,
    pub(crate) data: Vec<u8>,
}

pub(crate) const U32: u32 = 4;
pub(crate) const F32: u32 = 6;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

pub(crate) const TENSOR_F32: u32 = 0;
pub(crate) const TENSOR_Q8_0: u32 = 8;
pub(crate) const TENSOR_Q4_K: u32 = 12;

pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

pub(crate) fn array(element: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    [&element.to_le_bytes()[..], &len.to_le_bytes(), elements].concat()
}

pub(crate) fn entry(key: &str, type_id: u32, value: impl AsRef<[u8]>) -> Entry {
    Entry { key: key.into(), type_id, value: value.as_ref().to_vec() }
}

pub(crate) fn record(name: &str, dims: &[u64], type_id: u32, offset: u64) -> Record {
    Record { name: name.into(), dims: dims.to_vec(), type_id, offset }
}

impl Draft {
    /// A sound file with every kind of value and three tensors, the last of an unknown type.
    pub(crate) fn sound() -> Self {
        let strings = [text("a"), text(""), text("größe")].concat();
        let nested = [array(BOOL, 2, &[0, 1]), array(BOOL, 0, &[])].concat();
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            entry_count: None,
            entries: vec![
                entry("general.architecture", STRING, text("bert")),
                entry("answer", U32, 42u32.to_le_bytes()),
                entry("eps", F32, 1e-5f32.to_le_bytes()),
                entry("flag", BOOL, [1]),
                entry("tokens", ARRAY, array(STRING, 3, &strings)),
                entry("nested", ARRAY, array(ARRAY, 2, &nested)),
            ],
            tensors: vec![
                record("matrix", &[64, 3], TENSOR_Q8_0, 0),
                record("vector", &[5], TENSOR_F32, 224),
                record("future", &[1 << 40], 1000, 224),
            ],
            alignment: 32,
            // 3 rows of two Q8_0 blocks are 204 bytes; 5 floats follow on the next multiple of 32.
            data: (0..244u32).map(|i| (i * 7 + 1) as u8).collect(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.entry_count.unwrap_or(self.entries.len() as u64).to_le_bytes());
        for entry in &self.entries {
            out.extend(text(&entry.key));
            out.extend(entry.type_id.to_le_bytes());
            out.extend(&entry.value);
        }
        for tensor in &self.tensors {
            out.extend(text(&tensor.name));
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            out.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            out.extend(tensor.type_id.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

/// Reads everything a file offers; what it must not do is panic.
pub(crate) fn read_all(bytes: Vec<u8>) {
    let Ok(file) = Gguf::from_bytes(bytes) else { return };
    for tensor in file.tensors() {
        let size = tensor.bytes().map(|bytes| bytes.len());
        if let (Ok(size), Some((weights, bytes))) = (size, tensor.ty().block()) {
            let (rows, cols) = tensor.shape().unwrap();
            assert_eq!(size as u64, (rows * cols) as u64 / weights * bytes);
        }
    }
}

use std::{io, path::PathBuf};

/// Why a file could not be read or written as GGUF, or a tensor not handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open or to map the file.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The path as given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with {found:02x?}, expected {:02x?} (\"GGUF\")", b"GGUF")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },

    /// The file was written for a big-endian machine.
    #[error("the file is big-endian (its version reads {version:#010x}); expected a little-endian one")]
    BigEndian {
        /// The version field, read as little-endian.
        version: u32,
    },

    /// A version of the format that this crate does not read.
    #[error("GGUF version {found} is not supported; expected 2 or 3")]
    Version {
        /// The version the file states.
        found: u32,
    },

    /// The file ends inside a field.
    #[error("the file ends too early: {what} at byte {offset} needs {needed} bytes, {available} are left")]
    Truncated {
        /// The field that was being read.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// How many bytes it takes.
        needed: u64,
        /// How many bytes the file still has there.
        available: usize,
    },

    /// A count larger than the rest of the file could hold.
    #[error("{what} is {count} at byte {offset}, but the rest of the file has room for at most {most}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The count the file states.
        count: u64,
        /// Where the count stands.
        offset: usize,
        /// How many could follow, were each as short as can be.
        most: usize,
    },

    /// Text that is not UTF-8.
    #[error("{what} at byte {offset} is not UTF-8: byte {bad} of the text is wrong")]
    Utf8 {
        /// Which text.
        what: &'static str,
        /// Where the text starts in the file.
        offset: usize,
        /// The first byte of it that is no UTF-8.
        bad: usize,
    },

    /// A metadata value of a type that the format does not define.
    #[error("metadata `{key}` has value type {id}; expected 0 to 12")]
    ValueType {
        /// The key of the value.
        key: String,
        /// The type number.
        id: u32,
    },

    /// A boolean that is neither 0 nor 1.
    #[error("metadata `{key}` holds the boolean {found}; expected 0 or 1")]
    Bool {
        /// The key of the value.
        key: String,
        /// The byte found.
        found: u8,
    },

    /// Arrays of arrays nested too deeply.
    #[error("metadata `{key}` nests arrays deeper than {limit} levels")]
    Depth {
        /// The key of the value.
        key: String,
        /// How many levels are read.
        limit: usize,
    },

    /// Two metadata entries with one key.
    #[error("metadata `{key}` appears twice; expected each key once")]
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// `general.alignment` is of the wrong type or no power of two.
    #[error("metadata `general.alignment` is {found}; expected a u32 power of two")]
    Alignment {
        /// The value found, as Rust's `Debug` prints it.
        found: String,
    },

    /// Two tensors with one name.
    #[error("tensor `{name}` appears twice; expected each name once")]
    DuplicateTensor {
        /// The name.
        name: String,
    },

    /// A tensor of more dimensions than the format has.
    #[error("tensor `{name}` has {found} dimensions; expected at most {limit}")]
    Dimensions {
        /// The tensor.
        name: String,
        /// How many dimensions the file states.
        found: u32,
        /// How many there may be.
        limit: usize,
    },

    /// A shape whose size overflows.
    #[error("tensor `{name}` of shape {dims:?} is too large to address")]
    ShapeOverflow {
        /// The tensor.
        name: String,
        /// Its dimensions, the fastest first.
        dims: Vec<u64>,
    },

    /// Rows that are not whole blocks.
    #[error("tensor `{name}` has rows of {cols} weights; {ty} needs a multiple of {block}")]
    PartialBlock {
        /// The tensor.
        name: String,
        /// Its first dimension.
        cols: u64,
        /// The name of its type.
        ty: String,
        /// Weights in a block of that type.
        block: u64,
    },

    /// A tensor that does not start on the file's alignment.
    #[error("tensor `{name}` starts at offset {offset}; expected a multiple of the alignment {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u32,
    },

    /// A tensor that ends behind the end of the file.
    #[error("tensor `{name}` needs {bytes} bytes at offset {offset} of the data, which has {available}")]
    PastEnd {
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// Its size in bytes.
        bytes: u64,
        /// The size of the data section.
        available: usize,
    },

    /// The bytes of a tensor were asked for whose type, hence size, is unknown.
    #[error("tensor `{name}` has the unknown ggml type {id}, so its size is unknown")]
    UnknownType {
        /// The tensor.
        name: String,
        /// ggml's number for the type.
        id: u32,
    },

    /// A tensor was asked for that the file lacks.
    #[error("there is no tensor `{name}` among the {count} of the file")]
    NoSuchTensor {
        /// The name asked for.
        name: String,
        /// How many tensors the file has.
        count: usize,
    },

    /// The operating system refused to write the file.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The path as given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The output is there and is a folder, a device, or anything else that a file must not replace.
    #[error("cannot write {}: it is there already and is not a regular file", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },

    /// Bytes of a tensor that is not the one to be written next.
    #[error("bytes of tensor `{found}` came where {expected} was expected")]
    TensorOrder {
        /// The tensor that they were said to belong to.
        found: String,
        /// What should come next.
        expected: String,
    },

    /// More bytes of a tensor than its shape has, or, at the end of the file, fewer.
    #[error("tensor `{name}` got {found} bytes; expected {expected}")]
    TensorBytes {
        /// The tensor.
        name: String,
        /// How many bytes came.
        found: u64,
        /// How many its type and shape take.
        expected: u64,
    },
}

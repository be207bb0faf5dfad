use crate::{emulator, imatrix};
use std::{
    io,
    path::{Path, PathBuf},
};

use warpdot_formats::FloatType;

/// Why the command stopped, in one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Library(#[from] warpdot::Error),

    #[error("tensor `{name}`: {source}")]
    Tensor { name: String, source: Box<Error> },

    #[error("{}", in_file(path, source))]
    Gguf { path: PathBuf, source: warpdot_gguf::Error },

    #[error("tensor `{name}` has shape {dims:?}; expected two dimensions")]
    NotAMatrix { name: String, dims: Vec<u64> },

    #[error("tensor `{name}` is {ty}; expected {expected}")]
    TensorType { name: String, ty: String, expected: String },

    #[error(
        "{} has no matrix of a supported type ({expected}) among its {count} tensors",
        path.display()
    )]
    NoMatrix { path: PathBuf, expected: String, count: usize },

    #[error("{what} needs {bytes} bytes, which this machine does not give")]
    Memory { what: &'static str, bytes: usize },

    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },

    #[error("cannot print: {0}")]
    Print(io::Error),

    #[error(
        "tensor `{name}` is {ty} already: quantizing it to {to} would lose accuracy twice; expected F32, F16 or \
         BF16, or the option --allow-requantize"
    )]
    Quantized { name: String, ty: String, to: String },

    #[error("tensor `{name}` is {ty}, which cannot be dequantized; expected F32, F16, BF16, {expected}")]
    NoDequantization { name: String, ty: String, expected: String },

    #[error("the weight in row {row}, column {column} is {value}: the largest of {ty} is {largest}")]
    TooLarge { row: usize, column: usize, value: f32, ty: FloatType, largest: f32 },

    #[error("cannot read the importance matrix {}: {source}", path.display())]
    Imatrix { path: PathBuf, source: imatrix::Damage },

    #[error(
        "tensor `{name}` has {found} values in the importance matrix; expected {expected}, one for each column (of \
         each expert)"
    )]
    ImatrixLength { name: String, found: usize, expected: u64 },

    #[error("the report is no JSON: {0}")]
    Json(#[from] serde_json::Error),

    #[error("emulated devices take the place of the real driver; expected no others but the CPU beside them")]
    EmulatedAndReal,

    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Emulator(#[from] warpdot_emulator::UnknownCapability),

    #[error("{source}; the emulator says: {report}")]
    Emulated { source: Box<Error>, report: String },

    #[error("--counters needs an emulated device; expected `--device emulated:9.0` or the like")]
    NothingCounts,

    #[error(transparent)]
    Line(#[from] warpdot_measure::line::Error),

    #[error("--peers {}: no result in it is another library's than warpdot; expected lines of candle or ggml", path.display())]
    NoPeer { path: PathBuf },

    #[error("cannot start {threads} threads: {source}")]
    Threads { threads: usize, source: rayon::ThreadPoolBuildError },

    #[error("{bytes} bytes of memory to measure its speed are not to be had: {source}")]
    ReadMemory { bytes: usize, source: io::Error },

    #[error("--kernel {}: no kernel of these products is called like that; expected a part of {expected}", wanted.join(","))]
    NoKernel { wanted: Vec<String>, expected: String },

    #[error("--isa {isa} needs the CPU among the devices; expected `--device cpu` or `all`")]
    IsaWithoutCpu { isa: &'static str },
}

impl Error {
    /// An error of a device, with what the emulator has to say about it, if that is where it came from.
    pub(crate) fn explained(self) -> Self {
        match emulator::complaint() {
            Some(report) => Self::Emulated { source: Box::new(self), report },
            None => self,
        }
    }

    /// An error about weights, as one about the weights of tensor `name`.
    pub(crate) fn in_tensor(self, name: &str) -> Self {
        match self {
            Self::Library(_) | Self::TooLarge { .. } => {
                Self::Tensor { name: name.to_owned(), source: Box::new(self) }
            }
            other => other,
        }
    }
}

/// An error that does not name its file already, with its name.
fn in_file(path: &Path, source: &warpdot_gguf::Error) -> String {
    use warpdot_gguf::Error::{Io, NotAFile, Write};
    match source {
        Io { .. } | Write { .. } | NotAFile { .. } => source.to_string(),
        _ => format!("{}: {source}", path.display()),
    }
}

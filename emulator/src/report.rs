//! What a device reports beyond a driver's error code.

use thiserror::Error;

use crate::diagnostic::Diagnostic;
use crate::ptx::PtxError;

/// Why a launch was refused before it began.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// More shared memory than the block may have.
    #[error("kernel `{kernel}` asks for {asked} bytes of shared memory, a block may have {limit} ({hint})")]
    SharedMemory {
        /// The entry's name.
        kernel: String,
        /// Static and dynamic bytes together.
        asked: u64,
        /// The limit that applies.
        limit: u64,
        /// What would raise the limit, if anything.
        hint: &'static str,
    },
    /// A block or grid with a zero or too large dimension, or with too many threads.
    #[error("kernel `{kernel}`: {what} {shape:?} is illegal, expected {expected}")]
    Shape {
        /// The entry's name.
        kernel: String,
        /// `grid` or `block`.
        what: &'static str,
        /// The shape asked for.
        shape: [u32; 3],
        /// What would be legal.
        expected: String,
    },
}

/// Something that went wrong on a device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Report {
    /// A kernel broke a rule.
    #[error("{0}")]
    Kernel(#[from] Diagnostic),
    /// A launch was refused.
    #[error("{0}")]
    Launch(#[from] LaunchError),
    /// A module was refused.
    #[error("PTX {0}")]
    Module(#[from] PtxError),
}

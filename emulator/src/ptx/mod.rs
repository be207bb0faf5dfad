//! PTX text to a syntax tree: [`lexer`] makes tokens, [`parser`] makes the [`tree`].

pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod tree;

use thiserror::Error;

/// Why a PTX module was refused: the line, and one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct PtxError {
    /// The line of the PTX text, from 1.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

impl PtxError {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

pub(crate) type Result<T> = std::result::Result<T, PtxError>;

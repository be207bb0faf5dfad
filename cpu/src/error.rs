//! What can go wrong, one sentence each.

use warpdot_formats::GgmlType;

/// Which value was wrong, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A dimension is zero.
    #[error("{what} is 0: every dimension of a product must be at least 1")]
    ZeroSize {
        /// The dimension's name: `m`, `n` or `k`.
        what: &'static str,
    },

    /// The product's size does not fit the machine's integers.
    #[error("m * n * k = {m} * {n} * {k} overflows: at most {} products can be computed at once", usize::MAX)]
    Overflow {
        /// Rows of X and Y.
        m: usize,
        /// Rows of W, columns of Y.
        n: usize,
        /// Columns of X and W.
        k: usize,
    },

    /// A row is not a whole number of blocks.
    #[error("k = {k} is not a multiple of {block}, the weights in a block of {ty}")]
    PartialBlock {
        /// Columns of W.
        k: usize,
        /// The format.
        ty: GgmlType,
        /// Weights in one of its blocks.
        block: usize,
    },

    /// A slice has the wrong length.
    #[error("{what} has {found} elements where {expected} were expected")]
    Length {
        /// Which slice, and the product that gives its length: `y (m * n)`.
        what: &'static str,
        /// The right length.
        expected: usize,
        /// The length given.
        found: usize,
    },

    /// Rows of a tensor overlap.
    #[error("the stride is {stride}: expected at least {columns}, the numbers in a row")]
    Stride {
        /// From the start of a row to that of the next.
        stride: usize,
        /// Numbers in a row.
        columns: usize,
    },

    /// A tensor does not fit the others of a product.
    #[error("{what} is a tensor of {rows} x {columns} where {} x {} was expected", expected.0, expected.1)]
    TensorShape {
        /// Which tensor.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// The rows and columns that fit.
        expected: (usize, usize),
    },

    /// A matrix lacks a row.
    #[error("there is no row {row}: the matrix has {rows} rows, counted from 0")]
    NoSuchRow {
        /// The row asked for.
        row: usize,
        /// The rows of the matrix.
        rows: usize,
    },

    /// The system does not give the memory that packed weights take.
    #[error("there is no memory for {bytes} bytes of packed weights")]
    Memory {
        /// The bytes asked for.
        bytes: usize,
    },

    /// A range is not one of a matrix's rows.
    #[error("there are no rows {start}..{end}: expected some of the matrix's 0..{rows}")]
    RowRange {
        /// The first row asked for.
        start: usize,
        /// The row after the last.
        end: usize,
        /// The rows of the matrix.
        rows: usize,
    },

    /// Experts would have different numbers of rows.
    #[error("n = {n} rows cannot be divided among {count} experts: expected a number that divides n")]
    UnevenExperts {
        /// Rows of the matrix.
        n: usize,
        /// The number of experts given.
        count: usize,
    },

    /// A row chose an expert that does not exist.
    #[error("row {row} of y has expert {expert}: there are {count} experts, counted from 0")]
    NoSuchExpert {
        /// The row of Y.
        row: usize,
        /// The expert.
        expert: u32,
        /// How many there are.
        count: usize,
    },

    /// Rows of Y do not share rows of X evenly.
    #[error("y has {y} rows, and x has {x}: expected a multiple of those of x")]
    UnevenRows {
        /// Rows of X.
        x: usize,
        /// Rows of Y.
        y: usize,
    },

    /// Bytes that are to be read as blocks start at an odd address.
    #[error("the weights' bytes start at address {address:#x}: blocks of {ty} need an even one")]
    Misaligned {
        /// Where they start.
        address: usize,
        /// The format.
        ty: GgmlType,
    },

    /// A kernel was asked for that the instruction set has no registers for.
    #[error("{isa} has no tile registers: expected amx, or one of the routines gemv and gemm")]
    NoTiles {
        /// The instruction set.
        isa: &'static str,
    },

    /// An instruction set was asked for that this CPU lacks.
    #[error("this CPU lacks what {name} needs: it has {}", .available.join(", "))]
    AbsentIsa {
        /// The instruction set asked for.
        name: &'static str,
        /// Those that are there.
        available: Vec<&'static str>,
    },

    /// An instruction set was asked for that there is no code for.
    #[error("there is no instruction set called {name:?} here: there is {}", .available.join(", "))]
    UnknownIsa {
        /// The name asked for.
        name: String,
        /// Those that are there.
        available: Vec<&'static str>,
    },
}

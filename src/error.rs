//! What can go wrong, one sentence each.

use warpdot_formats::GgmlType;

use crate::KernelId;

/// An error of this library: which value was wrong, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A dimension is zero.
    #[error("{what} is 0: every dimension of a product must be at least 1")]
    ZeroSize {
        /// The dimension's name: `m`, `n`, `k` or `group`.
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

    /// A product is too large for a GPU.
    #[error(
        "m = {m}, n = {n}, k = {k} is too large for the kernel {kernel}: sizes fit 32 bits, and its grid 2^31 - 1 \
         blocks"
    )]
    TooLarge {
        /// The kernel's entry.
        kernel: &'static str,
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

    /// A row index lies outside of the matrix.
    #[error("there is no row {row}: the matrix has {rows} rows, counted from 0")]
    NoSuchRow {
        /// The index given.
        row: usize,
        /// Rows in the matrix.
        rows: usize,
    },

    /// A range is not one of a matrix's rows.
    #[error("there are no rows {start}..{end}: expected some of the matrix's 0..{rows}")]
    RowRange {
        /// The first row asked for.
        start: usize,
        /// The row after the last.
        end: usize,
        /// Rows in the matrix.
        rows: usize,
    },

    /// A slice lies scattered in a GPU's memory, where only whole matrices are read for reading's sake.
    #[error("a slice of {rows} rows cannot be read alone: expected all {of} rows of the matrix")]
    SliceRead {
        /// Rows of the slice.
        rows: usize,
        /// Rows of the matrix that it belongs to.
        of: usize,
    },

    /// A weight to be quantized is NaN or infinite.
    #[error("the weight in row {row}, column {column} is {value}: only finite weights can be quantized")]
    NonFiniteWeight {
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// The weight.
        value: f32,
    },

    /// The importance of a column's weights is negative, NaN or infinite.
    #[error("the importance of column {column} is {value}: expected a finite number that is not negative")]
    Importance {
        /// The column.
        column: usize,
        /// Its importance.
        value: f32,
    },

    /// A block's scale cannot be as large as its weights need.
    #[error(
        "the weights from row {row}, column {column} on are too large for {ty}: no scale of it reaches so far"
    )]
    WeightTooLarge {
        /// The block's row.
        row: usize,
        /// The block's first column.
        column: usize,
        /// The format.
        ty: GgmlType,
    },

    /// Eight rows share a word in the layout to be imported.
    #[error("n = {n} is not a multiple of 8, the rows that share a word")]
    PartialWord {
        /// Rows of W.
        n: usize,
    },

    /// Columns of a group to be imported do not fill blocks.
    #[error("group {group} has {columns} columns, which is not a multiple of 32")]
    GroupSize {
        /// The group, counted from 0.
        group: usize,
        /// Its columns.
        columns: usize,
    },

    /// A column to be imported belongs to a group that is not there.
    #[error("g_idx[{column}] is {found}: there are {groups} groups, counted from 0")]
    GroupIndex {
        /// The column.
        column: usize,
        /// The group given.
        found: i32,
        /// How many there are.
        groups: usize,
    },

    /// The columns to be imported are more than can be sorted.
    #[error("k = {k} is too large: at most 2^32 columns can be sorted by group")]
    TooManyColumns {
        /// Columns of W.
        k: usize,
    },

    /// A scale to be imported is NaN or infinite.
    #[error("the scale of row {row}, group {group} is {value}: only finite ones can be imported")]
    NonFiniteScale {
        /// Its row.
        row: usize,
        /// Its group.
        group: usize,
        /// The scale.
        value: f32,
    },

    /// Half precision cannot hold a scale to be imported.
    #[error(
        "the scale of row {row}, group {group} is {value:e}: half precision holds scales up to 65504 and, with an \
         error below 1/254, down to about 7.6e-6"
    )]
    ScaleOutOfRange {
        /// Its row.
        row: usize,
        /// Its group.
        group: usize,
        /// The scale.
        value: f32,
    },

    /// A text is not the name of a kernel.
    #[error("{0:?} is not a kernel id: they look like cpu-avx2-gemm-q4k")]
    NotAKernelId(String),

    /// A kernel that was asked for by name cannot compute the product.
    #[error("{kernel} cannot compute this product on {device}: {}", list(.eligible))]
    KernelNotEligible {
        /// The kernel asked for.
        kernel: KernelId,
        /// The device's id.
        device: String,
        /// Those that can.
        eligible: Vec<KernelId>,
    },

    /// A tensor has another shape than the product gives it.
    #[error("{what} has {rows} x {columns} numbers where {} x {} were expected", .expected.0, .expected.1)]
    TensorShape {
        /// Which tensor: `x`, `y`, `out`, `bias`, `factor` or `residual`.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// The rows and columns that it should have.
        expected: (usize, usize),
    },

    /// The rows of a tensor overlap, or are too far apart.
    #[error(
        "the rows of {what} start every {stride} numbers: expected {columns}, its columns, up to {}",
        u32::MAX
    )]
    TensorStride {
        /// Which tensor.
        what: &'static str,
        /// Its stride.
        stride: usize,
        /// Its columns.
        columns: usize,
    },

    /// Something cannot be at a device address.
    #[error("{what} is at the device address {address:#x}: expected a multiple of {align} other than 0")]
    DeviceAddress {
        /// Which tensor or array, or the workspace.
        what: &'static str,
        /// The address given.
        address: u64,
        /// What it must be a multiple of.
        align: usize,
    },

    /// The workspace does not suffice for a product.
    #[error("the workspace has {found} bytes where at least {expected} were expected")]
    WorkspaceTooSmall {
        /// What `workspace_bytes` says.
        expected: usize,
        /// The size given.
        found: usize,
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

    /// A gate and the matrix that it opens are not alike.
    #[error(
        "up is {} of {} x {} and the gate {} of {} x {}: expected the same format and shape",
        .up.0, .up.1, .up.2, .gate.0, .gate.1, .gate.2
    )]
    UnlikeGate {
        /// The format, the rows and the columns of the gate.
        gate: (GgmlType, usize, usize),
        /// Those of the other matrix.
        up: (GgmlType, usize, usize),
    },

    /// Matrices of one product are on two devices.
    #[error("the matrices of a product are on {device} and {other}: expected one device")]
    OtherDevice {
        /// The device of the first.
        device: String,
        /// That of the second.
        other: String,
    },

    /// A gated product has a factor besides its gate.
    #[error("the epilogue of a gated product has a factor: expected none, as the other product is one")]
    TwoFactors,

    /// Something that only GPUs do was asked of another device.
    #[error("only work for a GPU can be queued, and this device is {device}")]
    NotOnGpu {
        /// The device's id.
        device: String,
    },

    /// There is no kernel that quantizes to a format on a GPU.
    #[error("a GPU cannot quantize to {ty}: expected {}", .known.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", "))]
    NoQuantizer {
        /// The format asked for.
        ty: GgmlType,
        /// The formats that there are kernels for.
        known: Vec<GgmlType>,
    },

    /// The library was compiled without the feature `cuda`.
    #[error("CUDA device {index} was asked for, but this build of warpdot lacks the feature `cuda`")]
    CudaNotBuilt {
        /// The device asked for.
        index: usize,
    },

    /// There are no GPU kernels in this build.
    #[error("this build of warpdot carries no GPU kernels: {reason}")]
    NoKernels {
        /// Why, and what helps.
        reason: String,
    },

    /// No embedded PTX runs on the device.
    #[error(
        "no embedded kernels run on {device}, of compute capability {capability}: there are those for {archs}"
    )]
    NoKernelsForDevice {
        /// The device's id.
        device: String,
        /// Its compute capability.
        capability: String,
        /// The architectures embedded.
        archs: String,
    },

    /// The CPU path refused.
    #[error(transparent)]
    Cpu(#[from] warpdot_cpu::Error),

    /// The CUDA driver, or the lack of one.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] warpdot_host::Error),
}

fn list(kernels: &[KernelId]) -> String {
    match kernels {
        [] => "nothing can".to_string(),
        _ => format!("{} can", kernels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

//! What a product on a GPU is made of.

use warpdot_formats::FloatType;
use warpdot_formats::epilogue::Activation;
use warpdot_host::CUdeviceptr;
use warpdot_kernels::arguments::{Ending, View, WeightRows};

use crate::{Error, Options};

/// A row-major matrix of plain numbers in device memory: where it is and how it lies there. It owns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The device address of the first number, a multiple of a number's size.
    pub pointer: CUdeviceptr,
    /// The type of the numbers.
    pub ty: FloatType,
    /// Rows.
    pub rows: usize,
    /// Numbers in a row.
    pub columns: usize,
    /// Numbers from the start of a row to that of the next: at least as many as there are in a row, and less than
    /// 2^32.
    pub stride: usize,
}

impl Tensor {
    /// A matrix whose rows follow each other without a gap.
    pub fn new(pointer: CUdeviceptr, ty: FloatType, rows: usize, columns: usize) -> Self {
        Self { pointer, ty, rows, columns, stride: columns }
    }

    /// As a kernel takes it, if it has this shape.
    pub(super) fn view(&self, what: &'static str, rows: usize, columns: usize) -> Result<View, Error> {
        if (self.rows, self.columns) != (rows, columns) {
            return Err(Error::TensorShape {
                what,
                rows: self.rows,
                columns: self.columns,
                expected: (rows, columns),
            });
        }
        let align = self.ty.bytes();
        if self.pointer == 0 || !self.pointer.is_multiple_of(align as u64) {
            return Err(Error::DeviceAddress { what, address: self.pointer, align });
        }
        match u32::try_from(self.stride) {
            Ok(stride) if self.stride >= columns => {
                Ok(View { address: self.pointer, stride, ty: self.ty.id() })
            }
            _ => Err(Error::TensorStride { what, stride: self.stride, columns }),
        }
    }
}

/// Checks that a list of `u32` can be there.
pub(super) fn check_ids(ids: CUdeviceptr) -> Result<(), Error> {
    if ids == 0 || !ids.is_multiple_of(4) {
        return Err(Error::DeviceAddress { what: "ids", address: ids, align: 4 });
    }
    Ok(())
}

/// What products go through on their way to Y:
///
/// ```text
/// y = activation(scale * product + bias) * factor + residual
/// ```
///
/// in `f32` with a fused multiply-add for each of the two pairs, then rounded to the type of Y; see
/// [`formats::epilogue`](warpdot_formats::epilogue). The default does nothing.
///
/// Each tensor has as many columns as Y, and as many rows, or one row that serves all rows of Y. Their types need not
/// be that of Y.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epilogue {
    /// Multiplies the product.
    pub scale: f32,
    /// Is added to that.
    pub bias: Option<Tensor>,
    /// What it goes through then.
    pub activation: Activation,
    /// Multiplies the activation: the other half of SwiGLU, for one.
    pub factor: Option<Tensor>,
    /// Is added to that.
    pub residual: Option<Tensor>,
}

impl Default for Epilogue {
    fn default() -> Self {
        Self { scale: 1.0, bias: None, activation: Activation::None, factor: None, residual: None }
    }
}

/// Device memory that a product may use as it likes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its device address, a multiple of [`ALIGN`](Self::ALIGN).
    pub pointer: CUdeviceptr,
    /// Its size.
    pub bytes: usize,
}

impl Workspace {
    /// What the address is a multiple of, as all addresses that the driver allocates are.
    pub const ALIGN: usize = 256;

    /// Its address, if it has at least `bytes`.
    pub(super) fn address(&self, bytes: usize) -> Result<CUdeviceptr, Error> {
        if self.bytes < bytes {
            return Err(Error::WorkspaceTooSmall { expected: bytes, found: self.bytes });
        }
        if self.pointer == 0 || !self.pointer.is_multiple_of(Self::ALIGN as u64) {
            return Err(Error::DeviceAddress {
                what: "the workspace",
                address: self.pointer,
                align: Self::ALIGN,
            });
        }
        Ok(self.pointer)
    }
}

/// A product Y\[m, n\] = X\[m, k\] · W\[n, k\]ᵀ in device memory.
#[derive(Clone, Debug)]
pub struct Product {
    /// X\[m, k\].
    pub x: Tensor,
    /// Y\[m, n\].
    pub y: Tensor,
    /// Scratch memory, of [`workspace_bytes`](crate::DeviceMatrix::workspace_bytes).
    pub workspace: Workspace,
    /// What happens to products before they are stored.
    pub epilogue: Epilogue,
    /// How to compute.
    pub options: Options,
}

impl Product {
    /// A product with the default epilogue and options.
    pub fn new(x: Tensor, y: Tensor, workspace: Workspace) -> Self {
        Self { x, y, workspace, epilogue: Epilogue::default(), options: Options::default() }
    }

    /// X as a kernel takes it, if its rows have `k` numbers.
    pub(super) fn x(&self, k: usize) -> Result<View, Error> {
        self.x.view("x", self.x.rows, k)
    }

    /// Y and the epilogue as a kernel takes them, if they suit `m` x `n` products.
    pub(super) fn ending(&self, m: usize, n: usize) -> Result<Ending, Error> {
        let operand = |what, tensor: &Option<Tensor>| match tensor {
            None => Ok(View::default()),
            Some(tensor) if tensor.rows == 1 => Ok(View { stride: 0, ..tensor.view(what, 1, n)? }),
            Some(tensor) => tensor.view(what, m, n),
        };
        Ok(Ending {
            y: self.y.view("y", m, n)?,
            bias: operand("bias", &self.epilogue.bias)?,
            factor: operand("factor", &self.epilogue.factor)?,
            residual: operand("residual", &self.epilogue.residual)?,
            up: WeightRows::default(),
            scale: self.epilogue.scale,
            activation: self.epilogue.activation.id(),
        })
    }
}

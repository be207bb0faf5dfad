//! Two products of the same activations, one of which is the factor of the other: the gate and the way up of a
//! feed-forward layer.

use warpdot_formats::FloatType;
use warpdot_host::{CUdeviceptr, CUstream};

use super::matrix::workspace_bytes;
use super::{Experts, Product, Tensor, Workspace};
use crate::device::Shape;
use crate::{DeviceMatrix, Error};

/// Bytes of the activations, up to where the factors start, and of both.
fn sizes(x: Shape, y: Shape) -> Option<[usize; 2]> {
    let start = workspace_bytes(x.m, x.k)?.checked_next_multiple_of(Workspace::ALIGN)?;
    let factors = y.m.checked_mul(y.n)?.checked_mul(size_of::<f32>())?;
    Some([start, start.checked_add(factors)?])
}

/// How many bytes a gated product needs.
fn bytes(x: Shape, y: Shape) -> Result<usize, Error> {
    let Shape { m, n, k } = y;
    sizes(x, y).map(|[_, bytes]| bytes).ok_or(Error::Overflow { m, n, k })
}

/// The product of the gate, whose factors are in the workspace.
fn with_factors(product: &Product, x: Shape, y: Shape) -> Result<Product, Error> {
    let Shape { m, n, k } = y;
    let [start, bytes] = sizes(x, y).ok_or(Error::Overflow { m, n, k })?;
    if product.epilogue.factor.is_some() {
        return Err(Error::TwoFactors);
    }
    let factors: CUdeviceptr = product.workspace.address(bytes)? + start as u64;
    let mut product = product.clone();
    product.epilogue.factor = Some(Tensor::new(factors, FloatType::F32, m, n));
    Ok(product)
}

/// Whether `up` can be multiplied in the launch that multiplies the gate.
fn check(gate: &DeviceMatrix, up: &DeviceMatrix) -> Result<(), Error> {
    let of = |matrix: &DeviceMatrix| (matrix.ty(), matrix.rows(), matrix.columns());
    if of(gate) != of(up) {
        return Err(Error::UnlikeGate { gate: of(gate), up: of(up) });
    }
    let (device, other) = (gate.device().id(), up.device().id());
    if device != other {
        return Err(Error::OtherDevice { device, other });
    }
    Ok(())
}

impl DeviceMatrix {
    /// How many bytes of device memory a [gated product](Self::enqueue_gated) with `m` rows of X needs while it runs.
    /// More rows never need less.
    ///
    /// # Errors
    /// As [`workspace_bytes`](Self::workspace_bytes).
    pub fn gated_workspace_bytes(&self, m: usize) -> Result<usize, Error> {
        self.gpu()?;
        let shape = self.shape(m)?;
        bytes(shape, shape)
    }

    /// Queues Y\[m, n\] = activation(scale * X · Gᵀ + bias) * (X · Uᵀ) + residual, where this matrix is the gate
    /// G\[n, k\] and `up` is U\[n, k\], on a stream, and returns without waiting: SwiGLU with
    /// [`Activation::Silu`](crate::Activation::Silu).
    ///
    /// As [`enqueue`](Self::enqueue), it launches two kernels, the first of which quantizes X once for both products; for
    /// [slices](Self::slice) whose first rows are not a multiple of four apart in their matrices, three.
    /// The bits are those of two calls of `enqueue`, the first for X · Uᵀ in `f32` without an epilogue, the second
    /// with that as its [`factor`](super::Epilogue::factor).
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue), where the workspace has to have the [bytes for a gated
    /// product](Self::gated_workspace_bytes); and if `up` has another format or shape or is on another device, or the
    /// epilogue has a factor of its own.
    ///
    /// # Safety
    /// As for [`enqueue`](Self::enqueue), `up` being one more matrix that exists meanwhile.
    #[doc(alias = "swiglu")]
    pub unsafe fn enqueue_gated(
        &self,
        up: &DeviceMatrix,
        stream: CUstream,
        product: &Product,
    ) -> Result<(), Error> {
        let weights = self.gpu()?;
        check(self, up)?;
        let shape = self.shape(product.x.rows)?;
        let product = with_factors(product, shape, shape)?;
        let operation = self.demanded(&product.options, shape.m)?;
        // SAFETY: the caller's; both matrices are those of the shape, and the factors are in the workspace.
        unsafe { weights.enqueue(stream, operation, &product, Some(up.gpu()?), shape) }
    }
}

impl Experts {
    /// How many bytes of device memory a [gated product](Self::enqueue_gated) of `m` rows of X and `y_rows` rows of Y
    /// needs while it runs.
    ///
    /// # Errors
    /// If the experts are not on a GPU, `m` is zero, or the size overflows.
    pub fn gated_workspace_bytes(&self, m: usize, y_rows: usize) -> Result<usize, Error> {
        self.matrix.gpu()?;
        let x = self.matrix.shape(m)?;
        bytes(x, Shape { m: y_rows, n: self.rows(), k: x.k })
    }

    /// [`enqueue`](Self::enqueue) as [`DeviceMatrix::enqueue_gated`]: these experts are the gates, and `up` has as
    /// many.
    ///
    /// # Errors
    /// As those two.
    ///
    /// # Safety
    /// As for [`enqueue`](Self::enqueue), `up` being more experts that exist meanwhile.
    pub unsafe fn enqueue_gated(
        &self,
        up: &Experts,
        stream: CUstream,
        ids: CUdeviceptr,
        product: &Product,
    ) -> Result<(), Error> {
        check(&self.matrix, &up.matrix)?;
        if self.count() != up.count() {
            return Err(Error::UnevenExperts { n: up.matrix.rows(), count: up.count() });
        }
        let x = self.matrix.shape(product.x.rows)?;
        let y = Shape { m: product.y.rows, n: self.rows(), k: x.k };
        let product = with_factors(product, x, y)?;
        // SAFETY: the caller's; all experts have the same shape, and the factors are in the workspace.
        unsafe { self.enqueue_with(Some(up), stream, ids, &product) }
    }
}

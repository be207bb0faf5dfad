//! Queueing products on streams of the caller's.

use warpdot_host::{CUstream, Context};

use super::Product;
use super::matrix::workspace_bytes;
use crate::device::Shape;
use crate::{Device, DeviceMatrix, Error};

impl Device {
    /// The primary context of a CUDA device, which allocates buffers and creates streams.
    ///
    /// # Errors
    /// [`Error::NotOnGpu`].
    pub fn cuda_context(&self) -> Result<Context, Error> {
        Ok(self.gpu()?.context().clone())
    }
}

impl DeviceMatrix {
    /// How many bytes of device memory a product with `m` rows of X needs while it runs. More rows never need less.
    ///
    /// # Errors
    /// If the matrix is not on a GPU, `m` is zero, or the size overflows.
    pub fn workspace_bytes(&self, m: usize) -> Result<usize, Error> {
        self.gpu()?;
        let Shape { m, n, k } = self.shape(m)?;
        workspace_bytes(m, k).ok_or(Error::Overflow { m, n, k })
    }

    /// Queues Y\[m, n\] = X\[m, k\] · W\[n, k\]ᵀ, with an epilogue, on a stream, and returns without waiting.
    ///
    /// All it does is launch two kernels: it can be captured into a CUDA graph, as often as one likes. The graph holds
    /// on to the addresses, sizes and numbers of the product.
    ///
    /// The bits of Y do not depend on the number of rows, the kernel, or the device. Activations are rounded to int8 as
    /// in [`matmul_with`](Self::matmul_with).
    ///
    /// # Errors
    /// If the matrix is not on a GPU; if tensors do not fit each other, or lie at addresses that they cannot have; if
    /// the workspace is too small; if the kernel asked for cannot compute the product; or if the driver refuses a
    /// launch. The failure of a kernel is reported by whoever waits for the stream.
    ///
    /// # Safety
    /// - `stream` is a stream of the device's primary context, or null, its default stream. It exists.
    /// - Each tensor of the product lies in memory that the device can access, its last row ending inside of it; so
    ///   does the workspace.
    /// - From this call until the stream has passed the product (and for a captured one, whenever the graph runs): this
    ///   matrix and that memory exist; nothing else writes X or a tensor of the epilogue; nothing else accesses Y or
    ///   the workspace.
    /// - X and the tensors of the epilogue hold initialized numbers when the stream gets there.
    /// - Y, the workspace and the memory that is read do not overlap, with one exception: a tensor of the epilogue with
    ///   as many rows as Y may be Y itself, at the same address, with the same type and stride.
    pub unsafe fn enqueue(&self, stream: CUstream, product: &Product) -> Result<(), Error> {
        let (weights, shape) = (self.gpu()?, self.shape(product.x.rows)?);
        let operation = self.demanded(&product.options, shape.m)?;
        // SAFETY: the caller's; the weights are those of the shape.
        unsafe { weights.enqueue(stream, operation, product, None, shape) }
    }
}

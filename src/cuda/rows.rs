//! Weights as plain numbers in device memory: whole matrices, ranges of rows, and rows that a list on the device names.

use warpdot_host::{Argument, CUdeviceptr, CUstream};
use warpdot_kernels::arguments::View;

use super::Tensor;
use super::matrix::CudaPart;
use super::product::check_ids;
use crate::device::Shape;
use crate::{DeviceMatrix, Error};

impl DeviceMatrix {
    /// Queues the rows of W\[n, k\] from `first` on, as many as `out` has, as numbers of the type of `out`\[rows,
    /// k\], on a stream, and returns without waiting. The whole matrix is what `first` = 0 and n rows give.
    ///
    /// The bits are those of [`QuantizedMatrix::dequantize`](crate::QuantizedMatrix::dequantize), but NaNs may
    /// differ. A launch of one kernel is all that happens: it can be captured into a CUDA graph. Stores are of four
    /// numbers where the address and the stride of `out` are multiples of them, else of one.
    ///
    /// # Errors
    /// If the matrix is not on a GPU or does not have these rows, `out` does not have k columns or lies at an address
    /// that it cannot have, there are more than 2^31 blocks of 1024 numbers, or the driver refuses the launch. The
    /// failure of a kernel is reported by whoever waits for the stream.
    ///
    /// # Safety
    /// - `stream` is a stream of the device's primary context, or null, its default stream. It exists.
    /// - `out` lies in memory that the device can access, its last row ending inside of it.
    /// - From this call until the stream has passed the kernel (and for a captured one, whenever the graph runs): this
    ///   matrix and that memory exist, and nothing else accesses `out`.
    pub unsafe fn enqueue_dequantize(
        &self,
        stream: CUstream,
        first: usize,
        out: &Tensor,
    ) -> Result<(), Error> {
        let n = self.rows();
        match first.checked_add(out.rows) {
            Some(end) if end <= n => {}
            _ => return Err(Error::NoSuchRow { row: first.saturating_add(out.rows.max(1) - 1), rows: n }),
        }
        let weights = self.gpu_from(first)?;
        // SAFETY: the caller's.
        unsafe { weights.enqueue_rows(stream, None, out, (n - first, self.columns())) }
    }

    /// Queues rows of W\[n, k\] that a list on the device names, such as embeddings, as numbers of the type of
    /// `out`\[ids, k\], on a stream, and returns without waiting. `ids` are as many `u32` as `out` has rows; the host
    /// need not know them.
    ///
    /// Rows of `out` whose id is not below n are left as they are. For the rest as
    /// [`enqueue_dequantize`](Self::enqueue_dequantize).
    ///
    /// # Errors
    /// As [`enqueue_dequantize`](Self::enqueue_dequantize), and if `ids` cannot be an address of `u32`.
    ///
    /// # Safety
    /// As for [`enqueue_dequantize`](Self::enqueue_dequantize); and `ids` holds as many initialized numbers as `out`
    /// has rows when the stream gets there, in memory that the device can access, which nothing writes meanwhile.
    #[doc(alias = "get_rows")]
    #[doc(alias = "embedding")]
    pub unsafe fn enqueue_rows(&self, stream: CUstream, ids: CUdeviceptr, out: &Tensor) -> Result<(), Error> {
        let weights = self.gpu()?;
        check_ids(ids)?;
        // SAFETY: the caller's.
        unsafe { weights.enqueue_rows(stream, Some(ids), out, (self.rows(), self.columns())) }
    }
}

impl CudaPart<'_> {
    /// Queues some of the n rows of k weights, the first ones or those of a list.
    ///
    /// # Safety
    /// As for [`DeviceMatrix::enqueue_rows`]. There are n rows of k weights, without a list as many as `out` has.
    pub(super) unsafe fn enqueue_rows(
        self,
        stream: CUstream,
        ids: Option<CUdeviceptr>,
        out: &Tensor,
        (n, k): (usize, usize),
    ) -> Result<(), Error> {
        let m = out.rows;
        let view: View = out.view("out", m, k)?;
        if m == 0 {
            return Ok(());
        }
        let kernel = self.rows_kernel();
        let size = kernel.size(Shape { m, n, k })?;
        let [m, n, k] = [m, n, k].map(|size| Argument::from(size as u32)); // `size` has checked that they fit
        let (rows, ids) = (self.rows(), Argument::pointer(ids.unwrap_or(0)));
        // SAFETY: the kernel takes these arguments, reads n x k weights and, where there is a list, m ids, skips rows
        // that there are not, and writes the m x k numbers that the caller vouches for.
        unsafe {
            kernel.launch(stream, size, &[Argument::value(&rows), ids, Argument::value(&view), m, n, k])
        }
    }
}

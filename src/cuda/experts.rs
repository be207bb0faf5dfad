//! Mixture of experts: products whose weights are chosen on the device.

use std::time::Duration;

use warpdot_host::{Argument, CUdeviceptr, CUstream};

use super::Product;
use super::matrix::Step;
use super::product::check_ids;
use crate::matrix::expect_length;
use crate::{Error, Experts};

impl Experts {
    /// How many bytes of device memory a product with `m` rows of X needs while it runs.
    ///
    /// # Errors
    /// If the experts are not on a GPU, `m` is zero, or the size overflows.
    pub fn workspace_bytes(&self, m: usize) -> Result<usize, Error> {
        self.matrix.workspace_bytes(m)
    }

    /// Queues Y\[i\] = X\[i / r\] · W\[ids\[i\]\]ᵀ for every row i of Y, with an epilogue, on a stream, and returns
    /// without waiting. `ids` are as many `u32` as Y has rows, on the device: the host need not know them.
    ///
    /// Y has r times as many rows as X, for a whole number r: with 8 experts for each token, X has a row for each
    /// token and r is 8, or X has a row for each row of Y and r is 1. Rows of Y whose expert does not exist are left
    /// as they are.
    ///
    /// Every row of Y reads an expert's weights of its own: made for decoding, where few tokens meet. The bits are
    /// those of [`DeviceMatrix::enqueue`](crate::DeviceMatrix::enqueue).
    ///
    /// # Errors
    /// As [`DeviceMatrix::enqueue`](crate::DeviceMatrix::enqueue); and if Y has more than 65535 rows, or not a
    /// multiple of the rows of X.
    ///
    /// # Safety
    /// As for [`DeviceMatrix::enqueue`](crate::DeviceMatrix::enqueue), `ids` being one more array that is read.
    #[doc(alias = "matmul_id")]
    #[doc(alias = "mul_mat_id")]
    pub unsafe fn enqueue(&self, stream: CUstream, ids: CUdeviceptr, product: &Product) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { self.enqueue_with(None, stream, ids, product) }
    }

    /// [`enqueue`](Self::enqueue), with the products by `up` as factors if there is one.
    ///
    /// # Safety
    /// As for [`enqueue`](Self::enqueue); `up` has the shape of these, and the factor of the product is memory of its
    /// own.
    pub(super) unsafe fn enqueue_with(
        &self,
        up: Option<&Experts>,
        stream: CUstream,
        ids: CUdeviceptr,
        product: &Product,
    ) -> Result<(), Error> {
        let (weights, kernel) = (self.matrix.gpu()?, self.kernel()?);
        let (x_rows, y_rows) = (product.x.rows, product.y.rows);
        let x = self.matrix.shape(x_rows)?;
        let shape = self.shape(x_rows, y_rows)?;
        check_ids(ids)?;
        let up = up.map(|up| up.matrix.gpu()).transpose()?;
        let mut steps = weights.steps(up, kernel, product.ending(shape.m, shape.n)?, shape)?;
        // SAFETY: the caller's.
        let activations = Argument::pointer(unsafe { weights.enqueue_quantize(stream, product, x) }?);
        let ids = Argument::pointer(ids);
        steps.try_for_each(|Step { rows, ending, size }| {
            // Rows of weights fit: `size` has checked those of the quantization, which are all experts'.
            let numbers = [shape.m, shape.n, shape.k, self.count(), y_rows / x_rows];
            let [m, n, k, count, repeat] = numbers.map(|number| Argument::from(number as u32));
            let (rows, ending) = (Argument::value(&rows), Argument::value(&ending));
            let arguments = [rows, activations, ids, ending, m, n, k, count, repeat];
            // SAFETY: the kernel takes these arguments, reads the weights of all experts, the activations that the
            // quantization leaves earlier in the stream and one id for each row of Y, and accesses the elements of the
            // tensors that the caller vouches for.
            unsafe { kernel.launch(stream, size, &arguments) }
        })
    }

    /// [`compute`](Self::compute), of which all but the tensors has been checked.
    pub(crate) fn compute_on_gpu(
        &self,
        ids: &[u32],
        product: warpdot_cpu::Product,
    ) -> Result<Duration, Error> {
        let warpdot_cpu::Product { x, y, epilogue } = product;
        let shape = self.shape(x.rows(), y.rows())?;
        expect_length("y (n)", shape.n, y.columns())?;
        expect_length("x (k)", shape.k, x.columns())?;
        let mut products = vec![0.0; shape.m * shape.n];
        let time = self.matrix.gpu()?.with_operands(
            (&x.to_f32(), x.rows()),
            ids,
            (&mut products, shape),
            // SAFETY: the operands live until the stream is done, and are used for nothing else.
            |stream, ids, product| unsafe { self.enqueue(stream, ids, product) },
        )?;
        epilogue.store(warpdot_cpu::Isa::best(), &products, y)?;
        Ok(time)
    }
}

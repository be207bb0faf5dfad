//! Mixture of experts: products whose rows have weights of their own choice.

use std::time::Duration;

use warpdot_cpu::Product;
#[cfg(feature = "cuda")]
use warpdot_kernels::launch::Family;

#[cfg(feature = "cuda")]
use crate::cuda::LoadedKernel;
use crate::device::{Shape, Weights};
use crate::kernel::Operation;
use crate::matrix::expect_length;
use crate::{Device, DeviceMatrix, Error, Options};

/// The weights of several experts, W\[experts, n, k\], in the memory of a device. Made by
/// [`DeviceMatrix::into_experts`].
#[derive(Debug)]
pub struct Experts {
    pub(crate) matrix: DeviceMatrix,
    count: usize,
    /// On a GPU.
    #[cfg(feature = "cuda")]
    kernel: Option<LoadedKernel>,
}

impl DeviceMatrix {
    /// Takes the matrix for the weights of `count` experts, one after the other, n / count rows each, as GGUF files
    /// have them in one tensor of three dimensions.
    ///
    /// # Errors
    /// If `count` is zero or does not divide n, or a GPU's driver cannot load the kernel.
    pub fn into_experts(self, count: usize) -> Result<Experts, Error> {
        if count == 0 || !self.rows().is_multiple_of(count) {
            return Err(Error::UnevenExperts { n: self.rows(), count });
        }
        #[cfg(feature = "cuda")]
        let kernel = match self.weights() {
            Weights::Cpu(_) => None,
            Weights::Cuda(weights) => {
                Some(weights.cuda().loader().load_only(Family::GemvId, Some(self.ty()))?)
            }
        };
        Ok(Experts {
            matrix: self,
            count,
            #[cfg(feature = "cuda")]
            kernel,
        })
    }
}

impl Experts {
    /// The device.
    pub fn device(&self) -> &Device {
        self.matrix.device()
    }

    /// How many experts there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Rows of an expert's weights: n.
    pub fn rows(&self) -> usize {
        self.matrix.rows() / self.count
    }

    /// k.
    pub fn columns(&self) -> usize {
        self.matrix.columns()
    }

    /// Computes Y\[i\] = X\[i / r\] · W\[ids\[i\]\]ᵀ for every row i of Y, in host memory, with an epilogue, and returns
    /// the time that [`Run`](crate::Run) has. `ids` are the numbers of the experts, one for each row of Y.
    ///
    /// Y has r times as many rows as X, for a whole number r: with 8 experts for each token, X has a row for each token
    /// and r is 8, as for the gate and up weights; or X has a row for each row of Y and r is 1, as for the down weights.
    ///
    /// On every device the bits are those of [`DeviceMatrix::compute`] with that row and that expert alone. On the CPU,
    /// each expert's weights are read and decoded once for several rows that chose it, by the kernel that suits their
    /// number, or by that of the options; each row of X is quantized once; and nothing is allocated once products as large
    /// have been computed. For a GPU, the operands are copied: those in its memory go to
    /// `enqueue`, which there is with the feature `cuda`.
    ///
    /// ```
    /// use warpdot::{Device, GgmlType, Options, Product, QuantizedMatrix, Tensor, TensorMut};
    ///
    /// // Four experts of two rows; all weights of expert e are e.
    /// let (count, n, k) = (4, 2, 32);
    /// let weights: Vec<f32> = (0..count * n * k).map(|i| (i / (n * k)) as f32).collect();
    /// let w = QuantizedMatrix::quantize(GgmlType::Q8_0, count * n, k, &weights)?;
    /// let experts = Device::auto().upload(&w)?.into_experts(count)?;
    ///
    /// // Three tokens, each with two experts.
    /// let ids = [3, 1, 0, 3, 2, 1];
    /// let (x, mut y) = (vec![1.0; 3 * k], vec![0.0; 6 * n]);
    /// let product = Product::new(Tensor::new(&x[..], 3, k)?, TensorMut::new(&mut y[..], 6, n)?);
    /// experts.compute(&Options::default(), &ids, product)?;
    /// assert!((y[0] - 96.0).abs() < 0.5 && (y[3] - 32.0).abs() < 0.5 && y[4] == 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there is not one id for each row of Y or no expert for one of them; if tensors do not fit each other, or the
    /// rows of Y are not a multiple of those of X; if the kernel asked for cannot compute the product (a gemv can, and
    /// on the CPU a gemm); if Y has more than 65535 rows on a GPU; or if the device fails.
    #[doc(alias = "matmul_id")]
    #[doc(alias = "mul_mat_id")]
    pub fn compute(&self, options: &Options, ids: &[u32], product: Product) -> Result<Duration, Error> {
        let Shape { m: rows, .. } = self.shape(product.x.rows(), product.y.rows())?;
        expect_length("ids (rows of y)", rows, ids.len())?;
        if let Some(row) = ids.iter().position(|&id| id as usize >= self.count) {
            return Err(Error::NoSuchExpert { row, expert: ids[row], count: self.count });
        }
        let operation = match &options.kernel {
            None => None,
            Some(_) => {
                let serves = |operation| self.serves(operation);
                Some(self.matrix.choose_among(options, 1, serves)?.operation())
            }
        };
        match self.matrix.weights() {
            Weights::Cpu(weights) => {
                let range = self.matrix.range();
                weights.experts(options.numerics, operation, range, (self.count, ids), product)
            }
            #[cfg(feature = "cuda")]
            Weights::Cuda(_) => self.compute_on_gpu(ids, product),
        }
    }

    /// Whether kernels of an operation can multiply by experts.
    fn serves(&self, operation: Operation) -> bool {
        match self.matrix.weights() {
            Weights::Cpu(_) => operation != Operation::Tiles,
            #[cfg(feature = "cuda")]
            Weights::Cuda(_) => operation == Operation::Gemv,
        }
    }

    /// The shape of a product, whose m is the rows of Y.
    pub(crate) fn shape(&self, x_rows: usize, y_rows: usize) -> Result<Shape, Error> {
        if x_rows == 0 {
            return Err(Error::ZeroSize { what: "m" });
        }
        if y_rows == 0 || !y_rows.is_multiple_of(x_rows) {
            return Err(Error::UnevenRows { x: x_rows, y: y_rows });
        }
        self.matrix.shape(y_rows).map(|shape| Shape { n: self.rows(), ..shape })
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn kernel(&self) -> Result<&LoadedKernel, Error> {
        self.kernel.as_ref().ok_or_else(|| Error::NotOnGpu { device: self.device().id() })
    }
}

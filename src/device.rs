//! Devices, and matrices that were uploaded to them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use warpdot_cpu::{PackedMatrix, Product, Tensor, TensorMut};
use warpdot_formats::{GgmlType, Numerics, RUN};

use crate::cpu::{Cpu, CpuMatrix};
#[cfg(feature = "cuda")]
use crate::cuda::{Cuda, CudaMatrix, CudaPart};
use crate::kernel::{KernelId, Operation};
use crate::matrix::expect_length;
use crate::{Error, QuantizedMatrix};

/// Something that multiplies: this machine's CPU, or one of its GPUs. Clones are the same device.
#[derive(Clone)]
pub struct Device(Backend);

#[derive(Clone)]
enum Backend {
    Cpu(Cpu),
    #[cfg(feature = "cuda")]
    Cuda(Cuda),
}

impl Device {
    /// The CPU, with the best instruction set that it has.
    pub fn cpu() -> Self {
        Self::cpu_with(warpdot_cpu::Isa::best())
    }

    /// The CPU, with a certain instruction set.
    pub fn cpu_with(isa: warpdot_cpu::Isa) -> Self {
        Self(Backend::Cpu(Cpu::new(isa)))
    }

    /// The CUDA device of this index.
    ///
    /// # Errors
    /// If there is no driver, no such device, or no embedded kernel that runs on it; without the feature `cuda`,
    /// always.
    #[cfg(feature = "cuda")]
    pub fn cuda(index: usize) -> Result<Self, Error> {
        Ok(Self(Backend::Cuda(Cuda::new(index)?)))
    }

    /// The CUDA device of this index.
    ///
    /// # Errors
    /// Always: this build lacks the feature `cuda`.
    #[cfg(not(feature = "cuda"))]
    pub fn cuda(index: usize) -> Result<Self, Error> {
        Err(Error::CudaNotBuilt { index })
    }

    /// The first CUDA device that can be used, else the CPU.
    pub fn auto() -> Self {
        Self::gpus().into_iter().next().unwrap_or_else(Self::cpu)
    }

    /// The CPU and every CUDA device that can be used.
    pub fn all() -> Vec<Self> {
        let mut devices = vec![Self::cpu()];
        devices.extend(Self::gpus());
        devices
    }

    fn gpus() -> Vec<Self> {
        #[cfg(feature = "cuda")]
        return (0..Cuda::count()).filter_map(|index| Self::cuda(index).ok()).collect();
        #[cfg(not(feature = "cuda"))]
        return Vec::new();
    }

    /// `cpu`, or `cuda:` and the device's index.
    pub fn id(&self) -> String {
        match &self.0 {
            Backend::Cpu(_) => "cpu".to_string(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(cuda) => cuda.id(),
        }
    }

    /// A description for people: the GPU's name, or the CPU's instruction set.
    pub fn name(&self) -> String {
        match &self.0 {
            Backend::Cpu(cpu) => cpu.name(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(cuda) => cuda.name().to_string(),
        }
    }

    /// The kernels that can multiply `m` rows of activations by weights of a format, the preferred one first. Those
    /// whose [`Operation`](crate::Operation) is not reproducible are for [`Numerics::Fast`] only.
    pub fn kernels(&self, ty: GgmlType, m: usize) -> Vec<KernelId> {
        match &self.0 {
            Backend::Cpu(cpu) => cpu.kernels(ty, m),
            #[cfg(feature = "cuda")]
            Backend::Cuda(cuda) => cuda.kernels(ty, m),
        }
    }

    /// Brings a matrix to the device's memory, packed as products read it best; it takes
    /// [`packed_size`](Self::packed_size) bytes there. The matrix is not needed any more. For a GPU, the driver also
    /// compiles the kernels that multiply by the format, unless it has done so before.
    ///
    /// # Errors
    /// If the device's memory does not suffice, or its driver fails.
    pub fn upload(&self, matrix: &QuantizedMatrix) -> Result<DeviceMatrix, Error> {
        let weights = match &self.0 {
            Backend::Cpu(cpu) => Weights::Cpu(Arc::new(cpu.pack(matrix)?)),
            #[cfg(feature = "cuda")]
            Backend::Cuda(cuda) => Weights::Cuda(Arc::new(CudaMatrix::upload(cuda, matrix)?)),
        };
        Ok(self.matrix(matrix, weights))
    }

    /// As [`upload`](Self::upload), but the CPU takes the matrix as it is and shares its bytes: those of a mapped file
    /// stay in the file. Products give the same bits and take longer, two to three times for few rows of activations.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub fn share(&self, matrix: &QuantizedMatrix) -> Result<DeviceMatrix, Error> {
        match &self.0 {
            Backend::Cpu(cpu) => Ok(self.matrix(matrix, Weights::Cpu(Arc::new(cpu.share(matrix))))),
            #[cfg(feature = "cuda")]
            Backend::Cuda(_) => self.upload(matrix),
        }
    }

    /// The bytes that a matrix takes in the device's memory once it is [uploaded](Self::upload): as many as its own, or
    /// a few more where rows or blocks do not fill the device's groups of them.
    ///
    /// # Errors
    /// If the device has no kernel for a matrix that large.
    pub fn packed_size(&self, matrix: &QuantizedMatrix) -> Result<usize, Error> {
        match &self.0 {
            Backend::Cpu(_) => Ok(PackedMatrix::size(matrix.ty(), matrix.rows(), matrix.columns())?),
            #[cfg(feature = "cuda")]
            Backend::Cuda(_) => crate::cuda::packed_bytes(matrix),
        }
    }

    fn matrix(&self, matrix: &QuantizedMatrix, weights: Weights) -> DeviceMatrix {
        DeviceMatrix {
            device: self.clone(),
            ty: matrix.ty(),
            first: 0,
            rows: matrix.rows(),
            columns: matrix.columns(),
            weights,
        }
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Result<&Cuda, Error> {
        match &self.0 {
            Backend::Cuda(cuda) => Ok(cuda),
            Backend::Cpu(_) => Err(Error::NotOnGpu { device: self.id() }),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({}: {})", self.id(), self.name())
    }
}

/// How to compute a product; the default is [`Numerics::Fast`] by the preferred kernel.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which results are good enough.
    pub numerics: Numerics,
    /// Forces a kernel, instead of the first of [`Device::kernels`].
    pub kernel: Option<KernelId>,
}

/// What was done to compute a product.
#[derive(Clone, Debug)]
pub struct Run {
    /// The kernel.
    pub kernel: KernelId,
    /// The time from the first to the last kernel on the device, the quantization of the activations included,
    /// copies between host and device not.
    pub time: Duration,
}

/// A matrix W\[n, k\] in the memory of a [`Device`]. `Send` and `Sync`; products by one GPU queue up. Clones share the
/// memory.
#[derive(Clone, Debug)]
pub struct DeviceMatrix {
    device: Device,
    ty: GgmlType,
    /// The first of the weights' rows that belongs to this matrix.
    first: usize,
    rows: usize,
    columns: usize,
    weights: Weights,
}

#[derive(Clone, Debug)]
pub(crate) enum Weights {
    Cpu(Arc<CpuMatrix>),
    #[cfg(feature = "cuda")]
    Cuda(Arc<CudaMatrix>),
}

/// The sizes of a product Y\[m, n\] = X\[m, k\] · W\[n, k\]ᵀ, none of them zero, and whose product fits a `usize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

impl DeviceMatrix {
    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The format.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// n.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// k.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Some rows of the matrix, as a matrix that shares its memory: the queries of a fused QKV matrix, the gate and the up
    /// half of a fused pair, the share of one of several machines. Nothing is copied, and products give the bits that
    /// those rows have in products with the whole.
    ///
    /// Any range will do on every device. Of an [uploaded](Device::upload) matrix, one from a multiple of 16 on is quicker
    /// on the CPU, and one from a multiple of 32 on a GPU.
    ///
    /// ```
    /// use warpdot::{Device, GgmlType, QuantizedMatrix};
    ///
    /// let weights: Vec<f32> = (0..48 * 32).map(|i| (i / 32) as f32).collect(); // row i is full of i
    /// let qkv = QuantizedMatrix::quantize(GgmlType::Q8_0, 48, 32, &weights)?;
    /// let qkv = Device::auto().upload(&qkv)?;
    /// let [q, k, v] = [qkv.slice(0..32)?, qkv.slice(32..40)?, qkv.slice(40..48)?];
    /// let mut y = [0.0; 8];
    /// k.matmul(1, &[1.0; 32], &mut y)?;
    /// assert!((y[0] / 32.0 - 32.0).abs() < 0.2 && (y[7] / 32.0 - 39.0).abs() < 0.2);
    /// # assert_eq!((q.rows(), v.rows()), (32, 8));
    /// # Ok::<(), warpdot::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the range is empty or ends after the last row.
    pub fn slice(&self, rows: Range<usize>) -> Result<Self, Error> {
        let Range { start, end } = rows;
        if start >= end || end > self.rows {
            return Err(Error::RowRange { start, end, rows: self.rows });
        }
        Ok(Self { first: self.first + start, rows: end - start, ..self.clone() })
    }

    /// Computes Y\[m, n\] = X\[m, k\] · W\[n, k\]ᵀ, all of them row-major, with the default [`Options`].
    ///
    /// # Errors
    /// As [`matmul_with`](Self::matmul_with).
    pub fn matmul(&self, m: usize, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.matmul_with(&Options::default(), m, x, y).map(|_| ())
    }

    /// Computes Y\[m, n\] = X\[m, k\] · W\[n, k\]ᵀ, all of them row-major.
    ///
    /// Activations are rounded to int8, 32 at a time, with a scale of a 127th of their largest magnitude: an
    /// output is off by at most half the sum of each scale times its 32 weights' magnitudes, plus f32 rounding.
    /// [`Numerics::Fast`] may round them and the weights to bf16 instead, within the same bound.
    /// A NaN or infinity among 32 activations makes the outputs of their row of X NaN; those of bf16 may be infinite.
    ///
    /// # Errors
    /// If `m` is zero, `x` does not have m * k or `y` m * n elements, m * n * k overflows, the kernel asked for
    /// cannot compute the product, or the device fails.
    pub fn matmul_with(&self, options: &Options, m: usize, x: &[f32], y: &mut [f32]) -> Result<Run, Error> {
        let shape = self.shape(m)?;
        expect_length("x (m * k)", m * shape.k, x.len())?;
        expect_length("y (m * n)", m * shape.n, y.len())?;
        debug_assert!(shape.k.is_multiple_of(RUN));

        let kernel = self.choose(options, m)?;
        let time = match &self.weights {
            Weights::Cpu(weights) => {
                let (Shape { m, n, k }, operation) = (shape, kernel.operation());
                let product = Product::new(Tensor::new(x, m, k)?, TensorMut::new(y, m, n)?);
                weights.compute(operation, self.range(), product)?
            }
            #[cfg(feature = "cuda")]
            Weights::Cuda(weights) => weights.part(self.first).matmul(kernel.operation(), shape, x, y)?,
        };
        Ok(Run { kernel, time })
    }

    /// Computes a product in host memory: Y\[m, n\] = X\[m, k\] · W\[n, k\]ᵀ with rows in 16 or 32 bits that may have
    /// gaps between them, and with an epilogue. By the same numerics as [`matmul_with`](Self::matmul_with). The CPU
    /// reads and writes the operands in place; for a GPU they are copied.
    ///
    /// # Errors
    /// As [`matmul_with`](Self::matmul_with), and if tensors do not fit each other.
    pub fn compute(&self, options: &Options, product: Product) -> Result<Run, Error> {
        match &self.weights {
            Weights::Cpu(weights) => {
                let kernel = self.choose(options, product.x.rows())?;
                let time = weights.compute(kernel.operation(), self.range(), product)?;
                Ok(Run { kernel, time })
            }
            #[cfg(feature = "cuda")]
            Weights::Cuda(_) => {
                let Product { x, y, epilogue } = product;
                expect_length("y (rows of x)", x.rows(), y.rows())?;
                expect_length("y (n)", self.rows, y.columns())?;
                expect_length("x (k)", self.columns, x.columns())?;
                let mut products = vec![0.0; x.rows() * self.rows];
                let run = self.matmul_with(options, x.rows(), &x.to_f32(), &mut products)?;
                epilogue.store(warpdot_cpu::Isa::best(), &products, y)?;
                Ok(run)
            }
        }
    }

    /// Writes the rows `ids` of W\[n, k\] to `out`\[ids, k\] as f32: embeddings looked up, or any part of the
    /// matrix dequantized. The bits are those of [`QuantizedMatrix::dequantize_row`] on every device, but NaNs
    /// may differ.
    ///
    /// # Errors
    /// If an id is not below n, `out` does not have k elements for each id, or the device fails.
    pub fn get_rows(&self, ids: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let shape = Shape { m: ids.len(), n: self.rows, k: self.columns };
        let Shape { m, n, k } = shape;
        self.check_ids(ids)?;
        expect_length("out (ids * k)", m.checked_mul(k).ok_or(Error::Overflow { m, n, k })?, out.len())?;
        if ids.is_empty() {
            return Ok(());
        }
        match &self.weights {
            Weights::Cpu(weights) => weights.rows(self.first, shape, ids, out),
            #[cfg(feature = "cuda")]
            Weights::Cuda(weights) => weights.part(self.first).get_rows(shape, ids, out),
        }
    }

    /// Computes the dot products of the rows `ids` of W\[n, k\] with each of m queries `x`\[m, k\], and writes them to
    /// `out`\[m, ids\]: what a search does that compares a query with candidates, or with all rows. Rows may come in any
    /// order and more than once. The bits are those of [`matmul`](Self::matmul).
    ///
    /// The CPU reads the candidates alone. Candidates from here and there are quicker in a [shared](Device::share)
    /// matrix; of an [uploaded](Device::upload) one, sixteen in a row from a multiple of 16 on are as quick as in a
    /// product. A GPU multiplies by all rows and keeps the candidates.
    ///
    /// ```
    /// use warpdot::{Device, GgmlType, QuantizedMatrix};
    ///
    /// let vectors: Vec<f32> = (0..100 * 64).map(|i| (i as f32 * 0.7).sin()).collect();
    /// let base = Device::cpu().share(&QuantizedMatrix::quantize(GgmlType::Q8_0, 100, 64, &vectors)?)?;
    /// let (query, candidates) = (&vectors[42 * 64..][..64], [7, 42, 99]);
    /// let mut scores = [0.0; 3];
    /// base.dot(&candidates, query, &mut scores)?;
    /// assert!(scores[1] > scores[0] && scores[1] > scores[2]);
    /// # Ok::<(), warpdot::Error>(())
    /// ```
    ///
    /// # Errors
    /// If an id is not below n, `x` is not a whole number of rows or empty, `out` does not have a number for each of them
    /// and each id, or the device fails.
    pub fn dot(&self, ids: &[u32], x: &[f32], out: &mut [f32]) -> Result<(), Error> {
        let k = self.columns;
        self.check_ids(ids)?;
        expect_length("x (m * k)", x.len().next_multiple_of(k).max(k), x.len())?;
        let (m, n) = (x.len() / k, ids.len());
        let outputs = m.checked_mul(n).ok_or(Error::Overflow { m, n, k })?;
        expect_length("out (m * ids)", outputs, out.len())?;
        if ids.is_empty() {
            return Ok(());
        }
        match &self.weights {
            Weights::Cpu(weights) => {
                let product = Product::new(Tensor::new(x, m, k)?, TensorMut::new(out, m, n)?);
                weights.dot(self.range(), ids, product)
            }
            #[cfg(feature = "cuda")]
            Weights::Cuda(_) => {
                let mut products = vec![0.0; m * self.rows];
                self.matmul(m, x, &mut products)?;
                for (out, products) in out.chunks_exact_mut(n).zip(products.chunks_exact(self.rows)) {
                    for (out, &id) in out.iter_mut().zip(ids) {
                        *out = products[id as usize];
                    }
                }
                Ok(())
            }
        }
    }

    fn check_ids(&self, ids: &[u32]) -> Result<(), Error> {
        match ids.iter().find(|&&id| id as usize >= self.rows) {
            Some(&id) => Err(Error::NoSuchRow { row: id as usize, rows: self.rows }),
            None => Ok(()),
        }
    }

    /// The rows of the weights that are this matrix's.
    pub(crate) fn range(&self) -> Range<usize> {
        self.first..self.first + self.rows
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The shape of a product with `m` rows of X, if there can be one.
    pub(crate) fn shape(&self, m: usize) -> Result<Shape, Error> {
        let (n, k) = (self.rows, self.columns);
        if m == 0 {
            return Err(Error::ZeroSize { what: "m" });
        }
        m.checked_mul(n).and_then(|mn| mn.checked_mul(k)).ok_or(Error::Overflow { m, n, k })?;
        Ok(Shape { m, n, k })
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Result<CudaPart<'_>, Error> {
        self.gpu_from(0)
    }

    /// The rows from this one of the matrix on.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu_from(&self, row: usize) -> Result<CudaPart<'_>, Error> {
        match &self.weights {
            Weights::Cuda(weights) => Ok(weights.part(self.first + row)),
            Weights::Cpu(..) => Err(Error::NotOnGpu { device: self.device.id() }),
        }
    }

    /// The kernel that the options ask for, or the preferred one.
    pub(crate) fn choose(&self, options: &Options, m: usize) -> Result<KernelId, Error> {
        self.choose_among(options, m, |_| true)
    }

    /// The operation of the kernel that the options ask for, if they ask for one.
    #[cfg(feature = "cuda")]
    pub(crate) fn demanded(&self, options: &Options, m: usize) -> Result<Option<Operation>, Error> {
        options.kernel.as_ref().map(|_| self.choose(options, m).map(|kernel| kernel.operation())).transpose()
    }

    /// As [`choose`](Self::choose), among the kernels whose operations serve.
    pub(crate) fn choose_among(
        &self,
        options: &Options,
        m: usize,
        serves: impl Fn(Operation) -> bool,
    ) -> Result<KernelId, Error> {
        let mut eligible = self.device.kernels(self.ty, m);
        eligible.retain(|kernel| serves(kernel.operation()));
        if options.numerics == Numerics::Reproducible {
            eligible.retain(|kernel| kernel.operation().is_reproducible());
        }
        match &options.kernel {
            None => eligible
                .into_iter()
                .next()
                .ok_or(Error::NoKernels { reason: format!("none for {}", self.ty) }),
            Some(kernel) if eligible.contains(kernel) => Ok(kernel.clone()),
            Some(kernel) => {
                Err(Error::KernelNotEligible { kernel: kernel.clone(), device: self.device.id(), eligible })
            }
        }
    }
}

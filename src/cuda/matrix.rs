//! Weights in the memory of a CUDA device, and products with them.

use std::fmt;
use std::time::Duration;

use warpdot_formats::{ActivationBlock, FloatType, GgmlType, RUN};
use warpdot_host::{Argument, Buffer, CUdeviceptr, CUstream, Launch};
use warpdot_kernels::arguments::{Ending, WeightRows};
use warpdot_kernels::launch::Family;
use warpdot_kernels::packed::QUAD_ROWS;

use super::device::{Cuda, Staging, operation, sized};
use super::kernels::{LoadedKernel, matmul};
use super::packed::PackedMatrix;
use super::{Product, Tensor, Workspace};
use crate::device::Shape;
use crate::kernel::Operation;
use crate::{Error, QuantizedMatrix};

/// Packed weights, and the kernels that multiply by them.
pub(crate) struct CudaMatrix {
    cuda: Cuda,
    ty: GgmlType,
    weights: PackedMatrix,
    /// How many there are: fewer than 2^32.
    row_count: usize,
    quantize: LoadedKernel,
    rows: LoadedKernel,
    /// For the fewest rows of activations first.
    matmul: Vec<LoadedKernel>,
}

/// How many bytes m rows of activations take.
pub(super) fn workspace_bytes(m: usize, k: usize) -> Option<usize> {
    m.checked_mul(k / RUN)?.checked_mul(size_of::<ActivationBlock>())
}

impl CudaMatrix {
    pub(crate) fn upload(cuda: &Cuda, matrix: &QuantizedMatrix) -> Result<Self, Error> {
        let loader = cuda.loader();
        Ok(Self {
            cuda: cuda.clone(),
            ty: matrix.ty(),
            weights: PackedMatrix::upload(cuda, matrix)?,
            row_count: matrix.rows(),
            quantize: loader.load_only(Family::Quantize, None)?,
            rows: loader.load_only(Family::Rows, Some(matrix.ty()))?,
            matmul: matmul(matrix.ty()).map(|kernel| loader.load(kernel)).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn cuda(&self) -> &Cuda {
        &self.cuda
    }

    /// The rows from `first` on, of which there is one at least.
    pub(crate) fn part(&self, first: usize) -> CudaPart<'_> {
        CudaPart { matrix: self, first }
    }

    /// The preferred kernel of an operation for m rows of activations.
    fn kernel(&self, operation: Option<Operation>, m: usize) -> Result<&LoadedKernel, Error> {
        let suits = |loaded: &&LoadedKernel| {
            let found = self::operation(loaded.kernel);
            m <= loaded.kernel.columns as usize && (operation.is_none() || found == operation)
        };
        let reason = || format!("none for m = {m} and {}", self.ty);
        self.matmul.iter().find(suits).ok_or_else(|| Error::NoKernels { reason: reason() })
    }
}

/// One of the launches that a product takes.
pub(super) struct Step {
    pub(super) rows: WeightRows,
    pub(super) ending: Ending,
    pub(super) size: Launch,
}

/// The rows of a matrix from one on: how many of them is up to whoever has this.
#[derive(Clone, Copy)]
pub(crate) struct CudaPart<'a> {
    matrix: &'a CudaMatrix,
    first: usize,
}

impl CudaPart<'_> {
    /// What kernels take.
    pub(super) fn rows(self) -> WeightRows {
        let address = self.matrix.weights.words().as_raw();
        // Uploads have checked that they fit.
        WeightRows { address, of: self.matrix.row_count as u32, first: self.first as u32 }
    }

    /// What is to be launched for products that end like this, if all of it can be, with the products by `up` as
    /// factors if there is one.
    ///
    /// One kernel computes both where its threads have the same four rows of each, else one after the other.
    pub(super) fn steps(
        self,
        up: Option<Self>,
        kernel: &LoadedKernel,
        ending: Ending,
        shape: Shape,
    ) -> Result<impl Iterator<Item = Step> + use<>, Error> {
        let step = |part: Self, ending| {
            let rows = part.rows();
            Ok::<_, Error>(Step { rows, ending, size: kernel.size_from(rows.first, shape)? })
        };
        let quad_row = |part: Self| part.first % QUAD_ROWS as usize;
        let steps = match up {
            None => [None, Some(step(self, ending)?)],
            Some(up) if quad_row(up) == quad_row(self) => {
                [None, Some(step(self, Ending { up: up.rows(), ..ending })?)]
            }
            Some(up) => [Some(step(up, ending.of_factors())?), Some(step(self, ending)?)],
        };
        Ok(steps.into_iter().flatten())
    }

    /// The matrix's words in device memory, if these are all of its rows.
    pub(super) fn words(&self, rows: usize) -> Result<&Buffer<u32>, Error> {
        match self.matrix.row_count {
            of if rows == of => Ok(self.matrix.weights.words()),
            of => Err(Error::SliceRead { rows, of }),
        }
    }

    pub(super) fn rows_kernel(&self) -> &LoadedKernel {
        &self.matrix.rows
    }

    /// Queues the quantization of X and returns where it will be, in the workspace.
    ///
    /// # Safety
    /// As for [`DeviceMatrix::enqueue`](crate::DeviceMatrix::enqueue).
    pub(super) unsafe fn enqueue_quantize(
        self,
        stream: CUstream,
        product: &Product,
        shape: Shape,
    ) -> Result<CUdeviceptr, Error> {
        let Shape { m, n, k } = shape;
        let bytes = workspace_bytes(m, k).ok_or(Error::Overflow { m, n, k })?;
        let activations = product.workspace.address(bytes)?;
        let (x, size) = (product.x(k)?, self.matrix.quantize.size(shape)?);
        // `size` has checked that they fit.
        let (runs, blocks) = ((k / RUN) as u32, (m * (k / RUN)) as u32);
        let arguments = [Argument::value(&x), Argument::pointer(activations), runs.into(), blocks.into()];
        // SAFETY: the kernel takes these arguments, reads m x k activations and writes as many blocks as the workspace
        // was just checked to hold.
        unsafe { self.matrix.quantize.launch(stream, size, &arguments) }?;
        Ok(activations)
    }

    /// Queues a product by the preferred kernel, of an operation if one is given, with the products by `up` as
    /// factors if there is one.
    ///
    /// # Safety
    /// As for [`DeviceMatrix::enqueue`](crate::DeviceMatrix::enqueue). There are n rows of k weights, and as many of
    /// `up`, with which the factor of the product is memory of its own.
    pub(super) unsafe fn enqueue(
        self,
        stream: CUstream,
        operation: Option<Operation>,
        product: &Product,
        up: Option<Self>,
        shape: Shape,
    ) -> Result<(), Error> {
        let Shape { m, n, k } = shape;
        let kernel = self.matrix.kernel(operation, m)?;
        let mut steps = self.steps(up, kernel, product.ending(m, n)?, shape)?;
        // SAFETY: the caller's.
        let x = Argument::pointer(unsafe { self.enqueue_quantize(stream, product, shape) }?);
        steps.try_for_each(|Step { rows, ending, size }| {
            let [m, n, k] = [m, n, k].map(|size| Argument::from(size as u32)); // `steps` has checked that they fit
            let arguments = [Argument::value(&rows), x, Argument::value(&ending), m, n, k];
            // SAFETY: the kernel takes these arguments, reads n x k weights and the activations that the quantization
            // leaves earlier in the stream, and accesses the m x n elements of the tensors that the caller vouches for.
            unsafe { kernel.launch(stream, size, &arguments) }
        })
    }

    /// Computes y = x · Wᵀ, slices of the shape's sizes, and returns the time of the kernels.
    pub(crate) fn matmul(
        self,
        operation: Operation,
        shape: Shape,
        x: &[f32],
        y: &mut [f32],
    ) -> Result<Duration, Error> {
        self.with_operands((x, shape.m), &[], (y, shape), |stream, _, product| {
            // SAFETY: the operands live until the stream is done, and are used for nothing else.
            unsafe { self.enqueue(stream, Some(operation), product, None, shape) }
        })
    }

    /// Brings rows of X, and ids, to the device, queues what makes Y\[m, n\] of them there, brings Y back and returns the
    /// time of the kernels. The operands that `queue` gets have these sizes, are this product's alone, and live until the
    /// stream is done.
    pub(super) fn with_operands(
        self,
        (x, x_rows): (&[f32], usize),
        ids: &[u32],
        (y, Shape { m, n, k }): (&mut [f32], Shape),
        queue: impl FnOnce(CUstream, CUdeviceptr, &Product) -> Result<(), Error>,
    ) -> Result<Duration, Error> {
        let cuda = &self.matrix.cuda;
        let mut staging = cuda.staging();
        let Staging { stream, start, end, x: x_slot, workspace, ids: ids_slot, y: y_slot } = &mut *staging;
        let context = cuda.context();
        let x_buffer = sized(x_slot, context, x.len())?;
        let bytes = workspace_bytes(x_rows, k).ok_or(Error::Overflow { m, n, k })?;
        let workspace = sized(workspace, context, bytes)?;
        let y_buffer = sized(y_slot, context, y.len())?;
        x_buffer.write(x)?;
        let ids = match ids {
            [] => 0,
            ids => {
                let buffer = sized(ids_slot, context, ids.len())?;
                buffer.write(ids)?;
                buffer.as_raw()
            }
        };
        let product = Product::new(
            Tensor::new(x_buffer.as_raw(), FloatType::F32, x_rows, k),
            Tensor::new(y_buffer.as_raw(), FloatType::F32, m, n),
            Workspace { pointer: workspace.as_raw(), bytes },
        );
        let queued = (|| {
            start.record(stream)?;
            queue(stream.as_raw(), ids, &product)?;
            Ok::<_, Error>(end.record(stream)?)
        })();
        // Whatever was queued uses the buffers: wait for it also when the rest could not be queued.
        let done = stream.synchronize();
        queued?;
        done?;
        y_buffer.read(y)?;
        Ok(end.elapsed_since(start)?)
    }

    /// Writes the rows `ids`, all of which there are, to `out`, which has k numbers for each.
    pub(crate) fn get_rows(self, shape: Shape, ids: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let Shape { m, n, k } = shape;
        let cuda = &self.matrix.cuda;
        let mut staging = cuda.staging();
        let Staging { stream, ids: ids_slot, y: rows_slot, .. } = &mut *staging;
        let context = cuda.context();
        let ids_buffer = sized(ids_slot, context, ids.len())?;
        let rows = sized(rows_slot, context, out.len())?;
        ids_buffer.write(ids)?;
        let tensor = Tensor::new(rows.as_raw(), FloatType::F32, m, k);
        let ids = Some(ids_buffer.as_raw());
        // SAFETY: the buffers have these sizes, are this call's alone while the staging area is locked, and live
        // until the stream is done.
        let queued = unsafe { self.enqueue_rows(stream.as_raw(), ids, &tensor, (n, k)) };
        let done = stream.synchronize();
        queued?;
        done?;
        Ok(rows.read(out)?)
    }
}

impl fmt::Debug for CudaMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = size_of::<u32>() * self.weights.words().len();
        write!(f, "CudaMatrix({bytes} bytes of {} on {})", self.ty, self.cuda.id())
    }
}

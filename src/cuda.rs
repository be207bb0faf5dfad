//! CUDA devices: which kernels they get, and how a product flows through their memory.

mod kernels;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytemuck::Pod;
use warpdot_formats::{ActivationBlock, GgmlType, RUN};
use warpdot_host::{Arch, Buffer, ComputeCapability, Context, Event, Stream};
use warpdot_kernels::launch::{Family, Kernel};

use self::kernels::{Kernels, eligible};
use crate::device::Shape;
use crate::kernel::{KernelId, Operation};
use crate::{Error, QuantizedMatrix, ptx};

/// A CUDA device, ready to compute.
#[derive(Clone)]
pub(crate) struct Cuda(Arc<State>);

struct State {
    index: usize,
    name: String,
    context: Context,
    kernels: Kernels,
    workspace: Mutex<Workspace>,
}

/// What a product needs besides the weights; one product at a time.
struct Workspace {
    stream: Stream,
    start: Event,
    end: Event,
    x: Option<Buffer<f32>>,
    activations: Option<Buffer<ActivationBlock>>,
    ids: Option<Buffer<u32>>,
    y: Option<Buffer<f32>>,
}

impl Cuda {
    /// How many devices the driver shows; none without a driver.
    pub(crate) fn count() -> usize {
        warpdot_host::Device::all().map_or(0, |devices| devices.len())
    }

    pub(crate) fn new(index: usize) -> Result<Self, Error> {
        let device = warpdot_host::Device::get(index)?;
        let arch = best_arch(index, device.compute_capability()?)?;
        let context = device.context()?;
        let workspace = Workspace {
            stream: context.stream()?,
            start: context.event()?,
            end: context.event()?,
            x: None,
            activations: None,
            ids: None,
            y: None,
        };
        Ok(Self(Arc::new(State {
            index,
            name: device.name()?,
            kernels: Kernels::new(context.clone(), arch),
            context,
            workspace: Mutex::new(workspace),
        })))
    }

    pub(crate) fn id(&self) -> String {
        format!("cuda:{}", self.0.index)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The kernels that can compute a product, preferred first.
    pub(crate) fn kernels(&self, ty: GgmlType, m: usize) -> Vec<KernelId> {
        let target = format!("cuda-{}", self.0.kernels.arch().to_string().replace('_', ""));
        let mut ids: Vec<KernelId> = eligible(ty, m)
            .filter_map(operation)
            .map(|operation| KernelId::new(&target, operation, ty))
            .collect();
        ids.dedup(); // a gemv has kernels of several widths
        ids
    }

    pub(crate) fn upload(&self, matrix: &QuantizedMatrix) -> Result<CudaMatrix, Error> {
        let mut weights = self.0.context.alloc(matrix.bytes().len())?;
        weights.write(matrix.bytes())?;
        Ok(CudaMatrix { cuda: self.clone(), ty: matrix.ty(), weights })
    }
}

/// The most specific embedded architecture that runs on a device.
fn best_arch(index: usize, capability: ComputeCapability) -> Result<Arch, Error> {
    let names = ptx::archs()?;
    let archs = names.iter().filter_map(|name| name.parse().ok());
    Arch::best(capability, archs).ok_or_else(|| Error::NoKernelsForDevice {
        device: format!("cuda:{index}"),
        capability: capability.to_string(),
        archs: names.join(", "),
    })
}

/// What a kernel does with weights, if it does anything with them.
fn operation(kernel: &Kernel) -> Option<Operation> {
    match kernel.family {
        Family::Gemv => Some(Operation::Gemv),
        Family::Gemm => Some(Operation::Gemm),
        _ => None,
    }
}

/// Weights in the memory of a CUDA device, in ggml's layout.
pub(crate) struct CudaMatrix {
    cuda: Cuda,
    ty: GgmlType,
    weights: Buffer<u8>,
}

impl CudaMatrix {
    /// Computes y = x · Wᵀ, slices of the shape's sizes, and returns the time of the kernels.
    pub(crate) fn matmul(
        &self,
        operation: Operation,
        shape: Shape,
        x: &[f32],
        y: &mut [f32],
    ) -> Result<Duration, Error> {
        let state = &*self.cuda.0;
        let mut workspace = state.lock();
        let Workspace { stream, start, end, x: x_slot, activations, y: y_slot, .. } = &mut *workspace;
        let x_buffer = sized(x_slot, &state.context, x.len())?;
        let activations = sized(activations, &state.context, x.len() / RUN)?;
        let y_buffer = sized(y_slot, &state.context, y.len())?;

        x_buffer.write(x)?;
        let kernel = eligible(self.ty, shape.m).find(|kernel| self::operation(kernel) == Some(operation));
        let kernel = kernel
            .ok_or_else(|| Error::NoKernels { reason: format!("no {} for {}", operation.name(), self.ty) })?;
        let queued = (|| {
            start.record(stream)?;
            state.kernels.quantize(stream, x_buffer, activations, shape)?;
            state.kernels.matmul(stream, kernel, (self.ty, &self.weights), activations, y_buffer, shape)?;
            Ok::<_, Error>(end.record(stream)?)
        })();
        // Whatever was queued uses the buffers: wait for it also when the rest could not be queued.
        let done = stream.synchronize();
        queued?;
        done?;
        y_buffer.read(y)?;
        Ok(end.elapsed_since(start)?)
    }
}

impl CudaMatrix {
    /// Writes the rows `ids`, all of which there are, to `out`, which has k numbers for each.
    pub(crate) fn rows(&self, shape: Shape, ids: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let state = &*self.cuda.0;
        let mut workspace = state.lock();
        let Workspace { stream, ids: ids_slot, y: rows_slot, .. } = &mut *workspace;
        let ids_buffer = sized(ids_slot, &state.context, ids.len())?;
        let rows = sized(rows_slot, &state.context, out.len())?;
        ids_buffer.write(ids)?;
        let queued = state.kernels.rows(stream, (self.ty, &self.weights), ids_buffer, rows, shape);
        // Whatever was queued uses the buffers.
        let done = stream.synchronize();
        queued?;
        done?;
        Ok(rows.read(out)?)
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Workspace> {
        // Buffers are overwritten by every product, so a panic elsewhere leaves nothing half-done behind.
        self.workspace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The buffer in `slot`, made anew if it has another length.
fn sized<'a, T: Pod>(
    slot: &'a mut Option<Buffer<T>>,
    context: &Context,
    len: usize,
) -> Result<&'a mut Buffer<T>, Error> {
    let buffer = match slot.take() {
        Some(buffer) if buffer.len() == len => buffer,
        other => {
            drop(other); // its memory may be needed for the new one
            context.alloc(len)?
        }
    };
    Ok(slot.insert(buffer))
}

impl fmt::Debug for CudaMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaMatrix({} bytes of {} on {})", self.weights.len(), self.ty, self.cuda.id())
    }
}

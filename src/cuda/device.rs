//! CUDA devices, and which kernels they get.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;
use warpdot_formats::GgmlType;
use warpdot_host::{Arch, Buffer, ComputeCapability, Context, Event, Stream};
use warpdot_kernels::launch::{Family, Kernel};

use super::kernels::{Kernels, eligible};
use crate::kernel::{KernelId, Operation};
use crate::{Error, ptx};

/// A CUDA device, ready to compute.
#[derive(Clone)]
pub(crate) struct Cuda(Arc<State>);

struct State {
    index: usize,
    name: String,
    context: Context,
    kernels: Kernels,
    staging: Mutex<Staging>,
}

/// What products of host slices need besides the weights; one product at a time.
pub(super) struct Staging {
    pub(super) stream: Stream,
    pub(super) start: Event,
    pub(super) end: Event,
    pub(super) x: Option<Buffer<f32>>,
    pub(super) workspace: Option<Buffer<u8>>,
    pub(super) ids: Option<Buffer<u32>>,
    pub(super) y: Option<Buffer<f32>>,
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
        let staging = Staging {
            stream: context.stream()?,
            start: context.event()?,
            end: context.event()?,
            x: None,
            workspace: None,
            ids: None,
            y: None,
        };
        Ok(Self(Arc::new(State {
            index,
            name: device.name()?,
            kernels: Kernels::new(context.clone(), arch),
            context,
            staging: Mutex::new(staging),
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

    pub(crate) fn context(&self) -> &Context {
        &self.0.context
    }

    pub(crate) fn loader(&self) -> &Kernels {
        &self.0.kernels
    }

    pub(super) fn staging(&self) -> MutexGuard<'_, Staging> {
        // Buffers are overwritten by every product, so a panic elsewhere leaves nothing half-done behind.
        self.0.staging.lock().unwrap_or_else(PoisonError::into_inner)
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
pub(super) fn operation(kernel: &Kernel) -> Option<Operation> {
    match kernel.family {
        Family::Gemv => Some(Operation::Gemv),
        Family::Gemm => Some(Operation::Gemm),
        _ => None,
    }
}

/// The buffer in `slot`, made anew if it has another length.
pub(super) fn sized<'a, T: Pod>(
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

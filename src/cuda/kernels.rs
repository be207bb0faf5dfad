//! Loading and launching the kernels: the one place of this crate with `unsafe`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use warpdot_formats::{ActivationBlock, GgmlType, RUN};
use warpdot_host::{Arch, Argument, Buffer, Context, Function, Launch, Module, Stream};
use warpdot_kernels::launch::{Family, KERNELS, Kernel};

use crate::device::Shape;
use crate::{Error, ptx};

/// The kernels of one device. The driver compiles a family's module when the first of its kernels is used.
pub(crate) struct Kernels {
    context: Context,
    arch: Arch,
    modules: Mutex<HashMap<Family, Module>>,
}

/// The kernels that can multiply `m` rows of activations, preferred first.
pub(crate) fn eligible(ty: GgmlType, m: usize) -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(move |kernel| kernel.ty == Some(ty) && m <= kernel.columns as usize)
}

impl Kernels {
    pub(crate) fn new(context: Context, arch: Arch) -> Self {
        Self { context, arch, modules: Mutex::default() }
    }

    /// The architecture whose kernels these are.
    pub(crate) fn arch(&self) -> Arch {
        self.arch
    }

    /// Queues the quantization of m x k activations.
    pub(crate) fn quantize(
        &self,
        stream: &Stream,
        x: &Buffer<f32>,
        activations: &mut Buffer<ActivationBlock>,
        shape: Shape,
    ) -> Result<(), Error> {
        let Shape { m, k, .. } = shape;
        assert!(x.len() == m * k && activations.len() == m * k / RUN, "buffers of the product's size");
        let kernel = KERNELS
            .iter()
            .find(|kernel| kernel.family == Family::Quantize)
            .ok_or_else(|| Error::NoKernels { reason: "none that quantizes activations".to_string() })?;
        let blocks = activations.len() as u32; // `launch` has checked m * k
        let arguments = [x.into(), activations.into(), blocks.into()];
        // SAFETY: the kernel takes these arguments, reads 32 activations per block and writes the blocks, and the
        // lengths were checked above.
        unsafe { self.launch(stream, kernel, shape, &arguments) }
    }

    /// Queues y = x · Wᵀ by one of the kernels [`eligible`] for the weights.
    pub(crate) fn matmul(
        &self,
        stream: &Stream,
        kernel: &Kernel,
        weights: (GgmlType, &Buffer<u8>),
        activations: &Buffer<ActivationBlock>,
        y: &mut Buffer<f32>,
        shape: Shape,
    ) -> Result<(), Error> {
        let (Shape { m, n, k }, (ty, weights)) = (shape, weights);
        let sizes = (weights.len(), activations.len(), y.len());
        assert_eq!(sizes, (n * (k / ty.block_weights()) * ty.block_bytes(), m * k / RUN, m * n));
        assert_eq!(kernel.ty, Some(ty), "a kernel for the weights' format");
        let arguments = [
            weights.into(),
            activations.into(),
            y.into(),
            (m as u32).into(),
            (n as u32).into(),
            (k as u32).into(),
        ];
        // SAFETY: every kernel with a format takes these arguments, reads n x k weights and m x k activations and
        // writes m x n products, and the lengths were checked above.
        unsafe { self.launch(stream, kernel, shape, &arguments) }
    }

    /// Queues out = rows `ids` of the weights as f32. No id may be n or above.
    pub(crate) fn rows(
        &self,
        stream: &Stream,
        weights: (GgmlType, &Buffer<u8>),
        ids: &Buffer<u32>,
        out: &mut Buffer<f32>,
        shape: Shape,
    ) -> Result<(), Error> {
        let (Shape { m, n, k }, (ty, weights)) = (shape, weights);
        let sizes = (weights.len(), ids.len(), out.len());
        assert_eq!(sizes, (n * (k / ty.block_weights()) * ty.block_bytes(), m, m * k));
        let kernel = KERNELS.iter().find(|kernel| kernel.family == Family::Rows && kernel.ty == Some(ty));
        let kernel =
            kernel.ok_or_else(|| Error::NoKernels { reason: format!("none that reads rows of {ty}") })?;
        let sizes = [m as u32, n as u32, k as u32].map(Argument::from); // `launch` has checked them
        let arguments = [weights.into(), ids.into(), out.into(), sizes[0], sizes[1], sizes[2]];
        // SAFETY: the kernel takes these arguments, reads n x k weights and m ids, skips rows that there are not,
        // and writes m x k weights; the lengths were checked above.
        unsafe { self.launch(stream, kernel, shape, &arguments) }
    }

    /// # Safety
    /// As for [`Stream::launch`], if the shape fits u32s; if not, this is an error.
    unsafe fn launch(
        &self,
        stream: &Stream,
        kernel: &Kernel,
        shape: Shape,
        arguments: &[Argument<'_>],
    ) -> Result<(), Error> {
        let Shape { m, n, k } = shape;
        let size = match [m, n, k].map(u32::try_from) {
            [Ok(m), Ok(n), Ok(k)] => kernel.size(m, n, k),
            _ => None,
        };
        let size = size.ok_or(Error::TooLarge { kernel: kernel.entry, m, n, k })?;
        let launch =
            Launch { grid: [size.grid, 1, 1], block: [size.block, 1, 1], shared_bytes: size.shared_bytes };
        let function = self.function(kernel)?;
        // SAFETY: the caller's.
        Ok(unsafe { stream.launch(&function, launch, arguments) }?)
    }

    fn function(&self, kernel: &Kernel) -> Result<Function, Error> {
        // Modules are only added whole, so a panic elsewhere leaves the map in order.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.get(&kernel.family) {
            Some(module) => module.clone(),
            None => {
                let ptx = ptx::find(&self.arch.to_string(), kernel.family.name())?;
                let module = self.context.load_module(&ptx.text())?;
                modules.entry(kernel.family).or_insert(module).clone()
            }
        };
        Ok(module.function(kernel.entry)?)
    }
}

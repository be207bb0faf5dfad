//! Loading and launching the kernels.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use warpdot_formats::GgmlType;
use warpdot_host::{Arch, Argument, CUstream, Context, Function, Launch, Module};
use warpdot_kernels::launch::{Family, Generation, KERNELS, Kernel};

use crate::device::Shape;
use crate::{Error, ptx};

/// The kernels of one device. Each is a module of its own, which the driver compiles when it is loaded.
pub(crate) struct Kernels {
    context: Context,
    arch: Arch,
    modules: Mutex<HashMap<&'static str, Module>>,
}

/// The generation that kernels for an architecture are of.
fn generation(arch: Arch) -> Generation {
    Generation::of(arch.compute_capability().major)
}

/// The kernels that can multiply `m` rows of activations, preferred first.
pub(crate) fn eligible(ty: GgmlType, m: usize) -> impl Iterator<Item = &'static Kernel> {
    matmul(ty).filter(move |kernel| m <= kernel.columns as usize)
}

/// The kernels that multiply by weights of a format, those for fewest rows of activations first.
pub(crate) fn matmul(ty: GgmlType) -> impl Iterator<Item = &'static Kernel> {
    KERNELS
        .iter()
        .filter(move |kernel| kernel.ty == Some(ty) && matches!(kernel.family, Family::Gemv | Family::Gemm))
}

impl Kernels {
    pub(crate) fn new(context: Context, arch: Arch) -> Self {
        Self { context, arch, modules: Mutex::default() }
    }

    /// The architecture whose kernels these are.
    pub(crate) fn arch(&self) -> Arch {
        self.arch
    }

    /// Loads the one kernel of a family, for a format if the family reads weights.
    pub(crate) fn load_only(&self, family: Family, ty: Option<GgmlType>) -> Result<LoadedKernel, Error> {
        let kernel = KERNELS.iter().find(|kernel| kernel.family == family && kernel.ty == ty);
        let reason = || format!("none of {} for {}", family.name(), ty.map_or("activations", GgmlType::name));
        self.load(kernel.ok_or_else(|| Error::NoKernels { reason: reason() })?)
    }

    pub(crate) fn load(&self, kernel: &'static Kernel) -> Result<LoadedKernel, Error> {
        // Modules are only added whole, so a panic elsewhere leaves the map in order.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.get(kernel.entry) {
            Some(module) => module.clone(),
            None => {
                let ptx = ptx::find(&self.arch.to_string(), kernel.family.name())?;
                let module = self.context.load_module(&ptx.kernel_text(kernel.entry)?)?;
                modules.entry(kernel.entry).or_insert(module).clone()
            }
        };
        let (function, generation) = (module.function(kernel.entry)?, generation(self.arch));
        if let Some(bytes) = kernel.large_shared_bytes(generation) {
            function.allow_shared_bytes(bytes)?;
        }
        Ok(LoadedKernel { kernel, generation, function })
    }
}

/// A kernel that can be launched without asking the driver for anything else.
#[derive(Debug)]
pub(crate) struct LoadedKernel {
    pub(crate) kernel: &'static Kernel,
    generation: Generation,
    function: Function,
}

impl LoadedKernel {
    /// The shape of a launch for a product with the first rows of a matrix, if there is one.
    pub(crate) fn size(&self, shape: Shape) -> Result<Launch, Error> {
        self.size_from(0, shape)
    }

    /// The shape of a launch for a product with the rows of a matrix from `first` on, if there is one.
    pub(crate) fn size_from(&self, first: u32, Shape { m, n, k }: Shape) -> Result<Launch, Error> {
        let size = match [m, n, k].map(u32::try_from) {
            [Ok(m), Ok(n), Ok(k)] => self.kernel.size_from(first, self.generation, m, n, k),
            _ => None,
        };
        let size = size.ok_or(Error::TooLarge { kernel: self.kernel.entry, m, n, k })?;
        let [x, y] = size.grid;
        Ok(Launch { grid: [x, y, 1], block: [size.block, 1, 1], shared_bytes: size.shared_bytes })
    }

    /// # Safety
    /// As for [`Function::launch_on`].
    pub(crate) unsafe fn launch(
        &self,
        stream: CUstream,
        size: Launch,
        arguments: &[Argument<'_>],
    ) -> Result<(), Error> {
        // SAFETY: the caller's.
        Ok(unsafe { self.function.launch_on(stream, size, arguments) }?)
    }
}

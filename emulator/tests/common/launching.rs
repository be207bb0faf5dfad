//! Launching warpdot's own kernels without the library.

use warpdot_host::{Arch, Function, Launch, Module};
use warpdot_kernels::launch::{Generation, Kernel};

/// The generation that the kernels of an architecture are of.
pub(crate) fn generation(arch: &str) -> Generation {
    Generation::of(arch.parse::<Arch>().expect("an architecture").compute_capability().major)
}

/// A kernel of an architecture's module, allowed the shared memory that it needs.
pub(crate) fn function(module: &Module, kernel: &Kernel, arch: &str) -> Function {
    let function = module.function(kernel.entry).expect("the kernel");
    if let Some(bytes) = kernel.large_shared_bytes(generation(arch)) {
        function.allow_shared_bytes(bytes).expect("the device has as much");
    }
    function
}

/// Its launch for these sizes, m, n and k, if there is one.
pub(crate) fn launch(kernel: &Kernel, arch: &str, sizes: [usize; 3]) -> Option<Launch> {
    launch_from(0, kernel, arch, sizes)
}

/// The same for rows of weights from `first` on.
pub(crate) fn launch_from(first: usize, kernel: &Kernel, arch: &str, sizes: [usize; 3]) -> Option<Launch> {
    let [first, m, n, k] = [first, sizes[0], sizes[1], sizes[2]].map(|size| size as u32);
    let size = kernel.size_from(first, generation(arch), m, n, k)?;
    let [x, y] = size.grid;
    Some(Launch { grid: [x, y, 1], block: [size.block, 1, 1], shared_bytes: size.shared_bytes })
}

//! The CPU as a device.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use warpdot_cpu::{Isa, Kernel, Problem, Routine, Workspace};
use warpdot_formats::{GgmlType, Numerics};

use crate::device::Shape;
use crate::kernel::{KernelId, Operation};
use crate::{Error, QuantizedMatrix};

/// The CPU with one of its instruction sets, and workspaces for as many products as ever ran at once.
#[derive(Clone)]
pub(crate) struct Cpu {
    isa: Isa,
    workspaces: Arc<Mutex<Vec<Workspace>>>,
}

impl Cpu {
    pub(crate) fn new(isa: Isa) -> Self {
        Self { isa, workspaces: Arc::default() }
    }

    pub(crate) fn name(&self) -> String {
        format!("CPU, {}, {} threads", self.isa.name(), rayon::current_num_threads())
    }

    /// The kernels that can compute a product, preferred first: all of them can compute every product.
    pub(crate) fn kernels(&self, ty: GgmlType, m: usize) -> Vec<KernelId> {
        let problem = Problem { m, n: 1, k: ty.block_weights() };
        let preferred = Kernel::choose(self.isa, Numerics::default(), problem).routine;
        let mut operations = [Operation::Gemv, Operation::Gemm];
        operations.sort_by_key(|operation| routine(*operation) != preferred);
        operations.map(|operation| KernelId::new(&format!("cpu-{}", self.isa.name()), operation, ty)).to_vec()
    }

    /// Computes y = x · Wᵀ, slices of the shape's sizes, and returns the time.
    pub(crate) fn matmul(
        &self,
        operation: Operation,
        weights: &QuantizedMatrix,
        shape: Shape,
        x: &[f32],
        y: &mut [f32],
    ) -> Result<Duration, Error> {
        let kernel = Kernel { isa: self.isa, routine: routine(operation) };
        let Shape { m, n, k } = shape;
        let mut workspace = self.workspaces().pop().unwrap_or_default();
        let start = Instant::now();
        let result =
            kernel.matmul_bytes(weights.ty(), &mut workspace, Problem { m, n, k }, weights.bytes(), x, y);
        let time = start.elapsed();
        self.workspaces().push(workspace);
        result?;
        Ok(time)
    }

    fn workspaces(&self) -> MutexGuard<'_, Vec<Workspace>> {
        // A workspace is either in the list or in use, so a panic leaves the list whole.
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn routine(operation: Operation) -> Routine {
    match operation {
        Operation::Gemv => Routine::Gemv,
        Operation::Gemm => Routine::Gemm,
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

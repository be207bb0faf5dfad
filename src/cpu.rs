//! The CPU as a device.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use warpdot_cpu::{Experts, Isa, Kernel, Matrix, PackedMatrix, Problem, Product, Routine, Workspace};
use warpdot_formats::{GgmlType, Numerics};

use crate::device::Shape;
use crate::kernel::{KernelId, Operation};
use crate::matrix::AlignedBytes;
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
        let preferred = [Numerics::Fast, Numerics::Reproducible]
            .map(|numerics| Kernel::choose(self.isa, numerics, problem).routine);
        let mut operations = vec![Operation::Gemv, Operation::Gemm];
        operations.extend(self.isa.has_tiles().then_some(Operation::Tiles));
        operations.sort_by_key(|operation| preferred.map(|preferred| routine(*operation) != preferred));
        let id = |operation| KernelId::new(&format!("cpu-{}", self.isa.name()), operation, ty);
        operations.into_iter().map(id).collect()
    }

    /// Packs a matrix for this CPU.
    pub(crate) fn pack(&self, matrix: &QuantizedMatrix) -> Result<CpuMatrix, Error> {
        let packed =
            PackedMatrix::new(self.isa, matrix.ty(), matrix.rows(), matrix.columns(), matrix.bytes())?;
        Ok(CpuMatrix { cpu: self.clone(), weights: Weights::Packed(packed) })
    }

    /// Takes a matrix as it is, sharing its bytes.
    pub(crate) fn share(&self, matrix: &QuantizedMatrix) -> CpuMatrix {
        CpuMatrix { cpu: self.clone(), weights: Weights::Blocks(matrix.clone()) }
    }

    fn workspaces(&self) -> MutexGuard<'_, Vec<Workspace>> {
        // A workspace is either in the list or in use, so a panic leaves the list whole.
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A matrix that the CPU multiplies by.
#[derive(Debug)]
pub(crate) struct CpuMatrix {
    cpu: Cpu,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    Packed(PackedMatrix),
    Blocks(QuantizedMatrix),
}

impl CpuMatrix {
    /// Computes a product with a range of the rows, and returns the time.
    pub(crate) fn compute(
        &self,
        operation: Operation,
        rows: Range<usize>,
        product: Product,
    ) -> Result<Duration, Error> {
        let (kernel, weights) = (self.kernel(operation), self.matrix().range(rows)?);
        self.timed(|workspace| kernel.compute(workspace, weights, product))
    }

    /// Computes a product with the rows `ids` of a range.
    pub(crate) fn dot(&self, rows: Range<usize>, ids: &[u32], product: Product) -> Result<(), Error> {
        let weights = self.matrix().range(rows)?.gather(ids)?;
        let problem = Problem { m: product.x.rows(), n: ids.len(), k: weights.columns() };
        let kernel = Kernel::choose(self.cpu.isa, Numerics::default(), problem);
        self.timed(|workspace| kernel.compute(workspace, weights, product)).map(|_| ())
    }

    /// Computes a product with experts, `count` in a range of the rows, by the kernels that suit the numbers of rows
    /// that chose them, or by that of an operation. Returns the time.
    pub(crate) fn experts(
        &self,
        numerics: Numerics,
        operation: Option<Operation>,
        rows: Range<usize>,
        (count, ids): (usize, &[u32]),
        product: Product,
    ) -> Result<Duration, Error> {
        let experts = Experts::new(self.matrix().range(rows)?, count, ids)?;
        self.timed(|workspace| match operation {
            Some(operation) => experts.compute_with(self.kernel(operation), workspace, product),
            None => experts.compute(self.cpu.isa, numerics, workspace, product),
        })
    }

    fn kernel(&self, operation: Operation) -> Kernel {
        Kernel { isa: self.cpu.isa, routine: routine(operation) }
    }

    fn matrix(&self) -> Matrix<'_> {
        match &self.weights {
            Weights::Packed(weights) => Matrix::Packed(weights),
            Weights::Blocks(weights) => Matrix::Blocks {
                ty: weights.ty(),
                n: weights.rows(),
                k: weights.columns(),
                bytes: weights.bytes(),
            },
        }
    }

    fn timed(
        &self,
        compute: impl FnOnce(&mut Workspace) -> Result<(), warpdot_cpu::Error>,
    ) -> Result<Duration, Error> {
        let mut workspace = self.cpu.workspaces().pop().unwrap_or_default();
        let start = Instant::now();
        let result = compute(&mut workspace);
        let time = start.elapsed();
        self.cpu.workspaces().push(workspace);
        result?;
        Ok(time)
    }

    /// Writes rows `ids`, all of which there are, counted from `first`, to `out`, which has k numbers for each.
    pub(crate) fn rows(&self, first: usize, shape: Shape, ids: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let packed = match &self.weights {
            Weights::Blocks(weights) => return weights.dequantize_rows(first, ids, out),
            Weights::Packed(packed) => packed,
        };
        let bytes = QuantizedMatrix::byte_len(packed.ty(), 1, shape.k)?;
        let rows = ids.par_iter().zip(out.par_chunks_exact_mut(shape.k));
        rows.try_for_each_init(
            || AlignedBytes::zeroed(bytes),
            |row, (&id, out)| {
                packed.row(first + id as usize, row.as_mut())?;
                Ok(warpdot_cpu::dequantize_bytes(self.cpu.isa, packed.ty(), row.as_ref(), out)?)
            },
        )
    }
}

fn routine(operation: Operation) -> Routine {
    match operation {
        Operation::Gemv => Routine::Gemv,
        Operation::Gemm => Routine::Gemm,
        Operation::Tiles => Routine::Tiles,
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

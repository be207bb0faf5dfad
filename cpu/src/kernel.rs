//! Which kernel computes a product.

use warpdot_formats::{GgmlType, Numerics};

use crate::{Isa, Problem};

/// How the work is cut into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routine {
    /// Tiles of many rows of weights, streamed from memory side by side: for few rows of activations.
    Gemv,
    /// Tiles of few rows of weights: for many rows of activations, whose sums fill the nearest cache.
    Gemm,
}

/// A routine on an instruction set. Every kernel can compute every product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The instruction set.
    pub isa: Isa,
    /// The routine.
    pub routine: Routine,
}

impl Kernel {
    /// The kernel that computes `problem` best.
    ///
    /// All kernels give the [`Numerics::Reproducible`] bits, because no other order of operations has been
    /// found to be quicker; so `numerics` does not matter yet.
    pub fn choose(isa: Isa, numerics: Numerics, problem: Problem) -> Self {
        let routine = match (numerics, problem.m) {
            (Numerics::Fast | Numerics::Reproducible, ..16) => Routine::Gemv,
            (Numerics::Fast | Numerics::Reproducible, _) => Routine::Gemm,
        };
        Self { isa, routine }
    }

    /// The kernel's stable name for a format: `cpu-avx2-gemv-q4k` for example.
    pub fn id(self, ty: GgmlType) -> String {
        let routine = match self.routine {
            Routine::Gemv => "gemv",
            Routine::Gemm => "gemm",
        };
        format!("cpu-{}-{routine}-{}", self.isa.name(), ty.suffix())
    }
}

//! Which kernel computes a product.

use warpdot_formats::{GgmlType, Numerics};

use crate::{Isa, Problem};

/// How the work is cut into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routine {
    /// Tiles of many rows of weights, streamed from memory side by side: for few rows of activations.
    Gemv,
    /// Sixteen rows of weights side by side, unpacked once for all rows of activations: for many of these.
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
        let many = match isa {
            // It adds up eight lanes about as fast as it multiplies four codes in each.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => 128,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(_) => 32,
            _ => 24,
        };
        let routine = match numerics {
            Numerics::Fast | Numerics::Reproducible if problem.m < many => Routine::Gemv,
            Numerics::Fast | Numerics::Reproducible => Routine::Gemm,
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

//! Which kernel computes a product.

use warpdot_formats::{GgmlType, Numerics};

use crate::{Isa, Problem};

/// Rows of activations from which tiles are chosen: as many as they hold. To make weights `bf16` takes about as long as
/// ten rows by int8.
const TILES_FROM: usize = 32;

/// How the work is cut into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routine {
    /// Tiles of many rows of weights, streamed from memory side by side: for few rows of activations.
    Gemv,
    /// Sixteen rows of weights side by side, unpacked once for all rows of activations: for many of these.
    Gemm,
    /// Tiles of `bf16` in registers of their own: for many rows of activations, too, where the instruction set is `amx`
    /// and the numerics are [`Numerics::Fast`].
    Tiles,
}

impl Routine {
    /// The name in kernel ids, `gemv` for example.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gemv => "gemv",
            Self::Gemm => "gemm",
            Self::Tiles => "tiles",
        }
    }
}

/// A routine on an instruction set. Every kernel can compute every product, except that only `amx` has tiles.
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
    /// All kernels but those of tiles give the [`Numerics::Reproducible`] bits.
    pub fn choose(isa: Isa, numerics: Numerics, problem: Problem) -> Self {
        if isa.has_tiles() && numerics == Numerics::Fast && problem.m >= TILES_FROM {
            return Self { isa, routine: Routine::Tiles };
        }
        let many = match isa {
            // It adds up eight lanes about as fast as it multiplies four codes in each.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => 128,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(_) => 32,
            _ => 24,
        };
        Self { isa, routine: if problem.m < many { Routine::Gemv } else { Routine::Gemm } }
    }

    /// The kernel's stable name for a format: `cpu-avx2-gemv-q4k` for example.
    pub fn id(self, ty: GgmlType) -> String {
        format!("cpu-{}-{}-{}", self.isa.name(), self.routine.name(), ty.suffix())
    }
}

//! Which kernel computes a product.

use warpdot_formats::{GgmlType, Numerics};

#[cfg(target_arch = "x86_64")]
use crate::isa::Amx;
use crate::{Error, Isa, Problem};

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

    /// What the kernel computes in.
    ///
    /// # Errors
    /// If it is for tiles, and the instruction set has none.
    pub(crate) fn registers(self) -> Result<Registers, Error> {
        match (self.routine, self.isa) {
            #[cfg(target_arch = "x86_64")]
            (Routine::Tiles, Isa::Amx(amx)) => Ok(Registers::Tiles(amx)),
            (Routine::Tiles, isa) => Err(Error::NoTiles { isa: isa.name() }),
            (Routine::Gemv | Routine::Gemm, isa) => Ok(Registers::Vectors(isa)),
        }
    }

    /// The kernel's stable name for a format: `cpu-avx2-gemv-q4k` for example.
    pub fn id(self, ty: GgmlType) -> String {
        format!("cpu-{}-{}-{}", self.isa.name(), self.routine.name(), ty.suffix())
    }
}

/// What products are computed in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Registers {
    /// Vectors, by gemv and gemm as the workspace's plan says.
    Vectors(Isa),
    /// Tiles, which multiply all rows of X by all rows of W.
    #[cfg(target_arch = "x86_64")]
    Tiles(Amx),
}

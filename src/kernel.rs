//! The names of kernels, and which of them can compute a product.

use std::fmt;
use std::str::FromStr;

use warpdot_formats::GgmlType;

use crate::Error;

/// How a kernel goes about a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Few rows of X: every weight is read once and used at once.
    Gemv,
    /// Any number of rows of X, in tiles.
    Gemm,
    /// Many rows of X, in tiles of `bf16`: with [`Numerics::Fast`](crate::Numerics::Fast), where there are registers
    /// for them.
    Tiles,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Gemv, Self::Gemm, Self::Tiles];

    /// `gemv`, `gemm` or `tiles`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gemv => "gemv",
            Self::Gemm => "gemm",
            Self::Tiles => "tiles",
        }
    }

    /// Whether its products have the bits of [`Numerics::Reproducible`](crate::Numerics::Reproducible).
    pub fn is_reproducible(self) -> bool {
        self != Self::Tiles
    }
}

/// The stable name of a kernel, such as `cpu-avx2-gemm-q4k` or `cuda-sm90a-gemv-q4k`: where it runs, what it
/// does, and the format of the weights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelId {
    /// `cpu` and an instruction set, or `cuda` and an architecture.
    target: String,
    operation: Operation,
    ty: GgmlType,
}

impl KernelId {
    pub(crate) fn new(target: &str, operation: Operation, ty: GgmlType) -> Self {
        Self { target: target.to_string(), operation, ty }
    }

    /// How it goes about a product.
    pub fn operation(&self) -> Operation {
        self.operation
    }
}

impl fmt::Display for KernelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}-{}", self.target, self.operation.name(), self.ty.suffix()))
    }
}

impl FromStr for KernelId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (rest, suffix) = text.rsplit_once('-')?;
            let (target, operation) = rest.rsplit_once('-')?;
            let ty = GgmlType::ALL.iter().find(|ty| ty.suffix() == suffix)?;
            let operation = Operation::ALL.into_iter().find(|known| known.name() == operation)?;
            target.contains('-').then(|| Self::new(target, operation, *ty))
        };
        parse().ok_or_else(|| Error::NotAKernelId(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back() {
        for &ty in GgmlType::ALL {
            for operation in Operation::ALL {
                let id = KernelId::new("cuda-sm90a", operation, ty);
                assert_eq!(id.to_string().parse::<KernelId>().expect("an id"), id);
            }
        }
        assert_eq!(
            KernelId::new("cpu-avx2", Operation::Gemm, GgmlType::Q4K).to_string(),
            "cpu-avx2-gemm-q4k"
        );
        for text in ["", "gemm-q4k", "cpu-gemm-q4k", "cpu-avx2-gemm-q9", "cpu-avx2-dot-q4k", "cpu-avx2-gemm"]
        {
            assert!(text.parse::<KernelId>().is_err(), "{text}");
        }
    }
}

//! Instruction sets: which ones this CPU has, and the vector operations that each provides.
//!
//! A token such as [`Avx2`] can only be had from its `detect`, so that holding one proves that the CPU can
//! execute its instructions. The modules below this one hold all `unsafe` code of the crate.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions without intrinsics")]
mod amx;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics")]
mod avx512;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics")]
mod avxvnni;
#[allow(unsafe_code, reason = "intrinsics")]
#[macro_use]
mod lanes;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "intrinsics")]
mod neon;
#[allow(unsafe_code, reason = "intrinsics")]
mod peak;
mod portable;
#[allow(unsafe_code, reason = "stores that need a fence")]
mod simd;
#[allow(unsafe_code, reason = "stores that need a fence")]
mod stream;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub use amx::Amx;
#[cfg(target_arch = "x86_64")]
pub(crate) use amx::{ActivationTiles, Ahead, FETCHED, ProductTiles, SIDE, Tiles, WeightTiles};
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512Vnni;
#[cfg(target_arch = "x86_64")]
pub use avxvnni::AvxVnni;
#[cfg(target_arch = "x86_64")]
pub(crate) use lanes::Quantizing;
pub(crate) use lanes::{BlocksOfRows, Lanes, ROWS, RowWords, RunCodes};
#[cfg(target_arch = "aarch64")]
pub use neon::{Neon, NeonDotprod, NeonI8mm};
pub use peak::ProductPeak;
pub(crate) use peak::sum_of_words;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use simd::each;
pub(crate) use simd::{HALF, OCTET, Scales, Simd, Unpacked, Vectorize, octet_blocks, padded_octet, run_of};
#[cfg(target_arch = "x86_64")]
pub(crate) use stream::Line;
pub(crate) use stream::{LARGE, Streaming, streaming};

use crate::Error;

/// ONE list of instruction sets, the most capable first: variants, names, conditions,
/// and whose conversions and products serve them.
macro_rules! define_isa {
    ($($(#[$condition:meta])* $isa:ident $name:literal converts as $simd:ident, multiplies as $lanes:ident;)*) => {
        /// An instruction set that this CPU has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Isa {
            $(
                #[doc = concat!("What kernel ids call `", $name, "`.")]
                $(#[$condition])*
                $isa($isa),
            )*
        }

        impl Isa {
            /// The names of the instruction sets that there is code for, the most capable first.
            pub const KNOWN: &[&str] = &[$($(#[$condition])* $name),*];

            /// The instruction sets that this CPU has, the most capable first.
            pub fn available() -> impl Iterator<Item = Self> {
                [$($(#[$condition])* $isa::detect().map(Self::$isa)),*].into_iter().flatten()
            }

            /// The name in kernel ids, `avx2` for example.
            pub fn name(self) -> &'static str {
                match self {
                    $($(#[$condition])* Self::$isa(_) => $name,)*
                }
            }

            /// Runs generic conversions with the token that serves them.
            pub(crate) fn convert<V: SimdVisitor>(self, visitor: V) -> V::Output {
                match self {
                    $($(#[$condition])* Self::$isa(isa) => visitor.visit::<$simd>(isa.into()),)*
                }
            }

            /// Runs generic products with the token that serves them.
            pub(crate) fn visit<V: IsaVisitor>(self, visitor: V) -> V::Output {
                match self {
                    $($(#[$condition])* Self::$isa(isa) => visitor.visit::<$lanes>(isa.into()),)*
                }
            }
        }
    };
}

define_isa! {
    #[cfg(target_arch = "x86_64")] Amx "amx" converts as Avx512Vnni, multiplies as Avx512Vnni;
    #[cfg(target_arch = "x86_64")] Avx512Vnni "avx512vnni" converts as Avx512Vnni, multiplies as Avx512Vnni;
    #[cfg(target_arch = "x86_64")] AvxVnni "avxvnni" converts as Avx2, multiplies as AvxVnni;
    #[cfg(target_arch = "x86_64")] Avx2 "avx2" converts as Avx2, multiplies as Avx2;
    #[cfg(target_arch = "aarch64")] NeonI8mm "neoni8mm" converts as Portable, multiplies as NeonI8mm;
    #[cfg(target_arch = "aarch64")] NeonDotprod "neondotprod" converts as Portable, multiplies as NeonDotprod;
    #[cfg(target_arch = "aarch64")] Neon "neon" converts as Portable, multiplies as Neon;
    Portable "portable" converts as Portable, multiplies as Portable;
}

/// Conversions that are generic over the instruction set.
pub(crate) trait SimdVisitor {
    /// What the work gives back.
    type Output;

    /// Does the work with `isa`.
    fn visit<I: Simd>(self, isa: I) -> Self::Output;
}

/// Products that are generic over the instruction set.
pub(crate) trait IsaVisitor {
    /// What the work gives back.
    type Output;

    /// Does the work with `isa`.
    fn visit<I: Lanes>(self, isa: I) -> Self::Output;
}

impl Isa {
    /// The environment variable that [`Isa::from_env`] reads.
    pub const ENV: &str = "WARPDOT_ISA";

    /// The most capable instruction set that this CPU has.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable(Portable))
    }

    /// Whether there are tile registers.
    pub fn has_tiles(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self, Self::Amx(_));
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The instruction set called `name`.
    ///
    /// # Errors
    /// If there is no such instruction set, or this CPU lacks it.
    pub fn demand(name: &str) -> Result<Self, Error> {
        Self::demand_of(name, &Self::available().collect::<Vec<_>>())
    }

    fn demand_of(name: &str, available: &[Self]) -> Result<Self, Error> {
        if let Some(isa) = available.iter().find(|isa| isa.name() == name) {
            return Ok(*isa);
        }
        let available = available.iter().map(|isa| isa.name()).collect();
        Err(match Self::KNOWN.iter().find(|known| **known == name) {
            Some(name) => Error::AbsentIsa { name, available },
            None => Error::UnknownIsa { name: name.to_string(), available },
        })
    }

    /// The instruction set that the environment variable `WARPDOT_ISA` demands, or the best one without it.
    ///
    /// # Errors
    /// As [`Isa::demand`]: what is demanded but absent is not replaced by something else.
    pub fn from_env() -> Result<Self, Error> {
        match std::env::var_os(Self::ENV) {
            Some(name) => Self::demand(&name.to_string_lossy()),
            None => Ok(Self::best()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded_but_absent_is_an_error() {
        let lesser = [Isa::Portable(Portable)];
        assert_eq!(Isa::demand_of("portable", &lesser), Ok(lesser[0]));
        for name in Isa::KNOWN.iter().filter(|name| **name != "portable") {
            let error = Isa::demand_of(name, &lesser).expect_err("absent");
            assert_eq!(error.to_string(), format!("this CPU lacks what {name} needs: it has portable"));
        }
        let error = Isa::demand_of("avx3", &lesser).expect_err("unknown");
        assert_eq!(error.to_string(), "there is no instruction set called \"avx3\" here: there is portable");
    }
}

//! NEON, the vectors of 64-bit Arm, of 128 bits each; with `sdot`, which multiplies signed bytes and adds four products
//! to 32 bits; and with `smmla`, which does that for two rows by two, eight products to each sum. Armv8.4 demands the
//! former, and many CPUs have it since Armv8.2; Armv8.6 demands the latter.

use std::arch::{asm, is_aarch64_feature_detected};

use super::{Portable, Vectorize};

/// The CPU has NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

impl Neon {
    /// The proof, if the CPU has the instructions.
    pub fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

/// The CPU has the dot products, beside what [`Neon`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonDotprod {
    neon: Neon,
}

impl NeonDotprod {
    /// The proof, if the CPU has the instructions.
    pub fn detect() -> Option<Self> {
        Neon::detect().filter(|_| is_aarch64_feature_detected!("dotprod")).map(|neon| Self { neon })
    }
}

/// The CPU multiplies matrices of bytes, beside what [`NeonDotprod`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonI8mm {
    dotprod: NeonDotprod,
}

impl NeonI8mm {
    /// The proof, if the CPU has the instructions.
    pub fn detect() -> Option<Self> {
        NeonDotprod::detect().filter(|_| is_aarch64_feature_detected!("i8mm")).map(|dotprod| Self { dotprod })
    }
}

impl From<Neon> for Portable {
    fn from(_: Neon) -> Self {
        Self
    }
}

impl From<NeonDotprod> for Portable {
    fn from(_: NeonDotprod) -> Self {
        Self
    }
}

impl From<NeonI8mm> for Portable {
    fn from(_: NeonI8mm) -> Self {
        Self
    }
}

impl Vectorize for Neon {
    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline]
        #[target_feature(enable = "neon")]
        fn with_neon<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that the CPU has the feature.
        unsafe { with_neon(work) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: prefetching never faults and reads nothing that the program could see.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) address.addr(), options(nomem, nostack, preserves_flags));
        }
    }
}

impl Vectorize for NeonDotprod {
    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        fn with_dotprod<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { with_dotprod(work) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        self.neon.prefetch(address);
    }
}

impl Vectorize for NeonI8mm {
    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline]
        #[target_feature(enable = "neon,dotprod,i8mm")]
        fn with_i8mm<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { with_i8mm(work) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        self.dotprod.prefetch(address);
    }
}

//! AVX-VNNI: AVX2 with `vpdpbusd`, which multiplies unsigned by signed bytes and adds four products to 32 bits. CPUs
//! have it that lack AVX-512.

use super::{Avx2, Vectorize};

/// The CPU has AVX-VNNI, beside what [`Avx2`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvxVnni {
    avx2: Avx2,
}

impl AvxVnni {
    /// The proof, if the CPU has the instructions.
    pub fn detect() -> Option<Self> {
        Avx2::detect().filter(|_| is_x86_feature_detected!("avxvnni")).map(|avx2| Self { avx2 })
    }
}

impl From<AvxVnni> for Avx2 {
    fn from(isa: AvxVnni) -> Self {
        isa.avx2
    }
}

impl Vectorize for AvxVnni {
    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        fn with_avxvnni<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { with_avxvnni(work) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        self.avx2.prefetch(address);
    }
}

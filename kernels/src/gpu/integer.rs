//! Integer instructions that Rust has no operator for.

intrinsic!("llvm.nvvm.idp4a.s.s", idp4a(a: u32, b: u32, c: i32) -> i32);

/// `c` plus the dot product of the four signed bytes of `a` with those of `b`, wrapping.
#[inline(always)]
pub fn dp4a(a: u32, b: u32, c: i32) -> i32 {
    // SAFETY: arithmetic on registers; every architecture since sm_61 has it.
    gpu_only!((a, b, c), unsafe { idp4a(a, b, c) })
}

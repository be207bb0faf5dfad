//! Integer instructions that Rust has no operator for.

intrinsic!("llvm.nvvm.idp4a.u.s", idp4a(a: u32, b: u32, c: i32) -> i32);
intrinsic!("llvm.nvvm.idp2a.s.s", idp2a(a: u32, b: u32, is_high: bool, c: i32) -> i32);
intrinsic!("llvm.nvvm.prmt", prmt(a: u32, b: u32, selector: u32) -> u32);

/// `c` plus the dot product of the four unsigned bytes of `codes` with the signed ones of `activations`, wrapping.
#[inline(always)]
pub fn dp4a(codes: u32, activations: u32, c: i32) -> i32 {
    // SAFETY: arithmetic on registers; every architecture since sm_61 has it.
    gpu_only!((codes, activations, c), unsafe { idp4a(codes, activations, c) })
}

/// `c` plus the dot product of the two signed half-words of `halves`, the low one first, with `bytes`, wrapping.
#[inline(always)]
pub fn dp2a(halves: u32, bytes: [i8; 2], c: i32) -> i32 {
    let bytes = u32::from(u16::from_le_bytes(bytes.map(|byte| byte as u8)));
    // SAFETY: arithmetic on registers; every architecture since sm_61 has it.
    gpu_only!((halves, bytes, c), unsafe { idp2a(halves, bytes, false, c) })
}

/// What is added to an integer for [`biased_to_f32`]: the bits of 1.5 * 2^23.
pub const BIAS: i32 = 0x4b40_0000;

/// The integer that `biased` is [`BIAS`] more than, exactly: between -2^22 and 2^22.
///
/// A subtraction where a conversion would take a slower unit, at a quarter to an eighth of the pace.
#[inline(always)]
pub fn biased_to_f32(biased: i32) -> f32 {
    f32::from_bits(biased as u32) - f32::from_bits(BIAS as u32)
}

/// Four of the eight bytes of `low` and `high`, by the low four nibbles of `selector`: in each, three bits are the
/// number of a byte, and the highest replaces the byte by eight times its sign.
#[inline(always)]
pub fn permute(low: u32, high: u32, selector: u32) -> u32 {
    // SAFETY: arithmetic on registers.
    gpu_only!((low, high, selector), unsafe { prmt(low, high, selector) })
}

/// `value`, which the compiler may not assume: what is computed from it is computed where this is called, instead of
/// outside of a loop around it, from where it would take up registers.
#[inline(always)]
pub fn anew(value: u32) -> u32 {
    gpu_only!((value), {
        let copy: u32;
        // SAFETY: moves a register.
        unsafe {
            core::arch::asm!("mov.b32 {}, {};", out(reg32) copy, in(reg32) value, options(nomem, nostack))
        };
        copy
    })
}

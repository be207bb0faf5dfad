//! Whether this process may use tiles: their registers are so large that Linux wants to be asked.

use std::arch::x86_64::{__cpuid, __cpuid_count};

/// Whether the CPU has AMX-TILE, AMX-INT8 and AMX-BF16.
pub(super) fn cpu_has_tiles() -> bool {
    const TILES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & TILES == TILES
}

/// Asks for the tiles, for all threads of this process.
#[cfg(target_os = "linux")]
pub(super) fn granted() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let answer: i64;
    // SAFETY: a call of the system that takes two numbers and touches no memory of ours. The kernel says no, by a
    // negative number, if it does not know the call or does not save tiles.
    unsafe {
        std::arch::asm!(
            "syscall",
            inout("rax") ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// Other systems are not known to allow them.
#[cfg(not(target_os = "linux"))]
pub(super) fn granted() -> bool {
    false
}

//! Products of small matrices by the 32 threads of a warp together: tensor cores.
//!
//! Where `ampere` is set, that is from sm_80 on. What lane 4g + t has of each matrix, in words of four bytes along k:
//!
//! | matrix | word | is |
//! |---|---|---|
//! | A\[16, k\] | 0, 1 | word t of rows g and g + 8 |
//! | | 2, 3 | with k = 32: word t + 4 of rows g and g + 8 |
//! | B\[k, 8\] | 0 | word t of column g |
//! | | 1 | with k = 32: word t + 4 of column g |
//! | C\[16, 8\] | 0, 1 | row g of columns 2t and 2t + 1 |
//! | | 2, 3 | row g + 8 of columns 2t and 2t + 1 |

/// What an intrinsic returns.
#[cfg(all(target_arch = "nvptx64", ampere))]
#[repr(C)]
struct Four(i32, i32, i32, i32);

// LLVM's own way to return four registers, which is none of Rust's.
#[cfg(all(target_arch = "nvptx64", ampere))]
#[allow(improper_ctypes)]
unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.mma.m16n8k32.row.col.u8.s8"]
    fn m16n8k32(
        a: u32,
        a1: u32,
        a2: u32,
        a3: u32,
        b: u32,
        b1: u32,
        c: i32,
        c1: i32,
        c2: i32,
        c3: i32,
    ) -> Four;
    #[link_name = "llvm.nvvm.mma.m16n8k16.row.col.u8.s8"]
    fn m16n8k16(a: u32, a1: u32, b: u32, c: i32, c1: i32, c2: i32, c3: i32) -> Four;
}

/// `$body` where there are tensor cores for int8; elsewhere a function that nothing calls.
macro_rules! ampere {
    (($($argument:expr),*), $body:expr) => {{
        #[cfg(all(target_arch = "nvptx64", ampere))]
        {
            // SAFETY: arithmetic on registers.
            let Four(c, c1, c2, c3) = unsafe { $body };
            [c, c1, c2, c3]
        }
        #[cfg(not(all(target_arch = "nvptx64", ampere)))]
        {
            let _ = ($($argument,)*);
            unreachable!("this GPU has no tensor cores for int8")
        }
    }};
}

/// `a * b + c` for 32 unsigned bytes of each row of A and signed ones of each column of B, wrapping. All threads of the
/// warp must get here together.
#[inline(always)]
pub fn multiply32(a: [u32; 4], b: [u32; 2], c: [i32; 4]) -> [i32; 4] {
    ampere!((a, b, c), m16n8k32(a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], c[2], c[3]))
}

/// The same for 16 bytes.
#[inline(always)]
pub fn multiply16(a: [u32; 2], b: u32, c: [i32; 4]) -> [i32; 4] {
    ampere!((a, b, c), m16n8k16(a[0], a[1], b, c[0], c[1], c[2], c[3]))
}

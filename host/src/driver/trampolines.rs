//! The `cu*` symbols that `cust_raw` links against, each a jump through a slot.
//!
//! They are hidden: the program's own references end here, and no shared library, libcuda itself least of all,
//! can be captured by them. Every slot starts at a resolver in assembly, which saves the argument registers and
//! asks [`super::table::resolve`] for the function to put there.

use std::arch::global_asm;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::functions::for_each_function;
use super::table::resolve;

macro_rules! define {
    ($($name:ident)*) => {
        /// The names of all driver functions that can be called or installed, in slot order.
        pub const FUNCTIONS: &[&str] = &[$(stringify!($name)),*];

        #[cfg(target_arch = "x86_64")]
        global_asm!(
            include_str!("x86_64.s"),
            $(concat!("warpdot_cuda_trampoline ", stringify!($name)),)*
            ".purgem warpdot_cuda_trampoline",
            ".popsection",
            count = const FUNCTIONS.len(),
            resolve = sym resolve,
            options(att_syntax)
        );

        #[cfg(target_arch = "aarch64")]
        global_asm!(
            include_str!("aarch64.s"),
            $(concat!("warpdot_cuda_trampoline ", stringify!($name)),)*
            ".purgem warpdot_cuda_trampoline",
            ".popsection",
            count = const FUNCTIONS.len(),
            resolve = sym resolve,
        );
    };
}
for_each_function!(define);

unsafe extern "C" {
    #[link_name = "warpdot_cuda_slots"]
    static SLOTS: [AtomicPtr<c_void>; FUNCTIONS.len()];
}

/// Makes a trampoline jump to `target` from now on.
///
/// # Safety
/// `target` is a function with the ABI that the driver's function of that name has, and stays callable.
pub(super) unsafe fn set_slot(index: usize, target: *mut c_void) {
    // SAFETY: the assembly above defines that many pointer-sized, aligned, writable slots; the only other access
    // is the trampolines' load, which is single-copy atomic on both architectures.
    unsafe { SLOTS[index].store(target, Ordering::Release) }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! addresses {
        ($($name:ident)*) => {{
            unsafe extern "C" { $(fn $name() -> u32;)* }
            [$((stringify!($name), $name as unsafe extern "C" fn() -> u32)),*]
        }};
    }

    extern "C" fn marker() -> u32 {
        424_242
    }

    #[test]
    fn every_symbol_jumps_through_its_own_slot() {
        let functions = for_each_function!(addresses);
        assert_eq!(functions.len(), FUNCTIONS.len());
        for (index, (name, function)) in functions.into_iter().enumerate() {
            assert_eq!(name, FUNCTIONS[index]);
            // SAFETY: only this test of this binary calls the driver; whatever a slot holds during it takes no
            // arguments that it reads.
            let (before, answer) = unsafe {
                let before = SLOTS[index].load(Ordering::Acquire);
                set_slot(index, marker as *mut c_void);
                let answer = function();
                set_slot(index, before);
                (before, answer)
            };
            assert_eq!(answer, 424_242, "{name}");
            assert!(!before.is_null());
        }
    }
}

//! The emulated CUDA driver as a shared library, for programs that open `libcuda.so` by its name and so cannot be given
//! a table of functions. To run one on it, link the library to the names that it looks for:
//!
//! ```sh
//! cargo build --package warpdot-emulated-cuda
//! mkdir cuda && ln -s "$PWD/target/debug/libwarpdot_emulated_cuda.so" cuda/libcuda.so.1
//! LD_LIBRARY_PATH=cuda program
//! ```
//!
//! It has one GPU of compute capability 9.0, or those that the environment variable `WARPDOT_EMULATED_GPUS` lists:
//! `7.5,9.0`.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use warpdot_emulator::{DeviceSpec, add_device, lookup};

/// Defines each function as a jump to the emulator's, whatever its arguments.
macro_rules! export {
    ($($module:ident: $($name:ident)*;)*) => {
        $($(
            #[allow(non_snake_case)]
            mod $name {
                pub(super) static TARGET: super::AtomicPtr<super::c_void> = super::AtomicPtr::new(super::null_mut());

                // SAFETY: the emulator's function of that name has the signature of the driver's, so it may be jumped
                // to with the registers and the stack as the caller left them. `TARGET` is set before any call.
                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                unsafe extern "C" fn $name() {
                    #[cfg(target_arch = "x86_64")]
                    core::arch::naked_asm!("jmp qword ptr [rip + {target}]", target = sym TARGET);
                    #[cfg(target_arch = "aarch64")]
                    core::arch::naked_asm!(
                        "adrp x16, {target}",
                        "ldr x16, [x16, :lo12:{target}]",
                        "br x16",
                        target = sym TARGET
                    );
                }
            }
        )*)*

        extern "C" fn start() {
            $($($name::TARGET.store(target(stringify!($name)), Ordering::Release);)*)*
            let gpus = std::env::var("WARPDOT_EMULATED_GPUS").unwrap_or_else(|_| "9.0".into());
            gpus.split(',').for_each(add);
        }
    };
}
warpdot_emulator::for_each_function!(export);

fn target(name: &str) -> *mut c_void {
    lookup(name).map_or(null_mut(), <*const c_void>::cast_mut)
}

/// Adds a device of a compute capability such as 9.0, or says that there is none.
fn add(capability: &str) {
    let parse = || {
        let (major, minor) = capability.trim().split_once('.')?;
        DeviceSpec::new(major.parse().ok()?, minor.parse().ok()?).ok()
    };
    match parse() {
        Some(spec) => drop(add_device(spec)),
        None => {
            eprintln!("WARPDOT_EMULATED_GPUS: {capability:?} is no compute capability with an emulated GPU")
        }
    }
}

// SAFETY: the loader calls the functions of this section when it has loaded the library.
#[unsafe(link_section = ".init_array")]
#[used]
static START: extern "C" fn() = start;

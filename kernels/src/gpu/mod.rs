//! What a kernel may ask of a GPU: the one place with inline PTX, intrinsics and raw pointers.
//!
//! Names follow `cuda_std`, the device library of Rust-CUDA, where it has the function. On the host the
//! functions only type-check; calling one panics.

/// `$body` on a GPU; elsewhere a panic that uses the arguments.
macro_rules! gpu_only {
    (($($argument:expr),*), $body:expr) => {{
        #[cfg(target_arch = "nvptx64")]
        {
            $body
        }
        #[cfg(not(target_arch = "nvptx64"))]
        {
            let _ = ($($argument,)*);
            panic!("GPU code was called on the host")
        }
    }};
}

/// Declares an LLVM intrinsic. Unlike inline assembly, the optimizer knows which of them the threads of a
/// warp have to execute together.
macro_rules! intrinsic {
    ($link_name:literal, $name:ident($($argument:ident: $ty:ty),*) $(-> $result:ty)?) => {
        #[cfg(target_arch = "nvptx64")]
        unsafe extern "C" {
            #[link_name = $link_name]
            fn $name($($argument: $ty),*) $(-> $result)?;
        }
    };
}

pub mod columns;
pub mod global;
pub mod integer;
pub mod lanes;
pub mod matrix;
pub mod shared;
pub mod stages;
pub mod thread;
pub mod warp;
pub mod weights;

/// Ends the kernel with an error: nothing in it panics, so nothing calls this.
#[cfg(target_arch = "nvptx64")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: `trap` stops the thread whatever its state; `exit` is never reached.
    unsafe { core::arch::asm!("trap;", "exit;", options(noreturn, nostack)) }
}

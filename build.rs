//! Compiles the GPU kernels to PTX, one module per architecture and kernel family; only with `cuda`.
//!
//! | environment variable | effect |
//! |---|---|
//! | `WARPDOT_NVPTX_RUSTC` | this compiler makes the PTX, or the build fails |
//! | `WARPDOT_PTX_ARCHS` | only these architectures, separated by commas |
//! | `WARPDOT_REQUIRE_PTX=1` | without a compiler that can make PTX, the build fails |
//! | `WARPDOT_PTX_TIMINGS=1` | says how long each step took |
//! | `RAYON_NUM_THREADS` | modules compiled at once; cargo's number of jobs without it |

#[cfg(feature = "cuda")]
#[path = "build/arch.rs"]
mod arch;
#[cfg(feature = "cuda")]
#[path = "build/cache.rs"]
mod cache;
#[cfg(feature = "cuda")]
#[path = "build/compile.rs"]
mod compile;
#[cfg(feature = "cuda")]
#[path = "build/embed.rs"]
mod embed;
#[cfg(feature = "cuda")]
#[path = "build/split.rs"]
mod split;
#[cfg(feature = "cuda")]
#[path = "build/toolchain.rs"]
mod toolchain;
#[cfg(feature = "cuda")]
#[path = "build/verify.rs"]
mod verify;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    if let Err(message) = embed::run() {
        // Newlines would end the directive.
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

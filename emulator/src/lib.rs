//! A CUDA driver that executes PTX on the CPU, for machines without a GPU.
//!
//! [`lookup`] hands out the driver's functions, with the signatures of `cuda.h`. A program whose driver calls
//! go through a table (as those of `warpdot-host` do) runs on them unchanged: the PTX that ships, through
//! the host code that ships.
//!
//! ```
//! use warpdot_emulator::{DeviceSpec, add_device, lookup};
//!
//! // SAFETY: the emulator's functions have the signatures of the driver's.
//! unsafe { warpdot_host::driver::install(lookup) }?;
//! let hopper = add_device(DeviceSpec::new(9, 0).expect("a preset"));
//! let device = warpdot_host::Device::get(hopper.ordinal())?;
//! assert_eq!(device.compute_capability()?.to_string(), "9.0");
//! // Load modules, launch kernels... and see whether a kernel broke a rule:
//! assert_eq!(hopper.last_report(), None);
//! # Ok::<(), warpdot_host::Error>(())
//! ```
//!
//! # What it does
//! Several devices can exist at once, each with its own compute capability, memory and limits
//! ([`DeviceSpec`]). A module is parsed and decoded once, when it is loaded. It is refused, with a line
//! in the driver's error log, if its target does not run on the device, if it is not PTX, or if it has an
//! instruction or a modifier that is not supported: nothing is skipped in silence. A warp runs as 32 lanes
//! in lockstep; lanes that branch apart meet again, and whoever waits for others (at a barrier, in a
//! shuffle) does so until they come or cannot come. Blocks run in parallel ([`set_threads`]).
//! Results, counters and the first diagnostic do not depend on the number of threads; kernels with
//! atomics on global memory run block after block, since the order of those is part of the result.
//!
//! # What it checks
//! The first violation ends the launch. It becomes a [`Report`] of the device, a [`Diagnostic`] with
//! kernel, PTX line, block and thread, and towards the program the error that hardware would give, at the
//! next call that waits:
//! - global, shared and local accesses out of bounds, misaligned, or to memory that was freed;
//! - reads of global, shared or local memory that nothing has written, and writes to constants;
//! - races on shared memory: two threads, one of them writing, with no barrier between. The lanes of a
//!   warp are threads like any others: only `bar.warp.sync` orders them;
//! - barriers that not every thread reaches, or not every lane of a warp where it must arrive as one;
//!   shuffles, votes and matrix products without a lane that they name, or by one that they do not;
//! - shared memory that is touched while `cp.async` may be filling it;
//! - more shared memory than the device or the function allows, and illegal grids and blocks
//!   ([`LaunchError`]);
//! - `trap`, and blocks that run for too long.
//!
//! # What it counts
//! Thread instructions by [`Kind`], 32-byte sectors moved by accesses to device memory, and conflicts on
//! the banks of shared memory: [`EmulatedDevice::counters`].
//!
//! # What it breaks
//! [`EmulatedDevice::inject`] makes the nth call of a kind fail: out of memory, a rejected module, an error
//! that kills the context, one that arrives late, a slow device. [`EmulatedDevice::holdings`] tells what a
//! program has not returned.
//!
//! # Limits
//! - Times mean nothing: events read the host's clock.
//! - No `.func` calls, textures, surfaces, clusters, `wgmma`, `tcgen05`, `mbarrier`, bulk copies, video
//!   instructions, dynamic parallelism, cooperative or graph launches, unified or peer memory.
//! - `.approx` functions are computed exactly and rounded to nearest. `mma` on floats sums exact products
//!   in f64 and rounds once. Hardware may differ in the last bits of both.
//! - f64 is rounded to nearest only. Integer division by zero gives what hardware gives, undocumented.
//! - Caches, memory orderings and scopes have no effect; blocks that wait for later blocks in global memory
//!   do not end. Races on global memory are not looked for. Locks in shared memory built from atomics do
//!   not order plain accesses in the eyes of the race check.
//! - Registers are not allotted: a kernel never lacks any.

#![deny(unsafe_code)]

mod config;
mod counters;
mod diagnostic;
mod driver;
mod exec;
mod faults;
mod isa;
mod memory;
mod program;
mod ptx;
mod report;

pub use config::{DeviceSpec, EmulatedDevice, Holdings, UnknownCapability, add_device, devices};
pub use counters::{Counters, Kind};
pub use diagnostic::{Access, Diagnostic, Space, Violation};
pub use driver::{FUNCTIONS, lookup};
pub use exec::pool::set_threads;
pub use faults::{Call, Failure, Fault};
pub use ptx::PtxError;
pub use report::{LaunchError, Report};

//! The boundary to the CUDA driver: the only unsafe code of this crate.
//!
//! `cust` and `cust_raw` call the driver's functions by name, as a program does that links against libcuda. Here
//! those names are defined as trampolines whose slots are filled on the first call of each function, from
//! `libcuda.so.1` (opened then, and only then) or from a table given to [`install`]. So a program starts, and
//! asks for its GPUs, on machines that have none.
//!
//! Without a driver every function answers `CUDA_ERROR_NO_DEVICE`; a function that the driver lacks answers
//! `CUDA_ERROR_NOT_SUPPORTED`.

mod call;
mod calls;
mod functions;
mod handles;
mod table;
mod trampolines;

pub use table::install;
pub use trampolines::FUNCTIONS;

pub(crate) use calls::*;
pub(crate) use handles::{FunctionHandle, Owned, PrimaryContext};

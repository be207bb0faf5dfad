//! The CUDA driver's functions, with the C interface of `cuda.h`, over the emulated devices.
//!
//! Work is done when it is asked for: streams are in order by nature. What hardware would only notice
//! later (a fault inside a kernel) is reported later here too, by the next call that waits.

#![allow(non_snake_case)]

pub(crate) mod abi;
pub(crate) mod code;
mod context;
mod copies;
mod device;
mod events;
mod graphs;
mod init;
mod launching;
mod memory;
mod modules;
pub(crate) mod state;
mod streams;

use std::ffi::c_void;

use code::Code;

/// The `CUresult` of a body that uses `?`.
fn answer(body: impl FnOnce() -> Result<(), Code>) -> Code {
    match body() {
        Ok(()) => code::SUCCESS,
        Err(code) => code,
    }
}

/// Hands the names of all functions, in groups, to a macro.
#[macro_export]
macro_rules! for_each_function {
    ($callback:ident) => {
        $callback! {
            init: cuInit cuDriverGetVersion cuGetErrorName cuGetErrorString;
            device: cuDeviceGet cuDeviceGetCount cuDeviceGetName cuDeviceGetUuid cuDeviceGetUuid_v2
                cuDeviceTotalMem_v2 cuDeviceGetAttribute cuDeviceGetPCIBusId cuDeviceComputeCapability
                cuDeviceCanAccessPeer;
            context: cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxReset_v2
                cuDevicePrimaryCtxSetFlags_v2 cuDevicePrimaryCtxGetState cuCtxCreate_v2 cuCtxDestroy_v2
                cuCtxPushCurrent_v2 cuCtxPopCurrent_v2 cuCtxSetCurrent cuCtxGetCurrent cuCtxGetDevice
                cuCtxGetFlags cuCtxSynchronize cuCtxGetApiVersion cuCtxGetLimit cuCtxSetLimit
                cuCtxGetStreamPriorityRange cuCtxGetCacheConfig cuCtxSetCacheConfig cuCtxGetSharedMemConfig
                cuCtxSetSharedMemConfig;
            modules: cuModuleLoad cuModuleLoadData cuModuleLoadDataEx cuModuleUnload cuModuleGetFunction
                cuModuleGetGlobal_v2;
            memory: cuMemGetInfo_v2 cuMemAlloc_v2 cuMemFree_v2 cuMemAllocAsync cuMemFreeAsync cuMemAllocHost_v2
                cuMemHostAlloc cuMemFreeHost cuMemGetAddressRange_v2 cuMemsetD8_v2 cuMemsetD16_v2 cuMemsetD32_v2
                cuMemsetD8Async cuMemsetD16Async cuMemsetD32Async;
            copies: cuMemcpyHtoD_v2 cuMemcpyDtoH_v2 cuMemcpyDtoD_v2 cuMemcpyHtoDAsync_v2 cuMemcpyDtoHAsync_v2
                cuMemcpyDtoDAsync_v2;
            streams: cuStreamCreate cuStreamCreateWithPriority cuStreamDestroy_v2 cuStreamSynchronize cuStreamQuery
                cuStreamWaitEvent cuStreamGetFlags cuStreamGetPriority cuStreamGetCtx cuLaunchHostFunc;
            events: cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventQuery cuEventSynchronize
                cuEventElapsedTime;
            graphs: cuStreamBeginCapture_v2 cuStreamEndCapture cuStreamIsCapturing cuGraphInstantiateWithFlags
                cuGraphLaunch cuGraphExecDestroy cuGraphDestroy;
            launching: cuLaunchKernel cuFuncGetAttribute cuFuncSetAttribute cuFuncSetCacheConfig
                cuFuncSetSharedMemConfig cuFuncGetModule cuOccupancyMaxActiveBlocksPerMultiprocessor
                cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags;
        }
    };
}

macro_rules! functions {
    ($($module:ident: $($name:ident)*;)*) => {
        /// The driver function of a name, to be called with the signature that `cuda.h` gives it; None for
        /// functions that the emulator does not have.
        pub fn lookup(name: &str) -> Option<*const c_void> {
            match name {
                $($(stringify!($name) => Some($module::$name as *const c_void),)*)*
                _ => None,
            }
        }

        /// The names that [`lookup`] knows.
        pub const FUNCTIONS: &[&str] = &[$($(stringify!($name),)*)*];
    };
}

for_each_function!(functions);

//! The driver functions that this crate uses, each as one safe function over handles that are known to be valid
//! (launches and asynchronous copies, which no type can make safe, stay unsafe).

use std::ffi::{CStr, c_void};
use std::sync::Arc;

use cust::sys;

use super::call::call;
use super::handles::{FunctionHandle, Owned, PrimaryContext};
use super::table;
use crate::{Argument, Error, Launch};

/// The stream that a context has from its start.
const NULL_STREAM: sys::CUstream = std::ptr::null_mut();

/// How much of the JIT compiler's complaint is kept.
const LOG_BYTES: usize = 16 * 1024;

/// Opens the driver and initializes it. To be called before anything else; later calls are cheap.
pub(crate) fn initialize() -> Result<(), Error> {
    table::open()?;
    // SAFETY: no preconditions.
    Ok(unsafe { call!(cuInit(0)) }?)
}

pub(crate) fn driver_version() -> Result<i32, Error> {
    table::open()?;
    let mut version = 0;
    // SAFETY: `version` is writable.
    unsafe { call!(cuDriverGetVersion(&mut version)) }?;
    Ok(version)
}

pub(crate) fn device_count() -> Result<usize, Error> {
    let mut count = 0;
    // SAFETY: `count` is writable.
    unsafe { call!(cuDeviceGetCount(&mut count)) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(crate) fn device(index: i32) -> Result<sys::CUdevice, Error> {
    let mut device = 0;
    // SAFETY: `device` is writable.
    unsafe { call!(cuDeviceGet(&mut device, index)) }?;
    Ok(device)
}

pub(crate) fn device_name(device: sys::CUdevice) -> Result<String, Error> {
    // One byte more than the driver is told of, so that a zero ends the name whatever it writes.
    let mut name = [0u8; 256];
    // SAFETY: 255 bytes of `name` are writable.
    unsafe { call!(cuDeviceGetName(name.as_mut_ptr().cast(), 255, device)) }?;
    Ok(until_nul(&name))
}

pub(crate) fn device_memory(device: sys::CUdevice) -> Result<usize, Error> {
    let mut bytes = 0;
    // SAFETY: `bytes` is writable.
    unsafe { call!(cuDeviceTotalMem_v2(&mut bytes, device)) }?;
    Ok(bytes)
}

pub(crate) fn device_attribute(
    device: sys::CUdevice,
    attribute: sys::CUdevice_attribute,
) -> Result<u32, Error> {
    let mut value = 0;
    // SAFETY: `value` is writable.
    unsafe { call!(cuDeviceGetAttribute(&mut value, attribute, device)) }?;
    Ok(u32::try_from(value).unwrap_or(0))
}

/// The free and the total bytes of the context's device.
pub(crate) fn memory_info(context: &PrimaryContext) -> Result<(usize, usize), Error> {
    context.within(|| {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are writable.
        unsafe { call!(cuMemGetInfo_v2(&mut free, &mut total)) }?;
        Ok((free, total))
    })
}

pub(crate) fn load_module(context: &Arc<PrimaryContext>, ptx: &CStr) -> Result<Owned<sys::CUmodule>, Error> {
    let mut log = vec![0u8; LOG_BYTES];
    let mut options =
        [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The size, one byte short to keep a zero at the end, travels in the pointer itself.
    let mut values = [log.as_mut_ptr().cast::<c_void>(), std::ptr::without_provenance_mut(LOG_BYTES - 1)];
    context.within(|| {
        let mut module = std::ptr::null_mut();
        // SAFETY: `ptx` ends in a zero; both option arrays hold two entries; the log is as long as stated.
        unsafe {
            call!(cuModuleLoadDataEx(
                &mut module,
                ptx.as_ptr().cast(),
                options.len() as u32,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            ))
        }
        .map_err(|source| Error::LoadModule { source, log: until_nul(&log).trim().to_owned() })?;
        // SAFETY: loaded just now, into this context.
        Ok(unsafe { Owned::new(module, context) })
    })
}

pub(crate) fn function(module: &Arc<Owned<sys::CUmodule>>, name: &CStr) -> Result<FunctionHandle, Error> {
    module.context().within(|| {
        let mut function = std::ptr::null_mut();
        // SAFETY: `function` is writable, the module loaded, `name` ends in a zero.
        unsafe { call!(cuModuleGetFunction(&mut function, module.raw(), name.as_ptr())) }
            .map_err(|source| Error::NoSuchFunction { name: name.to_string_lossy().into_owned(), source })?;
        // SAFETY: of this module.
        Ok(unsafe { FunctionHandle::new(function, module) })
    })
}

/// Device memory and how much of it there is.
#[derive(Debug)]
pub(crate) struct Allocation {
    memory: Owned<sys::CUdeviceptr>,
    bytes: usize,
}

impl Allocation {
    pub(crate) fn new(context: &Arc<PrimaryContext>, bytes: usize) -> Result<Self, Error> {
        context.within(|| {
            let mut pointer = 0;
            // SAFETY: `pointer` is writable.
            unsafe { call!(cuMemAlloc_v2(&mut pointer, bytes)) }
                .map_err(|source| Error::Allocate { bytes, source })?;
            // SAFETY: allocated just now, in this context.
            Ok(Self { memory: unsafe { Owned::new(pointer, context) }, bytes })
        })
    }

    pub(crate) fn raw(&self) -> sys::CUdeviceptr {
        self.memory.raw()
    }

    pub(crate) fn context(&self) -> &Arc<PrimaryContext> {
        self.memory.context()
    }

    /// Copies, and returns when the bytes have arrived on the device.
    pub(crate) fn write(&mut self, source: &[u8]) -> Result<(), Error> {
        self.expect_bytes(source.len())?;
        self.context().within(|| {
            // SAFETY: both sides hold that many bytes.
            unsafe { call!(cuMemcpyHtoD_v2(self.raw(), source.as_ptr().cast(), source.len())) }?;
            // The copy may return when the bytes are staged. Streams that do not block on the null stream would
            // then run ahead of it.
            // SAFETY: the null stream always exists.
            Ok(unsafe { call!(cuStreamSynchronize(NULL_STREAM)) }?)
        })
    }

    /// Copies, and returns when the bytes have arrived on the host.
    pub(crate) fn read(&self, target: &mut [u8]) -> Result<(), Error> {
        self.expect_bytes(target.len())?;
        self.context().within(|| {
            // SAFETY: both sides hold that many bytes.
            Ok(unsafe { call!(cuMemcpyDtoH_v2(target.as_mut_ptr().cast(), self.raw(), target.len())) }?)
        })
    }

    /// # Safety
    /// `source` is neither written nor freed before the stream has passed this copy.
    pub(crate) unsafe fn write_async(
        &mut self,
        stream: &Owned<sys::CUstream>,
        source: &[u8],
    ) -> Result<(), Error> {
        self.expect_bytes(source.len())?;
        same_context(self.context(), stream.context())?;
        self.context().within(|| {
            // SAFETY: both sides hold that many bytes; the rest is the caller's.
            Ok(unsafe {
                call!(cuMemcpyHtoDAsync_v2(self.raw(), source.as_ptr().cast(), source.len(), stream.raw()))
            }?)
        })
    }

    /// # Safety
    /// `target` is neither used nor freed before the stream has passed this copy.
    pub(crate) unsafe fn read_async(
        &self,
        stream: &Owned<sys::CUstream>,
        target: &mut [u8],
    ) -> Result<(), Error> {
        self.expect_bytes(target.len())?;
        same_context(self.context(), stream.context())?;
        self.context().within(|| {
            // SAFETY: both sides hold that many bytes; the rest is the caller's.
            Ok(unsafe {
                call!(cuMemcpyDtoHAsync_v2(
                    target.as_mut_ptr().cast(),
                    self.raw(),
                    target.len(),
                    stream.raw()
                ))
            }?)
        })
    }

    fn expect_bytes(&self, host: usize) -> Result<(), Error> {
        if host == self.bytes { Ok(()) } else { Err(Error::Length { device: self.bytes, host }) }
    }
}

pub(crate) fn create_stream(context: &Arc<PrimaryContext>) -> Result<Owned<sys::CUstream>, Error> {
    context.within(|| {
        let mut stream = std::ptr::null_mut();
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: `stream` is writable.
        unsafe { call!(cuStreamCreate(&mut stream, flags)) }?;
        // SAFETY: created just now, in this context.
        Ok(unsafe { Owned::new(stream, context) })
    })
}

pub(crate) fn synchronize_stream(stream: &Owned<sys::CUstream>) -> Result<(), Error> {
    stream.context().within(|| {
        // SAFETY: the stream exists.
        Ok(unsafe { call!(cuStreamSynchronize(stream.raw())) }?)
    })
}

/// # Safety
/// As for [`launch_on`].
pub(crate) unsafe fn launch(
    stream: &Owned<sys::CUstream>,
    function: &FunctionHandle,
    name: &str,
    shape: Launch,
    arguments: &[Argument<'_>],
) -> Result<(), Error> {
    same_context(function.context(), stream.context())?;
    // SAFETY: the stream exists; the rest is the caller's.
    unsafe { launch_on(stream.raw(), function, name, shape, arguments) }
}

/// # Safety
/// The stream exists, or is one of the default streams. The arguments are what the function takes, in number, order
/// and type; and what it does with them, at whatever time the stream gets to it, is defined.
pub(crate) unsafe fn launch_on(
    stream: sys::CUstream,
    function: &FunctionHandle,
    name: &str,
    shape: Launch,
    arguments: &[Argument<'_>],
) -> Result<(), Error> {
    let mut pointers: Vec<*mut c_void> = arguments.iter().map(Argument::as_ptr).collect();
    let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (shape.grid, shape.block);
    function.context().within(|| {
        // SAFETY: the function exists and its context is current; the driver reads as many pointers as the function
        // has parameters, and copies what they point to before it returns; the rest is the caller's.
        unsafe {
            call!(cuLaunchKernel(
                function.raw(),
                grid_x,
                grid_y,
                grid_z,
                block_x,
                block_y,
                block_z,
                shape.shared_bytes,
                stream,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            ))
        }
        .map_err(|source| Error::Launch { function: name.into(), shape, source })
    })
}

/// Lets launches of a function have up to `bytes` of dynamic shared memory, and has multiprocessors prefer shared memory
/// to L1 caches for its sake.
pub(crate) fn allow_shared_bytes(function: &FunctionHandle, bytes: u32) -> Result<(), Error> {
    use sys::CUfunction_attribute::{
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MOST,
        CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT as PERCENTAGE,
    };
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    function.context().within(|| {
        for (attribute, value) in [(MOST, bytes), (PERCENTAGE, 100)] {
            // SAFETY: the function exists and its context is current.
            unsafe { call!(cuFuncSetAttribute(function.raw(), attribute, value)) }?;
        }
        Ok(())
    })
}

/// Has a stream write work down instead of doing it. Only what this thread does meanwhile can break that.
pub(crate) fn begin_capture(stream: &Owned<sys::CUstream>) -> Result<(), Error> {
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.context().within(|| {
        // SAFETY: the stream exists.
        Ok(unsafe { call!(cuStreamBeginCapture_v2(stream.raw(), mode)) }?)
    })
}

/// Ends a capture, and returns what was written down, ready to be launched.
pub(crate) fn end_capture(stream: &Owned<sys::CUstream>) -> Result<Owned<sys::CUgraphExec>, Error> {
    stream.context().within(|| {
        let (mut graph, mut executable) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: `graph` is writable and the stream exists.
        unsafe { call!(cuStreamEndCapture(stream.raw(), &mut graph)) }?;
        // SAFETY: made just now, in this context.
        let graph = unsafe { Owned::new(graph, stream.context()) };
        // SAFETY: `executable` is writable and the graph exists.
        unsafe { call!(cuGraphInstantiateWithFlags(&mut executable, graph.raw(), 0)) }?;
        // SAFETY: made just now, in this context.
        Ok(unsafe { Owned::new(executable, stream.context()) })
    })
}

/// # Safety
/// What the work of the graph does, at whatever time the stream gets to it, is defined.
pub(crate) unsafe fn launch_graph(
    graph: &Owned<sys::CUgraphExec>,
    stream: &Owned<sys::CUstream>,
) -> Result<(), Error> {
    same_context(graph.context(), stream.context())?;
    stream.context().within(|| {
        // SAFETY: both exist; the rest is the caller's.
        Ok(unsafe { call!(cuGraphLaunch(graph.raw(), stream.raw())) }?)
    })
}

pub(crate) fn create_event(context: &Arc<PrimaryContext>) -> Result<Owned<sys::CUevent>, Error> {
    context.within(|| {
        let mut event = std::ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DEFAULT as u32;
        // SAFETY: `event` is writable.
        unsafe { call!(cuEventCreate(&mut event, flags)) }?;
        // SAFETY: created just now, in this context.
        Ok(unsafe { Owned::new(event, context) })
    })
}

pub(crate) fn record_event(event: &Owned<sys::CUevent>, stream: &Owned<sys::CUstream>) -> Result<(), Error> {
    same_context(event.context(), stream.context())?;
    event.context().within(|| {
        // SAFETY: both exist.
        Ok(unsafe { call!(cuEventRecord(event.raw(), stream.raw())) }?)
    })
}

pub(crate) fn synchronize_event(event: &Owned<sys::CUevent>) -> Result<(), Error> {
    event.context().within(|| {
        // SAFETY: the event exists.
        Ok(unsafe { call!(cuEventSynchronize(event.raw())) }?)
    })
}

pub(crate) fn elapsed_milliseconds(
    earlier: &Owned<sys::CUevent>,
    later: &Owned<sys::CUevent>,
) -> Result<f32, Error> {
    same_context(earlier.context(), later.context())?;
    later.context().within(|| {
        let mut milliseconds = 0.0;
        // SAFETY: `milliseconds` is writable and both events exist.
        unsafe { call!(cuEventElapsedTime(&mut milliseconds, earlier.raw(), later.raw())) }?;
        Ok(milliseconds)
    })
}

/// Contexts are shared by pointer, but a device retained twice has one context.
fn same_context(a: &PrimaryContext, b: &PrimaryContext) -> Result<(), Error> {
    if a.raw() == b.raw() { Ok(()) } else { Err(Error::ForeignContext) }
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

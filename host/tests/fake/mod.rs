//! A driver of a few functions, for two devices and one kernel. It checks that every handle is used in its own
//! context, remembers what was not given back, and can be told to fail the nth call. What may happen later, happens
//! as late as it can: when somebody waits for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) const DEVICES: usize = 2;
/// A context that is none of ours: the caller's own.
pub(crate) const CALLERS_CONTEXT: usize = 0xCA11;
const PRIMARY_CONTEXT: usize = 0xC000;

/// Codes with the names that a driver has for them. `cust_raw` does not know 225, and nobody knows 12345.
pub(crate) const CODES: &[(u32, Option<&CStr>)] = &[
    (1, Some(c"CUDA_ERROR_INVALID_VALUE")),
    (2, Some(c"CUDA_ERROR_OUT_OF_MEMORY")),
    (3, Some(c"CUDA_ERROR_NOT_INITIALIZED")),
    (4, Some(c"CUDA_ERROR_DEINITIALIZED")),
    (100, Some(c"CUDA_ERROR_NO_DEVICE")),
    (101, Some(c"CUDA_ERROR_INVALID_DEVICE")),
    (200, Some(c"CUDA_ERROR_INVALID_IMAGE")),
    (201, Some(c"CUDA_ERROR_INVALID_CONTEXT")),
    (209, Some(c"CUDA_ERROR_NO_BINARY_FOR_GPU")),
    (218, Some(c"CUDA_ERROR_INVALID_PTX")),
    (222, Some(c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION")),
    (225, Some(c"CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC")),
    (400, Some(c"CUDA_ERROR_INVALID_HANDLE")),
    (500, Some(c"CUDA_ERROR_NOT_FOUND")),
    (600, Some(c"CUDA_ERROR_NOT_READY")),
    (700, Some(c"CUDA_ERROR_ILLEGAL_ADDRESS")),
    (701, Some(c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")),
    (709, Some(c"CUDA_ERROR_CONTEXT_IS_DESTROYED")),
    (716, Some(c"CUDA_ERROR_MISALIGNED_ADDRESS")),
    (719, Some(c"CUDA_ERROR_LAUNCH_FAILED")),
    (801, Some(c"CUDA_ERROR_NOT_SUPPORTED")),
    (999, Some(c"CUDA_ERROR_UNKNOWN")),
    (12345, None),
];

const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const INVALID_CONTEXT: u32 = 201;
const INVALID_PTX: u32 = 218;
const INVALID_HANDLE: u32 = 400;
const NOT_FOUND: u32 = 500;
const NOT_READY: u32 = 600;

/// Functions that answer the failure of earlier work, but still do theirs.
const STILL_WORK: [&str; 8] = [
    "cuStreamSynchronize",
    "cuEventSynchronize",
    "cuCtxPopCurrent_v2",
    "cuMemFree_v2",
    "cuModuleUnload",
    "cuStreamDestroy_v2",
    "cuEventDestroy_v2",
    "cuDevicePrimaryCtxRelease_v2",
];

/// All launches have this many blocks in y and z, threads, and bytes of shared memory.
pub(crate) const SHAPE: [u32; 6] = [3, 4, 5, 6, 7, 8];

#[derive(Debug)]
struct Handle {
    kind: &'static str,
    context: usize,
    /// What an allocation holds.
    bytes: Vec<u8>,
    /// Where an event was recorded, and when it happened.
    stream: usize,
    happened: Option<f32>,
}

type Work = Box<dyn FnOnce(&mut State) -> Result<(), u32> + Send>;

pub(crate) struct State {
    pub(crate) calls: Vec<&'static str>,
    /// Which call fails, and with what.
    pub(crate) fault: Option<(usize, u32)>,
    pub(crate) launches: usize,
    pub(crate) retained: [i32; DEVICES],
    /// Work that nobody waited for yet, by stream.
    queued: Vec<(usize, Work)>,
    live: BTreeMap<usize, Handle>,
    next: usize,
    clock: f32,
}

static STATE: Mutex<State> = Mutex::new(State::new());
static ONE_TEST_AT_A_TIME: Mutex<()> = Mutex::new(());

thread_local! {
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A driver that was never called.
pub(crate) fn empty() -> State {
    State::new()
}

impl State {
    const fn new() -> Self {
        Self {
            calls: Vec::new(),
            fault: None,
            launches: 0,
            queued: Vec::new(),
            retained: [0; DEVICES],
            live: BTreeMap::new(),
            next: 0x1000,
            clock: 0.0,
        }
    }

    /// What was not given back.
    pub(crate) fn leaks(&self) -> Vec<&'static str> {
        let mut leaks: Vec<_> = self.live.values().map(|handle| handle.kind).collect();
        leaks.extend(self.retained.iter().filter(|&&retained| retained != 0).map(|_| "context"));
        leaks
    }

    fn create(&mut self, kind: &'static str, bytes: usize) -> Result<usize, u32> {
        let context = current().ok_or(INVALID_CONTEXT)?;
        self.next += 0x1000 + bytes;
        self.live
            .insert(self.next, Handle { kind, context, bytes: vec![0xFF; bytes], stream: 0, happened: None });
        Ok(self.next)
    }

    fn get(&mut self, kind: &'static str, handle: usize) -> Result<&mut Handle, u32> {
        let found = self.live.get_mut(&handle).filter(|found| found.kind == kind).ok_or(INVALID_HANDLE)?;
        if Some(found.context) == current() { Ok(found) } else { Err(INVALID_CONTEXT) }
    }

    fn destroy(&mut self, kind: &'static str, handle: usize) -> Result<(), u32> {
        self.get(kind, handle)?;
        self.live.remove(&handle);
        Ok(())
    }

    fn queue(&mut self, stream: usize, work: impl FnOnce(&mut State) -> Result<(), u32> + Send + 'static) {
        self.queued.push((stream, Box::new(work)));
    }

    fn run(&mut self, stream: usize) -> Result<(), u32> {
        let (now, later) =
            std::mem::take(&mut self.queued).into_iter().partition(|(queue, _)| *queue == stream);
        self.queued = later;
        let now: Vec<(usize, Work)> = now;
        now.into_iter().try_for_each(|(_, work)| work(self))
    }

    fn memory(&mut self, address: u64, bytes: usize) -> Result<&mut [u8], u32> {
        self.get("memory", address as usize)?.bytes.get_mut(..bytes).ok_or(INVALID_VALUE)
    }
}

fn current() -> Option<usize> {
    STACK.with_borrow(|stack| stack.last().copied())
}

pub(crate) fn set_stack(contexts: &[usize]) {
    STACK.set(contexts.to_vec());
}

pub(crate) fn stack() -> Vec<usize> {
    STACK.with_borrow(Vec::clone)
}

pub(crate) fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the driver, clears its state, and keeps other tests off until the guard is dropped.
pub(crate) fn start() -> MutexGuard<'static, ()> {
    let guard = ONE_TEST_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the functions below have the signatures of the driver's.
        unsafe { warpdot_host::driver::install(lookup) }.expect("nobody called the driver yet");
    });
    *state() = empty();
    set_stack(&[CALLERS_CONTEXT]);
    guard
}

fn answer(name: &'static str, body: impl FnOnce(&mut State) -> Result<(), u32>) -> u32 {
    let mut state = state();
    let call = state.calls.len();
    state.calls.push(name);
    match state.fault {
        Some((at, code)) if at == call => {
            if STILL_WORK.contains(&name) {
                assert_eq!(body(&mut state), Ok(()));
            }
            code
        }
        _ => body(&mut state).err().unwrap_or(0),
    }
}

fn put<T>(target: *mut T, value: T) {
    // SAFETY: callers of the driver pass pointers to where the result goes.
    unsafe { target.write(value) }
}

fn take<T>(source: *const c_void) -> T {
    // SAFETY: callers of the driver pass pointers to values of the type in question.
    unsafe { source.cast::<T>().read_unaligned() }
}

fn text(source: *const c_char) -> String {
    // SAFETY: callers of the driver pass C strings.
    unsafe { CStr::from_ptr(source) }.to_str().expect("tests pass UTF-8").to_owned()
}

fn copy(source: *const u8, target: *mut u8, bytes: usize) {
    // SAFETY: callers of the driver pass as many bytes as they say.
    unsafe { target.copy_from(source, bytes) }
}

fn describe(code: u32, target: *mut *const c_char, text: impl Fn(&'static CStr) -> &'static CStr) -> u32 {
    let name = CODES.iter().find(|(known, _)| *known == code).and_then(|(_, name)| *name);
    put(target, name.map_or(std::ptr::null(), |name| text(name).as_ptr()));
    if name.is_some() { 0 } else { INVALID_VALUE }
}

unsafe extern "C" fn error_name(code: u32, target: *mut *const c_char) -> u32 {
    describe(code, target, |name| name)
}

unsafe extern "C" fn error_string(code: u32, target: *mut *const c_char) -> u32 {
    describe(code, target, |_| c"what the driver says about it")
}

macro_rules! functions {
    ($(fn $name:ident($state:ident $(, $argument:ident: $type:ty)*) $body:block)*) => {
        #[expect(non_snake_case, reason = "the driver's names")]
        mod functions {
            use super::*;
            $(pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
                answer(stringify!($name), |$state| $body)
            })*
        }

        pub(crate) fn lookup(name: &str) -> Option<*const c_void> {
            match name {
                "cuGetErrorName" => Some(error_name as *const c_void),
                "cuGetErrorString" => Some(error_string as *const c_void),
                $(stringify!($name) => Some(functions::$name as *const c_void),)*
                _ => None,
            }
        }
    };
}

functions! {
    fn cuInit(_state, flags: c_uint) { if flags == 0 { Ok(()) } else { Err(INVALID_VALUE) } }
    fn cuDriverGetVersion(_state, version: *mut c_int) { put(version, 12090); Ok(()) }
    fn cuDeviceGetCount(_state, count: *mut c_int) { put(count, DEVICES as c_int); Ok(()) }
    fn cuDeviceGet(_state, device: *mut c_int, index: c_int) { put(device, 70 + index); Ok(()) }
    fn cuDeviceGetName(_state, name: *mut c_char, bytes: c_int, device: c_int) {
        let text = format!("Fake {device}\0");
        assert!(text.len() <= bytes as usize);
        copy(text.as_ptr(), name.cast(), text.len());
        Ok(())
    }
    fn cuDeviceTotalMem_v2(_state, bytes: *mut usize, device: c_int) {
        put(bytes, (device as usize) << 30);
        Ok(())
    }
    fn cuDeviceGetAttribute(_state, value: *mut c_int, attribute: c_uint, device: c_int) {
        put(value, match (attribute, device) {
            (16, _) => 132,
            (75, 70) => 8,
            (75, _) => 9,
            (76, 70) => 6,
            (76, _) => 0,
            _ => return Err(INVALID_VALUE),
        });
        Ok(())
    }
    fn cuDevicePrimaryCtxRetain(state, context: *mut usize, device: c_int) {
        state.retained[device as usize - 70] += 1;
        put(context, PRIMARY_CONTEXT + device as usize);
        Ok(())
    }
    fn cuDevicePrimaryCtxRelease_v2(state, device: c_int) {
        state.retained[device as usize - 70] -= 1;
        Ok(())
    }
    fn cuCtxPushCurrent_v2(_state, context: usize) {
        STACK.with_borrow_mut(|stack| stack.push(context));
        Ok(())
    }
    fn cuCtxPopCurrent_v2(_state, context: *mut usize) {
        put(context, STACK.with_borrow_mut(Vec::pop).ok_or(INVALID_CONTEXT)?);
        Ok(())
    }
    fn cuMemGetInfo_v2(_state, free: *mut usize, total: *mut usize) {
        current().ok_or(INVALID_CONTEXT)?;
        put(free, 3 << 20);
        put(total, 4 << 20);
        Ok(())
    }
    fn cuMemAlloc_v2(state, address: *mut u64, bytes: usize) {
        if bytes > 1 << 20 {
            return Err(OUT_OF_MEMORY);
        }
        put(address, state.create("memory", bytes)? as u64);
        Ok(())
    }
    fn cuMemFree_v2(state, address: u64) { state.destroy("memory", address as usize) }
    fn cuMemcpyHtoD_v2(state, target: u64, source: *const u8, bytes: usize) {
        state.memory(target, bytes)?;
        let mut staged = vec![0; bytes];
        copy(source, staged.as_mut_ptr(), bytes);
        state.queue(0, move |state| {
            state.memory(target, bytes)?.copy_from_slice(&staged);
            Ok(())
        });
        Ok(())
    }
    fn cuMemcpyDtoH_v2(state, target: *mut u8, source: u64, bytes: usize) {
        copy(state.memory(source, bytes)?.as_ptr(), target, bytes);
        Ok(())
    }
    fn cuMemcpyHtoDAsync_v2(state, target: u64, source: *const u8, bytes: usize, stream: usize) {
        state.get("stream", stream)?;
        state.memory(target, bytes)?;
        let source = source.expose_provenance();
        state.queue(stream, move |state| {
            let target = state.memory(target, bytes)?.as_mut_ptr();
            copy(std::ptr::with_exposed_provenance(source), target, bytes);
            Ok(())
        });
        Ok(())
    }
    fn cuMemcpyDtoHAsync_v2(state, target: *mut u8, source: u64, bytes: usize, stream: usize) {
        state.get("stream", stream)?;
        state.memory(source, bytes)?;
        let target = target.expose_provenance();
        state.queue(stream, move |state| {
            let source = state.memory(source, bytes)?.as_ptr();
            copy(source, std::ptr::with_exposed_provenance_mut(target), bytes);
            Ok(())
        });
        Ok(())
    }
    fn cuStreamCreate(state, stream: *mut usize, _flags: c_uint) {
        put(stream, state.create("stream", 0)?);
        Ok(())
    }
    fn cuStreamSynchronize(state, stream: usize) {
        if stream != 0 {
            state.get("stream", stream)?;
        }
        state.run(stream)
    }
    fn cuStreamDestroy_v2(state, stream: usize) {
        state.run(stream)?;
        state.destroy("stream", stream)
    }
    fn cuEventCreate(state, event: *mut usize, _flags: c_uint) {
        put(event, state.create("event", 0)?);
        Ok(())
    }
    fn cuEventRecord(state, event: usize, stream: usize) {
        state.get("stream", stream)?;
        state.get("event", event)?.stream = stream;
        state.queue(stream, move |state| {
            state.clock += 1.5;
            let now = state.clock;
            // An event may be destroyed before it happens.
            if let Ok(event) = state.get("event", event) {
                event.happened = Some(now);
            }
            Ok(())
        });
        Ok(())
    }
    fn cuEventSynchronize(state, event: usize) {
        let stream = state.get("event", event)?.stream;
        state.run(stream)
    }
    fn cuEventElapsedTime(state, milliseconds: *mut f32, start: usize, end: usize) {
        let start = state.get("event", start)?.happened.ok_or(NOT_READY)?;
        let end = state.get("event", end)?.happened.ok_or(NOT_READY)?;
        put(milliseconds, end - start);
        Ok(())
    }
    fn cuEventDestroy_v2(state, event: usize) { state.destroy("event", event) }
    fn cuModuleLoadDataEx(
        state,
        module: *mut usize,
        image: *const c_char,
        count: c_uint,
        options: *const c_uint,
        values: *const usize
    ) {
        assert_eq!((count, take::<[u32; 2]>(options.cast())), (2, [5, 6]), "the error log and its size");
        if text(image).contains(".entry axpy") {
            put(module, state.create("module", 0)?);
            return Ok(());
        }
        let [log, bytes] = take::<[usize; 2]>(values.cast());
        let complaint = b"ptxas fatal: no axpy here\n\0";
        assert!(complaint.len() <= bytes);
        copy(complaint.as_ptr(), std::ptr::with_exposed_provenance_mut(log), complaint.len());
        Err(INVALID_PTX)
    }
    fn cuModuleUnload(state, module: usize) { state.destroy("module", module) }
    fn cuModuleGetFunction(state, function: *mut usize, module: usize, name: *const c_char) {
        state.get("module", module)?;
        if text(name) != "axpy" {
            return Err(NOT_FOUND);
        }
        put(function, module + 1);
        Ok(())
    }
    fn cuLaunchKernel(
        state,
        function: usize,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: usize,
        arguments: *const *const c_void,
        extra: *const c_void
    ) {
        assert!(extra.is_null());
        state.get("module", function - 1)?;
        state.get("stream", stream)?;
        if grid_x == 0 {
            return Err(INVALID_VALUE);
        }
        assert_eq!([grid_y, grid_z, block_x, block_y, block_z, shared], SHAPE);
        let [x, y, a, n] = take::<[*const c_void; 4]>(arguments.cast());
        let (x, y, a, n) = (take::<u64>(x), take::<u64>(y), take::<f32>(a), take::<u32>(n));
        state.launches += 1;
        state.queue(stream, move |state| {
            let source = state.memory(x, n as usize * 4)?.to_vec();
            for (y, x) in state.memory(y, n as usize * 4)?.chunks_exact_mut(4).zip(source.chunks_exact(4)) {
                let sum = a * bytemuck::pod_read_unaligned::<f32>(x) + bytemuck::pod_read_unaligned::<f32>(y);
                y.copy_from_slice(bytemuck::bytes_of(&sum));
            }
            Ok(())
        });
        Ok(())
    }
    // Not used by the crate, but by code beside it: floats travel in other registers.
    fn cuParamSetf(_state, function: usize, offset: c_int, value: f32) {
        assert_eq!((function, offset, value), (11, 12, 13.5));
        Ok(())
    }
    fn cuTexRefSetMipmapLevelClamp(_state, texture: usize, low: f32, high: f32) {
        assert_eq!((texture, low, high), (21, 22.5, -23.5));
        Ok(())
    }
}

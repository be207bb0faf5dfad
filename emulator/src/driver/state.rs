//! Everything the driver remembers: devices, contexts, and what lives in them. Handles are numbers
//! that are looked up, so a stale or foreign one is an error and nothing worse.

use std::alloc::Layout;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::code::{self, Code};
use super::graphs::{Capture, Graph};
use crate::config::{DeviceSpec, Holdings};
use crate::counters::Counters;
use crate::faults::{Call, Failure, FaultPlan};
use crate::memory::global::GlobalMemory;
use crate::program::Program;
use crate::report::Report;

/// A number that the caller sees as an opaque pointer.
pub(crate) type Handle = usize;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Objects by handle.
#[derive(Debug)]
pub(crate) struct Table<T>(RwLock<HashMap<Handle, Arc<T>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&self, handle: Handle, object: T) -> Arc<T> {
        let object = Arc::new(object);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(handle, Arc::clone(&object));
        object
    }

    pub(crate) fn get(&self, handle: Handle) -> Result<Arc<T>, Code> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&handle).map(Arc::clone).ok_or(code::INVALID_HANDLE)
    }

    pub(crate) fn remove(&self, handle: Handle) -> Result<Arc<T>, Code> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(&handle).ok_or(code::INVALID_HANDLE)
    }

    /// Removes what a condition picks; returns how many those were.
    fn remove_all(&self, picks: impl Fn(&T) -> bool) -> u64 {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = table.len();
        table.retain(|_, object| !picks(object));
        (before - table.len()) as u64
    }

    /// The largest value of a function over the objects that a condition picks.
    fn max_of<V: Ord>(&self, picks: impl Fn(&T) -> bool, value: impl Fn(&T) -> V) -> Option<V> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.values().filter(|object| picks(object)).map(|object| value(object)).max()
    }

    fn count(&self, picks: impl Fn(&T) -> bool) -> u64 {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.values().filter(|object| picks(object)).count() as u64
    }
}

#[derive(Debug)]
pub(crate) struct DeviceState {
    pub(crate) ordinal: usize,
    pub(crate) spec: DeviceSpec,
    pub(crate) faults: FaultPlan,
    pub(crate) primary: Mutex<Primary>,
    pub(crate) memory_used: AtomicU64,
    abandoned: AtomicU64,
    counters: Mutex<BTreeMap<String, Counters>>,
    reports: Mutex<Vec<Report>>,
}

/// The context that a device shares among everyone in the process.
#[derive(Debug, Default)]
pub(crate) struct Primary {
    pub(crate) context: Option<Handle>,
    pub(crate) retained: u32,
    pub(crate) flags: u32,
}

impl DeviceState {
    pub(crate) fn counters(&self) -> Vec<(String, Counters)> {
        lock(&self.counters).iter().map(|(name, counters)| (name.clone(), counters.clone())).collect()
    }

    pub(crate) fn reset_counters(&self) {
        lock(&self.counters).clear();
    }

    pub(crate) fn add_counters(&self, kernel: &str, counters: &Counters) {
        *lock(&self.counters).entry(kernel.to_owned()).or_default() += counters;
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        lock(&self.reports).clone()
    }

    pub(crate) fn report(&self, report: impl Into<Report>) {
        lock(&self.reports).push(report.into());
    }
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) handle: Handle,
    pub(crate) device: Arc<DeviceState>,
    pub(crate) memory: GlobalMemory,
    /// What `cuMemAlloc` gave out: base and size.
    pub(crate) allocations: Mutex<BTreeMap<u64, u64>>,
    pub(crate) flags: u32,
    /// The work on the default stream ends here.
    pub(crate) default_stream: StreamState,
    pub(crate) limits: Mutex<HashMap<u32, usize>>,
    health: Mutex<Health>,
}

/// What errors of asynchronous work have done to a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// An error happened; the next call that waits will say so.
    Hurt(Code),
    /// It has been said; every call now answers with it.
    Dead(Code),
}

/// What a fault does to a call that succeeds otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Normal,
    Slow(Duration),
}

impl Context {
    /// Passes a call, or says why it fails: a dead context, or an injected fault.
    pub(crate) fn enter(&self, call: Call) -> Result<Verdict, Code> {
        self.alive()?;
        match self.device.faults.on(call) {
            None => Ok(Verdict::Normal),
            Some(Failure::OutOfMemory) => Err(code::OUT_OF_MEMORY),
            Some(Failure::OutOfResources) => Err(code::LAUNCH_OUT_OF_RESOURCES),
            Some(Failure::JitRejection) => Err(code::INVALID_PTX),
            Some(Failure::Sticky) => {
                *lock(&self.health) = Health::Dead(code::ILLEGAL_ADDRESS);
                Err(code::ILLEGAL_ADDRESS)
            }
            Some(Failure::Late) => {
                self.hurt(code::LAUNCH_FAILED);
                Ok(Verdict::Normal)
            }
            Some(Failure::Slow(time)) => Ok(Verdict::Slow(time)),
        }
    }

    pub(crate) fn alive(&self) -> Result<(), Code> {
        match *lock(&self.health) {
            Health::Dead(code) => Err(code),
            Health::Good | Health::Hurt(_) => Ok(()),
        }
    }

    /// Whether no error has happened.
    pub(crate) fn is_good(&self) -> bool {
        *lock(&self.health) == Health::Good
    }

    /// Notes an error of asynchronous work.
    pub(crate) fn hurt(&self, code: Code) {
        let mut health = lock(&self.health);
        if *health == Health::Good {
            *health = Health::Hurt(code);
        }
    }

    /// What a call that waits answers: an error that happened before kills the context now.
    pub(crate) fn settle(&self) -> Result<(), Code> {
        let mut health = lock(&self.health);
        match *health {
            Health::Good => Ok(()),
            Health::Hurt(code) | Health::Dead(code) => {
                *health = Health::Dead(code);
                Err(code)
            }
        }
    }
}

/// When the work on a stream ends. Work is done at once; only an injected delay moves this ahead.
#[derive(Debug, Default)]
pub(crate) struct StreamState {
    end: Mutex<Option<Instant>>,
    pub(crate) capture: Mutex<Capture>,
}

impl StreamState {
    pub(crate) fn delay(&self, verdict: Verdict) {
        if let Verdict::Slow(time) = verdict {
            let start = self.end();
            *lock(&self.end) = Some(start + time);
        }
    }

    pub(crate) fn wait_for(&self, time: Instant) {
        let mut end = lock(&self.end);
        *end = Some(end.map_or(time, |end| end.max(time)));
    }

    /// Now, or when the delayed work ends.
    pub(crate) fn end(&self) -> Instant {
        let now = Instant::now();
        lock(&self.end).map_or(now, |end| end.max(now))
    }
}

/// Sleeps until a moment.
pub(crate) fn sleep_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(Instant::now()));
}

#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) context: Handle,
    pub(crate) programs: HashMap<String, Arc<Program>>,
    /// Address and size of each variable in device memory.
    pub(crate) globals: HashMap<String, (u64, u64)>,
    /// The handles of functions that were looked up.
    pub(crate) functions: Mutex<HashMap<String, Handle>>,
    pub(crate) target: (u32, u32),
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) module: Handle,
    pub(crate) context: Handle,
    pub(crate) program: Arc<Program>,
    pub(crate) max_dynamic_shared: AtomicU32,
    pub(crate) carveout: AtomicI32,
    pub(crate) versions: (i32, i32),
}

/// The flag of a stream that the default stream does not wait for.
pub(crate) const NON_BLOCKING: u32 = 1;

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) context: Handle,
    pub(crate) flags: u32,
    pub(crate) priority: i32,
    pub(crate) state: StreamState,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) context: Handle,
    pub(crate) timing: bool,
    pub(crate) recorded: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
pub(crate) struct Driver {
    initialized: AtomicBool,
    devices: RwLock<Vec<Arc<DeviceState>>>,
    pub(crate) contexts: Table<Context>,
    pub(crate) modules: Table<Module>,
    pub(crate) functions: Table<Function>,
    pub(crate) streams: Table<Stream>,
    pub(crate) events: Table<Event>,
    /// Of captured launches.
    pub(crate) graphs: Table<Graph>,
    /// Graphs that can be launched.
    pub(crate) executables: Table<Graph>,
    /// Page-locked host memory: address, layout and the device it was made for.
    pub(crate) host_memory: Mutex<HashMap<usize, (Layout, usize)>>,
    handles: AtomicU64,
}

pub(crate) fn driver() -> &'static Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(Driver::default)
}

thread_local! {
    /// The stack of current contexts; zero is none.
    static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

impl Driver {
    pub(crate) fn add_device(&self, spec: DeviceSpec) -> Arc<DeviceState> {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        let device = Arc::new(DeviceState {
            ordinal: devices.len(),
            spec,
            faults: FaultPlan::default(),
            primary: Mutex::default(),
            memory_used: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            counters: Mutex::default(),
            reports: Mutex::default(),
        });
        devices.push(Arc::clone(&device));
        device
    }

    pub(crate) fn devices(&self) -> Vec<Arc<DeviceState>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn device(&self, ordinal: i32) -> Result<Arc<DeviceState>, Code> {
        self.ready()?;
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let device = usize::try_from(ordinal).ok().and_then(|ordinal| devices.get(ordinal));
        device.map(Arc::clone).ok_or(code::INVALID_DEVICE)
    }

    pub(crate) fn initialize(&self) {
        self.initialized.store(true, Relaxed);
    }

    pub(crate) fn ready(&self) -> Result<(), Code> {
        if self.initialized.load(Relaxed) { Ok(()) } else { Err(code::NOT_INITIALIZED) }
    }

    /// A number that no handle had before, aligned like a pointer.
    pub(crate) fn new_handle(&self) -> Handle {
        (self.handles.fetch_add(1, Relaxed) as usize + 1) << 6
    }

    pub(crate) fn new_context(&self, device: &Arc<DeviceState>, flags: u32) -> Result<Arc<Context>, Code> {
        match device.faults.on(Call::CreateContext) {
            None | Some(Failure::Late | Failure::Slow(_)) => {}
            Some(_) => return Err(code::OUT_OF_MEMORY),
        }
        let handle = self.new_handle();
        let context = Context {
            handle,
            device: Arc::clone(device),
            memory: GlobalMemory::default(),
            allocations: Mutex::default(),
            flags,
            default_stream: StreamState::default(),
            limits: Mutex::default(),
            health: Mutex::new(Health::Good),
        };
        Ok(self.contexts.insert(handle, context))
    }

    /// Ends a context and everything in it; what nobody had returned is noted.
    pub(crate) fn end_context(&self, handle: Handle) -> Result<(), Code> {
        let context = self.contexts.remove(handle).map_err(|_| code::INVALID_CONTEXT)?;
        let mut left = self.modules.remove_all(|module| module.context == handle);
        self.functions.remove_all(|function| function.context == handle);
        left += self.streams.remove_all(|stream| stream.context == handle);
        left += self.events.remove_all(|event| event.context == handle);
        left += [&self.graphs, &self.executables]
            .map(|table| table.remove_all(|graph| graph.context == handle))
            .iter()
            .sum::<u64>();
        let allocations = std::mem::take(&mut *lock(&context.allocations));
        left += allocations.len() as u64;
        context.device.memory_used.fetch_sub(allocations.values().sum(), Relaxed);
        context.device.abandoned.fetch_add(left, Relaxed);
        Ok(())
    }

    pub(crate) fn holdings(&self, device: &DeviceState) -> Holdings {
        let of = |handle: Handle| {
            self.contexts.get(handle).is_ok_and(|context| context.device.ordinal == device.ordinal)
        };
        let contexts = self.contexts.0.read().unwrap_or_else(PoisonError::into_inner);
        let own: Vec<Arc<Context>> =
            contexts.values().filter(|context| context.device.ordinal == device.ordinal).cloned().collect();
        drop(contexts);
        let mut holdings = Holdings::default();
        for context in &own {
            let allocations = lock(&context.allocations);
            holdings.allocations += allocations.len() as u64;
            holdings.allocated_bytes += allocations.values().sum::<u64>();
        }
        holdings.contexts = own.len() as u64;
        holdings.host_allocations =
            lock(&self.host_memory).values().filter(|(_, ordinal)| *ordinal == device.ordinal).count() as u64;
        holdings.modules = self.modules.count(|module| of(module.context));
        holdings.streams = self.streams.count(|stream| of(stream.context));
        holdings.events = self.events.count(|event| of(event.context));
        holdings.graphs = [&self.graphs, &self.executables]
            .map(|table| table.count(|graph| of(graph.context)))
            .iter()
            .sum();
        holdings.abandoned = device.abandoned.load(Relaxed);
        holdings
    }

    /// When the work of all streams of a context ends, or of those only that the default stream waits for.
    pub(crate) fn end_of_work(&self, context: &Context, blocking_only: bool) -> Instant {
        let waits = |stream: &Stream| {
            stream.context == context.handle && !(blocking_only && stream.flags & NON_BLOCKING != 0)
        };
        let streams = self.streams.max_of(waits, |stream| stream.state.end());
        let default = context.default_stream.end();
        streams.map_or(default, |end| end.max(default))
    }

    /// The context that is current on this thread.
    pub(crate) fn current(&self) -> Result<Arc<Context>, Code> {
        self.ready()?;
        match current_handle() {
            0 => Err(code::INVALID_CONTEXT),
            handle => self.contexts.get(handle).map_err(|_| code::CONTEXT_IS_DESTROYED),
        }
    }
}

pub(crate) fn current_handle() -> Handle {
    CURRENT.with_borrow(|stack| stack.last().copied().unwrap_or(0))
}

pub(crate) fn push_current(handle: Handle) {
    CURRENT.with_borrow_mut(|stack| stack.push(handle));
}

pub(crate) fn pop_current() -> Option<Handle> {
    CURRENT.with_borrow_mut(Vec::pop)
}

/// Replaces the top of the stack; zero takes it away.
pub(crate) fn set_current(handle: Handle) {
    CURRENT.with_borrow_mut(|stack| {
        stack.pop();
        if handle != 0 {
            stack.push(handle);
        }
    });
}

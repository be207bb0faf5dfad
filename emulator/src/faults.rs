//! Failures on demand: the nth call of a kind fails as a real driver's would.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The kinds of driver calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Making a context, or retaining the primary one.
    CreateContext,
    /// Loading a module.
    LoadModule,
    /// Looking up a function of a module.
    GetFunction,
    /// Allocating device memory.
    Allocate,
    /// Returning device memory.
    Free,
    /// Allocating page-locked host memory.
    AllocateHost,
    /// A copy from host to device.
    CopyToDevice,
    /// A copy from device to host.
    CopyToHost,
    /// A copy from device to device.
    CopyOnDevice,
    /// Filling memory with a value.
    Fill,
    /// Launching a kernel.
    Launch,
    /// Creating a stream.
    CreateStream,
    /// Creating an event.
    CreateEvent,
    /// Recording an event.
    RecordEvent,
    /// Waiting for a context, a stream or an event.
    Synchronize,
    /// Reading the time between two events.
    ElapsedTime,
}

impl Call {
    /// Every kind.
    pub const ALL: [Call; 16] = [
        Call::CreateContext,
        Call::LoadModule,
        Call::GetFunction,
        Call::Allocate,
        Call::Free,
        Call::AllocateHost,
        Call::CopyToDevice,
        Call::CopyToHost,
        Call::CopyOnDevice,
        Call::Fill,
        Call::Launch,
        Call::CreateStream,
        Call::CreateEvent,
        Call::RecordEvent,
        Call::Synchronize,
        Call::ElapsedTime,
    ];
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// `CUDA_ERROR_OUT_OF_MEMORY`; nothing happened, the context stays usable.
    OutOfMemory,
    /// `CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES`; nothing happened, the context stays usable.
    OutOfResources,
    /// `CUDA_ERROR_INVALID_PTX`, with a line in the error log.
    JitRejection,
    /// `CUDA_ERROR_ILLEGAL_ADDRESS`, from this call on and from every later one of the context.
    Sticky,
    /// The call succeeds; the next one that waits reports `CUDA_ERROR_LAUNCH_FAILED`, which sticks.
    Late,
    /// The call succeeds, but the work on its stream takes this much longer.
    Slow(Duration),
}

/// One failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    call: Call,
    remaining: u64,
    failure: Failure,
}

impl Fault {
    /// The `nth` call of a kind (1 is the next one) fails.
    pub fn new(call: Call, nth: u64, failure: Failure) -> Self {
        Self { call, remaining: nth.max(1), failure }
    }
}

/// The failures that a device still has to produce.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    faults: Mutex<Vec<Fault>>,
}

impl FaultPlan {
    pub(crate) fn add(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    pub(crate) fn clear(&self) -> usize {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *faults).len()
    }

    /// Counts a call; returns how it fails, if it does.
    pub(crate) fn on(&self, call: Call) -> Option<Failure> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in faults.iter_mut().filter(|fault| fault.call == call) {
            fault.remaining -= 1;
        }
        let due = faults.iter().position(|fault| fault.remaining == 0)?;
        Some(faults.remove(due).failure)
    }
}

//! Which devices exist, and what a test can do to them and read from them.

use std::sync::Arc;

use thiserror::Error;

use crate::counters::Counters;
use crate::driver::state::{self, DeviceState};
use crate::faults::Fault;
use crate::report::Report;

/// An emulated device is asked for that no hardware resembles.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no preset for compute capability {0}.{1}; there are 7.5, 8.0, 8.6, 8.9, 9.0, 10.0 and 12.0")]
pub struct UnknownCapability(pub u32, pub u32);

/// What an emulated device says of itself, and the limits that it enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceSpec {
    /// The name that the driver reports.
    pub name: String,
    /// Major and minor compute capability.
    pub compute_capability: (u32, u32),
    /// Device memory, in bytes. Only what is allocated costs host memory.
    pub memory: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of shared memory that a block may use without asking.
    pub shared_per_block: u32,
    /// Bytes of shared memory that a block may use after `cuFuncSetAttribute`.
    pub shared_per_block_optin: u32,
    /// Bytes of shared memory of a multiprocessor.
    pub shared_per_multiprocessor: u32,
    /// Threads of a block.
    pub max_threads_per_block: u32,
    /// Threads that a multiprocessor holds.
    pub max_threads_per_multiprocessor: u32,
    /// Bytes of L2 cache.
    pub l2_cache: u32,
    /// Warp instructions after which a block is taken to hang and is stopped.
    pub max_block_instructions: u64,
}

impl DeviceSpec {
    /// The compute capabilities with a preset, oldest first.
    pub const PRESETS: [(u32, u32); 7] = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)];

    /// A device like the well-known one of a compute capability.
    pub fn new(major: u32, minor: u32) -> Result<Self, UnknownCapability> {
        const KIB: u32 = 1024;
        // Shared memory of a multiprocessor, its threads, multiprocessors, GiB of memory, MiB of L2.
        let (shared, threads, multiprocessors, memory, l2) = match (major, minor) {
            (7, 5) => (64, 1024, 40, 16, 4),
            (8, 0) => (164, 2048, 108, 40, 40),
            (8, 6) => (100, 1536, 84, 24, 6),
            (8, 9) => (100, 1536, 128, 24, 72),
            (9, 0) => (228, 2048, 132, 80, 50),
            (10, 0) => (228, 2048, 148, 180, 126),
            (12, 0) => (100, 1536, 170, 32, 96),
            _ => return Err(UnknownCapability(major, minor)),
        };
        // Since 8.0, each block costs one KiB that the system keeps for itself.
        let optin = if major >= 8 { shared - 1 } else { shared };
        Ok(Self {
            name: format!("emulated {major}.{minor}"),
            compute_capability: (major, minor),
            memory: memory << 30,
            multiprocessors,
            shared_per_block: 48 * KIB,
            shared_per_block_optin: optin * KIB,
            shared_per_multiprocessor: shared * KIB,
            max_threads_per_block: 1024,
            max_threads_per_multiprocessor: threads,
            l2_cache: l2 * KIB * KIB,
            max_block_instructions: 1 << 32,
        })
    }
}

/// A device that exists until the process ends. Copies of the handle mean the same device.
///
/// Each test that injects faults or counts adds a device of its own; tests then do not meet, though
/// they share the driver.
#[derive(Debug, Clone)]
pub struct EmulatedDevice {
    state: Arc<DeviceState>,
}

/// What a program holds on a device at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Holdings {
    /// Contexts, the primary one included.
    pub contexts: u64,
    /// Allocations of device memory.
    pub allocations: u64,
    /// Their bytes.
    pub allocated_bytes: u64,
    /// Page-locked host allocations.
    pub host_allocations: u64,
    /// Modules.
    pub modules: u64,
    /// Streams.
    pub streams: u64,
    /// Events.
    pub events: u64,
    /// Graphs, and what was made of them to be launched.
    pub graphs: u64,
    /// Everything of the above that was still held when its context ended.
    pub abandoned: u64,
}

/// Adds a device to the emulated driver. It appears behind those that exist.
pub fn add_device(spec: DeviceSpec) -> EmulatedDevice {
    EmulatedDevice { state: state::driver().add_device(spec) }
}

/// The devices that exist, in the driver's order.
pub fn devices() -> Vec<EmulatedDevice> {
    state::driver().devices().into_iter().map(|state| EmulatedDevice { state }).collect()
}

impl EmulatedDevice {
    /// The number by which the driver knows the device.
    pub fn ordinal(&self) -> usize {
        self.state.ordinal
    }

    /// What the device was made as.
    pub fn spec(&self) -> &DeviceSpec {
        &self.state.spec
    }

    /// Makes a call of this device's contexts fail; calls are counted from now on.
    pub fn inject(&self, fault: Fault) {
        self.state.faults.add(fault);
    }

    /// Forgets the faults that have not happened, and returns how many those were.
    pub fn clear_faults(&self) -> usize {
        self.state.faults.clear()
    }

    /// The counters of every kernel launched so far, by name.
    pub fn counters(&self) -> Vec<(String, Counters)> {
        self.state.counters()
    }

    /// Starts all counters at zero again.
    pub fn reset_counters(&self) {
        self.state.reset_counters();
    }

    /// What went wrong so far, oldest first.
    pub fn reports(&self) -> Vec<Report> {
        self.state.reports()
    }

    /// What went wrong last.
    pub fn last_report(&self) -> Option<Report> {
        self.state.reports().pop()
    }

    /// What is held on the device: all zero when everything was returned.
    pub fn holdings(&self) -> Holdings {
        state::driver().holdings(&self.state)
    }
}

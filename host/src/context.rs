use std::sync::Arc;

use bytemuck::Pod;
use cust::sys;

use crate::driver::{self, PrimaryContext};
use crate::{Buffer, Device, Error, Event, Module, Stream};

/// A device's primary context, where its modules, memory and streams live.
///
/// Clones share it, and everything made from it keeps it; when the last of them is dropped, it is released. No
/// call of this crate leaves it current: whatever context the calling thread had before, it has again afterwards,
/// also when the call fails. (If the driver itself refuses to restore it, the call fails and says so.)
#[derive(Clone, Debug)]
pub struct Context {
    device: Device,
    raw: Arc<PrimaryContext>,
}

/// The memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What can still be allocated.
    pub free: usize,
    /// What the device has.
    pub total: usize,
}

impl Context {
    pub(crate) fn retain(device: Device, raw: sys::CUdevice) -> Result<Self, Error> {
        Ok(Self { device, raw: PrimaryContext::retain(raw)? })
    }

    /// Its device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// How much memory is free.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn memory(&self) -> Result<Memory, Error> {
        let (free, total) = driver::memory_info(&self.raw)?;
        Ok(Memory { free, total })
    }

    /// Has the driver compile PTX for this device.
    ///
    /// # Errors
    /// [`Error::LoadModule`] with what the driver's compiler wrote; [`Error::ZeroByte`].
    pub fn load_module(&self, ptx: &str) -> Result<Module, Error> {
        Module::load(&self.raw, ptx)
    }

    /// Allocates a buffer of `len` elements. What it holds is undefined, but as good as any other bytes.
    ///
    /// # Errors
    /// [`Error::Allocate`], [`Error::EmptyBuffer`], [`Error::BufferTooLarge`].
    pub fn alloc<T: Pod>(&self, len: usize) -> Result<Buffer<T>, Error> {
        Buffer::new(&self.raw, len)
    }

    /// Creates a stream. It does not wait for the work of other streams, the null stream's included.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn stream(&self) -> Result<Stream, Error> {
        Stream::new(&self.raw)
    }

    /// Creates an event that measures time.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn event(&self) -> Result<Event, Error> {
        Event::new(&self.raw)
    }

    /// The driver's handle. It is valid as long as this context is retained.
    pub fn as_raw(&self) -> sys::CUcontext {
        self.raw.raw()
    }
}

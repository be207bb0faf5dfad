use std::ffi::c_void;
use std::sync::Arc;

use bytemuck::Pod;
use cust::sys;

use crate::driver::{self, Owned, PrimaryContext};
use crate::{Buffer, Error, Function};

/// A queue of work for a device. Dropping it does not wait; the driver finishes what is queued.
#[derive(Debug)]
pub struct Stream {
    pub(crate) raw: Owned<sys::CUstream>,
}

/// The shape of a launch: how many blocks, of how many threads, with how much dynamic shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
}

/// A kernel argument: a number, a structure, or the device address of a buffer, which stay borrowed until the launch is
/// queued.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a>(Value<'a>);

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    /// Little endian, as all these platforms are: the driver reads as many bytes as the parameter has.
    Bits(u64),
    Bytes(&'a [u8]),
}

impl<'a> Argument<'a> {
    /// A device address from elsewhere.
    pub fn pointer(address: sys::CUdeviceptr) -> Self {
        Self(Value::Bits(address))
    }

    /// A structure that the kernel takes by value.
    pub fn value<T: Pod>(value: &'a T) -> Self {
        Self(Value::Bytes(bytemuck::bytes_of(value)))
    }

    /// Where the value is, for a driver that does not write to it.
    pub(crate) fn as_ptr(&self) -> *mut c_void {
        match &self.0 {
            Value::Bits(bits) => (&raw const *bits).cast_mut().cast(),
            Value::Bytes(bytes) => bytes.as_ptr().cast_mut().cast(),
        }
    }
}

impl From<u32> for Argument<'_> {
    fn from(value: u32) -> Self {
        Self::from(u64::from(value))
    }
}

impl From<f32> for Argument<'_> {
    fn from(value: f32) -> Self {
        Self::from(value.to_bits())
    }
}

impl From<u64> for Argument<'_> {
    fn from(value: u64) -> Self {
        Self(Value::Bits(value))
    }
}

/// A buffer that the kernel reads.
impl<'a, T> From<&'a Buffer<T>> for Argument<'a> {
    fn from(buffer: &'a Buffer<T>) -> Self {
        Self::pointer(buffer.as_raw())
    }
}

/// A buffer that the kernel writes.
impl<'a, T> From<&'a mut Buffer<T>> for Argument<'a> {
    fn from(buffer: &'a mut Buffer<T>) -> Self {
        Self::pointer(buffer.as_raw())
    }
}

impl Stream {
    pub(crate) fn new(context: &Arc<PrimaryContext>) -> Result<Self, Error> {
        Ok(Self { raw: driver::create_stream(context)? })
    }

    /// Queues a launch. It returns before the kernel has run: a kernel that fails makes a later call fail.
    ///
    /// # Errors
    /// [`Error::Launch`], [`Error::ForeignContext`].
    ///
    /// # Safety
    /// - `arguments` are what the kernel takes, in number, order and type: the driver reads as many as the kernel
    ///   declares.
    /// - With them, in this shape, the kernel accesses memory only inside the buffers passed, of which those passed
    ///   by shared reference are only read.
    /// - Until the stream has passed the launch, no buffer passed is dropped, and none of them is accessed by
    ///   the host or by another stream if one side writes.
    pub unsafe fn launch(
        &self,
        function: &Function,
        launch: Launch,
        arguments: &[Argument<'_>],
    ) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { driver::launch(&self.raw, &function.raw, function.name(), launch, arguments) }
    }

    /// Waits until everything queued so far is done.
    ///
    /// # Errors
    /// What the driver answers, the failure of queued work included.
    pub fn synchronize(&self) -> Result<(), Error> {
        driver::synchronize_stream(&self.raw)
    }

    /// The driver's handle. It is valid as long as the stream exists.
    pub fn as_raw(&self) -> sys::CUstream {
        self.raw.raw()
    }
}

use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::Pod;
use cust::sys;

use crate::driver::{Allocation, PrimaryContext};
use crate::{Error, Stream};

/// An array of `T` in the memory of a device. Freed on drop.
#[derive(Debug)]
pub struct Buffer<T> {
    allocation: Allocation,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    pub(crate) fn new(context: &Arc<PrimaryContext>, len: usize) -> Result<Self, Error> {
        let element_bytes = size_of::<T>();
        let bytes = len.checked_mul(element_bytes).ok_or(Error::BufferTooLarge { len, element_bytes })?;
        if bytes == 0 {
            return Err(Error::EmptyBuffer { len, element_bytes });
        }
        Ok(Self { allocation: Allocation::new(context, bytes)?, len, elements: PhantomData })
    }

    /// Fills the buffer, and returns when the data is on the device: work launched afterwards, on any stream, sees
    /// it.
    ///
    /// # Errors
    /// [`Error::Length`], or what the driver answers.
    pub fn write(&mut self, source: &[T]) -> Result<(), Error> {
        self.allocation.write(bytemuck::cast_slice(source))
    }

    /// Copies the buffer to the host, and returns when the data is there. It does not wait for streams: synchronize
    /// the one that computes the data first.
    ///
    /// # Errors
    /// [`Error::Length`], or what the driver answers.
    pub fn read(&self, target: &mut [T]) -> Result<(), Error> {
        self.allocation.read(bytemuck::cast_slice_mut(target))
    }

    /// Has a stream fill the buffer, after its earlier work and before its later work.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::ForeignContext`], or what the driver answers.
    ///
    /// # Safety
    /// Until the stream has passed this copy (synchronize it, or an event recorded after it), `source` is neither
    /// written nor freed, and this buffer is not dropped.
    pub unsafe fn write_async(&mut self, stream: &Stream, source: &[T]) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { self.allocation.write_async(&stream.raw, bytemuck::cast_slice(source)) }
    }

    /// Has a stream copy the buffer to the host, after its earlier work and before its later work.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::ForeignContext`], or what the driver answers.
    ///
    /// # Safety
    /// Until the stream has passed this copy (synchronize it, or an event recorded after it), `target` is neither
    /// read, written nor freed, and this buffer is not dropped.
    pub unsafe fn read_async(&self, stream: &Stream, target: &mut [T]) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { self.allocation.read_async(&stream.raw, bytemuck::cast_slice_mut(target)) }
    }
}

impl<T> Buffer<T> {
    /// The number of elements; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there are no empty buffers")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The device address of the first element. It is valid as long as the buffer exists.
    pub fn as_raw(&self) -> sys::CUdeviceptr {
        self.allocation.raw()
    }
}

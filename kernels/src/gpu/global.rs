//! The memory of the GPU, which a kernel's arguments point to.

/// Memory that a kernel writes, each element by one thread.
#[derive(Clone, Copy, Debug)]
pub struct Output<T> {
    start: *mut T,
    len: usize,
}

impl<T: Copy> Output<T> {
    /// The `len` elements from `start`.
    ///
    /// # Safety
    /// - `start` is valid for writes of `len` elements while the kernel runs, and aligned.
    /// - Nothing reads them before the kernel has ended, and no two threads write the same one.
    #[inline(always)]
    pub unsafe fn new(start: *mut T, len: usize) -> Self {
        Self { start, len }
    }

    /// Writes element `index`, if there is one.
    #[inline(always)]
    pub fn set(self, index: usize, value: T) {
        if index < self.len {
            // SAFETY: the index is below the length that `new` was promised.
            unsafe { self.start.add(index).write(value) }
        }
    }
}

/// The `len` elements from `start`, which a kernel reads.
///
/// # Safety
/// `start` is valid for reads of `len` initialized elements while the kernel runs, aligned, and nothing writes
/// them meanwhile.
#[inline(always)]
pub unsafe fn input<'a, T>(start: *const T, len: usize) -> &'a [T] {
    // SAFETY: as promised by the caller.
    unsafe { core::slice::from_raw_parts(start, len) }
}

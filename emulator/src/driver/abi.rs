//! The C side of the driver: the one place where this crate follows pointers.
//!
//! The wrappers below are transparent pointers. Rust code cannot make one: they only arrive as the
//! arguments of a call through the C interface, whose caller vouches for them as it would towards any
//! CUDA driver. A null pointer is answered with an error.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{CStr, c_char, c_void};

use super::code::{self, Code};

/// Where a call leaves a result.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(crate) fn write(&self, value: T) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(code::INVALID_VALUE);
        }
        // SAFETY: the caller of the C function passes a pointer to space for a `T`, and it is not null.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// For results that the caller may decline with a null pointer.
    pub(crate) fn write_if_wanted(&self, value: T) {
        let _ = self.write(value);
    }
}

/// A zero-terminated text.
#[repr(transparent)]
pub(crate) struct Text(*const c_char);

impl Text {
    pub(crate) fn read(&self) -> Result<String, Code> {
        if self.0.is_null() {
            return Err(code::INVALID_VALUE);
        }
        // SAFETY: the caller passes a zero-terminated text, and it is not null.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(str::to_owned).map_err(|_| code::INVALID_VALUE)
    }
}

/// Space for a text of a length that the caller states.
#[repr(transparent)]
pub(crate) struct TextOut(*mut c_char);

impl TextOut {
    /// Writes as much as fits, with a final zero; returns the bytes written.
    pub(crate) fn write(&self, text: &str, space: usize) -> Result<usize, Code> {
        if self.0.is_null() || space == 0 {
            return Err(code::INVALID_VALUE);
        }
        let length = text.len().min(space - 1);
        // SAFETY: the caller states that `space` bytes are there, and `length + 1` are at most that.
        unsafe {
            self.0.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), length);
            self.0.add(length).write(0);
        }
        Ok(length + 1)
    }
}

/// Host memory that a call reads.
#[repr(transparent)]
pub(crate) struct HostSource(*const c_void);

impl HostSource {
    pub(crate) fn with<R>(&self, bytes: usize, read: impl FnOnce(&[u8]) -> R) -> Result<R, Code> {
        if bytes == 0 {
            return Ok(read(&[]));
        }
        if self.0.is_null() {
            return Err(code::INVALID_VALUE);
        }
        // SAFETY: the caller states that so many bytes can be read there for the time of the call.
        Ok(read(unsafe { std::slice::from_raw_parts(self.0.cast(), bytes) }))
    }

    /// A zero-terminated text, which is what a PTX image is.
    pub(crate) fn text(&self) -> Result<String, Code> {
        Text(self.0.cast()).read()
    }

    /// Whether the image is an ELF file (a cubin or a fat binary), not text.
    pub(crate) fn is_binary(&self) -> bool {
        // SAFETY: an image has at least the four bytes that tell its kind; text ends with a zero, at
        // which the comparison stops.
        !self.0.is_null()
            && [0x7f, b'E', b'L', b'F']
                .iter()
                .enumerate()
                .all(|(i, &byte)| unsafe { *self.0.cast::<u8>().add(i) } == byte)
    }
}

/// Host memory that a call writes.
#[repr(transparent)]
pub(crate) struct HostTarget(*mut c_void);

impl HostTarget {
    pub(crate) fn with<R>(&self, bytes: usize, write: impl FnOnce(&mut [u8]) -> R) -> Result<R, Code> {
        if bytes == 0 {
            return Ok(write(&mut []));
        }
        if self.0.is_null() {
            return Err(code::INVALID_VALUE);
        }
        // SAFETY: the caller states that so many bytes can be written there for the time of the call,
        // and every bit pattern is a valid byte.
        Ok(write(unsafe { std::slice::from_raw_parts_mut(self.0.cast(), bytes) }))
    }

    pub(crate) fn address(&self) -> usize {
        self.0.addr()
    }

    /// Returns memory of [`allocate_host`].
    pub(crate) fn free(&self, layout: Layout) {
        // SAFETY: the address is one that `allocate_host` gave out with this layout: the caller of this
        // function has just taken both out of the table of live allocations.
        unsafe { dealloc(self.0.cast(), layout) }
    }
}

/// Host memory for `cuMemAllocHost`: its address and layout.
pub(crate) fn allocate_host(bytes: usize) -> Option<(*mut c_void, Layout)> {
    let layout = Layout::from_size_align(bytes, 4096).ok().filter(|layout| layout.size() != 0)?;
    // SAFETY: the layout is not empty.
    let pointer = unsafe { alloc(layout) };
    (!pointer.is_null()).then_some((pointer.cast(), layout))
}

/// The arguments of a launch.
#[repr(transparent)]
pub(crate) struct KernelArguments(*mut *mut c_void);

impl KernelArguments {
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Collects parameters of these sizes and offsets into one buffer.
    pub(crate) fn gather(&self, parameters: &[(usize, usize)], total: usize) -> Result<Vec<u8>, Code> {
        let mut buffer = vec![0; total];
        for (i, &(offset, bytes)) in parameters.iter().enumerate() {
            if self.0.is_null() {
                return Err(code::INVALID_VALUE);
            }
            // SAFETY: the caller passes one pointer for each parameter of the kernel...
            let argument = unsafe { *self.0.add(i) };
            if argument.is_null() {
                return Err(code::INVALID_VALUE);
            }
            // SAFETY: ...to a value of the parameter's size.
            let value = unsafe { std::slice::from_raw_parts(argument.cast::<u8>(), bytes) };
            buffer[offset..offset + bytes].copy_from_slice(value);
        }
        Ok(buffer)
    }

    /// The other form: a list of option names and values, of which two name a buffer and its size.
    pub(crate) fn buffer(&self, total: usize) -> Result<Vec<u8>, Code> {
        const END: usize = 0;
        const POINTER: usize = 1;
        const SIZE: usize = 2;
        let (mut pointer, mut size) = (std::ptr::null::<u8>(), 0);
        let mut at = 0;
        loop {
            // SAFETY: the caller passes pairs and a final END, at which this stops.
            let name = unsafe { *self.0.add(at) }.addr();
            if name == END {
                break;
            }
            // SAFETY: a name that is not END has a value behind it.
            let value = unsafe { *self.0.add(at + 1) };
            match name {
                POINTER => pointer = value.cast(),
                // SAFETY: the value of SIZE points to a size.
                SIZE => size = unsafe { *value.cast::<usize>() },
                _ => return Err(code::INVALID_VALUE),
            }
            at += 2;
        }
        if size < total || (pointer.is_null() && total != 0) {
            return Err(code::INVALID_VALUE);
        }
        HostSource(pointer.cast()).with(total, <[u8]>::to_vec)
    }
}

/// The options of `cuModuleLoadDataEx`: names, and values that are numbers or pointers.
pub(crate) struct JitOptions {
    pub(crate) error_log: Option<(TextOut, usize)>,
}

/// The pointers behind [`JitOptions`].
#[repr(transparent)]
pub(crate) struct OptionNames(*const u32);
#[repr(transparent)]
pub(crate) struct OptionValues(*mut *mut c_void);

impl JitOptions {
    pub(crate) fn read(count: u32, names: &OptionNames, values: &OptionValues) -> Result<Self, Code> {
        const ERROR_LOG: u32 = 5;
        const ERROR_LOG_SIZE: u32 = 6;
        if count != 0 && (names.0.is_null() || values.0.is_null()) {
            return Err(code::INVALID_VALUE);
        }
        let (mut log, mut size) = (std::ptr::null_mut(), 0);
        for i in 0..count as usize {
            // SAFETY: the caller states that there are `count` names and values.
            let (name, value) = unsafe { (*names.0.add(i), *values.0.add(i)) };
            match name {
                ERROR_LOG => log = value,
                ERROR_LOG_SIZE => size = value.addr(),
                _ => {}
            }
        }
        let error_log = (!log.is_null() && size != 0).then_some((TextOut(log.cast()), size));
        Ok(Self { error_log })
    }
}

/// A function of the host that a stream calls, and its argument.
#[repr(transparent)]
pub(crate) struct HostFunction(Option<unsafe extern "C" fn(*mut c_void)>);
#[repr(transparent)]
pub(crate) struct UserData(*mut c_void);

impl HostFunction {
    pub(crate) fn call(&self, data: &UserData) -> Result<(), Code> {
        let Some(function) = self.0 else { return Err(code::INVALID_VALUE) };
        // SAFETY: the caller of `cuLaunchHostFunc` asks for exactly this call.
        unsafe { function(data.0) };
        Ok(())
    }
}

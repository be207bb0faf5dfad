//! A libcuda.so.1 of one device, compiled by the test beside it. It lacks most functions.
#![crate_type = "cdylib"]

use std::ffi::{c_char, c_int, c_uint};

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> u32 {
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    // SAFETY: where the caller wants the version.
    unsafe { version.write(13020) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    // SAFETY: where the caller wants the count.
    unsafe { count.write(1) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, index: c_int) -> u32 {
    // SAFETY: where the caller wants the device.
    unsafe { device.write(index) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, _bytes: c_int, _device: c_int) -> u32 {
    // SAFETY: the caller has room for a name.
    unsafe { name.copy_from(c"A GPU from a file".as_ptr(), 18) };
    0
}

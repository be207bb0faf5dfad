//! Calling a driver function, and what it answers.

use std::ffi::{CStr, c_char};

use cust::sys;

use crate::DriverError;

/// A driver function seen as one that returns a plain number.
///
/// `cust_raw` declares the result as a Rust enum of the codes that CUDA 11 knew. Newer drivers answer newer codes,
/// and a value outside an enum is undefined behaviour.
pub(super) trait Coded {
    type Function;
    fn coded(self) -> Self::Function;
}

macro_rules! coded {
    ($($argument:ident)*) => {
        impl<$($argument),*> Coded for unsafe extern "C" fn($($argument),*) -> sys::CUresult {
            type Function = unsafe extern "C" fn($($argument),*) -> u32;
            fn coded(self) -> Self::Function {
                // SAFETY: the enum is a 32-bit integer, and is returned as one.
                unsafe { std::mem::transmute::<Self, Self::Function>(self) }
            }
        }
    };
}
coded!(A);
coded!(A B);
coded!(A B C);
coded!(A B C D);
coded!(A B C D E);
coded!(A B C D E F G H I J K);

/// Calls a driver function of `cust_raw`, named without its path: `call!(cuInit(0))` is a
/// `Result<(), DriverError>`. An unsafe expression.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        let function: unsafe extern "C" fn($($crate::driver::call::any_type!($argument)),*) -> _ = cust::sys::$name;
        $crate::driver::call::check(
            stringify!($name),
            $crate::driver::call::Coded::coded(function)($($argument),*),
        )
    }};
}

macro_rules! any_type {
    ($argument:expr) => {
        _
    };
}

pub(super) use {any_type, call};

pub(super) fn check(call: &'static str, code: u32) -> Result<(), DriverError> {
    if code == 0 {
        return Ok(());
    }
    Err(DriverError {
        call,
        code,
        name: text(sys::cuGetErrorName, code).unwrap_or_else(|| "an error without a name".into()),
        description: text(sys::cuGetErrorString, code).unwrap_or_else(|| "no description".into()),
    })
}

type Describe = unsafe extern "C" fn(sys::CUresult, *mut *const c_char) -> sys::CUresult;

fn text(describe: Describe, code: u32) -> Option<Box<str>> {
    // SAFETY: the enum is a 32-bit integer; see `Coded`.
    let describe = unsafe {
        std::mem::transmute::<Describe, unsafe extern "C" fn(u32, *mut *const c_char) -> u32>(describe)
    };
    let mut text = std::ptr::null();
    // SAFETY: writes a pointer to a static C string, or null for a code that the driver does not know.
    unsafe {
        if describe(code, &mut text) != 0 || text.is_null() {
            return None;
        }
        Some(CStr::from_ptr(text).to_string_lossy().into())
    }
}

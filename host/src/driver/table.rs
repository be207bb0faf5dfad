//! Where the functions come from: the driver's shared library, opened on the first call, or a table installed
//! before that.

use std::ffi::{CString, c_void};
use std::sync::OnceLock;

use libloading::Library;

use super::trampolines::{FUNCTIONS, set_slot};
use crate::Error;

/// What the driver's library is called. Its major version has been 1 since it exists.
const LIBRARY: &str = "libcuda.so.1";

const NO_DEVICE: u32 = 100;
const NOT_SUPPORTED: u32 = 801;

/// A driver function, its type erased.
type Function = unsafe extern "C" fn();

enum Source {
    Library(Library),
    Installed(Vec<Option<Function>>),
    Missing { reason: String },
}

/// Decided by the first call and kept until the process ends: slots point into it.
static SOURCE: OnceLock<Source> = OnceLock::new();

fn open_library() -> Source {
    // SAFETY: the driver's constructors are what every CUDA program runs at its start.
    match unsafe { Library::new(LIBRARY) } {
        Ok(library) => Source::Library(library),
        Err(error) => Source::Missing { reason: reason(&error) },
    }
}

/// The loader's own words; `libloading` keeps them in the source.
fn reason(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |inner| inner.to_string())
}

/// Opens the driver, if that was not tried before.
pub(super) fn open() -> Result<(), Error> {
    match SOURCE.get_or_init(open_library) {
        Source::Missing { reason } => Err(Error::NoDriver { library: LIBRARY, reason: reason.clone() }),
        Source::Library(_) | Source::Installed(_) => Ok(()),
    }
}

/// Makes the functions that `lookup` finds the driver of this process, instead of `libcuda.so.1`.
///
/// `lookup` is asked once for every name in [`FUNCTIONS`]. Functions that it lacks answer
/// `CUDA_ERROR_NOT_SUPPORTED`.
///
/// # Errors
/// [`Error::DriverInUse`] if a driver function was called before, or another table was installed: handles of two
/// drivers would meet.
///
/// # Safety
/// Each pointer is a function with the ABI that the CUDA driver's function of that name has, and stays callable
/// until the process ends.
pub unsafe fn install(lookup: impl Fn(&str) -> Option<*const c_void>) -> Result<(), Error> {
    let table = FUNCTIONS
        .iter()
        .map(|name| {
            let pointer = lookup(name).filter(|pointer| !pointer.is_null())?;
            // SAFETY: a function, the caller promises; it is only ever called with its real type, by the code that
            // jumps through the slot.
            Some(unsafe { std::mem::transmute::<*const c_void, Function>(pointer) })
        })
        .collect();
    SOURCE.set(Source::Installed(table)).map_err(|_| Error::DriverInUse)
}

/// Fills the slot of a function on its first call, and says where to go on. Called by the resolver in assembly.
pub(super) extern "C" fn resolve(index: usize) -> *mut c_void {
    let target = match SOURCE.get_or_init(open_library) {
        Source::Library(library) => symbol(library, FUNCTIONS[index]).unwrap_or(not_supported as *mut c_void),
        Source::Installed(table) => table[index].map_or(not_supported as *mut c_void, |f| f as *mut c_void),
        Source::Missing { .. } => no_device as *mut c_void,
    };
    // SAFETY: the driver's function of that name; or one that reads no arguments, which any caller may call.
    unsafe { set_slot(index, target) };
    target
}

fn symbol(library: &Library, name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).ok()?;
    // SAFETY: only the address is taken here.
    let symbol = unsafe { library.get::<*mut c_void>(name.as_bytes_with_nul()) }.ok()?;
    // SAFETY: the library is never closed.
    Some(unsafe { symbol.into_raw() }.as_raw_ptr())
}

extern "C" fn not_supported() -> u32 {
    NOT_SUPPORTED
}

extern "C" fn no_device() -> u32 {
    NO_DEVICE
}

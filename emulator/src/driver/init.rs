//! Initialisation, the version, and the texts of errors.

use super::abi::Out;
use super::answer;
use super::code::{self, Code};
use super::state::driver;
use crate::program::target::DRIVER_VERSION;

pub(crate) extern "C" fn cuInit(flags: u32) -> Code {
    answer(|| {
        if flags != 0 {
            return Err(code::INVALID_VALUE);
        }
        driver().initialize();
        if driver().devices().is_empty() { Err(code::NO_DEVICE) } else { Ok(()) }
    })
}

pub(crate) extern "C" fn cuDriverGetVersion(version: Out<i32>) -> Code {
    answer(|| version.write(DRIVER_VERSION))
}

pub(crate) extern "C" fn cuGetErrorName(error: Code, text: Out<*const u8>) -> Code {
    answer(|| known(code::name(error), &text))
}

pub(crate) extern "C" fn cuGetErrorString(error: Code, text: Out<*const u8>) -> Code {
    answer(|| known(code::description(error), &text))
}

fn known(found: Option<&'static str>, text: &Out<*const u8>) -> Result<(), Code> {
    text.write(found.map_or(std::ptr::null(), str::as_ptr))?;
    found.map(|_| ()).ok_or(code::INVALID_VALUE)
}

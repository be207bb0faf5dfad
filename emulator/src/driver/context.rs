//! Contexts: the primary one of each device, explicit ones, and each thread's stack of them.

use std::sync::PoisonError;

use super::abi::Out;
use super::answer;
use super::code::{self, Code};
use super::state::{Handle, current_handle, driver, pop_current, push_current, set_current, sleep_until};
use crate::faults::Call;

pub(crate) extern "C" fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let mut primary = device.primary.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = match primary.context {
            Some(handle) => handle,
            None => driver().new_context(&device, primary.flags)?.handle,
        };
        context.write(handle)?;
        primary.context = Some(handle);
        primary.retained += 1;
        Ok(())
    })
}

pub(crate) extern "C" fn cuDevicePrimaryCtxRelease_v2(device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let mut primary = device.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if primary.retained == 0 {
            return Err(code::INVALID_CONTEXT);
        }
        primary.retained -= 1;
        match primary.context {
            Some(handle) if primary.retained == 0 => {
                primary.context = None;
                driver().end_context(handle)
            }
            _ => Ok(()),
        }
    })
}

pub(crate) extern "C" fn cuDevicePrimaryCtxReset_v2(device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let mut primary = device.primary.lock().unwrap_or_else(PoisonError::into_inner);
        primary.context.take().map_or(Ok(()), |handle| driver().end_context(handle))
    })
}

pub(crate) extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        device.primary.lock().unwrap_or_else(PoisonError::into_inner).flags = flags;
        Ok(())
    })
}

pub(crate) extern "C" fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let primary = device.primary.lock().unwrap_or_else(PoisonError::into_inner);
        flags.write(primary.flags)?;
        active.write(primary.context.is_some().into())
    })
}

pub(crate) extern "C" fn cuCtxCreate_v2(context: Out<Handle>, flags: u32, device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let handle = driver().new_context(&device, flags)?.handle;
        context.write(handle)?;
        push_current(handle);
        Ok(())
    })
}

pub(crate) extern "C" fn cuCtxDestroy_v2(context: Handle) -> Code {
    answer(|| {
        driver().ready()?;
        driver().end_context(context)?;
        if current_handle() == context {
            pop_current();
        }
        Ok(())
    })
}

fn known(context: Handle) -> Result<(), Code> {
    driver().contexts.get(context).map(|_| ()).map_err(|_| code::INVALID_CONTEXT)
}

pub(crate) extern "C" fn cuCtxPushCurrent_v2(context: Handle) -> Code {
    answer(|| {
        driver().ready()?;
        known(context)?;
        push_current(context);
        Ok(())
    })
}

pub(crate) extern "C" fn cuCtxPopCurrent_v2(context: Out<Handle>) -> Code {
    answer(|| {
        driver().ready()?;
        let popped = pop_current().ok_or(code::INVALID_CONTEXT)?;
        context.write_if_wanted(popped);
        Ok(())
    })
}

pub(crate) extern "C" fn cuCtxSetCurrent(context: Handle) -> Code {
    answer(|| {
        driver().ready()?;
        if context != 0 {
            known(context)?;
        }
        set_current(context);
        Ok(())
    })
}

pub(crate) extern "C" fn cuCtxGetCurrent(context: Out<Handle>) -> Code {
    answer(|| {
        driver().ready()?;
        context.write(current_handle())
    })
}

pub(crate) extern "C" fn cuCtxGetDevice(device: Out<i32>) -> Code {
    answer(|| device.write(driver().current()?.device.ordinal as i32))
}

pub(crate) extern "C" fn cuCtxGetFlags(flags: Out<u32>) -> Code {
    answer(|| flags.write(driver().current()?.flags))
}

pub(crate) extern "C" fn cuCtxSynchronize() -> Code {
    answer(|| {
        let context = driver().current()?;
        let verdict = context.enter(Call::Synchronize)?;
        context.default_stream.delay(verdict);
        sleep_until(driver().end_of_work(&context, false));
        context.settle()
    })
}

pub(crate) extern "C" fn cuCtxGetApiVersion(context: Handle, version: Out<u32>) -> Code {
    answer(|| {
        driver().ready()?;
        known(if context == 0 { current_handle() } else { context })?;
        version.write(3020)
    })
}

/// The limits that `CUlimit` numbers: stack, printf buffer, heap and so on.
fn default_limit(limit: u32) -> Option<usize> {
    Some(match limit {
        0 => 1024,
        1 => 1 << 20,
        2 => 8 << 20,
        3 => 2,
        4 => 2048,
        5 => 128,
        6 => 0,
        _ => return None,
    })
}

pub(crate) extern "C" fn cuCtxGetLimit(value: Out<usize>, limit: u32) -> Code {
    answer(|| {
        let context = driver().current()?;
        let limits = context.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let found = limits.get(&limit).copied().or(default_limit(limit));
        value.write(found.ok_or(code::UNSUPPORTED_LIMIT)?)
    })
}

pub(crate) extern "C" fn cuCtxSetLimit(limit: u32, value: usize) -> Code {
    answer(|| {
        let context = driver().current()?;
        default_limit(limit).ok_or(code::UNSUPPORTED_LIMIT)?;
        context.limits.lock().unwrap_or_else(PoisonError::into_inner).insert(limit, value);
        Ok(())
    })
}

pub(crate) extern "C" fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) -> Code {
    answer(|| {
        driver().current()?;
        least.write_if_wanted(0);
        greatest.write_if_wanted(-5);
        Ok(())
    })
}

// Preferences for caches and banks: accepted, as a driver may, and without effect.

pub(crate) extern "C" fn cuCtxGetCacheConfig(config: Out<u32>) -> Code {
    answer(|| driver().current().and_then(|_| config.write(0)))
}

pub(crate) extern "C" fn cuCtxSetCacheConfig(_config: u32) -> Code {
    answer(|| driver().current().map(|_| ()))
}

pub(crate) extern "C" fn cuCtxGetSharedMemConfig(config: Out<u32>) -> Code {
    answer(|| driver().current().and_then(|_| config.write(1)))
}

pub(crate) extern "C" fn cuCtxSetSharedMemConfig(_config: u32) -> Code {
    answer(|| driver().current().map(|_| ()))
}

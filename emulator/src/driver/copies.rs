//! Copies between host and device, and within a device.

use std::sync::Arc;

use super::abi::{HostSource, HostTarget};
use super::answer;
use super::code::{self, Code};
use super::state::{Context, Handle, driver, sleep_until};
use super::streams;
use crate::faults::Call;
use crate::memory::global::Allocation;

/// The allocation that holds a range, and where in it.
fn range(context: &Context, address: u64, bytes: usize) -> Result<(Arc<Allocation>, u64), Code> {
    let allocation = context.memory.find(address).ok_or(code::INVALID_VALUE)?;
    let offset = address - allocation.base;
    if bytes as u64 > allocation.bytes - offset {
        return Err(code::INVALID_VALUE);
    }
    Ok((allocation, offset))
}

/// A copy on a stream; `wait` for the forms that return when it is done.
fn copy(
    call: Call,
    stream: Handle,
    wait: bool,
    bytes: usize,
    transfer: impl FnOnce(&Context) -> Result<(), Code>,
) -> Code {
    answer(|| {
        let context = driver().current()?;
        let verdict = context.enter(call)?;
        streams::with_state(stream, |state| state.delay(verdict))?;
        if bytes != 0 {
            transfer(&context)?;
        }
        if !wait {
            return Ok(());
        }
        // The forms that wait run on the default stream, behind every stream that blocks it.
        sleep_until(driver().end_of_work(&context, true));
        context.settle()
    })
}

fn to_device(address: u64, source: &HostSource, bytes: usize, stream: Handle, wait: bool) -> Code {
    copy(Call::CopyToDevice, stream, wait, bytes, |context| {
        let (allocation, offset) = range(context, address, bytes)?;
        source.with(bytes, |bytes| allocation.write_bytes(offset, bytes))
    })
}

fn to_host(target: &HostTarget, address: u64, bytes: usize, stream: Handle, wait: bool) -> Code {
    copy(Call::CopyToHost, stream, wait, bytes, |context| {
        let (allocation, offset) = range(context, address, bytes)?;
        target.with(bytes, |bytes| allocation.read_bytes(offset, bytes))
    })
}

fn on_device(to: u64, from: u64, bytes: usize, stream: Handle) -> Code {
    copy(Call::CopyOnDevice, stream, false, bytes, |context| {
        let (source, source_offset) = range(context, from, bytes)?;
        let (target, offset) = range(context, to, bytes)?;
        target.copy_from(offset, &source, source_offset, bytes as u64);
        Ok(())
    })
}

pub(crate) extern "C" fn cuMemcpyHtoD_v2(to: u64, from: HostSource, bytes: usize) -> Code {
    to_device(to, &from, bytes, 0, true)
}

pub(crate) extern "C" fn cuMemcpyDtoH_v2(to: HostTarget, from: u64, bytes: usize) -> Code {
    to_host(&to, from, bytes, 0, true)
}

pub(crate) extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    on_device(to, from, bytes, 0)
}

pub(crate) extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: HostSource,
    bytes: usize,
    stream: Handle,
) -> Code {
    to_device(to, &from, bytes, stream, false)
}

pub(crate) extern "C" fn cuMemcpyDtoHAsync_v2(
    to: HostTarget,
    from: u64,
    bytes: usize,
    stream: Handle,
) -> Code {
    to_host(&to, from, bytes, stream, false)
}

pub(crate) extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) -> Code {
    on_device(to, from, bytes, stream)
}

//! Allocations on the device and of page-locked host memory, and fills.

use std::ffi::c_void;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::abi::{HostTarget, Out, allocate_host};
use super::answer;
use super::code::{self, Code};
use super::state::{Handle, driver};
use super::streams;
use crate::faults::Call;

pub(crate) extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.alive()?;
        let memory = context.device.spec.memory;
        free.write(memory.saturating_sub(context.device.memory_used.load(Relaxed)) as usize)?;
        total.write(memory as usize)
    })
}

pub(crate) extern "C" fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.enter(Call::Allocate)?;
        if bytes == 0 {
            return Err(code::INVALID_VALUE);
        }
        let (bytes, used) = (bytes as u64, &context.device.memory_used);
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= context.device.spec.memory);
        used.fetch_update(Relaxed, Relaxed, fits).map_err(|_| code::OUT_OF_MEMORY)?;
        let Some(allocation) = context.memory.allocate(bytes, false) else {
            used.fetch_sub(bytes, Relaxed);
            return Err(code::OUT_OF_MEMORY);
        };
        let base = allocation.base;
        context.allocations.lock().unwrap_or_else(PoisonError::into_inner).insert(base, bytes);
        address.write(base)
    })
}

pub(crate) extern "C" fn cuMemFree_v2(address: u64) -> Code {
    answer(|| {
        if address == 0 {
            return Ok(());
        }
        let context = driver().current()?;
        let taken = context.allocations.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        if let Some(bytes) = taken {
            context.memory.free(address);
            context.device.memory_used.fetch_sub(bytes, Relaxed);
        }
        // Even where the answer is an error, the memory has been returned.
        context.enter(Call::Free)?;
        context.settle()?;
        taken.map(|_| ()).ok_or(code::INVALID_VALUE)
    })
}

pub(crate) extern "C" fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: Handle) -> Code {
    match answer(|| streams::with_state(stream, |_| ())) {
        code::SUCCESS => cuMemAlloc_v2(address, bytes),
        code => code,
    }
}

pub(crate) extern "C" fn cuMemFreeAsync(address: u64, stream: Handle) -> Code {
    match answer(|| streams::with_state(stream, |_| ())) {
        code::SUCCESS => cuMemFree_v2(address),
        code => code,
    }
}

pub(crate) extern "C" fn cuMemAllocHost_v2(pointer: Out<*mut c_void>, bytes: usize) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.enter(Call::AllocateHost)?;
        if bytes == 0 {
            return Err(code::INVALID_VALUE);
        }
        let (memory, layout) = allocate_host(bytes).ok_or(code::OUT_OF_MEMORY)?;
        let mut table = driver().host_memory.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(memory.addr(), (layout, context.device.ordinal));
        pointer.write(memory)
    })
}

pub(crate) extern "C" fn cuMemHostAlloc(pointer: Out<*mut c_void>, bytes: usize, _flags: u32) -> Code {
    cuMemAllocHost_v2(pointer, bytes)
}

pub(crate) extern "C" fn cuMemFreeHost(pointer: HostTarget) -> Code {
    answer(|| {
        let context = driver().current()?;
        let mut table = driver().host_memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (layout, _) = table.remove(&pointer.address()).ok_or(code::INVALID_VALUE)?;
        pointer.free(layout);
        context.alive()
    })
}

pub(crate) extern "C" fn cuMemGetAddressRange_v2(base: Out<u64>, bytes: Out<usize>, address: u64) -> Code {
    answer(|| {
        let context = driver().current()?;
        let allocation = context.memory.find(address).ok_or(code::NOT_FOUND)?;
        base.write_if_wanted(allocation.base);
        bytes.write_if_wanted(allocation.bytes as usize);
        Ok(())
    })
}

/// Fills `count` elements with the bytes of a value.
fn fill(address: u64, value: &[u8], count: usize, stream: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        let verdict = context.enter(Call::Fill)?;
        let bytes = count.checked_mul(value.len()).ok_or(code::INVALID_VALUE)?;
        streams::with_state(stream, |state| state.delay(verdict))?;
        if count != 0 {
            let allocation = context.memory.find(address).ok_or(code::INVALID_VALUE)?;
            let offset = address - allocation.base;
            if !address.is_multiple_of(value.len() as u64) || bytes as u64 > allocation.bytes - offset {
                return Err(code::INVALID_VALUE);
            }
            allocation.write_bytes(offset, &value.repeat(count));
        }
        Ok(())
    })
}

pub(crate) extern "C" fn cuMemsetD8_v2(address: u64, value: u8, count: usize) -> Code {
    fill(address, &[value], count, 0)
}

pub(crate) extern "C" fn cuMemsetD16_v2(address: u64, value: u16, count: usize) -> Code {
    fill(address, &value.to_le_bytes(), count, 0)
}

pub(crate) extern "C" fn cuMemsetD32_v2(address: u64, value: u32, count: usize) -> Code {
    fill(address, &value.to_le_bytes(), count, 0)
}

pub(crate) extern "C" fn cuMemsetD8Async(address: u64, value: u8, count: usize, stream: Handle) -> Code {
    fill(address, &[value], count, stream)
}

pub(crate) extern "C" fn cuMemsetD16Async(address: u64, value: u16, count: usize, stream: Handle) -> Code {
    fill(address, &value.to_le_bytes(), count, stream)
}

pub(crate) extern "C" fn cuMemsetD32Async(address: u64, value: u32, count: usize, stream: Handle) -> Code {
    fill(address, &value.to_le_bytes(), count, stream)
}

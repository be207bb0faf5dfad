//! Devices and their attributes.

use super::abi::{Out, TextOut};
use super::answer;
use super::code::{self, Code};
use super::state::driver;
use crate::config::DeviceSpec;

pub(crate) extern "C" fn cuDeviceGetCount(count: Out<i32>) -> Code {
    answer(|| {
        driver().ready()?;
        count.write(driver().devices().len() as i32)
    })
}

pub(crate) extern "C" fn cuDeviceGet(device: Out<i32>, ordinal: i32) -> Code {
    answer(|| {
        driver().device(ordinal)?;
        device.write(ordinal)
    })
}

pub(crate) extern "C" fn cuDeviceGetName(name: TextOut, space: i32, device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        name.write(&device.spec.name, usize::try_from(space).unwrap_or(0))?;
        Ok(())
    })
}

pub(crate) extern "C" fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let mut bytes = *b"emulated device ";
        bytes[15] = device.ordinal as u8;
        uuid.write(bytes)
    })
}

pub(crate) extern "C" fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: i32) -> Code {
    cuDeviceGetUuid(uuid, device)
}

pub(crate) extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) -> Code {
    answer(|| bytes.write(driver().device(device)?.spec.memory as usize))
}

pub(crate) extern "C" fn cuDeviceGetPCIBusId(id: TextOut, space: i32, device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let text = format!("0000:{:02X}:00.0", device.ordinal + 1);
        id.write(&text, usize::try_from(space).unwrap_or(0))?;
        Ok(())
    })
}

pub(crate) extern "C" fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) -> Code {
    answer(|| {
        let (is_major, is_minor) = driver().device(device)?.spec.compute_capability;
        major.write(is_major as i32)?;
        minor.write(is_minor as i32)
    })
}

pub(crate) extern "C" fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) -> Code {
    answer(|| {
        driver().device(device)?;
        driver().device(peer)?;
        can.write(0)
    })
}

pub(crate) extern "C" fn cuDeviceGetAttribute(value: Out<i32>, attribute: i32, device: i32) -> Code {
    answer(|| {
        let device = driver().device(device)?;
        let found = attribute_of(&device.spec, attribute, device.ordinal);
        value.write(found.ok_or(code::INVALID_VALUE)?)
    })
}

/// The numbers are those of `CUdevice_attribute`.
fn attribute_of(spec: &DeviceSpec, attribute: i32, ordinal: usize) -> Option<i32> {
    Some(match attribute {
        1..=3 => spec.max_threads_per_block as i32,
        4 => 64,
        5 => i32::MAX,
        6 | 7 => 65_535,
        8 => spec.shared_per_block as i32,
        9 => 65_536,
        10 => 32,
        11 => i32::MAX,
        12 | 82 => 65_536,
        // Clocks in kHz and the bus width: of no meaning here, but programs print them.
        13 | 36 => 1_000_000,
        37 => 256,
        14 => 512,
        16 => spec.multiprocessors as i32,
        33 => ordinal as i32 + 1,
        38 => spec.l2_cache as i32,
        39 => spec.max_threads_per_multiprocessor as i32,
        75 => spec.compute_capability.0 as i32,
        76 => spec.compute_capability.1 as i32,
        81 => spec.shared_per_multiprocessor as i32,
        97 => spec.shared_per_block_optin as i32,
        106 => 32,
        111 => (spec.shared_per_multiprocessor - spec.shared_per_block_optin) as i32,
        // Concurrent kernels, unified addressing, stream priorities, L1 caches, memory pools.
        31 | 40 | 41 | 78 | 79 | 80 | 115 => 1,
        0..=120 => 0,
        _ => return None,
    })
}

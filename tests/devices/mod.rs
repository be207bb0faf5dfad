//! The devices that tests run on: the CPU with each of its instruction sets, and GPUs.

use warpdot::{Device, Isa};

/// Every device that tests can have here.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices: Vec<Device> = Isa::available().map(Device::cpu_with).collect();
    devices.extend(gpus());
    devices
}

/// An emulated GPU of every compute capability; or, with `WARPDOT_TEST_GPU=real`, the machine's own, of which
/// there must be one.
#[cfg(feature = "cuda")]
pub(crate) fn gpus() -> Vec<Device> {
    use std::sync::OnceLock;
    use warpdot_emulator::DeviceSpec;

    static GPUS: OnceLock<Vec<Device>> = OnceLock::new();
    let find = || {
        if std::env::var_os("WARPDOT_TEST_GPU").is_none_or(|kind| kind != "real") {
            for (major, minor) in DeviceSpec::PRESETS {
                warpdot_emulator::add_device(DeviceSpec::new(major, minor).expect("a preset"));
            }
            // SAFETY: the emulator's functions have the names, types and meaning of the driver's.
            unsafe { warpdot_host::driver::install(warpdot_emulator::lookup) }
                .expect("no driver is loaded yet");
        }
        let count = warpdot_host::Device::all().expect("a driver with devices").len();
        assert!(count > 0, "GPU tests need a GPU");
        (0..count).map(|index| Device::cuda(index).expect("a GPU with kernels")).collect()
    };
    GPUS.get_or_init(find).clone()
}

/// This build is for CPUs only.
#[cfg(not(feature = "cuda"))]
pub(crate) fn gpus() -> Vec<Device> {
    Vec::new()
}

//! The emulated driver under the host crate, for tests.

#![allow(dead_code)]

pub(crate) mod launching;
pub(crate) mod packed;

use std::sync::Once;

use warpdot_emulator::{DeviceSpec, EmulatedDevice};
use warpdot_host::{Context, Device, Error, Launch};

/// A device of its own for one test, and the same seen through the host crate.
pub(crate) fn device(major: u32, minor: u32) -> (EmulatedDevice, Device) {
    device_with(DeviceSpec::new(major, minor).expect("a preset"))
}

pub(crate) fn device_with(spec: DeviceSpec) -> (EmulatedDevice, Device) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the emulator's functions have the signatures of the driver's.
        unsafe { warpdot_host::driver::install(warpdot_emulator::lookup) }.expect("no driver was in use")
    });
    let emulated = warpdot_emulator::add_device(spec);
    let device = Device::get(emulated.ordinal()).expect("the device that was added");
    (emulated, device)
}

/// A module with dynamic shared memory `smem` and one entry, `kernel`, with this body and these `.b64` or `.b32` parameters `p0`, `p1`...
pub(crate) fn module(target: &str, parameters: &[&str], body: &str) -> String {
    let parameters: Vec<String> =
        parameters.iter().enumerate().map(|(i, ty)| format!(".param .{ty} p{i}")).collect();
    format!(
        ".version 8.4\n.target {target}\n.address_size 64\n\
         .extern .shared .align 16 .b8 smem[];\n.visible .entry kernel({})\n{{\n{body}\n}}\n",
        parameters.join(", ")
    )
}

/// Runs `kernel` of a module on a buffer of words, which it gets as `p0`, and returns what is in it after.
pub(crate) fn run(context: &Context, ptx: &str, launch: Launch, words: &[u32]) -> Result<Vec<u32>, Error> {
    let function = context.load_module(ptx)?.function("kernel")?;
    let mut buffer = context.alloc::<u32>(words.len())?;
    buffer.write(words)?;
    let stream = context.stream()?;
    // SAFETY: the emulator checks every access.
    unsafe { stream.launch(&function, launch, &[(&mut buffer).into()]) }?;
    stream.synchronize()?;
    let mut out = vec![0; words.len()];
    buffer.read(&mut out)?;
    Ok(out)
}

pub(crate) fn threads(count: u32) -> Launch {
    Launch { grid: [1, 1, 1], block: [count, 1, 1], shared_bytes: 0 }
}

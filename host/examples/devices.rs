//! Lists the GPUs that the driver shows. Starts, and says why there are none, on any machine.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn main() -> Result<(), warpdot_host::Error> {
    let devices = match warpdot_host::Device::all() {
        Ok(devices) => devices,
        Err(error) => {
            println!("{error}");
            return Ok(());
        }
    };
    println!("driver for CUDA {}", warpdot_host::driver_version()?);
    for device in devices {
        let (index, name, capability) = (device.index(), device.name()?, device.compute_capability()?);
        let (multiprocessors, gib) =
            (device.multiprocessors()?, device.memory()? as f64 / f64::from(1 << 30));
        println!("{index}: {name}, {capability}, {multiprocessors} multiprocessors, {gib:.1} GiB");
    }
    Ok(())
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn main() {
    println!("CUDA is not supported on this platform");
}

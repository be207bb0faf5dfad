//! GPUs that are emulated: they take the place of real ones, and tell more than those.

#[cfg(feature = "cuda")]
pub(crate) use with_kernels::{complaint, counters, install};
#[cfg(not(feature = "cuda"))]
pub(crate) use without_kernels::{complaint, counters, install};

#[cfg(feature = "cuda")]
mod with_kernels {
    use crate::devices::Capability;
    use crate::error::Error;
    use crate::report::empty_table;
    use warpdot_emulator::{Counters, DeviceSpec, Kind, add_device, devices, lookup};

    /// Puts an emulated driver in the place of the real one, before anything asks for that.
    pub(crate) fn install(emulated: &[Capability]) -> Result<(), Error> {
        for capability in emulated {
            add_device(DeviceSpec::new(capability.major, capability.minor)?);
        }
        // SAFETY: the emulator's functions have the types of the driver's functions of the same names.
        unsafe { warpdot_host::driver::install(lookup) }.map_err(warpdot::Error::from)?;
        Ok(())
    }

    /// What went wrong on an emulated device, if anything did: the kernel, the line of PTX, the thread.
    pub(crate) fn complaint() -> Option<String> {
        devices().iter().find_map(|device| device.last_report()).map(|report| report.to_string())
    }

    /// What each kernel did on each emulated device, as tables.
    pub(crate) fn counters() -> String {
        let tables = devices().into_iter().map(|device| {
            let kernels = device.counters();
            let kinds: Vec<Kind> = Kind::ALL
                .into_iter()
                .filter(|kind| kernels.iter().any(|(_, counters)| counters.of(*kind) > 0))
                .collect();
            let memory = ["global bytes", "32-byte sectors", "bank conflicts"];
            let header = ["kernel", "launches"].into_iter().chain(kinds.iter().map(|kind| kind.name()));
            let mut table = empty_table(header.chain(memory));
            for (kernel, counters) in &kernels {
                table.add_row([kernel.clone()].into_iter().chain(cells(counters, &kinds)));
            }
            format!("{}: instructions, once for every thread, and memory\n{table}", device.spec().name)
        });
        tables.collect::<Vec<_>>().join("\n")
    }

    fn cells(counters: &Counters, kinds: &[Kind]) -> impl Iterator<Item = String> {
        let memory = [counters.global_bytes, counters.global_sectors, counters.bank_conflicts];
        let counts = kinds.iter().map(|kind| counters.of(*kind));
        [counters.launches].into_iter().chain(counts).chain(memory).map(|count| count.to_string())
    }
}

/// The kernels to emulate are not in this build, as asking for a device will say.
#[cfg(not(feature = "cuda"))]
mod without_kernels {
    use crate::devices::Capability;
    use crate::error::Error;

    pub(crate) fn install(_: &[Capability]) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn complaint() -> Option<String> {
        None
    }

    pub(crate) fn counters() -> String {
        String::new()
    }
}

//! `warpdot info`: what this machine can multiply with.

use crate::report::empty_table;
use comfy_table::Table;
use warpdot::{Device, GgmlType, Isa};

/// Rows of X on either side of where the choice of kernel changes.
const ROWS: [usize; 5] = [1, 2, 8, 9, 512];

pub(crate) fn info() {
    println!("warpdot {}", env!("CARGO_PKG_VERSION"));
    println!("\nCPU");
    let isas: Vec<&str> = Isa::available().map(Isa::name).collect();
    println!("  instruction sets: {} (the first is used)", isas.join(", "));
    println!("  known here: {}", Isa::KNOWN.join(", "));
    println!("  threads: {}", rayon::current_num_threads());
    println!("\nCUDA");
    cuda::print();
    println!("\nKernels, for products with m rows of X");
    println!("{}", kernels());
}

/// Which kernel every device prefers for each format and m.
fn kernels() -> Table {
    let header = ["device".into(), "type".into()].into_iter().chain(ROWS.map(|m| format!("m = {m}")));
    let mut table = empty_table(header);
    for device in Device::all() {
        for &ty in GgmlType::ALL {
            let preferred = |m| device.kernels(ty, m).first().map_or("none".into(), |id| id.to_string());
            let cells = [device.id(), ty.name().into()].into_iter().chain(ROWS.map(preferred));
            table.add_row(cells);
        }
    }
    table
}

#[cfg(feature = "cuda")]
mod cuda {
    use crate::report::empty_table;
    use comfy_table::Table;
    use warpdot::{Device, ptx};
    use warpdot_host as host;

    pub(super) fn print() {
        match host::driver_version() {
            Ok(version) => println!("  driver: CUDA {version}"),
            Err(error) => println!("  driver: {error}"),
        }
        for device in host::Device::all().unwrap_or_default() {
            let usable = Device::cuda(device.index())
                .map_or_else(|e| format!("cannot be used: {e}"), |_| "usable".into());
            match describe(&device) {
                Ok(text) => println!("  cuda:{}: {text}; {usable}", device.index()),
                Err(error) => println!("  cuda:{}: {error}", device.index()),
            }
        }
        match (ptx::compiler(), ptx::all()) {
            (Ok(compiler), Ok(modules)) => {
                println!("  embedded PTX, in bytes, compiled by {compiler}:");
                println!("{}", sizes(modules));
                println!(
                    "  compressed, and those that architectures share once: {} bytes in all",
                    ptx::embedded_bytes()
                );
            }
            (Err(error), _) | (_, Err(error)) => println!("  embedded PTX: {error}"),
        }
    }

    fn describe(device: &host::Device) -> Result<String, host::Error> {
        Ok(format!(
            "{}, compute capability {}, {:.1} GB, {} multiprocessors",
            device.name()?,
            device.compute_capability()?,
            device.memory()? as f64 / 1e9,
            device.multiprocessors()?
        ))
    }

    /// One row per architecture, one column per kernel family.
    fn sizes(modules: &[ptx::Ptx]) -> Table {
        let mut families: Vec<&str> = Vec::new();
        let mut archs: Vec<&str> = Vec::new();
        for module in modules {
            for (list, item) in [(&mut families, module.family), (&mut archs, module.arch)] {
                if !list.contains(&item) {
                    list.push(item);
                }
            }
        }
        let mut table = empty_table([""].into_iter().chain(families.iter().copied()));
        for arch in archs {
            let size = |family: &&str| {
                let module = modules.iter().find(|module| module.arch == arch && module.family == *family);
                module.map_or(String::new(), |module| module.text().len().to_string())
            };
            table.add_row([arch.to_owned()].into_iter().chain(families.iter().map(size)));
        }
        table
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    pub(super) fn print() {
        println!("  this build lacks the feature `cuda`");
    }
}

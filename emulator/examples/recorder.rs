//! Records what a GPU makes of each instruction, for the emulator to be compared with.

#[path = "../tests/golden/recorder/mod.rs"]
mod recorder;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use recorder::{Recording, cases, inputs, record, replay};
use warpdot_emulator::DeviceSpec;
use warpdot_host::Device;

/// Records what a GPU makes of each instruction, for the emulator to be compared with.
#[derive(Parser)]
struct Arguments {
    /// The file to write; with --ptx, the folder.
    output: PathBuf,
    /// The device's number.
    #[arg(long, default_value_t = 0)]
    device: usize,
    /// Record an emulated device of this compute capability, such as 9.0, to try the recorder out.
    #[arg(long, value_name = "CAPABILITY", conflicts_with = "device")]
    emulated: Option<String>,
    /// Run nothing, but write the kernels down for an assembler to try.
    #[arg(long, conflicts_with_all = ["device", "emulated"])]
    ptx: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.ptx {
        return write_ptx(&arguments.output);
    }
    if let Some(capability) = &arguments.emulated {
        emulate(capability)?;
    }
    let device = Device::get(arguments.device)?;
    let context = device.context()?;
    let (recording, mut failures) = record(&context, arguments.emulated.is_some())?;
    let text = recording.to_text()?;
    fs::write(&arguments.output, &text)
        .with_context(|| format!("{} cannot be written", arguments.output.display()))?;
    println!(
        "{}: {} cases of {:?}",
        arguments.output.display(),
        recording.observations.len(),
        recording.source
    );
    // What a device does not do twice cannot be expected of the emulator.
    let again = replay(&Recording::from_text(&text)?, &context);
    println!("{} cases are exact, {} within their tolerances", again.exact, again.tolerated);
    failures.extend(again.differences);
    failures.iter().for_each(|failure| eprintln!("{failure}"));
    ensure!(failures.is_empty(), "{} cases failed", failures.len());
    Ok(())
}

fn emulate(capability: &str) -> Result<()> {
    let numbers = capability.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()));
    let Some((Ok(major), Ok(minor))) = numbers else {
        bail!("{capability:?} is no compute capability; expected one like 9.0");
    };
    // SAFETY: the emulator's functions have the signatures of the driver's.
    unsafe { warpdot_host::driver::install(warpdot_emulator::lookup) }?;
    warpdot_emulator::add_device(DeviceSpec::new(major, minor)?);
    Ok(())
}

fn write_ptx(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let inputs = inputs::tables();
    for (number, case) in cases::cases().into_iter().enumerate() {
        let table = inputs.get(case.inputs).with_context(|| format!("no inputs {:?}", case.inputs))?;
        let (major, minor) = case.kernel.since;
        let file = folder.join(format!("{number}.sm_{major}{minor}.ptx"));
        fs::write(file, case.kernel.ptx(table.columns))?;
    }
    Ok(())
}

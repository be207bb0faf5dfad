//! The devices that `--device` names.

use crate::emulator;
use crate::error::Error;
use std::{fmt, str::FromStr};
use warpdot::{Device, Isa};

/// One value of `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    Cpu,
    Cuda(usize),
    Auto,
    All,
    Emulated(Capability),
}

/// A GPU's compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once(':') {
            None if text == "cpu" => Some(Self::Cpu),
            None if text == "auto" => Some(Self::Auto),
            None if text == "all" => Some(Self::All),
            Some(("cuda", index)) => index.parse().ok().map(Self::Cuda),
            Some(("emulated", capability)) => capability.split_once('.').and_then(|(major, minor)| {
                let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
                Some(Self::Emulated(Capability { major, minor }))
            }),
            _ => None,
        };
        parsed.ok_or_else(|| "expected cpu, cuda:N, auto, all or emulated:9.0".into())
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A device, and what it pretends to be.
pub(crate) struct Selected {
    pub(crate) device: Device,
    pub(crate) emulated: Option<Capability>,
}

impl Selected {
    fn real(device: Device) -> Self {
        Self { device, emulated: None }
    }

    /// What `--device` calls it.
    pub(crate) fn id(&self) -> String {
        match self.emulated {
            Some(capability) => format!("emulated:{capability}"),
            None => self.device.id(),
        }
    }
}

/// An instruction set that this CPU has.
pub(crate) fn isa(name: &str) -> Result<Isa, String> {
    Isa::demand(name).map_err(|error| error.to_string())
}

/// The devices, each once, in the order asked for.
pub(crate) fn select(choices: &[DeviceChoice], isa: Option<Isa>) -> Result<Vec<Selected>, Error> {
    let emulated: Vec<Capability> = choices.iter().filter_map(capability).collect();
    if !emulated.is_empty() {
        let real = |choice: &DeviceChoice| !matches!(choice, DeviceChoice::Cpu | DeviceChoice::Emulated(_));
        if choices.iter().any(real) {
            return Err(Error::EmulatedAndReal);
        }
        emulator::install(&emulated)?;
    }
    let mut devices: Vec<Selected> = Vec::new();
    for choice in choices {
        let chosen = match *choice {
            DeviceChoice::Cpu => vec![Selected::real(Device::cpu())],
            DeviceChoice::Cuda(index) => vec![Selected::real(Device::cuda(index)?)],
            DeviceChoice::Auto => vec![Selected::real(Device::auto())],
            DeviceChoice::All => Device::all().into_iter().map(Selected::real).collect(),
            DeviceChoice::Emulated(capability) => {
                // They are the emulated driver's devices, in the order in which they were installed.
                let index = emulated.iter().position(|known| *known == capability).unwrap_or_default();
                vec![Selected { device: Device::cuda(index)?, emulated: Some(capability) }]
            }
        };
        for mut selected in chosen {
            if let (Some(isa), "cpu") = (isa, selected.id().as_str()) {
                selected.device = Device::cpu_with(isa);
            }
            if devices.iter().all(|known| known.id() != selected.id()) {
                devices.push(selected);
            }
        }
    }
    match isa {
        Some(isa) if devices.iter().all(|known| known.id() != "cpu") => {
            Err(Error::IsaWithoutCpu { isa: isa.name() })
        }
        _ => Ok(devices),
    }
}

fn capability(choice: &DeviceChoice) -> Option<Capability> {
    match *choice {
        DeviceChoice::Emulated(capability) => Some(capability),
        _ => None,
    }
}

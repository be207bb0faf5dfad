//! The file: JSON, one object a line, so that two recordings can be compared line by line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use warpdot_host::{Context, driver_version};

use super::cases::cases;
use super::inputs::{self, Table};
use super::{Kernel, hex};

/// Where the results come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) device: String,
    pub(crate) compute_capability: (u32, u32),
    /// The version of CUDA that the driver supports.
    pub(crate) cuda: String,
    /// The driver's own version, where the system tells.
    pub(crate) driver: Option<String>,
    /// Whether this is only what the emulator makes of it.
    pub(crate) emulated: bool,
}

/// A kernel, the name of its inputs, and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observation {
    #[serde(flatten)]
    pub(crate) kernel: Kernel,
    pub(crate) inputs: String,
    #[serde(with = "hex")]
    pub(crate) outputs: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) source: Source,
    /// Inputs by value: how they were made may change after the recording.
    pub(crate) inputs: BTreeMap<String, Table>,
    pub(crate) observations: Vec<Observation>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Source(Source),
    Inputs {
        name: String,
        #[serde(flatten)]
        table: Table,
    },
    Case(Observation),
}

/// Runs every case that a device can run. Those that fail are told apart: none should.
pub(crate) fn record(context: &Context, emulated: bool) -> Result<(Recording, Vec<String>)> {
    let device = context.device();
    let capability = device.compute_capability()?;
    let source = Source {
        device: device.name()?,
        compute_capability: (capability.major, capability.minor),
        cuda: driver_version()?.to_string(),
        driver: std::fs::read_to_string("/sys/module/nvidia/version")
            .ok()
            .filter(|_| !emulated)
            .map(|version| version.trim().to_string()),
        emulated,
    };
    let inputs = inputs::tables();
    let (mut observations, mut failures) = (Vec::new(), Vec::new());
    for case in cases().into_iter().filter(|case| case.kernel.since <= source.compute_capability) {
        let table = inputs.get(case.inputs).with_context(|| format!("no inputs {:?}", case.inputs))?;
        match case.kernel.run(context, table) {
            Ok(outputs) => {
                observations.push(Observation { kernel: case.kernel, inputs: case.inputs.into(), outputs });
            }
            Err(error) => failures.push(format!("{}: {error:#}", case.kernel.code)),
        }
    }
    Ok((Recording { source, inputs, observations }, failures))
}

impl Recording {
    pub(crate) fn to_text(&self) -> Result<String> {
        let inputs =
            self.inputs.iter().map(|(name, table)| Line::Inputs { name: name.clone(), table: table.clone() });
        let lines = [Line::Source(self.source.clone())]
            .into_iter()
            .chain(inputs)
            .chain(self.observations.iter().cloned().map(Line::Case));
        let mut text = String::new();
        for line in lines {
            text += &serde_json::to_string(&line)?;
            text.push('\n');
        }
        Ok(text)
    }

    pub(crate) fn from_text(text: &str) -> Result<Self> {
        let mut source = None;
        let mut inputs = BTreeMap::new();
        let mut observations = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            match serde_json::from_str(line).with_context(|| format!("line {number}"))? {
                Line::Source(found) if source.is_none() => source = Some(found),
                Line::Source(_) => bail!("line {number}: a second source"),
                Line::Inputs { name, table } => {
                    let double = inputs.insert(name, table);
                    ensure!(double.is_none(), "line {number}: inputs of a name that was given before");
                }
                Line::Case(observation) => observations.push(observation),
            }
        }
        let source = source.context("it does not say where it comes from")?;
        ensure!(!observations.is_empty(), "it has no cases");
        Ok(Self { source, inputs, observations })
    }
}

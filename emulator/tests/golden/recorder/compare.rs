//! Recorded results against those of another device.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use warpdot_host::Context;

use super::cases::{Case, Tolerance, cases};
use super::recording::{Observation, Recording};

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Cases compared bit for bit, and within a tolerance.
    pub(crate) exact: usize,
    pub(crate) tolerated: usize,
    /// One text for each case that differs or cannot be compared.
    pub(crate) differences: Vec<String>,
}

/// Runs every recorded kernel again, on its recorded inputs, and compares.
pub(crate) fn replay(recording: &Recording, context: &Context) -> Replay {
    let known: HashMap<_, Case> =
        cases().into_iter().map(|case| ((case.kernel.clone(), case.inputs), case)).collect();
    let mut replay = Replay::default();
    for observation in &recording.observations {
        let case = known.get(&(observation.kernel.clone(), observation.inputs.as_str()));
        match compare(recording, observation, case, context) {
            Ok(None) => {
                let exact = case.is_some_and(|case| case.tolerance.is_none());
                *(if exact { &mut replay.exact } else { &mut replay.tolerated }) += 1;
            }
            Ok(Some(difference)) => {
                replay.differences.push(format!("{}: {difference}", observation.kernel.code));
            }
            Err(error) => replay.differences.push(format!("{}: {error:#}", observation.kernel.code)),
        }
    }
    replay
}

/// The first row that differs, in words.
fn compare(
    recording: &Recording,
    observation: &Observation,
    case: Option<&Case>,
    context: &Context,
) -> Result<Option<String>> {
    let Observation { kernel, inputs, outputs } = observation;
    let case = case.context("the list of cases has it no more; record again, or take the case up again")?;
    let table = recording.inputs.get(inputs).with_context(|| format!("no inputs {inputs:?}"))?;
    let found = kernel.run(context, table)?;
    if found.len() != outputs.len() {
        return Ok(Some(format!("{} results were recorded, there are {}", outputs.len(), found.len())));
    }
    let rows: Vec<_> = found.chunks(kernel.results).zip(outputs.chunks(kernel.results)).enumerate().collect();
    let differs = |found: &[u32], recorded: &[u32]| {
        found.iter().zip(recorded).any(|(&a, &b)| !agrees(case.tolerance, a, b))
    };
    let mut wrong = rows.iter().filter(|(_, (found, recorded))| differs(found, recorded));
    let Some((row, (found, recorded))) = wrong.next() else { return Ok(None) };
    Ok(Some(format!(
        "row {row} of {inputs:?}, {:08x?}, gives {found:08x?}; recorded is {recorded:08x?} ({} of {} rows differ)",
        table.row(*row),
        wrong.count() + 1,
        rows.len()
    )))
}

/// Whether two results are the same, or with a tolerance: two finite f32 close to each other, or two NaN.
pub(crate) fn agrees(tolerance: Option<Tolerance>, found: u32, recorded: u32) -> bool {
    let Some(Tolerance { relative, absolute }) = tolerance else { return found == recorded };
    let [a, b] = [found, recorded].map(|bits| f64::from(f32::from_bits(bits)));
    if a.is_finite() && b.is_finite() {
        (a - b).abs() <= absolute + relative * b.abs()
    } else {
        a == b || a.is_nan() && b.is_nan()
    }
}

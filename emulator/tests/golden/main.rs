//! The emulator against recordings of hardware, bit for bit.
//!
//! Whoever has a GPU makes one with `cargo run --release -p warpdot-emulator --example recorder -- FILE.jsonl`, or
//! with the recorder of the GPU bundle, and puts it beside this file. Without any, nothing is compared with
//! hardware; the recorder, its file and the comparison are tested all the same, on the emulator.

#[path = "../common/mod.rs"]
mod common;
mod recorder;

use std::collections::HashSet;
use std::path::Path;

use recorder::{Recording, cases, record, replay};
use warpdot_emulator::DeviceSpec;

/// The emulated context that resembles a device most.
fn context((major, minor): (u32, u32)) -> warpdot_host::Context {
    let preset = DeviceSpec::PRESETS.into_iter().rfind(|&preset| preset <= (major, minor));
    let (major, minor) = preset.expect("a device that the emulator can resemble");
    common::device(major, minor).1.context().expect("a context")
}

/// What the recorder makes of an emulated device, by way of its file.
fn recorded(capability: (u32, u32)) -> Recording {
    let (recording, failures) = record(&context(capability), true).expect("a recording");
    assert!(failures.is_empty(), "{failures:#?}");
    let text = recording.to_text().expect("a text");
    let read = Recording::from_text(&text).expect("what was written can be read");
    assert_eq!(read, recording);
    println!("{capability:?}: {} cases in {} KiB", read.observations.len(), text.len() >> 10);
    read
}

#[test]
fn recordings_of_hardware_are_met() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = folder
        .read_dir()
        .expect("the folder of this test")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    let mut failed = 0;
    for path in &files {
        let name = path.file_name().unwrap_or_default().display();
        let text = std::fs::read_to_string(path).expect("a readable file");
        let recording = Recording::from_text(&text).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(!recording.source.emulated, "{name} is not of hardware");
        let replay = replay(&recording, &context(recording.source.compute_capability));
        println!("{name}: {:?}: {} exact, {} near", recording.source, replay.exact, replay.tolerated);
        replay.differences.iter().for_each(|difference| println!("  {difference}"));
        failed += replay.differences.len();
    }
    println!("{} recordings of hardware", files.len());
    assert_eq!(failed, 0, "cases differ between hardware and the emulator");
}

#[test]
fn what_is_recorded_can_be_replayed() {
    for capability in [(7, 5), (8, 0), (8, 9), (9, 0)] {
        let recording = recorded(capability);
        let all = cases::cases();
        let wanted: Vec<_> = all.iter().filter(|case| case.kernel.since <= capability).collect();
        let tolerated = wanted.iter().filter(|case| case.tolerance.is_some()).count();
        let replay = replay(&recording, &context(capability));
        assert!(replay.differences.is_empty(), "{:#?}", replay.differences);
        assert_eq!((replay.exact, replay.tolerated), (wanted.len() - tolerated, tolerated));
    }
}

/// One wrong bit in each case: the lowest, or where there is a tolerance one beyond it.
#[test]
fn every_wrong_bit_is_found() {
    let mut recording = recorded((9, 0));
    let all = cases::cases();
    for (observation, case) in recording.observations.iter_mut().zip(&all) {
        assert_eq!(observation.kernel, case.kernel);
        let bit = if case.tolerance.is_some() { 1 << 20 } else { 1 };
        // The first rows of approximate functions are zeros and infinities; the last is a number everywhere.
        *observation.outputs.last_mut().expect("results") ^= bit;
    }
    let replay = replay(&recording, &context((9, 0)));
    assert_eq!((replay.exact, replay.tolerated), (0, 0));
    assert_eq!(replay.differences.len(), recording.observations.len());
    let differ = replay.differences.iter().filter(|text| text.contains("(1 of ")).count();
    assert_eq!(differ, replay.differences.len(), "{:#?}", replay.differences);
}

#[test]
fn a_damaged_file_is_refused() {
    let text = recorded((7, 5)).to_text().expect("a text");
    let lines: Vec<&str> = text.lines().collect();
    let refused = |text: &str| Recording::from_text(text).expect_err("damaged").to_string();
    assert_eq!(refused(""), "it does not say where it comes from");
    assert_eq!(refused(lines[0]), "it has no cases");
    assert_eq!(refused(&format!("{}\n{text}", lines[0])), "line 2: a second source");
    assert_eq!(refused(&text[..text.len() - 9]), format!("line {}", lines.len()));
    let changed = text.replacen("\"outputs\":\"", "\"outputs\":\"x", 1);
    assert!(refused(&changed).starts_with("line "));
}

#[test]
fn no_case_is_there_twice() {
    let all = cases::cases();
    let distinct: HashSet<_> = all.iter().map(|case| (&case.kernel.code, case.inputs)).collect();
    assert_eq!(distinct.len(), all.len());
}

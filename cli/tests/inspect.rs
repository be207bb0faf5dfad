//! `warpdot inspect` as a user meets it.

mod support;

use serde_json::{Value as Json, json};
use support::*;

/// A string as a metadata value.
fn string(letters: &str) -> Vec<u8> {
    [&(letters.len() as u64).to_le_bytes(), letters.as_bytes()].concat()
}

/// The cells of a table's row.
fn cells(line: &str) -> Vec<&str> {
    line.split('┆').map(|cell| cell.trim_matches([' ', '│'])).collect()
}

#[test]
fn tables_hold_metadata_tensors_and_totals() {
    let file = File::new(&Draft::sound().bytes());
    let shown = prints(&["inspect", file.path()]);
    assert!(shown.starts_with("GGUF version 3, alignment 32\n"), "{shown}");
    for row in [
        &["general.architecture", "string", "bert"][..],
        &["answer", "u32", "42"],
        &["eps", "f32", "0.00001"],
        &["tokens", "array of string", "[\"a\",\"\",\"größe\"]"],
        &["nested", "array of array", "[[false,true],[]]"],
        &["matrix", "Q8_0", "64 x 3", "204", "8.500"],
        &["vector", "F32", "5", "20", "32.000"],
        &["future", "ggml type 1000", "1099511627776", "unknown", "-"],
        &["Q8_0", "1", "192", "204", "8.500"],
        &["all", "3", "1099511627973", "224"],
    ] {
        assert!(shown.lines().any(|line| cells(line).starts_with(row)), "{row:?} in\n{shown}");
    }
}

#[test]
fn json_holds_the_same() {
    let mut draft = Draft::sound();
    draft.entries.push(entry("many", ARRAY, array(BOOL, 9, &[1; 9])));
    draft.entries.push(entry("nan", F32, f32::NAN.to_le_bytes()));
    draft.tensors.push(record("none", &[32, 0], TENSOR_Q8_0, 0));
    let file = File::new(&draft.bytes());
    let contents: Json = serde_json::from_str(&prints(&["inspect", "--json", file.path()])).unwrap();
    assert_eq!((&contents["version"], &contents["alignment"]), (&json!(3), &json!(32)));
    let metadata = contents["metadata"].as_array().unwrap();
    assert_eq!(metadata[1], json!({ "key": "answer", "type": "u32", "value": 42 }));
    assert_eq!(metadata[2], json!({ "key": "eps", "type": "f32", "value": 1e-5 }));
    let nested = json!([[false, true], []]);
    assert_eq!(
        metadata[5],
        json!({ "key": "nested", "type": "array of array", "length": 2, "value": nested })
    );
    assert_eq!(metadata[6], json!({ "key": "many", "type": "array of bool", "length": 9 }));
    assert_eq!(metadata[7], json!({ "key": "nan", "type": "f32", "value": null }));
    let tensor = |name, ty, id, dims: &[u64], bytes: Option<u64>, bits: Option<f64>| json!({ "name": name, "type": ty, "type_id": id, "dims": dims, "bytes": bytes, "bits_per_weight": bits });
    let expected = json!([
        tensor("matrix", "Q8_0", 8, &[64, 3], Some(204), Some(8.5)),
        tensor("vector", "F32", 0, &[5], Some(20), Some(32.0)),
        tensor("future", "ggml type 1000", 1000, &[1 << 40], None, None),
        tensor("none", "Q8_0", 8, &[32, 0], Some(0), None),
    ]);
    assert_eq!(contents["tensors"], expected);
    let total = json!({ "type": "Q8_0", "tensors": 2, "weights": 192, "bytes": 204, "bits_per_weight": 8.5 });
    assert_eq!((&contents["types"][0], &contents["total"]["bytes"]), (&total, &json!(224)));
}

#[test]
fn what_a_file_says_cannot_command_the_terminal() {
    let mut draft = Draft::sound();
    draft.entries[0].value = string("\x1b[2J two\nlines");
    draft.tensors[0].name = b"\x1b]0;title\x07".to_vec();
    let file = File::new(&draft.bytes());
    let shown = prints(&["inspect", file.path()]);
    assert!(!shown.contains(['\x1b', '\x07']), "{shown:?}");
    assert!(shown.contains("\\u{1b}[2J two\\nlines") && shown.contains("\\u{1b}]0;title\\u{7}"), "{shown}");

    draft.tensors[1].name = draft.tensors[0].name.clone();
    let file = File::new(&draft.bytes());
    let message = "tensor `\\u{1b}]0;title\\u{7}` appears twice; expected each name once";
    assert_fails(&["inspect", file.path()], &format!("{}: {message}", file.path()));
}

#[test]
fn long_texts_are_cut_for_people_only() {
    let long = "x".repeat(1000);
    let mut draft = Draft::sound();
    draft.entries[0].value = string(&long);
    let file = File::new(&draft.bytes());
    let cut = format!(" {}... ", "x".repeat(60));
    assert!(prints(&["inspect", file.path()]).contains(&cut));
    assert!(prints(&["inspect", "--json", file.path()]).contains(&long));
}

#[test]
fn shapes_beyond_all_bounds_are_shown() {
    let mut draft = Draft::sound();
    draft.tensors[2].dims = vec![u64::MAX, 2, 3];
    let file = File::new(&draft.bytes());
    assert!(prints(&["inspect", file.path()]).contains("18446744073709551615 x 2 x 3"));
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let mut draft = Draft::sound();
    // More than a pipe holds.
    draft.entries[0].value = string(&"x".repeat(1 << 20));
    let file = File::new(&draft.bytes());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_warpdot"))
        .args(["inspect", "--json", file.path()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn files_that_cannot_be_read() {
    let output = warpdot(&["inspect", "no/such/model.gguf"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: cannot open no/such/model.gguf: "));
    let file = File::new(b"GGUF");
    assert_fails(
        &["inspect", file.path()],
        &format!("{}: the file ends too early: the version at byte 4 needs 4 bytes, 0 are left", file.path()),
    );
}

//! Files written by the Python `gguf` package, files that it reads, and its table of types.
//!
//! `WARPDOT_PYTHON` names an interpreter that has `gguf` and numpy; without it these tests are skipped.

use serde_json::{Value as Json, json};
use std::{path::Path, process::Command};
use warpdot_gguf::{Array, Gguf, Outline, TensorType, Value};

/// Runs a script under `tests/` and parses what it prints; `None` without an interpreter.
fn python(script: &str, arguments: &[&Path]) -> Option<Json> {
    let Some(interpreter) = std::env::var_os("WARPDOT_PYTHON") else {
        eprintln!("skipped: WARPDOT_PYTHON is not set");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let output = Command::new(interpreter).arg(script).args(arguments).output().expect("WARPDOT_PYTHON runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("the script prints JSON"))
}

#[test]
fn reads_what_python_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("python.gguf");
    let Some(expected) = python("write_gguf.py", &[&path]) else { return };
    let file = Gguf::open(&path).unwrap();

    let tensors: Vec<_> = file
        .tensors()
        .map(|t| {
            let bytes: String = t.bytes().unwrap().iter().map(|b| format!("{b:02x}")).collect();
            json!({ "name": t.name(), "type": t.ty().id(), "dims": t.dims(), "bytes": bytes })
        })
        .collect();
    assert_eq!(Json::Array(tensors), expected["tensors"]);
    assert_eq!(json!(file.alignment()), expected["alignment"]);

    let strings = |texts: &[&str]| Value::Array(Array::String(texts.iter().map(|t| t.to_string()).collect()));
    for (key, value) in [
        ("general.architecture", Value::String("bert".into())),
        ("a.u8", Value::U8(200)),
        ("a.i8", Value::I8(-100)),
        ("a.u16", Value::U16(60_000)),
        ("a.i16", Value::I16(-30_000)),
        ("a.u32", Value::U32(4_000_000_000)),
        ("a.i32", Value::I32(-2_000_000_000)),
        ("a.u64", Value::U64(1 << 63)),
        ("a.i64", Value::I64(i64::MIN)),
        ("a.f32", Value::F32(0.1)),
        ("a.f64", Value::F64(0.1)),
        ("a.bool", Value::Bool(true)),
        ("a.text", Value::String("größer ≠ kleiner".into())),
        ("b.ints", Value::Array(Array::I32(vec![1, -2, 3]))),
        ("b.floats", Value::Array(Array::F32(vec![0.5, -1.5]))),
        ("b.bools", Value::Array(Array::Bool(vec![true, false]))),
        ("b.texts", strings(&["eins", "", "drei"])),
    ] {
        assert_eq!(file.value(key), Some(&value), "{key}");
    }
    assert_eq!(json!(file.metadata().len()), expected["entries"]);
}

#[test]
fn python_reads_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rust.gguf");
    let texts = ["eins", "", "größer"].map(String::from).to_vec();
    let metadata = [
        ("general.architecture", Value::String("bert".into()), json!("bert")),
        ("general.alignment", Value::U32(64), json!(64)),
        ("a.u8", Value::U8(200), json!(200)),
        ("a.i8", Value::I8(-100), json!(-100)),
        ("a.u16", Value::U16(60_000), json!(60_000)),
        ("a.i16", Value::I16(-30_000), json!(-30_000)),
        ("a.u32", Value::U32(4_000_000_000), json!(4_000_000_000u32)),
        ("a.i32", Value::I32(-2_000_000_000), json!(-2_000_000_000)),
        ("a.u64", Value::U64(1 << 63), json!(1u64 << 63)),
        ("a.i64", Value::I64(i64::MIN), json!(i64::MIN)),
        ("a.f32", Value::F32(0.5), json!(0.5)),
        ("a.f64", Value::F64(0.1), json!(0.1)),
        ("a.bool", Value::Bool(true), json!(true)),
        ("b.ints", Value::Array(Array::I32(vec![1, -2, 3])), json!([1, -2, 3])),
        ("b.texts", Value::Array(Array::String(texts.clone())), json!(texts)),
    ];
    let tensors =
        [("plain", 0, &[96, 5][..]), ("vector", 0, &[3]), ("cube", 1, &[32, 3, 5]), ("q", 8, &[64, 3])];

    let mut outline = Outline::new();
    metadata.iter().for_each(|(key, value, _)| outline.set(*key, value.clone()));
    for (name, id, dims) in tensors {
        outline.add_tensor(name, TensorType::from_id(id), dims).unwrap();
    }
    let mut writer = outline.create(&path).unwrap();
    let mut listed = Vec::new();
    for (name, id, dims) in tensors {
        let (weights, size) = TensorType::from_id(id).block().unwrap();
        let bytes: Vec<u8> =
            (0..dims.iter().product::<u64>() / weights * size).map(|i| (i * 7) as u8).collect();
        writer.write(name, &bytes).unwrap();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        listed.push(json!({ "name": name, "type": id, "dims": dims, "bytes": hex }));
    }
    writer.finish().unwrap();

    let Some(read) = python("read_gguf.py", &[&path]) else { return };
    assert_eq!(read["tensors"], Json::Array(listed));
    let fields = metadata.iter().map(|(key, _, json)| json!([key, json])).collect();
    assert_eq!(read["fields"], Json::Array(fields));
}

#[test]
fn knows_the_block_of_every_type_that_python_knows() {
    let Some(table) = python("type_table.py", &[]) else { return };
    let table = table.as_object().unwrap();
    assert!(table.len() >= 30, "{} types", table.len());
    for (name, entry) in table {
        let id = entry["id"].as_u64().unwrap().try_into().unwrap();
        let ty = TensorType::from_id(id);
        let block = ty.block().map(|(weights, bytes)| json!([weights, bytes]));
        assert_eq!((ty.name(), block), (Some(name.as_str()), Some(entry["block"].clone())), "type {id}");
    }
    let known = (0..1000).map(TensorType::from_id).filter(|ty| ty.block().is_some());
    let only_here: Vec<_> =
        known.filter_map(|ty| ty.name()).filter(|name| !table.contains_key(*name)).collect();
    assert_eq!(only_here, ["Q2_0"], "a newer type of ggml, which that package does not know");
}

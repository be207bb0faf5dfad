//! Sound files: what is written is what is read, and nothing is copied.

mod common;

use common::*;
use std::io::Write;
use warpdot_formats::GgmlType;
use warpdot_gguf::{Array, Error, Gguf, TensorType, Value};

#[test]
fn reads_metadata_in_file_order() {
    let file = Gguf::from_bytes(Draft::sound().bytes()).unwrap();
    let nested = Array::Array(vec![Array::Bool(vec![false, true]), Array::Bool(vec![])]);
    let tokens = ["a", "", "größe"].map(String::from).to_vec();
    let expected = [
        ("general.architecture", Value::String("bert".into())),
        ("answer", Value::U32(42)),
        ("eps", Value::F32(1e-5)),
        ("flag", Value::Bool(true)),
        ("tokens", Value::Array(Array::String(tokens))),
        ("nested", Value::Array(nested)),
    ];
    assert!(file.metadata().eq(expected.iter().map(|(key, value)| (*key, value))));
    assert_eq!(file.value("answer").and_then(Value::as_u64), Some(42));
    assert_eq!(file.value("general.architecture").and_then(Value::as_str), Some("bert"));
    assert_eq!(file.value("absent"), None);
    assert_eq!((file.version(), file.alignment()), (3, 32));
}

#[test]
fn reads_tensors_in_file_order() {
    let draft = Draft::sound();
    let file = Gguf::from_bytes(draft.bytes()).unwrap();
    let names: Vec<_> = file.tensors().map(|t| t.name()).collect();
    assert_eq!(names, ["matrix", "vector", "future"]);

    let matrix = file.tensor("matrix").unwrap();
    assert_eq!(matrix.ty().format(), Some(GgmlType::Q8_0));
    assert_eq!((matrix.dims(), matrix.shape().unwrap()), (&[64, 3][..], (3, 64)));
    assert_eq!(matrix.bytes().unwrap(), draft.data[..204]);

    let vector = file.tensor("vector").unwrap();
    assert_eq!((vector.ty(), vector.ty().format()), (TensorType::F32, None));
    assert_eq!(vector.shape().unwrap(), (1, 5));
    assert_eq!(vector.bytes().unwrap(), draft.data[224..244]);
}

#[test]
fn lists_a_tensor_of_unknown_type_but_has_no_bytes_of_it() {
    let file = Gguf::from_bytes(Draft::sound().bytes()).unwrap();
    let future = file.tensor("future").unwrap();
    assert_eq!((future.ty().id(), future.ty().name()), (1000, None));
    let error = future.bytes().unwrap_err();
    assert!(matches!(&error, Error::UnknownType { name, id: 1000 } if name == "future"), "{error}");
}

#[test]
fn a_missing_tensor_is_named() {
    let file = Gguf::from_bytes(Draft::sound().bytes()).unwrap();
    let error = file.tensor("absent").unwrap_err();
    assert_eq!(error.to_string(), "there is no tensor `absent` among the 3 of the file");
}

#[test]
fn version_2_differs_in_nothing_that_is_read() {
    let draft = Draft { version: 2, ..Draft::sound() };
    let file = Gguf::from_bytes(draft.bytes()).unwrap();
    assert_eq!((file.version(), file.tensors().len()), (2, 3));
}

#[test]
fn honours_the_alignment_key() {
    let mut draft = Draft::sound();
    draft.entries.push(entry("general.alignment", U32, 512u32.to_le_bytes()));
    draft.alignment = 512;
    draft.tensors[1].offset = 512;
    draft.tensors[2].offset = 512;
    draft.data.resize(512, 0);
    draft.data.extend([9; 20]);
    let file = Gguf::from_bytes(draft.bytes()).unwrap();
    assert_eq!(file.alignment(), 512);
    assert_eq!(file.tensor("vector").unwrap().bytes().unwrap(), [9; 20][..]);
}

#[test]
fn tensors_may_overlap_and_be_empty() {
    let mut draft = Draft::sound();
    draft.tensors.push(record("again", &[64, 3], TENSOR_Q8_0, 0));
    draft.tensors.push(record("none", &[0, 7], TENSOR_F32, 224));
    let file = Gguf::from_bytes(draft.bytes()).unwrap();
    let [matrix, again] = ["matrix", "again"].map(|name| file.tensor(name).unwrap().bytes().unwrap());
    assert_eq!(matrix, again);
    assert_eq!(matrix.as_ptr(), again.as_ptr());
    assert!(file.tensor("none").unwrap().bytes().unwrap().is_empty());
}

#[test]
fn a_file_without_tensors_may_end_with_its_header() {
    let mut draft = Draft { tensors: vec![], data: vec![], alignment: 1, ..Draft::sound() };
    draft.entries.push(entry("last", ARRAY, array(BOOL, 3, &[0, 1, 1])));
    assert_eq!(Gguf::from_bytes(draft.bytes()).unwrap().tensors().len(), 0);
}

#[test]
fn mapped_bytes_are_views_of_one_map_and_outlive_the_file() {
    let draft = Draft::sound();
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(&draft.bytes()).unwrap();
    let file = Gguf::open(path.path()).unwrap();
    let matrix = file.tensor("matrix").unwrap().bytes().unwrap();
    let vector = file.tensor("vector").unwrap().bytes().unwrap();
    drop(file);
    assert_eq!(vector.as_ptr() as usize - matrix.as_ptr() as usize, 224);
    assert_eq!((&matrix[..], &vector[..]), (&draft.data[..204], &draft.data[224..]));
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = Gguf::open("no/such/file.gguf").unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    assert!(error.to_string().starts_with("cannot open no/such/file.gguf: "), "{error}");
}

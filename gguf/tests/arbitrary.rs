//! Arbitrary files: what was written is what is read, and spoiled ones are errors.

mod common;

use common::*;
use proptest::{collection::vec, prelude::*, sample::Index};
use std::collections::BTreeMap;
use warpdot_gguf::{Array, Gguf, Outline, TensorType, Value};

/// A file: metadata, an alignment, and tensors as type, shape in blocks and first byte.
#[derive(Clone, Debug)]
struct Model {
    metadata: BTreeMap<String, Value>,
    alignment: Option<u32>,
    tensors: Vec<(TensorType, Vec<u64>, u8)>,
}

/// Any bits that make a number, NaNs of any payload among them.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(|bits| Value::F32(f32::from_bits(bits))),
        any::<bool>().prop_map(Value::Bool),
        any::<String>().prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
    ]
}

fn array() -> impl Strategy<Value = Array> {
    let flat = prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(Array::U8),
        vec(any::<i8>(), 0..9).prop_map(Array::I8),
        vec(any::<u16>(), 0..9).prop_map(Array::U16),
        vec(any::<i16>(), 0..9).prop_map(Array::I16),
        vec(any::<u32>(), 0..9).prop_map(Array::U32),
        vec(any::<i32>(), 0..9).prop_map(Array::I32),
        vec(any::<u32>().prop_map(f32::from_bits), 0..9).prop_map(Array::F32),
        vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        vec(any::<String>(), 0..5).prop_map(Array::String),
        vec(any::<u64>(), 0..9).prop_map(Array::U64),
        vec(any::<i64>(), 0..9).prop_map(Array::I64),
        vec(any::<u64>().prop_map(f64::from_bits), 0..9).prop_map(Array::F64),
    ];
    flat.prop_recursive(3, 20, 4, |inner| vec(inner, 0..4).prop_map(Array::Array))
}

fn model() -> impl Strategy<Value = Model> {
    let known: Vec<_> = (0..100).map(TensorType::from_id).filter(|ty| ty.block().is_some()).collect();
    let value = prop_oneof![3 => scalar(), 1 => array().prop_map(Value::Array)];
    let tensor = (proptest::sample::select(known), vec(0u64..4, 0..5), any::<u8>());
    (
        prop::collection::btree_map(any::<String>(), value, 0..8),
        prop::option::of((0u32..10).prop_map(|log| 1 << log)),
        vec(tensor, 0..6),
    )
        .prop_map(|(metadata, alignment, tensors)| Model { metadata, alignment, tensors })
}

impl Model {
    /// The tensors' names, types, shapes and bytes.
    fn tensors(&self) -> impl Iterator<Item = (String, TensorType, Vec<u64>, Vec<u8>)> {
        self.tensors.iter().enumerate().map(|(i, (ty, blocks, seed))| {
            let (weights, bytes) = ty.block().unwrap();
            let mut dims = blocks.clone();
            // A tensor without dimensions is one number; only plain ones have such a block.
            match dims.first_mut() {
                Some(first) => *first *= weights,
                None if weights > 1 => dims.push(weights),
                None => {}
            }
            let len = dims.iter().product::<u64>() / weights * bytes;
            (format!("tensor {i}"), *ty, dims, (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect())
        })
    }

    fn write(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let mut outline = Outline::new();
        self.metadata.iter().for_each(|(key, value)| outline.set(key, value.clone()));
        if let Some(alignment) = self.alignment {
            outline.set("general.alignment", Value::U32(alignment));
        }
        for (name, ty, dims, _) in self.tensors() {
            outline.add_tensor(name, ty, &dims).unwrap();
        }
        let mut writer = outline.create(&path).unwrap();
        for (name, _, _, bytes) in self.tensors() {
            writer.write(&name, &bytes).unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(&path).unwrap()
    }
}

/// As `Debug` prints it, but NaNs with their bits.
fn bits(value: &Value) -> String {
    match value {
        Value::F32(x) => format!("F32({:#x})", x.to_bits()),
        Value::F64(x) => format!("F64({:#x})", x.to_bits()),
        Value::Array(Array::F32(xs)) => format!("{:x?}", xs.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
        Value::Array(Array::F64(xs)) => format!("{:x?}", xs.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_was_written_is_read(model in model()) {
        let file = Gguf::from_bytes(model.write()).unwrap();
        prop_assert_eq!(file.alignment(), model.alignment.unwrap_or(32));
        let mut read = file.metadata();
        for (key, value) in &model.metadata {
            let found = read.next().unwrap();
            prop_assert_eq!((found.0, bits(found.1)), (key.as_str(), bits(value)));
        }
        prop_assert_eq!(read.len(), usize::from(model.alignment.is_some()));
        prop_assert_eq!(file.tensors().len(), model.tensors.len());
        for (tensor, (name, ty, dims, bytes)) in file.tensors().zip(model.tensors()) {
            prop_assert_eq!((tensor.name(), tensor.ty(), tensor.dims()), (name.as_str(), ty, &dims[..]));
            prop_assert_eq!(tensor.bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn spoiled_files_do_not_panic(
        model in model(),
        spoilings in vec((vec((any::<Index>(), any::<u8>()), 1..6), prop::option::of(any::<Index>())), 200),
    ) {
        let sound = model.write();
        for (changes, cut) in spoilings {
            let mut bytes = sound.clone();
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            read_all(bytes);
        }
    }
}

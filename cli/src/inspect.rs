//! `warpdot inspect`: what is in a GGUF file.

use crate::{
    args::InspectArgs,
    error::Error,
    report::empty_table,
    size::{Size, right},
    terminal::{self, printable},
};
use comfy_table::{Cell, Table};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value as Json, json};
use warpdot_gguf::{Array, Gguf, Tensor, Value};

/// Longer arrays, of which vocabularies are some, are only counted.
const SHOWN_ELEMENTS: usize = 8;
/// Longer texts are cut, for people; JSON has all of them.
const SHOWN_LETTERS: usize = 60;

pub(crate) fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let error = |source| Error::Gguf { path: args.file.clone(), source };
    let contents = Contents::new(&Gguf::open(&args.file).map_err(error)?);
    terminal::print(&if args.json { serde_json::to_string_pretty(&contents)? } else { contents.text() })
}

/// The header of a file.
#[derive(Serialize)]
struct Contents {
    version: u32,
    alignment: u32,
    metadata: Vec<Entry>,
    tensors: Vec<Listed>,
    types: Vec<Totals>,
    total: Totals,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    r#type: String,
    /// Of an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    /// Absent for long arrays; NaN and infinite numbers are null.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Json>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    r#type: String,
    type_id: u32,
    /// The fastest dimension first.
    dims: Vec<u64>,
    /// Absent where the type, and so the size, is unknown.
    bytes: Option<u64>,
    bits_per_weight: Option<f64>,
}

/// The tensors of one type; those of an unknown size count no bytes.
#[derive(Serialize)]
struct Totals {
    r#type: String,
    tensors: u64,
    weights: u64,
    bytes: u64,
    bits_per_weight: Option<f64>,
}

impl Contents {
    fn new(file: &Gguf) -> Self {
        let mut types: IndexMap<String, Size> = IndexMap::new();
        let mut total = Size::default();
        for tensor in file.tensors() {
            let size = Size::of(tensor.dims(), bytes(tensor).unwrap_or(0));
            types.entry(tensor.ty().to_string()).or_default().add(size);
            total.add(size);
        }
        Self {
            version: file.version(),
            alignment: file.alignment(),
            metadata: file.metadata().map(|(key, value)| Entry::new(key, value)).collect(),
            tensors: file.tensors().map(Listed::new).collect(),
            types: types.into_iter().map(|(ty, size)| Totals::new(ty, size)).collect(),
            total: Totals::new("all".into(), total),
        }
    }

    fn text(&self) -> String {
        let mut metadata = empty_table(["key", "type", "value"]);
        for entry in &self.metadata {
            metadata.add_row([printable(&entry.key).into_owned(), entry.r#type.clone(), entry.shown()]);
        }
        let mut tensors = empty_table(["tensor", "type", "shape", "bytes", "bits/weight"]);
        tensors.add_rows(self.tensors.iter().map(Listed::cells));
        let mut types = empty_table(["type", "tensors", "weights", "bytes", "bits/weight"]);
        types.add_rows(self.types.iter().chain([&self.total]).map(Totals::cells));
        let header = format!("GGUF version {}, alignment {}", self.version, self.alignment);
        let section = |name: &str, table: Table| format!("\n{name}\n{table}");
        [
            header,
            section("Metadata", metadata),
            section("Tensors, the fastest dimension first", tensors),
            section("Types", types),
        ]
        .join("\n")
    }
}

impl Entry {
    fn new(key: &str, value: &Value) -> Self {
        let (r#type, length) = match value {
            Value::Array(array) => (array_type(array), Some(array.len())),
            other => (other.type_name().to_lowercase(), None),
        };
        let value = length.is_none_or(|length| length <= SHOWN_ELEMENTS).then(|| json(value));
        Self { key: key.to_owned(), r#type, length, value }
    }

    fn shown(&self) -> String {
        let text = match (&self.value, self.length) {
            (Some(Json::String(text)), _) => text.clone(),
            (Some(value), _) => value.to_string(),
            (None, length) => format!("{} elements", length.unwrap_or(0)),
        };
        let mut letters = text.chars();
        let shown: String = letters.by_ref().take(SHOWN_LETTERS).collect();
        let dots = if letters.next().is_some() { "..." } else { "" };
        printable(&shown).into_owned() + dots
    }
}

fn array_type(array: &Array) -> String {
    format!("array of {}", array.element_type_name().to_lowercase())
}

/// The value, long arrays inside of it as their length.
fn json(value: &Value) -> Json {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        // As short as it identifies an f32; as an f64 it would have more digits.
        Value::F32(v) => json!(v.to_string().parse::<f64>().ok()),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Array(array) if array.len() > SHOWN_ELEMENTS => {
            json!(format!("{} elements", array.len()))
        }
        Value::Array(array) => (0..array.len()).filter_map(|i| array.get(i)).map(|v| json(&v)).collect(),
    }
}

/// How many bytes a tensor takes, if its type is known.
fn bytes(tensor: &Tensor) -> Option<u64> {
    tensor.bytes().ok().map(|bytes| bytes.len() as u64)
}

impl Listed {
    fn new(tensor: &Tensor) -> Self {
        let bytes = bytes(tensor);
        Self {
            name: tensor.name().to_owned(),
            r#type: tensor.ty().to_string(),
            type_id: tensor.ty().id(),
            dims: tensor.dims().to_vec(),
            bytes,
            bits_per_weight: bytes.and_then(|bytes| Size::of(tensor.dims(), bytes).bits_per_weight()),
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let shape: Vec<_> = self.dims.iter().map(u64::to_string).collect();
        vec![
            Cell::new(printable(&self.name)),
            Cell::new(&self.r#type),
            right(shape.join(" x ")),
            right(self.bytes.map_or("unknown".into(), |bytes| bytes.to_string())),
            right(self.bits_per_weight.map_or("-".into(), |bits| format!("{bits:.3}"))),
        ]
    }
}

impl Totals {
    fn new(r#type: String, size: Size) -> Self {
        let Size { tensors, weights, bytes } = size;
        Self { r#type, tensors, weights, bytes, bits_per_weight: size.bits_per_weight() }
    }

    fn cells(&self) -> Vec<Cell> {
        let Self { tensors, weights, bytes, .. } = *self;
        let columns = Size { tensors, weights, bytes }.columns();
        [Cell::new(&self.r#type)].into_iter().chain(columns.map(right)).collect()
    }
}

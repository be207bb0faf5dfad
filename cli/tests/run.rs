//! The command as a user meets it: good input, and every kind of bad input that it can meet.

mod support;

use serde_json::Value as Json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};
use support::*;
use warpdot::GgmlType;

/// Runs `warpdot run` on the CPU, measuring twice.
fn run(arguments: &[&str]) -> Output {
    warpdot(&[&["run", "--device", "cpu", "--repeat", "2"], arguments].concat())
}

/// The products of a run that must be correct.
fn products(arguments: &[&str]) -> Vec<Json> {
    let output = run(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["correct"], true);
    report["products"].as_array().unwrap().clone()
}

#[track_caller]
fn assert_fails(arguments: &[&str], message: &str) {
    support::assert_fails(&[&["run"], arguments].concat(), message);
}

/// F32, Q8_0 and unknown matrices, and a vector.
fn model() -> Draft {
    let floats: Vec<u8> = (0..64 * 2).flat_map(|i| (i as f32 * 0.1).sin().to_le_bytes()).collect();
    let q8_0 = [[0x00, 0x2c].as_slice(), &[5; 32]].concat().repeat(6); // scale 2^-4
    let data = [floats, q8_0, vec![0; 20]].concat();
    let tensors = vec![
        record("floats", &[64, 2], TENSOR_F32, 0),
        record("blocks", &[96, 2], TENSOR_Q8_0, 512),
        record("vector", &[4], TENSOR_F32, 0),
        record("future", &[32, 2], 1000, 0),
    ];
    Draft { tensors, data, ..Draft::sound() }
}

/// The names of all formats, as messages list them.
fn formats() -> String {
    GgmlType::ALL.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ")
}

fn field<'a>(products: &'a [Json], name: &str) -> Vec<&'a Json> {
    products.iter().map(|product| &product[name]).collect()
}

#[test]
fn the_table_names_kernels_and_is_complete() {
    let output = run(&["--n", "40", "--k", "512", "--m", "1,3", "--isa", "portable"]);
    assert!(output.status.success(), "{output:?}");
    let table = text(&output.stdout);
    for ty in ["Q4_0", "Q8_0", "Q4_K", "Q6_K"] {
        for shape in ["1 x 40 x 512", "3 x 40 x 512"] {
            let row = table.lines().find(|line| line.contains(ty) && line.contains(shape)).expect(&table);
            let suffix = ty.to_lowercase();
            let suffix = if ty.ends_with("_K") { suffix.replace('_', "") } else { suffix };
            assert!(row.contains("cpu-portable-") && row.contains(&format!("-{suffix} ")), "{row}");
            assert!(row.contains(" all ok "), "{row}");
        }
    }
    for column in ["device", "kernel", "time", "GB/s", "GOP/s", "max error", "error/bound", "checked"] {
        assert!(table.contains(column), "{column}");
    }
    assert!(table.contains("the median of 2 runs; GB/s: of weights; seed 1; numerics: fast"), "{table}");
}

#[test]
fn json_holds_the_figures() {
    let products = products(&[
        "--n",
        "40",
        "--k",
        "512",
        "--m",
        "3",
        "--type",
        "q8_0,Q4_K",
        "--numerics",
        "reproducible",
    ]);
    assert_eq!(field(&products, "type"), ["Q8_0", "Q4_K"]);
    for product in &products {
        assert_eq!((&product["m"], &product["n"], &product["k"]), (&3.into(), &40.into(), &512.into()));
        assert_eq!(
            (&product["outputs"], &product["checked"], &product["wrong"]),
            (&120.into(), &120.into(), &0.into())
        );
        let number = |name: &str| product[name].as_f64().unwrap();
        let bytes =
            40.0 * if product["type"] == "Q8_0" { 512.0 / 32.0 * 34.0 } else { 512.0 / 256.0 * 144.0 };
        assert!((number("weight_gb_per_s") * number("seconds") * 1e9 / bytes - 1.0).abs() < 1e-9);
        assert!((number("gop_per_s") * number("seconds") * 1e9 / (2.0 * 120.0 * 512.0) - 1.0).abs() < 1e-9);
        assert!(number("max_error") > 0.0 && number("max_error_over_bound") < 1.0);
    }
}

#[test]
fn a_file_gives_its_matrices_and_types_give_quantized_floats() {
    let file = File::new(&model().bytes());
    let all = products(&["--gguf", file.path()]);
    assert_eq!(field(&all, "weights"), ["blocks"]);
    assert_eq!(field(&all, "type"), ["Q8_0"]);
    let quantized = products(&["--gguf", file.path(), "--type", "q4_0,q8_0"]);
    assert_eq!(field(&quantized, "weights"), ["floats", "floats", "blocks"]);
    assert_eq!(field(&quantized, "type"), ["Q4_0", "Q8_0", "Q8_0"]);
    let named = products(&["--gguf", file.path(), "--tensor", "floats", "--type", "q4_0"]);
    assert_eq!((&named[0]["n"], &named[0]["k"], named.len()), (&2.into(), &64.into(), 1));
}

/// The elements of an f32 array in numpy's format.
fn read_npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(header.is_multiple_of(64) && bytes[header - 1] == b'\n');
    let floats = bytes[header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (text(&bytes[10..header]), floats)
}

#[test]
fn saved_arrays_are_the_product() {
    let file = File::new(&model().bytes());
    let folder = tempfile::tempdir().unwrap();
    let save = folder.path().join("new");
    let products = products(&[
        "--gguf",
        file.path(),
        "--tensor",
        "blocks",
        "--m",
        "2",
        "--save",
        save.to_str().unwrap(),
    ]);
    let saved = |name: &str| PathBuf::from(products[0]["saved"][name].as_str().unwrap());
    let (x_header, x) = read_npy(&saved("x"));
    let (y_header, y) = read_npy(&saved("y"));
    assert!(x_header.contains("'descr': '<f4'") && x_header.contains("'shape': (2, 96)"), "{x_header}");
    assert!(y_header.contains("'shape': (2, 2)"), "{y_header}");
    for (row, y) in y.chunks(2).enumerate() {
        let expected: f32 = x[row * 96..][..96].iter().map(|x| x * 5.0 / 16.0).sum();
        assert!(y.iter().all(|y| (y - expected).abs() < 0.2), "{y:?}, {expected}");
    }
    assert_eq!(fs::read(saved("w")).unwrap()[128..], model().data[512..512 + 204]);
}

#[test]
fn seeds_are_reproducible_and_differ() {
    let max_error = |seed| products(&["--n", "8", "--k", "256", "--seed", seed])[0]["max_error"].clone();
    assert_eq!(max_error("5"), max_error("5"));
    assert_ne!(max_error("5"), max_error("6"));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimization")]
fn a_large_product_is_checked_by_a_sample_whose_size_is_printed() {
    let arguments = ["--n", "2048", "--k", "512", "--m", "1000", "--type", "q8_0"];
    let output = run(&arguments);
    let table = text(&output.stdout);
    assert!(output.status.success());
    assert!(table.contains("a sample of 1048576 of the 2048000 outputs"), "{table}");
}

#[test]
fn wrong_weights_are_reported_not_hidden() {
    // NaN scales: the product is NaN, and so must the output be; that is correct.
    let mut draft = model();
    draft.data[512..514].copy_from_slice(&[0x00, 0x7e]);
    let file = File::new(&draft.bytes());
    assert_eq!(products(&["--gguf", file.path()])[0]["wrong"], 0);
}

#[test]
fn info_tells_what_there_is() {
    let output = warpdot(&["info"]);
    assert!(output.status.success(), "{output:?}");
    let info = text(&output.stdout);
    for part in ["instruction sets:", "portable", "threads:", "CUDA", "Q6_K", "m = 8"] {
        assert!(info.contains(part), "{part} in {info}");
    }
}

#[test]
fn truncated_file() {
    let file = File::new(&model().bytes()[..30]);
    let path = file.path();
    assert_fails(
        &["--gguf", path],
        &format!(
            "{path}: the number of metadata entries is 6 at byte 16, but the rest of the file has room for at most 0"
        ),
    );
    let file = File::new(&Draft { entries: vec![], ..model() }.bytes()[..40]);
    let path = file.path();
    assert_fails(
        &["--gguf", path],
        &format!(
            "{path}: the number of tensors is 4 at byte 8, but the rest of the file has room for at most 0"
        ),
    );
}

#[test]
fn wrong_magic() {
    let file = File::new(b"PK\x03\x04, not a model");
    let path = file.path();
    assert_fails(
        &["--gguf", path],
        &format!(
            "{path}: not a GGUF file: it starts with [50, 4b, 03, 04], expected [47, 47, 55, 46] (\"GGUF\")"
        ),
    );
}

#[test]
fn missing_file() {
    let output = run(&["--gguf", "no/such/model.gguf"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.starts_with("error: cannot open no/such/model.gguf: "), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn tensor_past_the_end() {
    let mut draft = model();
    draft.tensors[1].dims = vec![96, 1000];
    let file = File::new(&draft.bytes());
    let path = file.path();
    assert_fails(
        &["--gguf", path],
        &format!("{path}: tensor `blocks` needs 102000 bytes at offset 512 of the data, which has 736"),
    );
}

#[test]
fn tensors_that_cannot_be_multiplied() {
    let file = File::new(&model().bytes());
    let path = file.path();
    let supported = formats();
    for (tensor, options, message) in [
        ("absent", &[][..], format!("{path}: there is no tensor `absent` among the 4 of the file")),
        ("vector", &[], "tensor `vector` has shape [4]; expected two dimensions".into()),
        (
            "future",
            &[],
            format!(
                "tensor `future` is ggml type 1000; expected {supported}, or F32 and a --type to quantize it to"
            ),
        ),
        (
            "floats",
            &[],
            format!("tensor `floats` is F32; expected {supported}, or F32 and a --type to quantize it to"),
        ),
        ("blocks", &["--type", "q4_0"], "tensor `blocks` is Q8_0; expected Q4_0 or F32".into()),
        (
            "floats",
            &["--type", "q6_k"],
            "tensor `floats`: k = 64 is not a multiple of 256, the weights in a block of Q6_K".into(),
        ),
    ] {
        assert_fails(&[&["--gguf", path, "--tensor", tensor], options].concat(), &message);
    }
    let file = File::new(&Draft { tensors: model().tensors[2..].to_vec(), ..model() }.bytes());
    let path = file.path();
    assert_fails(
        &["--gguf", path],
        &format!(
            "{path} has no matrix of a supported type ({supported}, or F32 and a --type to quantize it to) among \
             its 2 tensors"
        ),
    );
}

#[test]
fn floats_that_cannot_be_quantized() {
    let mut draft = model();
    draft.data[64 * 4 + 8..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let file = File::new(&draft.bytes());
    assert_fails(
        &["--gguf", file.path(), "--tensor", "floats", "--type", "q4_0"],
        "tensor `floats`: the weight in row 1, column 2 is NaN: only finite weights can be quantized",
    );
}

#[test]
fn shapes_that_cannot_be_multiplied() {
    let zero = |what| format!("{what} is 0: every dimension of a product must be at least 1");
    for (sizes, message) in [
        (["--m", "0", "--n", "8", "--k", "256"], zero("m")),
        (["--m", "1", "--n", "0", "--k", "256"], zero("n")),
        (["--m", "1", "--n", "8", "--k", "0"], zero("k")),
        (
            ["--m", "1", "--n", "8", "--k", "100"],
            "k = 100 is not a multiple of 256, the weights in a block of Q4_K".into(),
        ),
        (
            ["--m", "4294967296", "--n", "4294967296", "--k", "256"],
            format!(
                "m * n * k = 4294967296 * 4294967296 * 256 overflows: at most {} products can be computed at once",
                usize::MAX
            ),
        ),
        (
            ["--m", "1", "--n", "70368744177664", "--k", "256"],
            "the quantized weights needs 10133099161583616 bytes, which this machine does not give".into(),
        ),
    ] {
        assert_fails(&[&["--type", "q4_k"], &sizes[..]].concat(), &message);
    }
}

#[test]
fn devices_that_are_not_there() {
    let output = warpdot(&["run", "--device", "cuda:99", "--n", "8", "--k", "256"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let message = text(&output.stderr);
    let reasons = ["no CUDA driver: ", "99", "lacks the feature `cuda`", "CUDA_ERROR_NO_DEVICE"];
    assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
    assert!(reasons.iter().any(|reason| message.contains(reason)), "{message}");

    assert_fails(
        &["--device", "auto", "--isa", "portable", "--n", "0"],
        "n is 0: every dimension of a product must be at least 1",
    );
}

#[test]
#[cfg(feature = "cuda")]
fn emulated_gpus_give_the_bits_of_the_definition_and_no_times() {
    let devices = "emulated:7.5,cpu,emulated:9.0,emulated:7.5";
    let shape = ["--n", "5", "--k", "512", "--m", "1,9", "--numerics", "reproducible"];
    let output = warpdot(&[&["run", "--json", "--device", devices], &shape[..]].concat());
    if text(&output.stderr).contains("carries no GPU kernels")
        && std::env::var_os("WARPDOT_REQUIRE_PTX").is_none()
    {
        eprintln!("skipped: this build has no GPU kernels");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    let products = report["products"].as_array().unwrap();
    assert_eq!(products.len(), GgmlType::ALL.len() * 2 * 3);
    for (i, product) in products.iter().enumerate() {
        let (device, arch) =
            [("emulated:7.5", "cuda-sm75-"), ("cpu", "cpu-"), ("emulated:9.0", "cuda-sm90a-")][i % 3];
        assert_eq!(product["device"], device);
        assert!(product["kernel"].as_str().unwrap().starts_with(arch), "{product}");
        assert_eq!(product["emulated"], device != "cpu");
        assert_eq!(product["seconds"].is_null(), device != "cpu");
        assert_eq!((&product["wrong"], &product["checked"]), (&0.into(), &product["outputs"]));
    }
}

/// m * k / 32 warps quantize; each lane loads one activation, and the block's 40 bytes leave by ten lanes.
#[test]
#[cfg(feature = "cuda")]
fn emulated_gpus_count() {
    let shape = ["--type", "Q8_0", "--m", "2", "--n", "5", "--k", "96"];
    let output = warpdot(&[&["run", "--counters", "--device", "emulated:8.0"], &shape[..]].concat());
    if text(&output.stderr).contains("carries no GPU kernels")
        && std::env::var_os("WARPDOT_REQUIRE_PTX").is_none()
    {
        eprintln!("skipped: this build has no GPU kernels");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    let tables = text(&output.stdout);
    let cells = |word: &str| -> Vec<String> {
        let row = tables.lines().find(|line| line.contains(word)).expect(word);
        row.split(['│', '┆']).map(|cell| cell.trim().to_owned()).collect()
    };
    let (names, counts) = (cells("launches"), cells("quantize_activations"));
    let count = |name: &str| counts[names.iter().position(|known| known == name).expect(name)].as_str();
    assert_eq!(count("launches"), "1");
    assert_eq!(count("global load"), (2 * 96).to_string());
    assert_eq!(count("global store"), (2 * 3 * 10).to_string());
    assert_eq!(count("global bytes"), (2 * 96 * 4 + 2 * 3 * 40).to_string());
    assert!(tables.contains("gemv_q8_0_m2"), "{tables}");
}

#[test]
#[cfg(feature = "cuda")]
fn gpus_that_cannot_be_emulated() {
    assert_fails(
        &["--device", "cpu", "--counters"],
        "--counters needs an emulated device; expected `--device emulated:9.0` or the like",
    );
    assert_fails(
        &["--device", "emulated:3.2"],
        "no preset for compute capability 3.2; there are 7.5, 8.0, 8.6, 8.9, 9.0, 10.0 and 12.0",
    );
    for device in ["auto", "all", "cuda:0"] {
        assert_fails(
            &["--device", device, "--device", "emulated:9.0"],
            "emulated devices take the place of the real driver; expected no others but the CPU beside them",
        );
    }
    assert_fails(
        &["--device", "emulated:9.0", "--isa", "portable"],
        "--isa portable needs the CPU among the devices; expected `--device cpu` or `all`",
    );
}

/// Arguments that clap refuses, with its usage lines behind the reason.
#[test]
fn arguments_that_mean_nothing() {
    let no_format = format!("invalid value 'q9_9' for '--type <TYPE>': expected {} or all", formats());
    for (arguments, reason) in [
        (["--device", "tpu"], "invalid value 'tpu' for '--device <DEVICE>': expected cpu, cuda:N, auto"),
        (["--device", "cuda:x"], "invalid value 'cuda:x' for '--device <DEVICE>': expected cpu, cuda:N"),
        (
            ["--isa", "sse9"],
            "invalid value 'sse9' for '--isa <ISA>': there is no instruction set called \"sse9\"",
        ),
        (["--type", "q9_9"], &no_format),
        (["--m", "-1"], "unexpected argument '-1'"),
        (["--n", "many"], "invalid value 'many' for '--n <N>'"),
        (["--repeat", "0"], "invalid value '0' for '--repeat <REPEAT>': 0 is not in 1.."),
        (["--tensor", "x"], "the following required arguments were not provided:\n  --gguf <FILE>"),
    ] {
        let output = warpdot(&[&["run"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(message.starts_with(&format!("error: {reason}")), "{message}");
    }
}

//! `warpdot bench` on products so small that its figures mean nothing: what it writes, and what it refuses.

mod support;

use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, fs, path::Path};
use support::*;
use warpdot::GgmlType;

const TINY: [&str; 9] =
    ["bench", "--types", "q8_0,Q4_K", "--shapes", "1x8x256,9x5x512", "--samples", "2", "--cache", "warm"];

/// What every line has at least.
const FIELDS: [&str; 14] = [
    "impl",
    "kernel",
    "numerics",
    "type",
    "m",
    "n",
    "k",
    "threads",
    "cold",
    "ms",
    "gbps",
    "gops",
    "ceiling_gbps",
    "ceiling_gops",
];

/// Runs the command in a new folder, with all its files; gives what it printed, the lines, the page, the picture.
fn bench(arguments: &[&str]) -> (String, Vec<Json>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let files = [file("lines.jsonl"), file("page.html"), file("picture.svg")];
    let outputs = ["--json", &files[0], "--report", &files[1], "--svg", &files[2]];
    let printed = prints(&[&TINY[..], &outputs, arguments].concat());
    let [lines, page, picture] = files.map(|file| fs::read_to_string(file).unwrap());
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (printed, lines, page, picture)
}

#[test]
fn every_kernel_is_in_the_table_the_lines_and_the_page() {
    let numerics = ["--numerics", "fast,reproducible"];
    let (printed, lines, page, picture) = bench(&[&["--threads", "1,2"], &numerics[..]].concat());
    assert_eq!(lines.len(), 2 * 2 * 2 * 2, "formats, shapes, threads, numerics");
    let count = |field: &str, value: Json| lines.iter().filter(|line| line[field] == value).count();
    for (field, value) in
        [("threads", json!(1)), ("threads", json!(2)), ("m", json!(9)), ("type", json!("Q4_K"))]
    {
        assert_eq!(count(field, value), 8, "{field}");
    }
    assert_eq!((count("numerics", json!("reproducible")), count("cold", json!(false))), (8, 16));
    for line in &lines {
        let missing = FIELDS.iter().find(|field| line.get(**field).is_none());
        assert_eq!(missing, None, "{line}");
        let number = |field: &str| line[field].as_f64().unwrap();
        let (m, n, k) = (number("m"), number("n"), number("k"));
        let bytes = n * if line["type"] == "Q8_0" { k / 32.0 * 34.0 } else { k / 256.0 * 144.0 };
        assert!((number("gops") * number("ms") * 1e6 / (2.0 * m * n * k) - 1.0).abs() < 1e-9, "{line}");
        assert!((number("gbps") * number("ms") * 1e6 / bytes - 1.0).abs() < 1e-9, "{line}");
        assert!(number("ceiling_gbps") > 0.0);
        assert_eq!(line["ceiling_gops"].as_f64().is_some(), cfg!(target_arch = "x86_64"), "{line}");
        assert_eq!(number("checked"), m * n, "all outputs");
        assert!((0.0..1.0).contains(&number("error_over_bound")) && number("error_over_bound") > 0.0);
        assert_eq!((&line["impl"], &line["device"]), (&json!("warpdot"), &json!("cpu")));
        for text in [&printed, &page] {
            assert!(text.contains(line["kernel"].as_str().unwrap()), "{line}");
        }
    }
    for text in
        ["CPU, 1 thread", "CPU, 2 threads", "Roofline", "reading memory: ", "GOP/s", "warpdot bench --types"]
    {
        assert!(page.contains(text), "{text}");
    }
    for text in ["CPU, 2 threads", "m = 1, n = 8, k = 256", "m = 9, n = 5, k = 512", "warpdot, reproducible"]
    {
        assert!(picture.contains(text), "{text}");
    }
}

#[test]
fn the_page_and_the_picture_fetch_nothing() {
    let (_, _, page, picture) = bench(&["--threads", "1"]);
    let namespace = "xmlns=\"http://www.w3.org/2000/svg\"";
    assert_eq!(picture.matches(namespace).count(), 1);
    for text in [page, picture.replace(namespace, "")] {
        for part in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!text.contains(part), "{part}");
        }
    }
}

/// Elements are closed in the order in which they were opened.
#[test]
fn the_picture_is_well_formed() {
    let (_, _, page, picture) = bench(&["--threads", "1"]);
    for (text, empty) in [(picture, &[][..]), (page, &["meta", "!doctype"])] {
        let mut open = Vec::new();
        for part in text.split('<').skip(1) {
            let (tag, _) = part.split_once('>').unwrap();
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') && !empty.contains(&name) {
                open.push(name);
            }
        }
        assert_eq!(open, [""; 0]);
    }
}

fn peer(library: &str, kernel: &str, ms: f64) -> Json {
    json!({
        "date": "2026-01-02", "cpu": "Another <CPU>", "impl": library, "kernel": kernel, "numerics": "fast",
        "type": "Q8_0", "m": 1, "n": 8, "k": 256, "threads": 1, "cold": false, "ms": ms, "gbps": 2.176e-3 / ms,
        "gops": 4.096e-3 / ms, "others": 0.0, "ratio": 1.0,
    })
}

fn write_lines(path: &Path, lines: &[Json]) {
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn peers_stand_beside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.jsonl");
    let ceiling = json!({ "impl": "ceiling", "kernel": "read", "threads": 1, "gbps": 9.0, "gops": null });
    let slow = peer("ggml", "CPU_slow", 0.002);
    let lines = [ceiling, peer("warpdot", "cpu-old", 0.003), peer("candle", "candle", 0.004), slow];
    write_lines(&path, &[&lines[..], &[peer("ggml", "CPU_REPACK", 0.001)]].concat());
    let (_, _, page, picture) = bench(&["--threads", "1", "--peers", path.to_str().unwrap()]);
    for text in ["cpu-old", "candle", "ggml CPU_slow", "ggml CPU_REPACK"] {
        assert!(page.contains(text), "{text} is in a table");
    }
    assert!(page.contains("another machine (Another &lt;CPU&gt;, 2026-01-02)"));
    // A mark's title; of ggml's kernels the best is drawn.
    assert!(
        picture.contains("<title>ggml CPU_REPACK, Q8_0") && picture.contains("<title>candle candle, Q8_0")
    );
    assert!(!picture.contains("CPU_slow") && !picture.contains("cpu-old"));

    write_lines(&path, &[peer("warpdot", "cpu-old", 0.003)]);
    let path = path.to_str().unwrap();
    assert_fails(
        &["bench", "--peers", path],
        &format!(
            "--peers {path}: no result in it is another library's than warpdot; expected lines of candle or ggml"
        ),
    );
}

#[test]
fn cold_weights_and_chosen_kernels() {
    let arguments = ["--cache", "cold,warm", "--threads", "1", "--kernel", "gemm-q8_0"];
    let arguments =
        [&["bench", "--types", "all", "--shapes", "1x512x1024", "--samples", "1"], &arguments[..]];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.jsonl");
    prints(&[arguments.concat(), vec!["--json", path.to_str().unwrap()]].concat());
    let lines: Vec<Json> =
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cold: Vec<&Json> = lines.iter().map(|line| &line["cold"]).collect();
    assert_eq!(cold, [true, false]);
    let kernels: BTreeSet<&str> = lines.iter().map(|line| line["kernel"].as_str().unwrap()).collect();
    assert!(kernels.len() == 1 && kernels.iter().all(|name| name.ends_with("-gemm-q8_0")), "{kernels:?}");
}

#[test]
#[cfg(feature = "cuda")]
fn emulated_gpus_are_checked_but_not_timed() {
    let arguments = [&TINY[..], &["--device", "emulated:9.0", "--device", "cpu"]].concat();
    let output = warpdot(&arguments);
    if text(&output.stderr).contains("carries no GPU kernels")
        && std::env::var_os("WARPDOT_REQUIRE_PTX").is_none()
    {
        eprintln!("skipped: this build has no GPU kernels");
        return;
    }
    let (printed, lines, page, _) = bench(&["--device", "emulated:9.0,cpu", "--threads", "1"]);
    assert_eq!(lines.len(), 8);
    for line in lines {
        let emulated = line["device"] == "emulated:9.0";
        for field in ["ms", "gbps", "gops", "ceiling_gbps", "threads"] {
            assert_eq!(line[field].is_null(), emulated, "{field}: {line}");
        }
        assert!(line["checked"].as_u64() > Some(0));
        assert!(
            printed.contains(line["kernel"].as_str().unwrap())
                && page.contains(line["kernel"].as_str().unwrap())
        );
    }
    let (_, lines, page, picture) = bench(&["--device", "emulated:9.0"]);
    assert_eq!(lines.len(), 4);
    assert!(page.contains("Nothing was timed") && picture.contains("Nothing was timed"));
}

#[test]
fn what_cannot_be_measured() {
    let kernels = |m| {
        let device = warpdot::Device::cpu();
        let mut names: Vec<String> =
            device.kernels(GgmlType::Q8_0, m).iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names.join(", ")
    };
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.jsonl");
    fs::write(&broken, "{}\n").unwrap();
    let broken = broken.to_str().unwrap();
    for (arguments, message) in [
        (
            ["--shapes", "1x8x100"],
            "k = 100 is not a multiple of 32, the weights in a block of Q8_0".to_owned(),
        ),
        (["--shapes", "0x8x32"], "m is 0: every dimension of a product must be at least 1".into()),
        (
            ["--kernel", "gemx,gemy"],
            format!(
                "--kernel gemx,gemy: no kernel of these products is called like that; expected a part of {}",
                kernels(1)
            ),
        ),
        (
            ["--device", "emulated:3.2"],
            "no preset for compute capability 3.2; there are 7.5, 8.0, 8.6, 8.9, 9.0, 10.0 and 12.0".into(),
        ),
        (
            ["--report", "no/such/folder/page.html"],
            "cannot write no/such/folder/page.html: No such file or directory (os error 2)".into(),
        ),
        (
            ["--peers", "no/such/lines.jsonl"],
            "cannot read no/such/lines.jsonl: No such file or directory (os error 2)".into(),
        ),
        (
            ["--peers", broken],
            format!(
                "{broken}, line 1: missing field `date`; expected an object with impl, kernel, numerics, type, m, n, k, \
                 threads, cold, ms, gbps and gops, as `cargo xtask peers --json FILE` writes"
            ),
        ),
    ] {
        if !cfg!(feature = "cuda") && arguments[0] == "--device" {
            continue;
        }
        let rest = if arguments[0] == "--shapes" { [""; 0].to_vec() } else { vec!["--shapes", "1x8x32"] };
        assert_fails(&[&["bench", "--types", "q8_0"], &arguments[..], &rest].concat(), &message);
    }
}

/// Arguments that clap refuses, with its usage lines behind the reason.
#[test]
fn arguments_that_mean_nothing() {
    for (arguments, reason) in [
        (
            ["--shapes", "1x2"],
            "invalid value '1x2' for '--shapes <MxNxK>': expected MxNxK, three numbers: 1x14336x4096",
        ),
        (["--shapes", "1x2xfour"], "invalid value '1x2xfour' for '--shapes <MxNxK>': expected MxNxK"),
        (["--threads", "0"], "invalid value '0' for '--threads <THREADS>': 0 is not in 1..=1024"),
        (["--types", "q9"], "invalid value 'q9' for '--types <TYPE>': expected Q4_0"),
        (["--numerics", "exact"], "invalid value 'exact' for '--numerics <NUMERICS>'"),
        (["--cache", "hot"], "invalid value 'hot' for '--cache <CACHE>'"),
        (["--samples", "0"], "invalid value '0' for '--samples <SAMPLES>': 0 is not in 1.."),
        (["--device", "tpu"], "invalid value 'tpu' for '--device <DEVICE>': expected cpu, cuda:N, auto"),
    ] {
        let output = warpdot(&[&["bench"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(message.starts_with(&format!("error: {reason}")), "{message}");
    }
}

//! The driver's library is opened on the first call, and what happens without it. The driver belongs to a process,
//! so each case runs in one of its own: this test binary again, with `report` as its only test.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

#[path = "../../../tests/again/mod.rs"]
mod again;

use std::path::{Path, PathBuf};
use std::process::Command;

use warpdot_host::{Device, driver_version};

fn loaded() -> bool {
    std::fs::read_to_string("/proc/self/maps").expect("Linux has it").contains("libcuda")
}

/// Prints what this process sees.
#[test]
#[ignore = "run by the other tests, with a libcuda of their own"]
fn report() {
    println!("loaded at start: {}", loaded());
    match driver_version() {
        Ok(version) => println!("version {version}"),
        Err(error) => println!("no version: {error}"),
    }
    println!("loaded at end: {}", loaded());
    match Device::get(0).and_then(|device| Ok((device.name()?, device))) {
        Ok((name, device)) => println!("{name}; its memory: {}", device.memory().unwrap_err()),
        Err(error) => println!("no device: {error}"),
    }
    println!("cust: {:?}", cust::init(cust::CudaFlags::empty()));
}

fn report_with(libraries: &Path) -> String {
    let output = again::this_test(Command::new("env").arg("--"))
        .args(["--exact", "report", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .expect("a running test can run again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[track_caller]
fn expect(report: &str, lines: &[&str]) {
    for line in lines {
        assert!(report.contains(line), "{line:?} is not in:\n{report}");
    }
}

#[test]
fn without_a_driver_everything_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    // The loader stops at a file of that name that is no library, so this holds on machines with a driver too.
    std::fs::write(folder.path().join("libcuda.so.1"), "no library, ".repeat(100)).expect("a file");
    let report = report_with(folder.path());
    let why = "no CUDA driver: the loader was asked for libcuda.so.1 and said: ";
    expect(
        &report,
        &[
            "loaded at start: false",
            "loaded at end: false",
            &format!("no version: {why}"),
            &format!("no device: {why}"),
            "invalid ELF header",
            "cust: Err(NoDevice)",
        ],
    );
}

#[test]
fn the_library_is_opened_on_the_first_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let library: PathBuf = folder.path().join("libcuda.so.1");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    if let Some(linker) = again::tool("LINKER") {
        rustc.args(["--target", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)]);
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    let compiled = rustc
        .args(["--edition", "2024", "-o"])
        .arg(&library)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lazy/libcuda.rs"))
        .output()
        .expect("rustc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let report = report_with(folder.path());
    expect(
        &report,
        &[
            "loaded at start: false",
            "version 13.2",
            "loaded at end: true",
            "A GPU from a file; its memory: cuDeviceTotalMem_v2 answered an error without a name (801)",
            "cust: Ok(())",
        ],
    );
}

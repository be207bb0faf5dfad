//! The tests of the crate that holds the `unsafe` code of the CPU path, compiled with AddressSanitizer.
//!
//! The sanitizer is an unstable option of the compiler, but rustup's stable toolchains come with its runtime.

use crate::cargo::Workspace;
use crate::{process, test_runs};
use anyhow::{Context, Result, ensure};
use std::env;
use std::path::Path;
use std::process::Command;

/// Runs the tests; a process in which the sanitizer does not work is a failure.
pub(crate) fn check(workspace: &Workspace) -> Result<String> {
    let host = host_with_runtime()?;
    let cargo = || {
        // The target is named so that build scripts and macros, which run in the compiler, are left alone.
        let test = ["test", "--target", &host, "--no-fail-fast", "--lib", "--tests"];
        let mut command = workspace.cargo_for_slow_tests(&test);
        command.arg("--package=warpdot-cpu").arg("--target-dir").arg(workspace.target.join("sanitizer"));
        command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
        command
    };

    // What the runtime says of itself would stand in the middle of test results, so it is asked on its own.
    let (mut binaries, mut watched) = (0, 0);
    let mut list = cargo();
    list.args(["--", "--list"]).env("ASAN_OPTIONS", "verbosity=1");
    process::run_by_lines(&mut list, |line| {
        binaries += usize::from(line.contains("Running "));
        watched += usize::from(line.contains("AddressSanitizer Init done"));
    })?;
    ensure!(
        binaries > 0 && watched == binaries,
        "AddressSanitizer is at work in {watched} of {binaries} test binaries"
    );
    test_runs::run(&mut cargo())
}

/// The compiler's name for this machine, if it has the runtime for it.
fn host_with_runtime() -> Result<String> {
    let ask = |arguments: &[&str]| {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        process::output(Command::new(rustc).args(arguments))
    };
    let version = ask(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has no host")?;
    let libraries =
        Path::new(ask(&["--print", "sysroot"])?.trim()).join("lib/rustlib").join(host).join("lib");
    let is_runtime = |name: &str| name.starts_with("librustc-") && name.contains("_rt.asan.");
    let found = libraries
        .read_dir()
        .with_context(|| format!("could not read {}", libraries.display()))?
        .flatten()
        .any(|entry| is_runtime(&entry.file_name().to_string_lossy()));
    ensure!(
        found,
        "{} has no AddressSanitizer; rustup's toolchains for Linux have it (https://rustup.rs), distributions' may not",
        libraries.display()
    );
    Ok(host.to_string())
}

//! The workspace on 64-bit Arm: cross-built, and its tests run by an emulator of processes.
//!
//! A machine that is one needs neither a cross-linker nor the emulator.

use crate::cargo::Workspace;
use crate::python::Python;
use crate::{apt, process, setup, test_runs, toolchain};
use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const NATIVE: bool = cfg!(target_arch = "aarch64");

const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
/// Where an aarch64 C library may be: the one of a foreign architecture of this system, then the cross-linker's.
/// Programs find the former by themselves, and then the loader must not be the latter's: the two libraries are not
/// of the same release, and programs hang when they start a thread.
const ROOTS: [&str; 2] = ["/", "/usr/aarch64-linux-gnu"];
/// Debian's packages of these.
const TOOLS: [&str; 3] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];
/// Debian's compiler and, of the foreign architecture, its standard library.
const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev:arm64"];

/// Builds the command with GPU support, whose trampolines must link, and multiplies with it; then runs the tests of
/// everything that computes or is written for an architecture.
pub(crate) fn check(workspace: &Workspace) -> Result<String> {
    let rustc = compiler()?;
    let emulator = if NATIVE { None } else { Some(emulator()?) };
    let python = Python::ensure(workspace)?;
    let cargo = |arguments: &[&str]| {
        let mut command = workspace.cargo_for_slow_tests(arguments);
        command.env("RUSTC", &rustc).env("WARPDOT_REQUIRE_PTX", "1");
        if let Some(emulator) = &emulator {
            command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
            command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", emulator);
        }
        command
    };

    let run = ["run", "--target", TARGET, "--package=warpdot-cli", "--", "run"];
    let problem = ["--device=cpu", "--type=Q4_0,Q4_K", "--m=1,9", "--n=64", "--k=1024"];
    process::run(&mut cargo(&[&run[..], &problem].concat()))?;

    // The library without its feature `cuda`: emulated GPUs in an emulated process take minutes.
    let mut tests = cargo(&["test", "--target", TARGET, "--no-fail-fast", "--lib", "--tests"]);
    for package in ["formats", "gguf", "cpu", "host"] {
        tests.arg(format!("--package=warpdot-{package}"));
    }
    tests.args(["--package=warpdot", "--", "--include-ignored"]);
    test_runs::run(tests.env("WARPDOT_PYTHON", &python.interpreter))
}

/// A compiler that has the target's standard library: the active one, for which rustup may get it, or the
/// distribution's.
fn compiler() -> Result<PathBuf> {
    let active = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let find =
        || [active.as_path(), Path::new(toolchain::DISTRIBUTION)].into_iter().find(|rustc| has_target(rustc));
    let ways: [setup::Way; 2] = [("rustup", || setup::rustup(TARGET)), ("apt-get", distribution)];
    let rustc = find().or_else(|| {
        println!("No Rust compiler here has the target {TARGET} yet.");
        setup::get(&ways, find)
    });
    let rustc = rustc.with_context(|| {
        format!(
            "no Rust compiler here has the target {TARGET}; do one of these:\n\
             - with a network: rustup target add {TARGET}\n\
             - on Debian: sudo dpkg --add-architecture arm64 && sudo apt-get update && sudo apt-get install {}",
            COMPILER.join(" ")
        )
    })?;
    println!("{} compiles for {TARGET}.", rustc.display());
    Ok(rustc.into())
}

fn has_target(rustc: &Path) -> bool {
    let sysroot = process::output(Command::new(rustc).args(["--print", "sysroot"]));
    sysroot.is_ok_and(|path| {
        toolchain::has_core(&Path::new(path.trim()).join("lib/rustlib").join(TARGET).join("lib"))
    })
}

fn distribution() -> Result<()> {
    apt::ensure_usable()?;
    process::run(Command::new("dpkg").args(["--add-architecture", "arm64"]))?;
    apt::install(&COMPILER)
}

/// The emulator with its arguments; there is a linker, too.
fn emulator() -> Result<String> {
    if let Some(emulator) = find_emulator() {
        return Ok(emulator);
    }
    let advice = || {
        format!(
            "tests for aarch64 need {LINKER}, {EMULATOR} and a C library in {}; on Debian: \
             sudo apt-get install {}",
            ROOTS[1],
            TOOLS.join(" ")
        )
    };
    println!("Installing {}.", TOOLS.join(", "));
    apt::ensure_usable().and_then(|()| apt::install(&TOOLS)).with_context(advice)?;
    find_emulator().with_context(advice)
}

fn find_emulator() -> Option<String> {
    let runs = |program| process::succeeds(Command::new(program).arg("--version"));
    let root = ROOTS.into_iter().find(|root| Path::new(root).join("lib/ld-linux-aarch64.so.1").exists())?;
    // Linking takes more than the loader, and only the cross-linker's package has it for sure.
    let complete = Path::new(ROOTS[1]).join("lib/crt1.o").exists();
    (complete && [LINKER, EMULATOR].into_iter().all(runs)).then(|| format!("{EMULATOR} -L {root}"))
}

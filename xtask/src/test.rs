//! Everything that continuous integration checks, one step after the other; the first failure ends it.

use crate::cargo::{Release, Workspace};
use crate::python::Python;
use crate::{aarch64, features, process, ptxas, sanitizer, setup, test_runs};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct Arguments {
    /// List the steps.
    #[arg(long)]
    list: bool,
    /// Take only these steps; may be given several times.
    #[arg(long, value_name = "STEP", value_parser = step)]
    only: Vec<&'static Step>,
}

/// One step; what it returns is its line in the summary.
#[derive(Debug)]
struct Step {
    name: &'static str,
    about: &'static str,
    check: fn(&Workspace) -> Result<String>,
}

const STEPS: &[Step] = &[
    Step { name: "setup", about: "what the other steps need is there", check: set_up },
    Step { name: "format", about: "the sources are formatted", check: format },
    Step { name: "clippy", about: "no lint warns, with and without features", check: clippy },
    Step { name: "docs", about: "the documentation builds without a warning", check: docs },
    Step {
        name: "features",
        about: "without `cuda` the library compiles nothing for GPUs",
        check: features::check,
    },
    Step { name: "build", about: "the release build, with GPU kernels", check: build },
    Step { name: "linkage", about: "the command needs no GPU driver to start", check: linkage },
    Step {
        name: "ptxas",
        about: "NVIDIA's assembler takes every kernel and spills nothing",
        check: assemble,
    },
    Step { name: "tests", about: "all tests that need neither Python nor optimization", check: tests },
    Step { name: "doctests", about: "the examples in the documentation", check: doctests },
    Step { name: "benches", about: "the benches run, and their products are right", check: benches },
    Step {
        name: "release",
        about: "tests that need Python packages (a real model's weights among them) or optimization",
        check: release,
    },
    Step {
        name: "sanitizer",
        about: "AddressSanitizer finds nothing in the tests of the CPU path",
        check: sanitizer::check,
    },
    Step {
        name: "aarch64",
        about: "the command and tests, cross-built for 64-bit Arm and emulated",
        check: aarch64::check,
    },
];

fn step(name: &str) -> Result<&'static Step, String> {
    let names = || STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
    STEPS.iter().find(|step| step.name == name).ok_or_else(|| format!("the steps are {}", names()))
}

/// Takes the steps and prints how long each took.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        STEPS.iter().for_each(|step| println!("{:10} {}", step.name, step.about));
        return Ok(());
    }
    let all: Vec<&Step> = STEPS.iter().collect();
    let steps = if arguments.only.is_empty() { &all } else { &arguments.only };
    let workspace = Workspace::locate()?;
    let mut rows = Vec::new();
    for step in steps {
        println!("\n=== {}: {}", step.name, step.about);
        let start = Instant::now();
        let result = (step.check)(&workspace);
        let time = start.elapsed();
        println!("--- {}: {:.1} s", step.name, time.as_secs_f64());
        rows.push((step.name, time, result.as_ref().map_or("FAILED".to_string(), String::clone)));
        if let Err(error) = result {
            summarize(&rows);
            return Err(error.context(format!(
                "the step `{0}` failed; `cargo xtask test --only {0}` repeats it",
                step.name
            )));
        }
    }
    summarize(&rows);
    println!("\nEverything is fine.");
    Ok(())
}

fn summarize(rows: &[(&str, Duration, String)]) {
    println!();
    for (name, time, line) in rows {
        println!("{name:10} {:7.1} s  {line}", time.as_secs_f64());
    }
    let total: Duration = rows.iter().map(|(_, time, _)| time).sum();
    println!("{:10} {:7.1} s", "all", total.as_secs_f64());
}

/// A cargo command, for which a build without GPU kernels is an error.
fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = workspace.cargo(arguments);
    command.env("WARPDOT_REQUIRE_PTX", "1");
    command
}

fn set_up(workspace: &Workspace) -> Result<String> {
    setup::run()?;
    Python::ensure(workspace)?;
    Ok("a compiler for GPU kernels, Python packages".into())
}

fn format(workspace: &Workspace) -> Result<String> {
    process::run(&mut cargo(workspace, &["fmt", "--all", "--check"]))?;
    Ok("formatted".into())
}

fn clippy(workspace: &Workspace) -> Result<String> {
    let strict = ["--", "-Dwarnings"];
    for what in [&["--workspace", "--all-targets"][..], &["--package=warpdot", "--all-targets"]] {
        process::run(&mut cargo(workspace, &[&["clippy"], what, &strict].concat()))?;
    }
    Ok("no warnings".into())
}

fn docs(workspace: &Workspace) -> Result<String> {
    let mut command = cargo(workspace, &["doc", "--workspace", "--no-deps"]);
    process::run(command.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    Ok("no warnings".into())
}

fn build(workspace: &Workspace) -> Result<String> {
    Ok(format!("{} PTX files", Release::build(workspace)?.ptx.len()))
}

fn linkage(workspace: &Workspace) -> Result<String> {
    let command = Release::build(workspace)?.command;
    let libraries = process::output(Command::new("ldd").arg(&command))?;
    print!("{libraries}");
    ensure!(libraries.contains("libc.so"), "ldd does not even list the C library");
    ensure!(!libraries.contains("libcuda"), "{} cannot start without libcuda", command.display());
    let opens = fs::read(&command)?.windows(12).any(|window| window == b"libcuda.so.1");
    ensure!(opens, "{} never opens libcuda: was it built without GPU support?", command.display());
    Ok("libcuda is not linked, but opened when there is one".into())
}

fn assemble(workspace: &Workspace) -> Result<String> {
    let python = Python::ensure(workspace)?;
    let files = Release::build(workspace)?.ptx;
    ptxas::check(&python, &files, &workspace.target.join("cubin"))
}

fn tests(workspace: &Workspace) -> Result<String> {
    let targets = ["--lib", "--bins", "--tests", "--examples"];
    let mut command = cargo(workspace, &[&["test", "--workspace", "--no-fail-fast"], &targets[..]].concat());
    test_runs::run(command.env_remove("WARPDOT_PYTHON"))
}

fn doctests(workspace: &Workspace) -> Result<String> {
    test_runs::run(&mut cargo(workspace, &["test", "--workspace", "--doc", "--no-fail-fast"]))
}

/// Once each, in release: they check what they time.
fn benches(workspace: &Workspace) -> Result<String> {
    process::run(&mut cargo(workspace, &["test", "--release", "--workspace", "--bench", "*"]))?;
    Ok("ran once, untimed".into())
}

/// The tests that the step `tests` leaves out or that skip what needs Python, in release.
fn release(workspace: &Workspace) -> Result<String> {
    let python = Python::ensure(workspace)?;
    let mut command = cargo(workspace, &["test", "--release", "--workspace", "--no-fail-fast"]);
    for test in release_tests(&workspace.root)? {
        command.args(["--test", &test]);
    }
    command.args(["--", "--include-ignored", "--nocapture"]);
    test_runs::run(command.env("WARPDOT_PYTHON", &python.interpreter))
}

/// The names of the integration tests, in the folders of all packages, that say that they need Python or
/// optimization.
fn release_tests(root: &Path) -> Result<Vec<String>> {
    let says_so = |source: &str| {
        source.contains("WARPDOT_PYTHON") || source.contains("cfg_attr(debug_assertions, ignore")
    };
    let mut names = Vec::new();
    let packages = fs::read_dir(root)?.map(|entry| Ok(entry?.path())).chain([Ok(root.to_path_buf())]);
    for package in packages.collect::<Result<Vec<_>>>()? {
        if !package.join("Cargo.toml").is_file() || !package.join("tests").is_dir() {
            continue;
        }
        for entry in fs::read_dir(package.join("tests"))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "rs")
                && says_so(&fs::read_to_string(&file)?)
            {
                let name = file.file_stem().context("a file has a name")?;
                names.push(name.to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no test says that it needs Python or optimization");
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_by_name() {
        for expected in STEPS {
            assert_eq!(step(expected.name).unwrap().name, expected.name);
        }
        assert!(step("fromat").unwrap_err().contains("format, clippy"));
    }

    #[test]
    fn the_tests_that_need_python_or_optimization_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let names = release_tests(root).unwrap();
        for expected in ["gguf_oracle", "python", "real_weights", "run"] {
            assert!(names.iter().any(|name| name == expected), "{expected} is not among {names:?}");
        }
    }
}

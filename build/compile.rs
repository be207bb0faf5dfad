//! The steps from sources to PTX, each a plain `rustc` invocation.

use crate::arch::Code;
use crate::cache::{self, Cache};
use crate::toolchain::{Core, TARGET, Toolchain};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const EDITION: &str = "2024";

/// The options given here are part of what decides whether something must be compiled again.
const THIS: &str = include_str!("compile.rs");

/// What stands between the kernels and `core`: every crate without `std` asks for it, but GPUs have the
/// instructions that it would provide.
const COMPILER_BUILTINS: &str =
    "#![feature(no_core, compiler_builtins)]\n#![compiler_builtins]\n#![no_core]\n#![no_std]\n";

/// Families whose arrays are small enough for registers, but whose loops over them the compiler would find too long to
/// unroll: an array stays in registers only where no index into it is variable.
const UNROLL: [&str; 1] = ["quantize_rows"];

/// A key that differs whenever the same sources may compile to something else.
fn key(toolchain: &Toolchain) -> u64 {
    cache::key((THIS, &toolchain.version, format!("{:?}", toolchain.rustc())))
}

/// Compiles `core`, unless `cache` or the toolchain has it; the folder to use as `--sysroot` if not the
/// toolchain's own.
pub(crate) fn core(toolchain: &Toolchain, cache: &Cache) -> Result<Option<PathBuf>, String> {
    let Core::Sources(sources) = &toolchain.core else { return Ok(None) };
    let make = |sysroot: &Path| {
        let lib = sysroot.join("lib/rustlib").join(TARGET).join("lib");
        let stub = sysroot.join("compiler_builtins.rs");
        fs::create_dir_all(&lib)
            .and_then(|()| fs::write(&stub, COMPILER_BUILTINS))
            .map_err(|error| format!("{}: {error}", sysroot.display()))?;
        let library = |name: &str, source: &Path, edition: &str| {
            run(toolchain
                .rustc()
                .args(["--crate-type=rlib", "--crate-name", name, "--edition", edition, "--cap-lints=allow"])
                .arg("-Zforce-unstable-if-unmarked")
                .arg("--sysroot")
                .arg(sysroot)
                .arg("--out-dir")
                .arg(&lib)
                .arg(source))
        };
        library("core", &sources.join("core/src/lib.rs"), &edition_of_core(sources))?;
        library("compiler_builtins", &stub, EDITION)
    };
    cache.folder("core", cache::key((key(toolchain), sources)), make).map(Some)
}

/// The edition in the manifest of `core`.
fn edition_of_core(sources: &Path) -> String {
    let manifest = fs::read_to_string(sources.join("core/Cargo.toml")).unwrap_or_default();
    let edition = manifest.lines().find_map(|line| line.strip_prefix("edition = "));
    edition.unwrap_or(EDITION).trim_matches('"').into()
}

/// The crates that make up a module.
pub(crate) struct Sources<'a> {
    /// The folder of the formats' sources.
    pub(crate) formats: &'a Path,
    /// The folder of the kernels' sources.
    pub(crate) kernels: &'a Path,
    /// The names of the kernels' families.
    pub(crate) families: &'a [&'a str],
}

/// A compiler with everything that modules are compiled from.
pub(crate) struct Modules<'a> {
    toolchain: &'a Toolchain,
    sysroot: Option<PathBuf>,
    sources: Sources<'a>,
    /// A folder for what is not a module.
    folder: &'a Path,
    /// The compiled formats; they are the same for all modules.
    formats: OnceLock<Result<PathBuf, String>>,
    check_cfg: String,
    key: u64,
}

impl<'a> Modules<'a> {
    pub(crate) fn new(
        toolchain: &'a Toolchain,
        sysroot: Option<PathBuf>,
        sources: Sources<'a>,
        folder: &'a Path,
    ) -> Result<Self, String> {
        let check_cfg = format!("cfg(family, values(\"{}\"))", sources.families.join("\", \""));
        let key = cache::key((key(toolchain), cache::key_of_files(&[sources.formats, sources.kernels])?));
        Ok(Self { toolchain, sysroot, sources, folder, formats: OnceLock::new(), check_cfg, key })
    }

    /// A key that differs whenever the PTX may.
    pub(crate) fn key(&self, code: Code, family: &str) -> u64 {
        cache::key((self.key, code.cpu, code.feature, code.ampere, family))
    }

    fn formats(&self) -> Result<&Path, String> {
        let compile = || {
            let library = self.folder.join("libwarpdot_formats.rlib");
            run(self
                .rustc("warpdot_formats")
                .args(["--crate-type=rlib", "--cap-lints=allow", "-o"])
                .args([library.as_path(), &self.sources.formats.join("lib.rs")]))?;
            Ok(library)
        };
        self.formats.get_or_init(compile).as_deref().map_err(Clone::clone)
    }

    /// Compiles the kernels of `family` as `code`, in a folder of their own, and returns the PTX.
    pub(crate) fn compile(&self, code: Code, family: &str, folder: &Path) -> Result<String, String> {
        let mut command = self.rustc("warpdot_kernels");
        command
            .args(["--crate-type=cdylib", "-Clto=fat", "-Ccodegen-units=1"])
            .args(UNROLL.contains(&family).then_some("-Cllvm-args=-unroll-threshold=1000"))
            .arg(format!("-Ctarget-cpu={}", code.cpu))
            .args(code.feature.map(|feature| format!("-Ctarget-feature={feature}")))
            .args(["--check-cfg", "cfg(test, ampere)", "--check-cfg", &self.check_cfg])
            .args(code.ampere.then_some("--cfg=ampere"))
            .args(["--cfg", &format!("family=\"{family}\"")])
            .arg(format!("--extern=warpdot_formats={}", self.formats()?.display()))
            .args(["--emit=asm", "--out-dir"])
            .arg(folder)
            .arg(self.sources.kernels.join("lib.rs"));
        run(&mut command)?;
        let ptx = folder.join("warpdot_kernels.s");
        fs::read_to_string(&ptx).map_err(|error| format!("{}: {error}", ptx.display()))
    }

    fn rustc(&self, name: &str) -> Command {
        let mut command = self.toolchain.rustc();
        command.args(["--edition", EDITION, "--crate-name", name]);
        if let Some(sysroot) = &self.sysroot {
            command.arg("--sysroot").arg(sysroot);
        }
        command
    }
}

/// Runs a compiler; its warnings become the build's.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{messages}\nfailed: {command:?}"));
    }
    for message in messages.split("\n\n").filter(|message| !is_noise(message)) {
        for line in message.lines() {
            println!("cargo::warning={line}");
        }
    }
    Ok(())
}

/// Whether a warning says only that PTX versions are unstable features, or counts the warnings.
fn is_noise(message: &str) -> bool {
    message.trim().is_empty() || message.contains("`-Ctarget-feature`") || message.contains("emitted")
}

//! Finds a Rust compiler that can make PTX, and the `core` library for it.
//!
//! Only `core` is needed. A toolchain has it compiled (rustup's `nvptx64-nvidia-cuda` target), or as sources
//! (rustup's `rust-src`, a distribution's source package), which are then compiled once.

use crate::arch::Code;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler's name for NVIDIA GPUs.
pub(crate) const TARGET: &str = "nvptx64-nvidia-cuda";

/// The compiler of a distribution, which stands beside rustup's.
pub(crate) const DISTRIBUTION: &str = "/usr/bin/rustc";

/// A compiler that can make PTX.
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    /// What `rustc -vV` prints.
    pub(crate) version: String,
    /// Where `core` comes from.
    pub(crate) core: Core,
    /// Whether the compiler insists on one `-C target-cpu` for all crates of a module.
    insists_on_one_cpu: bool,
}

/// Where the `core` library comes from.
pub(crate) enum Core {
    /// Compiled, in the toolchain.
    Installed,
    /// From the folder of the standard library's sources.
    Sources(PathBuf),
}

/// Why there is no toolchain.
pub(crate) enum Failure {
    /// The one that was asked for cannot be used.
    Unusable(String),
    /// None of those tried, with the reasons.
    None(String),
}

/// The first toolchain that can compile for `codes`: `WARPDOT_NVPTX_RUSTC` or else the active one, then the
/// distribution's.
pub(crate) fn find(codes: &[Code]) -> Result<Toolchain, Failure> {
    if let Some(rustc) = env::var_os("WARPDOT_NVPTX_RUSTC").filter(|rustc| !rustc.is_empty()) {
        let rustc = PathBuf::from(rustc);
        return Toolchain::at(&rustc, codes).map_err(|reason| {
            Failure::Unusable(format!("WARPDOT_NVPTX_RUSTC: {}: {reason}", rustc.display()))
        });
    }
    let active = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let mut reasons = Vec::new();
    for rustc in [active.as_path(), Path::new(DISTRIBUTION)] {
        match Toolchain::at(rustc, codes) {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => reasons.push(format!("{}: {reason}", rustc.display())),
        }
    }
    Err(Failure::None(reasons.join("; ")))
}

impl Toolchain {
    /// The toolchain of the compiler `rustc`, or why it cannot be used.
    fn at(rustc: &Path, codes: &[Code]) -> Result<Self, String> {
        let version = ask(rustc, &["-vV"])?;
        let known = ask(rustc, &["--print", "target-cpus", "--target", TARGET])?;
        let known: Vec<&str> = known.split_whitespace().collect();
        if let Some(code) = codes.iter().find(|code| !known.contains(&code.cpu)) {
            return Err(format!("this compiler does not know {}", code.cpu));
        }
        let sysroot = PathBuf::from(ask(rustc, &["--print", "sysroot"])?.trim());
        let rustlib = sysroot.join("lib/rustlib");
        let sources = rustlib.join("src/rust/library");
        let core = if has_core(&rustlib.join(TARGET).join("lib")) {
            Core::Installed
        } else if sources.join("core/src/lib.rs").is_file() {
            Core::Sources(sources)
        } else {
            return Err(format!(
                "{} has neither the target {TARGET} nor the sources of core",
                sysroot.display()
            ));
        };
        let spec = ask(rustc, &["-Zunstable-options", "--print", "target-spec-json", "--target", TARGET])?;
        let insists_on_one_cpu = spec.contains("\"requires-consistent-cpu\": true");
        Ok(Self { rustc: rustc.into(), version, core, insists_on_one_cpu })
    }

    /// A command that compiles for GPUs, with the options that all crates share.
    pub(crate) fn rustc(&self) -> Command {
        let mut command = unstable(&self.rustc);
        command.args(["--target", TARGET, "-Copt-level=3", "-Cpanic=abort"]);
        if self.insists_on_one_cpu {
            // Libraries here are bitcode without an architecture, which a module's own `-C target-cpu` decides.
            command.arg("-Cunsafe-allow-abi-mismatch=target-cpu");
        }
        command
    }
}

/// The compiler with unstable features, in that process alone.
fn unstable(rustc: &Path) -> Command {
    let mut command = Command::new(rustc);
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

/// What `rustc` prints when it is called with `args`.
fn ask(rustc: &Path, args: &[&str]) -> Result<String, String> {
    let output = unstable(rustc).args(args).output().map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        let complaint = text(output.stderr);
        Err(complaint.lines().next().unwrap_or("failed without a message").into())
    }
}

/// Whether a folder of compiled libraries has `core`.
pub(crate) fn has_core(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

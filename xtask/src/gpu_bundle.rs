//! Tests and benches for a machine that has a GPU driver but no Rust: an archive in one folder with a script.

use crate::cargo::{self, Artifact, Message, Workspace};
use crate::{process, setup};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::{ffi::OsStrExt, fs::PermissionsExt};
use std::path::Path;
use std::process::Command;

const SCRIPT: &str = include_str!("gpu_bundle/run.sh");
/// What another library does on the same GPU, for a Python that has it.
const PEERS: &str = include_str!("gpu_bundle/peers.py");
/// Small enough to be sent to wherever the GPU is.
const LIMIT: u64 = 60 << 20;
/// The example that records what a GPU makes of each instruction.
const RECORDER: &str = "recorder";
/// Packages whose tests say nothing about a GPU or its machine.
const ELSEWHERE: [&str; 2] = ["warpdot-emulator", "xtask"];

/// Builds the programs in release and gathers those that need nothing else of this machine.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    setup::run()?;
    let targets = ["--lib", "--bins", "--tests", "--benches"];
    let arguments = [&["test", "--release", "--workspace", "--no-run"], &targets[..]].concat();
    // A build of its own: `cargo test` would make a test of the example.
    let example = ["build", "--release", "--workspace", "--example", RECORDER];
    let mut messages = Vec::new();
    for arguments in [&arguments[..], &example] {
        let mut build = workspace.cargo(arguments);
        build.env("WARPDOT_REQUIRE_PTX", "1");
        messages.extend(cargo::build(build)?);
    }

    let bundle = workspace.target.join("gpu-bundle");
    let programs = workspace.target.join("gpu-bundle-programs");
    for folder in [&bundle, &programs] {
        // An older one may have files that are no more.
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
    }
    let mut names = Vec::new();
    for message in &messages {
        let Message::CompilerArtifact(artifact) = message else { continue };
        let (Some(place), Some(executable)) = (place(artifact), &artifact.executable) else { continue };
        let path = programs.join(&place);
        fs::create_dir_all(path.parent().context("a place has a folder")?)?;
        process::output(Command::new("strip").arg("-o").args([&path, executable]))?;
        if needs_this_machine(&path, &workspace)? {
            println!("left out, as it uses files of this checkout: {place}");
            fs::remove_file(&path)?;
        } else {
            names.push(place);
        }
    }
    for needed in ["bin/warpdot", "bin/recorder", "tests/warpdot-conformance"] {
        ensure!(names.iter().any(|name| name == needed), "the bundle lacks {needed}: it has {names:?}");
    }
    // Most of a program's size is code of every format and PTX of every architecture, which pack well.
    let archive = bundle.join("programs.tar.gz");
    process::output(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&programs).arg("."))?;
    fs::write(bundle.join("commit"), commit(&workspace)?)?;
    fs::write(bundle.join("peers.py"), PEERS)?;
    let script = bundle.join("run.sh");
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;

    let size = size(&bundle)?;
    let (size_mib, limit_mib) = (size as f64 / f64::from(1 << 20), LIMIT >> 20);
    names.iter().for_each(|name| println!("  {name}"));
    ensure!(size < LIMIT, "{} has {size_mib:.1} MiB; at most {limit_mib} are wanted", bundle.display());
    println!("{}: {} programs, {size_mib:.1} MiB. Copy it and start run.sh.", bundle.display(), names.len());
    Ok(())
}

/// Where a program goes, if it is one for the bundle: the command, the recorder, a test or a bench.
fn place(artifact: &Artifact) -> Option<String> {
    let package = cargo::package_name(&artifact.package_id);
    let target = &artifact.target;
    let kind = target.kind.first()?.as_str();
    if kind == "example" && target.name == RECORDER && !artifact.profile.test {
        return Some(format!("bin/{RECORDER}"));
    }
    if ELSEWHERE.contains(&package) {
        return None;
    }
    match kind {
        "bin" if !artifact.profile.test => Some(format!("bin/{}", target.name)),
        "bench" => Some(format!("benches/{package}-{}", target.name)),
        "test" => Some(format!("tests/{package}-{}", target.name)),
        "lib" | "bin" if artifact.profile.test => Some(format!("tests/{package}-unit")),
        _ => None,
    }
}

/// Whether a program has a path of this checkout in it, as those have that read a file beside their sources or
/// start another program.
fn needs_this_machine(program: &Path, workspace: &Workspace) -> Result<bool> {
    let bytes = fs::read(program)?;
    let contains = |path: &Path| {
        let path = path.as_os_str().as_bytes();
        bytes.windows(path.len()).any(|window| window == path)
    };
    Ok(contains(&workspace.root) || contains(&workspace.target))
}

/// The commit that the programs were built from, and whether anything was changed since.
fn commit(workspace: &Workspace) -> Result<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).current_dir(&workspace.root);
    process::output(&mut git).context("the bundle names the commit that it was built from")
}

fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(package: &str, name: &str, kind: &str, test: bool) -> Option<String> {
        let line = format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///a/{package}#0.1.0","target":
               {{"name":"{name}","kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":"/x"}}"#
        );
        match &cargo::parse(&line.replace('\n', "")).unwrap()[..] {
            [Message::CompilerArtifact(artifact)] => place(artifact),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn programs_have_places() {
        let some = |place: &str| Some(place.to_string());
        assert_eq!(place_of("cli", "warpdot", "bin", false), some("bin/warpdot"));
        assert_eq!(place_of("cli", "warpdot", "bin", true), some("tests/cli-unit"));
        assert_eq!(place_of("cpu", "warpdot_cpu", "lib", true), some("tests/cpu-unit"));
        assert_eq!(place_of("cpu", "warpdot_cpu", "lib", false), None);
        assert_eq!(place_of("cpu", "matmul", "bench", true), some("benches/cpu-matmul"));
        assert_eq!(place_of("cpu", "errors", "test", true), some("tests/cpu-errors"));
        assert_eq!(place_of("warpdot-emulator", "kernels", "test", true), None);
        assert_eq!(place_of("warpdot-emulator", "recorder", "example", false), some("bin/recorder"));
        assert_eq!(place_of("warpdot-emulator", "recorder", "example", true), None);
        assert_eq!(place_of("warpdot-host", "devices", "example", false), None);
        assert_eq!(place_of("cpu", "build-script-build", "custom-build", false), None);
    }
}

//! Nested cargo commands, and what cargo says about them in JSON.

use crate::process;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where things are.
pub(crate) struct Workspace {
    /// The folder of the workspace's manifest.
    pub(crate) root: PathBuf,
    /// The folder for whatever is built.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// The workspace that this program belongs to.
    pub(crate) fn locate() -> Result<Self> {
        #[derive(Deserialize)]
        struct Metadata {
            workspace_root: PathBuf,
            target_directory: PathBuf,
        }
        let mut command = Command::new(cargo());
        command.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        let metadata: Metadata = serde_json::from_str(&process::output(&mut command)?)?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory })
    }

    /// A cargo command in the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// The same, for tests that run slowly and are compiled for one run: with overflow checks and a little
    /// optimization, without which kernels that tests instantiate take minutes.
    pub(crate) fn cargo_for_slow_tests(&self, arguments: &[&str]) -> Command {
        let mut command = self.cargo(arguments);
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1").env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        command
    }
}

/// The cargo that runs this program.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into()
}

/// What a cargo command made, one of cargo's JSON messages.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub(crate) enum Message {
    /// A compiled target.
    CompilerArtifact(Artifact),
    /// A build script that ran, now or for an earlier build.
    BuildScriptExecuted {
        /// The package, as a URL with its name and version at the end.
        package_id: String,
        /// The script's output folder.
        out_dir: PathBuf,
    },
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A compiled target of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) package_id: String,
    pub(crate) target: Target,
    pub(crate) profile: Profile,
    /// The file to run, if it is one.
    pub(crate) executable: Option<PathBuf>,
}

/// A target's name in its manifest.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// How a target was compiled.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    pub(crate) test: bool,
}

/// Runs a cargo command that builds, and returns what it made.
pub(crate) fn build(mut command: Command) -> Result<Vec<Message>> {
    println!("$ {}", process::shown(&command));
    parse(&process::output(command.arg("--message-format=json-render-diagnostics"))?)
}

/// Reads cargo's messages, one a line.
pub(crate) fn parse(lines: &str) -> Result<Vec<Message>> {
    let message =
        |line| serde_json::from_str(line).with_context(|| format!("not a message of cargo: {line}"));
    lines.lines().map(message).collect()
}

/// The name in a package id such as `path+file:///a/b/xtask#0.1.0`, `path+file:///a#warpdot@0.1.0` or
/// `registry+https://…#cust@0.3.2`.
pub(crate) fn package_name(id: &str) -> &str {
    let (url, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => url.rsplit('/').next().unwrap_or(url),
    }
}

/// The release build of the whole workspace.
pub(crate) struct Release {
    /// The `warpdot` command.
    pub(crate) command: PathBuf,
    /// The embedded PTX files, sorted.
    pub(crate) ptx: Vec<PathBuf>,
}

impl Release {
    /// Builds the command; without GPU kernels that is an error.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        let mut command = workspace.cargo(&["build", "--release", "--workspace"]);
        command.env("WARPDOT_REQUIRE_PTX", "1");
        let messages = build(command)?;
        let command = messages.iter().find_map(|message| match message {
            Message::CompilerArtifact(artifact) if artifact.target.name == "warpdot" => {
                artifact.executable.clone()
            }
            _ => None,
        });
        let ptx = ptx_files(&messages)?;
        ensure!(!ptx.is_empty(), "the build embedded no PTX");
        Ok(Self { command: command.context("the build made no `warpdot` command")?, ptx })
    }
}

/// The PTX files that the library's build script wrote.
pub(crate) fn ptx_files(messages: &[Message]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for message in messages {
        let Message::BuildScriptExecuted { package_id, out_dir } = message else { continue };
        let folder = out_dir.join("ptx");
        if package_name(package_id) != "warpdot" || !folder.is_dir() {
            continue;
        }
        for entry in folder.read_dir()? {
            files.push(entry?.path());
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ptx"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_names() {
        assert_eq!(package_name("path+file:///home/a/b/xtask#0.1.0"), "xtask");
        assert_eq!(package_name("path+file:///home/a/b#warpdot@0.1.0"), "warpdot");
        assert_eq!(package_name("registry+https://github.com/rust-lang/crates.io-index#cust@0.3.2"), "cust");
    }
}

//! Products of warpdot and of other libraries side by side: `benches/peers`, a workspace of its own.

use crate::cargo::Workspace;
use crate::process;
use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Compare with candle only: ggml takes cmake, clang (16 or later on CPUs with AMX, named by CC and CXX) and
    /// libclang to build.
    #[arg(long)]
    no_ggml: bool,
    /// Append one JSON object a line to this file: impl, kernel, numerics, type, m, n, k, threads, cold, ms, gbps, gops,
    /// ceiling_gbps, ceiling_gops and more. `warpdot bench --peers` shows them.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// More arguments for the program, after `--`; `-- --help` lists them.
    #[arg(last = true, value_name = "ARGUMENT")]
    rest: Vec<OsString>,
}

/// Builds and runs the program.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let here = std::env::current_dir().context("the folder that --json starts from")?;
    process::run(&mut command(&workspace, arguments, &here))
}

/// cargo in the other workspace, whose folder has its own settings; so files are named from `here`.
fn command(workspace: &Workspace, arguments: &Arguments, here: &Path) -> Command {
    let mut command = workspace.cargo(&["run", "--release", "--bin", "warpdot-peers"]);
    command.current_dir(workspace.root.join("benches/peers"));
    if !arguments.no_ggml {
        command.args(["--features", "ggml"]);
        // GCC 12 drops a store that ggml's AMX path needs.
        for (variable, compiler) in [("CC", "clang"), ("CXX", "clang++")] {
            if std::env::var_os(variable).is_none() {
                command.env(variable, compiler);
            }
        }
    }
    command.arg("--");
    if let Some(file) = &arguments.json {
        command.arg("--json").arg(here.join(file));
    }
    command.args(&arguments.rest);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn shown(arguments: &[&str]) -> String {
        let workspace = Workspace { root: "/root".into(), target: "/root/target".into() };
        let arguments = Cli::try_parse_from([&["peers"], arguments].concat()).unwrap().arguments;
        let command = command(&workspace, &arguments, Path::new("/here"));
        assert_eq!(command.get_current_dir(), Some(Path::new("/root/benches/peers")));
        process::shown(&command)
    }

    #[test]
    fn arguments_reach_the_program_and_files_are_named_from_here() {
        let plain = shown(&["--no-ggml"]);
        assert!(plain.ends_with("cargo run --release --bin warpdot-peers --"), "{plain}");
        let all = shown(&["--json", "a.jsonl", "--", "--types", "all", "--m", "1"]);
        assert!(
            all.ends_with("warpdot-peers --features ggml -- --json /here/a.jsonl --types all --m 1"),
            "{all}"
        );
        let elsewhere = shown(&["--no-ggml", "--json", "/tmp/b.jsonl"]);
        assert!(elsewhere.ends_with("-- --json /tmp/b.jsonl"), "{elsewhere}");
    }

    #[test]
    fn arguments_of_the_program_stand_behind_two_dashes() {
        assert!(Cli::try_parse_from(["peers", "--types", "all"]).is_err());
    }
}

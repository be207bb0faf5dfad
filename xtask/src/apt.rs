//! Packages of Debian and its relatives.

use crate::process;
use anyhow::{Result, ensure};
use std::process::Command;

/// Whether packages can be installed by `apt-get`, without asking for a password.
pub(crate) fn usable() -> bool {
    ensure_usable().is_ok()
}

/// An error that says why packages cannot be installed, if they cannot.
pub(crate) fn ensure_usable() -> Result<()> {
    ensure!(available(), "this is no Debian-family machine");
    ensure!(is_root(), "only root may install packages");
    Ok(())
}

fn available() -> bool {
    process::succeeds(Command::new("apt-get").arg("--version"))
}

/// Installs packages from refreshed lists.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    process::run(Command::new("apt-get").args(["update", "--quiet"]))?;
    process::run(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

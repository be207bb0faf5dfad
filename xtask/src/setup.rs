//! Gets a Rust compiler that can make PTX.
//!
//! The build script and this task look for one in the same way, by the same code.

use crate::toolchain::{self, Core, Failure, TARGET, Toolchain};
use crate::{apt, arch, process};
use anyhow::{Context, Result, anyhow, bail};
use std::process::Command;

const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Makes sure that the GPU kernels can be compiled.
pub(crate) fn run() -> Result<()> {
    let reasons = match find()? {
        Ok(toolchain) => {
            println!("{}: there is nothing to do.", describe(&toolchain));
            return Ok(());
        }
        Err(reasons) => reasons,
    };
    println!("No Rust compiler here can make PTX yet ({reasons}).");
    let ways: [Way; 2] = [("rustup", || rustup(TARGET)), ("apt-get", distribution)];
    let toolchain = get(&ways, || find().ok()?.ok()).with_context(advice)?;
    println!("{}.", describe(&toolchain));
    Ok(())
}

/// A way to get something, and who does it.
pub(crate) type Way = (&'static str, fn() -> Result<()>);

/// Tries one way after the other to get something, until `find` finds it.
pub(crate) fn get<T>(ways: &[Way], find: impl Fn() -> Option<T>) -> Option<T> {
    ways.iter().find_map(|(way, get)| match get() {
        Ok(()) => find(),
        Err(error) => {
            println!("By {way}: {error:#}.");
            None
        }
    })
}

/// The toolchain that the build script would take, or why there is none.
fn find() -> Result<Result<Toolchain, String>> {
    let archs =
        arch::select(std::env::var("WARPDOT_PTX_ARCHS").ok().as_deref()).map_err(|text| anyhow!(text))?;
    let codes: Vec<_> = archs.iter().map(|arch| arch.code).collect();
    match toolchain::find(&codes) {
        Ok(toolchain) => Ok(Ok(toolchain)),
        Err(Failure::None(reasons)) => Ok(Err(reasons)),
        Err(Failure::Unusable(reason)) => bail!("{reason}; unset the variable to let setup look for another"),
    }
}

fn describe(toolchain: &Toolchain) -> String {
    let version = toolchain.version.lines().next().unwrap_or("a compiler");
    let core = match &toolchain.core {
        Core::Installed => format!("has the target {TARGET}"),
        Core::Sources(folder) => format!("has the sources of core in {}", folder.display()),
    };
    format!("GPU kernels are compiled by {version} ({}), which {core}", toolchain.rustc.display())
}

/// Gets a target for rustup's active toolchain.
pub(crate) fn rustup(target: &str) -> Result<()> {
    if !process::succeeds(Command::new("rustup").arg("--version")) {
        bail!("this machine has no rustup");
    }
    println!("Getting the target {target} for rustup's active toolchain.");
    process::run(Command::new("rustup").args(["target", "add", target]).env_remove("RUST_BACKTRACE"))
}

fn distribution() -> Result<()> {
    apt::ensure_usable()?;
    println!(
        "Installing Debian's compiler, {}. Its /usr/bin/rustc stays beside rustup's.",
        PACKAGES.join(" and ")
    );
    apt::install(&PACKAGES)
}

fn advice() -> String {
    format!(
        "the GPU kernels cannot be compiled yet; do one of these and run `cargo xtask setup` again:\n\
         - with a network: rustup target add {TARGET}\n\
         - or: rustup component add rust-src\n\
         - on Debian: sudo apt-get install {}\n\
         - name a compiler that has the target or its sources of core: export WARPDOT_NVPTX_RUSTC=/path/to/rustc",
        PACKAGES.join(" ")
    )
}

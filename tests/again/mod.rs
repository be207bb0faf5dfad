//! The running test binary, once more in a process of its own; for tests of all packages.
//!
//! Where cargo was told how to run programs for this architecture, tests are being emulated, and what they start
//! must be, too.

use std::env;
use std::process::Command;

/// What cargo was told to use as `LINKER` or `RUNNER` for this architecture.
pub(crate) fn tool(what: &str) -> Option<String> {
    let arch = env::consts::ARCH.to_uppercase();
    env::var(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_{what}")).ok()
}

/// Makes `command` end in the path of this test binary, its emulator before it.
pub(crate) fn this_test(command: &mut Command) -> &mut Command {
    command
        .args(tool("RUNNER").unwrap_or_default().split_whitespace())
        .arg(env::current_exe().expect("a running test has a path"))
}

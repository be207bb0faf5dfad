//! The library without features: a user who has no GPU must not compile anything for one.

use crate::cargo::{self, Message, Workspace};
use anyhow::{Result, ensure};

const FOR_GPUS: [&str; 5] = ["cust", "cust_raw", "libloading", "warpdot-host", "warpdot-kernels"];

/// Builds the library without `cuda` and looks at what was compiled; then with it, to see that looking helps.
pub(crate) fn check(workspace: &Workspace) -> Result<String> {
    let library = ["build", "--package", "warpdot", "--lib"];
    let without = cargo::build(workspace.cargo(&library))?;
    let (packages, ptx) = (for_gpus(&without), cargo::ptx_files(&without)?.len());
    ensure!(
        packages.is_empty() && ptx == 0,
        "without the feature `cuda` the library compiles {packages:?} and {ptx} PTX files"
    );

    let with = cargo::build(workspace.cargo(&[&library[..], &["--features=cuda"]].concat()))?;
    let (packages, ptx) = (for_gpus(&with), cargo::ptx_files(&with)?.len());
    ensure!(
        packages.len() == FOR_GPUS.len() && ptx > 0,
        "with the feature `cuda` only {packages:?} and {ptx} PTX files were seen: is this check blind?"
    );
    Ok(format!("without `cuda`: none of {}, no PTX", FOR_GPUS.join(", ")))
}

/// The packages for GPUs among those compiled.
fn for_gpus(messages: &[Message]) -> Vec<&'static str> {
    let compiled = |name: &&str| {
        messages.iter().any(|message| match message {
            Message::CompilerArtifact(artifact) => cargo::package_name(&artifact.package_id) == *name,
            _ => false,
        })
    };
    FOR_GPUS.into_iter().filter(compiled).collect()
}

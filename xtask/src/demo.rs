//! The main job, for someone who has just cloned this: the command on synthetic weights of a language model's sizes,
//! then on the weights of a small real model.

use crate::cargo::{Release, Workspace};
use crate::python::Python;
use crate::{process, setup};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes the real weights.
const MINILM: &str = include_str!("demo/minilm.py");

/// Sets up, builds and runs.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    setup::run()?;
    let command = Release::build(&workspace)?.command;
    let formats = "--type=Q4_0,Q8_0,Q4_K,Q6_K";
    println!("\nSynthetic weights of the size of a language model's feed-forward layer:");
    multiply(&command, &[formats, "--m=1,8,128", "--n=14336", "--k=4096"])?;

    println!("\nReal weights, of the sentence encoder all-MiniLM-L6-v2, quantized here:");
    match real_weights(&workspace) {
        Ok(file) => multiply(&command, &[formats, "--m=1", "--gguf", &file.to_string_lossy()]),
        Err(error) => {
            println!("They come from a Python package, which could not be had: {error:#}.");
            Ok(())
        }
    }
}

fn multiply(command: &Path, arguments: &[&str]) -> Result<()> {
    process::run(Command::new(command).arg("run").args(arguments))
}

/// A GGUF file of real weights, made anew.
fn real_weights(workspace: &Workspace) -> Result<PathBuf> {
    let python = Python::ensure(workspace)?;
    let folder = workspace.target.join("demo");
    fs::create_dir_all(&folder)?;
    let (script, file) = (folder.join("minilm.py"), folder.join("all-minilm-l6-v2.gguf"));
    fs::write(&script, MINILM)?;
    process::run(Command::new(&python.interpreter).args([&script, &file]))?;
    Ok(file)
}

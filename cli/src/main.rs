//! The `warpdot` command: what this machine can multiply with, whether it does so correctly, what is in a GGUF file,
//! and its quantization.

mod args;
mod bench;
mod devices;
mod emulator;
mod error;
mod floats;
mod imatrix;
mod info;
mod inspect;
mod measure;
mod npy;
mod pieces;
mod plan;
mod quantize;
mod report;
mod run;
mod size;
mod terminal;
mod weights;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

/// Some output was wrong; 2 is an error, clap's own usage errors included.
const MISMATCH: u8 = 1;
const ERROR: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Info => {
            info::info();
            Ok(true)
        }
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Inspect(args) => inspect::inspect(&args).map(|()| true),
        Command::Quantize(args) => quantize::quantize(&args).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISMATCH),
        Err(error) => {
            let text = error.to_string();
            let lines: Vec<_> = text.lines().map(terminal::printable).collect();
            eprintln!("error: {}", lines.join("\n"));
            ExitCode::from(ERROR)
        }
    }
}

//! Developer tasks: `cargo xtask --help`.

mod aarch64;
mod apt;
#[path = "../../build/arch.rs"]
#[expect(dead_code, reason = "only the build script writes modules")]
mod arch;
mod cargo;
mod demo;
mod features;
mod gpu_bundle;
mod peers;
mod process;
mod ptxas;
mod python;
mod sanitizer;
mod setup;
mod test;
mod test_runs;
#[path = "../../build/toolchain.rs"]
#[expect(dead_code, reason = "only the build script compiles")]
mod toolchain;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer tasks of warpdot")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Get what compiles the GPU kernels, unless it is there.
    Setup,
    /// Set up, build, and run quantized matrix multiplication on every device, verified and timed.
    Demo,
    /// Set up, and check everything that continuous integration checks.
    Test(test::Arguments),
    /// Make target/gpu-bundle: tests and benches for a machine with a GPU driver and without Rust.
    GpuBundle,
    /// Measure products of warpdot beside those of ggml and candle, verified; see benches/peers.
    Peers(peers::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Setup => setup::run(),
        Task::Demo => demo::run(),
        Task::Test(arguments) => test::run(&arguments),
        Task::GpuBundle => gpu_bundle::run(),
        Task::Peers(arguments) => peers::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

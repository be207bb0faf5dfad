//! Matrix products of warpdot's CPU kernels and candle's, alternating in one run.
//!
//! ```sh
//! cd benches/peers && cargo run --release -- --help
//! ```
//!
//! A sample is a few calls in a row of one library; samples of the libraries alternate, with a pause between
//! them, because idle threads of both spin for a while. What is reported is the median of each, and the
//! median of the ratios of neighbouring samples. *Cold* calls go round copies of the weights that together
//! exceed the caches, *warm* ones use one copy. The ceiling is the rate at which the same threads read such
//! copies with nothing else to do.

mod operands;
mod timing;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use operands::{Candle, Operands, Warpdot};
use timing::{Paired, Reader, alternate};
use warpdot_cpu::Problem;
use warpdot_formats::GgmlType;

/// Compares matrix products of warpdot's CPU kernels with candle's.
#[derive(Parser)]
struct Args {
    /// Rows of activations.
    #[arg(long, default_value_t = 1)]
    m: usize,
    /// Rows of weights.
    #[arg(long, default_value_t = 14336)]
    n: usize,
    /// Columns.
    #[arg(long, default_value_t = 4096)]
    k: usize,
    /// Formats, by ggml's names.
    #[arg(long, value_delimiter = ',', default_value = "Q4_0,Q4_K,Q8_0,Q6_K")]
    types: Vec<String>,
    /// Numbers of threads; each is measured in a process of its own.
    #[arg(long, value_delimiter = ',', default_values_t = default_threads())]
    threads: Vec<usize>,
    /// Pairs of samples.
    #[arg(long, default_value_t = 31)]
    samples: usize,
    /// Calls in a sample.
    #[arg(long, default_value_t = 4)]
    calls: usize,
    /// MiB that the copies of cold weights together exceed.
    #[arg(long, default_value_t = 1024)]
    cold_mib: usize,
    /// Appends one JSON object a line.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measures in this process, with the threads of `RAYON_NUM_THREADS`.
    #[arg(long, hide = true)]
    child: bool,
}

fn default_threads() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if all == 1 { vec![1] } else { vec![all, 1] }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = if args.child { measure(&args) } else { spawn(&args) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// One process per number of threads: both libraries read it from the environment when they start.
fn spawn(args: &Args) -> Outcome {
    println!(
        "{:<22} {:>3} {:>4} {:>9} {:>9} {:>6} {:>9} {:>9} {:>9}",
        "kernel", "thr", "", "ms", "candle ms", "ratio", "GB/s", "ceiling", "GOP/s"
    );
    for threads in &args.threads {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(std::env::args_os().skip(1)).arg("--child").env("RAYON_NUM_THREADS", threads.to_string());
        let status = child.status()?;
        if !status.success() {
            return Err(format!("the measurement with {threads} threads failed: {status}").into());
        }
    }
    println!(
        "ratio: candle's time by ours, above 1 where we are quicker. GB/s: of weights, in ggml's blocks."
    );
    Ok(())
}

fn measure(args: &Args) -> Outcome {
    let problem = Problem { m: args.m, n: args.n, k: args.k };
    let mut json = match &args.json {
        Some(path) => Some(BufWriter::new(File::options().create(true).append(true).open(path)?)),
        None => None,
    };
    for name in &args.types {
        let ty =
            GgmlType::from_name(name).ok_or_else(|| format!("there is no format called {name:?} here"))?;
        let operands = Operands::new(ty, problem, args.cold_mib << 20);
        for cold in [false, true] {
            let copies = if cold { operands.copies() } else { 1 };
            let mut ours = Warpdot::new(&operands, copies)?;
            let mut theirs = Candle::new(&operands, copies)?;
            operands.verify(&ours.call(), &theirs.call())?;

            let mut reader = Reader::new(&operands, copies);
            let ceiling = reader.bytes_per_second(args.samples.min(9), args.calls);
            let Paired { first, second, ratio } =
                alternate(args.samples, args.calls, copies, || _ = ours.call(), || _ = theirs.call());

            let (bytes, operations) = (operands.bytes() as f64, 2.0 * (args.m * args.n * args.k) as f64);
            println!(
                "{:<22} {:>3} {:>4} {:>9.4} {:>9.4} {:>6.2} {:>9.1} {:>9.1} {:>9.1}",
                ours.id(),
                rayon::current_num_threads(),
                if cold { "cold" } else { "warm" },
                first * 1e3,
                second * 1e3,
                ratio,
                bytes / first / 1e9,
                ceiling / 1e9,
                operations / first / 1e9,
            );
            if let Some(json) = &mut json {
                for (implementation, kernel, seconds) in
                    [("warpdot", ours.id(), first), ("candle", "candle".to_string(), second)]
                {
                    let line = serde_json::json!({
                        "impl": implementation, "kernel": kernel, "numerics": "fast", "type": ty.name(),
                        "m": args.m, "n": args.n, "k": args.k, "threads": rayon::current_num_threads(),
                        "cold": cold, "ms": seconds * 1e3, "gbps": bytes / seconds / 1e9,
                        "gops": operations / seconds / 1e9, "ceiling_gbps": ceiling / 1e9,
                    });
                    writeln!(json, "{line}")?;
                }
            }
        }
    }
    Ok(())
}

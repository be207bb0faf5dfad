//! Matrix products of warpdot's CPU kernels, candle's and ggml's, alternating in one run.
//!
//! ```sh
//! cd benches/peers && cargo run --release -- --help
//! ```
//!
//! A sample is a few calls in a row of one library; samples of the libraries alternate, with a pause between
//! them, because idle threads spin for a while. What is reported is the median of each, and the median of the
//! ratios of neighbouring samples. *Cold* calls go round copies of the weights that together exceed the caches,
//! *warm* ones use one copy. The ceilings are what the same threads reach with nothing else to do, their samples
//! alternating with the libraries': reading memory that exceeds the caches, and int8 products in registers. The JSON
//! lines also tell what share of the machine other processes used meanwhile: with much of it, times mean little.
//! Every library's outputs are compared with an f64 product of the dequantized weights before they are timed.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use warpdot_cpu::{Numerics, Problem};
use warpdot_formats::GgmlType;
use warpdot_measure::others::Others;
use warpdot_measure::roofs::{Memory, Multiplier, Reader};
use warpdot_measure::timing::{Contender, Plan, alternate};
use warpdot_measure::{Line, machine};
use warpdot_peers::operands::{Candle, Operands, Peer, Warpdot, verify};
use warpdot_peers::report::Report;

/// Compares matrix products of warpdot's CPU kernels with those of other libraries.
#[derive(Parser)]
struct Args {
    /// Rows of activations.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 512])]
    m: Vec<usize>,
    /// Rows of weights.
    #[arg(long, default_value_t = 4096)]
    n: usize,
    /// Columns.
    #[arg(long, default_value_t = 4096)]
    k: usize,
    /// Formats, by ggml's names, or `all`.
    #[arg(long, value_delimiter = ',', default_value = "Q4_0,Q8_0,Q4_K,Q6_K")]
    types: Vec<String>,
    /// Numbers of threads; each is measured in a process of its own.
    #[arg(long, value_delimiter = ',', default_values_t = default_threads())]
    threads: Vec<usize>,
    /// Samples of each library.
    #[arg(long, default_value_t = 15)]
    samples: usize,
    /// Calls in a sample; fewer where a call is long.
    #[arg(long, default_value_t = 8)]
    calls: usize,
    /// Measures with the weights in the caches, too.
    #[arg(long)]
    warm: bool,
    /// MiB that the copies of cold weights together exceed; twice the last cache, and at least 256, unless given.
    #[arg(long, default_value_t = cold_mib())]
    cold_mib: usize,
    /// Seconds to wait before each measurement for other processes to be quiet.
    #[arg(long, default_value_t = 0)]
    patience: u64,
    /// Appends one JSON object a line.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measures in this process, with the threads of `RAYON_NUM_THREADS`.
    #[arg(long, hide = true)]
    child: bool,
}

fn default_threads() -> Vec<usize> {
    let all = machine::threads();
    if all == 1 { vec![1] } else { vec![1, all] }
}

fn cold_mib() -> usize {
    machine::cold_bytes().div_ceil(1 << 20)
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

/// One process per number of threads: libraries read it from the environment when they start.
fn spawn(args: &Args) -> Outcome {
    for threads in &args.threads {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(std::env::args_os().skip(1)).arg("--child").env("RAYON_NUM_THREADS", threads.to_string());
        let status = child.status()?;
        if !status.success() {
            return Err(format!("the measurement with {threads} threads failed: {status}").into());
        }
    }
    println!(
        "ratio: the kernel's time by that of warpdot's first kernel, above 1 where that is quicker. GB/s: of \
         weights, in ggml's blocks."
    );
    Ok(())
}

fn measure(args: &Args) -> Outcome {
    let mut report = Report::append(args.json.as_deref())?;
    let threads = rayon::current_num_threads();
    let memory = Memory::new(args.cold_mib << 20)?;
    #[cfg(feature = "ggml")]
    if let Some(lack) = warpdot_peers::ggml::lack() {
        eprintln!("warning: {lack}");
    }
    println!("{threads} threads");
    println!(
        "{:<28} {:<12} {:<8} {:>4} {:>5} {:>10} {:>6} {:>7} {:>7} {:>8} {:>8}",
        "kernel", "numerics", "type", "m", "", "ms", "ratio", "GB/s", "of", "GOP/s", "of"
    );
    let types: Vec<GgmlType> = if args.types == ["all"] {
        GgmlType::ALL.to_vec()
    } else {
        let named = |name: &String| {
            GgmlType::from_name(name).ok_or(format!("there is no format called {name:?} here"))
        };
        args.types.iter().map(named).collect::<Result<_, _>>()?
    };
    for ty in types {
        for &m in &args.m {
            let operands = Operands::new(ty, Problem { m, n: args.n, k: args.k });
            for cold in [false, true] {
                if cold || args.warm {
                    compare(args, &operands, cold, &memory, &mut report)?;
                }
            }
        }
    }
    Ok(())
}

/// Measures one product by all libraries.
fn compare(args: &Args, operands: &Operands, cold: bool, memory: &Memory, report: &mut Report) -> Outcome {
    let (ty, Problem { m, n, k }) = (operands.ty, operands.problem);
    let bytes = operands.weights.len();
    let copies = if cold { (args.cold_mib << 20) / bytes + 1 } else { 1 };
    let mut peers: Vec<(&str, Box<dyn Peer + '_>)> = Vec::new();
    for (name, numerics) in [("fast", Numerics::Fast), ("reproducible", Numerics::Reproducible)] {
        let ours = Warpdot::new(operands, copies, numerics)?;
        if peers.iter().all(|(_, peer)| peer.kernel() != ours.kernel()) {
            peers.push((name, Box::new(ours)));
        }
    }
    if let Some(candle) = Candle::new(operands, copies)? {
        peers.push(("fast", Box::new(candle)));
    }
    #[cfg(feature = "ggml")]
    for kind in warpdot_peers::ggml::Buffers::all() {
        use warpdot_peers::ggml::MatMul;
        if let Some(ggml) = MatMul::new(operands, copies, kind, rayon::current_num_threads()) {
            peers.push(("fast", Box::new(ggml)));
        }
    }

    let mut slowest = 0.0f64;
    for (_, peer) in &mut peers {
        let start = std::time::Instant::now();
        peer.call();
        peer.rest();
        slowest = slowest.max(start.elapsed().as_secs_f64());
    }
    let check = |(_, peer): &(_, Box<dyn Peer + '_>)| verify(operands, &**peer);
    let verdicts: Vec<_> =
        peers.iter().map(check).collect::<Result<_, _>>().map_err(|error| format!("{ty}: {error}"))?;

    /// Seconds that a sample may take.
    const SAMPLE: f64 = 0.2;
    let calls = ((SAMPLE / slowest) as usize).clamp(1, args.calls);
    // A library may repack each copy when it is used first.
    let plan = Plan { samples: args.samples, calls, warm_up: copies };
    let (mut reader, mut multiplier) = (Reader::new(memory), Multiplier::new());
    let mut contenders: Vec<&mut dyn Contender> = Vec::new();
    for (_, peer) in &mut peers {
        contenders.push(&mut **peer);
    }
    contenders.push(&mut reader);
    if let Some(multiplier) = &mut multiplier {
        contenders.push(multiplier);
    }
    Others::wait_for_quiet(Duration::from_secs(args.patience));
    let others = Others::watch();
    let timings = alternate(plan, &mut contenders, || ());
    let others = others.share();

    let threads = rayon::current_num_threads();
    let (timings, roofs) = timings.split_at(peers.len());
    let ceiling_gbps = Reader::rate(roofs[0].seconds);
    let ceiling_gops = multiplier.map(|multiplier| multiplier.rate(threads, roofs[1].seconds));
    for (((numerics, peer), timing), verdict) in peers.iter().zip(timings).zip(verdicts) {
        let line = Line {
            date: machine::date(),
            cpu: machine::cpu(),
            library: peer.name().to_owned(),
            device: "cpu".to_owned(),
            kernel: peer.kernel(),
            numerics: (*numerics).to_owned(),
            ty: ty.name().to_owned(),
            m,
            n,
            k,
            threads: Some(threads),
            cold,
            ms: None,
            gbps: None,
            gops: None,
            ceiling_gbps: Some(ceiling_gbps),
            ceiling_gops,
            ratio: Some(timing.ratio),
            others: Some(others),
            checked: Some(verdict.checked),
            error_over_bound: Some(verdict.max_ratio),
        };
        let line = line.timed(timing.seconds, bytes);
        let label = if peer.name() == "ggml" { format!("ggml {}", peer.kernel()) } else { peer.kernel() };
        println!(
            "{label:<28} {numerics:<12} {ty:<8} {m:>4} {:>5} {:>10.4} {:>6.2} {:>7.1} {ceiling_gbps:>7.1} {:>8.1} {:>8.0}",
            if cold { "cold" } else { "warm" },
            timing.seconds * 1e3,
            timing.ratio,
            line.gbps.unwrap_or(f64::NAN),
            line.gops.unwrap_or(f64::NAN),
            ceiling_gops.unwrap_or(f64::NAN),
        );
        report.write(serde_json::to_value(&line)?)?;
    }
    Ok(())
}

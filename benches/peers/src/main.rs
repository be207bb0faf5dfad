//! Matrix products of warpdot's CPU kernels, candle's and ggml's, alternating in one run.
//!
//! ```sh
//! cd benches/peers && cargo run --release -- --help
//! ```
//!
//! A sample is a few calls in a row of one library; samples of the libraries alternate, with a pause between
//! them, because idle threads spin for a while. What is reported is the median of each, and the median of the
//! ratios of neighbouring samples. *Cold* calls go round copies of the weights that together exceed the caches,
//! *warm* ones use one copy. The ceilings are what the same threads reach with nothing else to do: reading memory
//! that exceeds the caches, and int8 products in registers. The JSON lines also tell what share of the machine
//! other processes used meanwhile: with much of it, times mean little.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use warpdot_cpu::{Numerics, Problem};
use warpdot_formats::GgmlType;
use warpdot_peers::ceilings;
use warpdot_peers::operands::{Candle, Operands, Peer, Warpdot, verify};
use warpdot_peers::report::Report;
use warpdot_peers::timing::{Contender, Others, Plan, alternate};

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
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if all == 1 { vec![1] } else { vec![1, all] }
}

fn cold_mib() -> usize {
    let size = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").unwrap_or_default();
    let kib: usize = size.trim().trim_end_matches('K').parse().unwrap_or(0);
    (2 * kib).div_ceil(1024).max(256)
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
    Others::wait_for_quiet(Duration::from_secs(args.patience));
    let others = Others::watch();
    let read = ceilings::read_rate(args.cold_mib << 20, args.samples);
    let vnni = ceilings::vnni_rate(args.samples);
    let others = others.share();
    let (read, vnni) = (read / 1e9, vnni.map(|rate| rate / 1e9));
    for (kernel, gbps, gops) in [("read", Some(read), None), ("vnni", None, vnni)] {
        report.write(json!({
            "impl": "ceiling", "kernel": kernel, "threads": threads, "gbps": gbps, "gops": gops,
            "others": others,
        }))?;
    }
    println!(
        "{threads} threads; ceilings: reading {read:.1} GB/s, int8 products {:.0} GOP/s",
        vnni.unwrap_or(f64::NAN)
    );
    println!(
        "{:<28} {:<12} {:<8} {:>4} {:>5} {:>10} {:>6} {:>7} {:>8}",
        "kernel", "numerics", "type", "m", "", "ms", "ratio", "GB/s", "GOP/s"
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
                    compare(args, &operands, cold, &mut report)?;
                }
            }
        }
    }
    Ok(())
}

/// Measures one product by all libraries.
fn compare(args: &Args, operands: &Operands, cold: bool, report: &mut Report) -> Outcome {
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
    for (_, peer) in &peers[1..] {
        verify(&*peers[0].1, &**peer).map_err(|error| format!("{ty}: {error}"))?;
    }

    /// Seconds that a sample may take.
    const SAMPLE: f64 = 0.2;
    let calls = ((SAMPLE / slowest) as usize).clamp(1, args.calls);
    // A library may repack each copy when it is used first.
    let plan = Plan { samples: args.samples, calls, warm_up: copies };
    let mut contenders: Vec<&mut dyn Contender> = Vec::new();
    for (_, peer) in &mut peers {
        contenders.push(&mut **peer);
    }
    Others::wait_for_quiet(Duration::from_secs(args.patience));
    let others = Others::watch();
    let timings = alternate(plan, &mut contenders);
    let others = others.share();

    let operations = 2.0 * (m * n * k) as f64;
    for ((numerics, peer), timing) in peers.iter().zip(timings) {
        let (gbps, gops) = (bytes as f64 / timing.seconds / 1e9, operations / timing.seconds / 1e9);
        let label = if peer.name() == "ggml" { format!("ggml {}", peer.kernel()) } else { peer.kernel() };
        println!(
            "{label:<28} {numerics:<12} {ty:<8} {m:>4} {:>5} {:>10.4} {:>6.2} {gbps:>7.1} {gops:>8.1}",
            if cold { "cold" } else { "warm" },
            timing.seconds * 1e3,
            timing.ratio,
        );
        report.write(json!({
            "impl": peer.name(), "kernel": peer.kernel(), "numerics": numerics, "type": ty.name(),
            "m": m, "n": n, "k": k, "threads": rayon::current_num_threads(), "cold": cold,
            "ms": timing.seconds * 1e3, "ratio": timing.ratio, "gbps": gbps, "gops": gops,
            "others": others,
        }))?;
    }
    Ok(())
}

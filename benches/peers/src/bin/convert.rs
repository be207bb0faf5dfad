//! How fast weights become blocks, and blocks weights: warpdot and ggml in one run, on one thread, alternating.
//!
//! ```sh
//! cd benches/peers && CC=clang CXX=clang++ cargo run --release --features ggml --bin convert
//! ```
//!
//! The weights fit a second-level cache. Times are CPU times of the thread, medians of alternating samples. ggml
//! has two quantizers: `chunk` is what `llama-quantize` calls, `from_float` what ggml itself calls between
//! operations (for some formats another one, for many the same). Where ggml demands importance weights, `chunk`
//! gets equal ones. With `--importance` both get the same log-normal ones, a number for each column.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use warpdot_formats::GgmlType;
use warpdot_measure::others::Others;
use warpdot_measure::timing::Contender;
use warpdot_peers::blocks::{self, Blocks};
use warpdot_peers::ggml::{self, FromFloat};
use warpdot_peers::numbers::{Matrix, gaussian};
use warpdot_peers::report::Report;
use warpdot_peers::thread_time::alternate_on_this_thread;

/// Compares the speed of quantization and dequantization with ggml's.
#[derive(Parser)]
struct Args {
    /// Formats, by ggml's names; all of them unless given.
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Weights in a row.
    #[arg(long, default_value_t = 4096)]
    columns: usize,
    /// Rows.
    #[arg(long, default_value_t = 16)]
    rows: usize,
    /// Quantizes with importance weights, and does not dequantize.
    #[arg(long)]
    importance: bool,
    /// Samples of each.
    #[arg(long, default_value_t = 9)]
    samples: usize,
    /// Milliseconds that a sample takes, at least about.
    #[arg(long, default_value_t = 20)]
    least: u64,
    /// Appends one JSON object a line.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Anything to call.
struct Call<'a>(Box<dyn FnMut() + 'a>);

impl Contender for Call<'_> {
    fn call(&mut self) {
        (self.0)();
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args = Args::parse();
    // Whatever is parallel runs on this one thread, whose time is measured.
    rayon::ThreadPoolBuilder::new().num_threads(1).build()?.install(|| run(&args))
}

fn run(args: &Args) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut report = Report::append(args.json.as_deref())?;
    let named =
        |name: &String| GgmlType::from_name(name).ok_or(format!("there is no format called {name:?} here"));
    let mut types = args.types.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    if types.is_empty() {
        types = GgmlType::ALL.to_vec();
    }
    let matrix = Matrix::random("normal", args.rows, args.columns, 1, gaussian);
    let weights = &matrix.weights[..];
    let mut rng = StdRng::seed_from_u64(2);
    let unlike: Vec<f32> = (0..args.columns).map(|_| gaussian(&mut rng).exp() as f32).collect();
    let unlike = args.importance.then_some(&unlike[..]);
    let equal = vec![1.0; args.columns];

    println!("ggml {}, {} normal weights", ggml::version(), weights.len());
    println!("{:<8} {:<11} {:<18} {:>12} {:>8} {:>8}", "type", "", "", "M weights/s", "GB/s f32", "ratio");
    for ty in types {
        if !ggml::has(ty) {
            println!("{ty:<8} is not in this ggml");
            continue;
        }
        let [mut ours, mut chunk, mut from_float] = [(); 3].map(|()| Blocks::new(ty, weights.len()));
        let importance = unlike.or(ggml::needs_importance(ty).then_some(&equal[..]));
        let mut quantizers = vec![
            ("warpdot", Call(Box::new(|| blocks::quantize(ty, weights, unlike, ours.bytes_mut())))),
            (
                "ggml chunk",
                Call(Box::new(|| ggml::quantize(ty, weights, args.columns, importance, chunk.bytes_mut()))),
            ),
        ];
        if let Some(function) = FromFloat::new(ty).filter(|_| !args.importance) {
            let from_float = from_float.bytes_mut();
            let call = move || function.quantize(weights, from_float);
            quantizers.push(("ggml from_float", Call(Box::new(call))));
        }
        time(args, ty, "quantize", weights.len(), quantizers, &mut report)?;
        if args.importance {
            continue;
        }

        let mut filled = Blocks::new(ty, weights.len());
        blocks::quantize(ty, weights, None, filled.bytes_mut());
        let (mut our_weights, mut their_weights) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
        let dequantizers = vec![
            ("warpdot", Call(Box::new(|| blocks::dequantize(ty, filled.bytes(), &mut our_weights)))),
            ("ggml to_float", Call(Box::new(|| ggml::dequantize(ty, filled.bytes(), &mut their_weights)))),
        ];
        time(args, ty, "dequantize", weights.len(), dequantizers, &mut report)?;
    }
    println!("ratio: a time by that of the first line, above 1 where the first is quicker.");
    Ok(())
}

/// Times one direction of one format by all that have it.
fn time(
    args: &Args,
    ty: GgmlType,
    direction: &str,
    weights: usize,
    mut calls: Vec<(&str, Call)>,
    report: &mut Report,
) -> std::io::Result<()> {
    let mut contenders: Vec<&mut dyn Contender> = Vec::new();
    for (_, call) in &mut calls {
        contenders.push(call);
    }
    let least = Duration::from_millis(args.least);
    let others = Others::watch();
    let timings = alternate_on_this_thread(args.samples, least, &mut contenders);
    let others = others.share();
    for ((name, _), timing) in calls.iter().zip(timings) {
        let rate = weights as f64 / timing.seconds;
        println!(
            "{ty:<8} {direction:<11} {name:<18} {:>12.2} {:>8.3} {:>8.2}",
            rate / 1e6,
            rate * 4.0 / 1e9,
            timing.ratio
        );
        report.write(json!({
            "impl": name, "direction": direction, "type": ty.name(), "threads": 1, "weights": weights,
            "importance": args.importance.then_some("log-normal"),
            "mweights_per_s": rate / 1e6, "ratio": timing.ratio, "others": others,
        }))?;
    }
    Ok(())
}

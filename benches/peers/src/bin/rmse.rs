//! How well weights survive quantization by warpdot, by candle, whose quantizers are ports of ggml's, and by ggml.
//!
//! ```sh
//! cd benches/peers && CC=clang CXX=clang++ cargo run --release --features ggml --bin rmse -- --weights model.gguf
//! ```
//!
//! Errors are relative: the root mean square of the errors by that of the weights. *Same* is the share of blocks
//! in which warpdot and ggml agree to the last bit. Where ggml demands importance weights, it gets equal ones.
//!
//! In the second table of each matrix, every column has an importance, as if it met activations of that mean square:
//! log-normal numbers, the exponentials of normal ones. All quantizers that take them get them, and the sums of
//! squares are weighted by them.

use std::path::PathBuf;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use warpdot_formats::GgmlType;
use warpdot_peers::blocks::{self, Blocks};
use warpdot_peers::numbers::{Matrix, gaussian, student_t3};
use warpdot_peers::operands::candle_type;
use warpdot_peers::report::Report;

const SEED: u64 = 1;

/// Compares the errors of quantization.
#[derive(Parser)]
struct Args {
    /// Formats, by ggml's names; all of them unless given.
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Rows of random weights.
    #[arg(long, default_value_t = 256)]
    rows: usize,
    /// Random weights in a row.
    #[arg(long, default_value_t = 4096)]
    columns: usize,
    /// A GGUF or safetensors file, whose matrices with k a multiple of 256 are quantized, too.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Appends one JSON object a line.
    #[arg(long)]
    json: Option<PathBuf>,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let args = Args::parse();
    let mut report = Report::append(args.json.as_deref())?;
    let named =
        |name: &String| GgmlType::from_name(name).ok_or(format!("there is no format called {name:?} here"));
    let mut types = args.types.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    if types.is_empty() {
        types = GgmlType::ALL.to_vec();
    }
    let mut matrices = vec![
        Matrix::random("normal", args.rows, args.columns, SEED, gaussian),
        Matrix::random("Student t(3)", args.rows, args.columns, SEED, student_t3),
    ];
    if let Some(path) = &args.weights {
        matrices.push(Matrix::read(path)?);
    }

    for matrix in matrices {
        let mut rng = StdRng::seed_from_u64(SEED);
        let importance: Vec<f32> = (0..matrix.columns).map(|_| gaussian(&mut rng).exp() as f32).collect();
        for importance in [None, Some(&importance[..])] {
            table(&types, &matrix, importance, &mut report)?;
        }
    }
    Ok(())
}

fn table(
    types: &[GgmlType],
    matrix: &Matrix,
    importance: Option<&[f32]>,
    report: &mut Report,
) -> Outcome<()> {
    let rows = matrix.weights.len() / matrix.columns;
    let suffix = if importance.is_some() { ", with importance" } else { "" };
    println!("\n{rows} x {} weights, {}{suffix}", matrix.columns, matrix.name);
    println!(
        "{:<8} {:>7} {:>10} {:>10} {:>10} {:>12} {:>7}",
        "format", "bits", "warpdot", "candle", "ggml", "warpdot/ggml", "same"
    );
    let equal = vec![1.0; matrix.columns];
    for &ty in types {
        let (ours, our_blocks) = by_warpdot(ty, matrix, importance);
        let candle = if importance.is_some() { None } else { by_candle(ty, matrix)? };
        let demanded = if needs_importance(ty) { Some(&equal[..]) } else { None };
        let ggml = by_ggml(ty, matrix, importance, importance.or(demanded));
        let bits = ty.block_bytes() as f64 * 8.0 / ty.block_weights() as f64;
        let same = ggml.as_ref().map(|(_, blocks)| same(ty, our_blocks.bytes(), blocks.bytes()));
        let ggml = ggml.map(|(error, _)| error);
        println!(
            "{ty:<8} {bits:>7} {ours:>10.6} {:>10} {:>10} {:>12} {:>7}",
            cell(candle, 6, ""),
            cell(ggml, 6, ""),
            cell(ggml.map(|ggml| ours / ggml), 4, ""),
            cell(same.map(|same| 100.0 * same), 1, "%"),
        );
        report.write(json!({
            "what": "rmse", "weights": matrix.name, "rows": rows, "columns": matrix.columns,
            "importance": importance.map(|_| "log-normal"), "type": ty.name(), "bits": bits,
            "warpdot": ours, "candle": candle, "ggml": ggml, "same_blocks": same,
        }))?;
    }
    Ok(())
}

fn cell(value: Option<f64>, digits: usize, unit: &str) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}{unit}"))
}

fn by_warpdot(ty: GgmlType, matrix: &Matrix, importance: Option<&[f32]>) -> (f64, Blocks) {
    let mut blocks = Blocks::new(ty, matrix.weights.len());
    blocks::quantize(ty, &matrix.weights, importance, blocks.bytes_mut());
    let mut out = vec![0.0; matrix.weights.len()];
    blocks::dequantize(ty, blocks.bytes(), &mut out);
    (relative_error(&matrix.weights, &out, importance), blocks)
}

fn by_candle(ty: GgmlType, matrix: &Matrix) -> Outcome<Option<f64>> {
    let Some(dtype) = candle_type(ty) else { return Ok(None) };
    let shape = (matrix.weights.len() / matrix.columns, matrix.columns);
    let tensor = Tensor::from_slice(&matrix.weights, shape, &Device::Cpu)?;
    let out = QTensor::quantize(&tensor, dtype)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    Ok(Some(relative_error(&matrix.weights, &out, None)))
}

/// The error by one importance of blocks that were quantized with another.
#[cfg(feature = "ggml")]
fn by_ggml(
    ty: GgmlType,
    matrix: &Matrix,
    measured: Option<&[f32]>,
    given: Option<&[f32]>,
) -> Option<(f64, Blocks)> {
    use rayon::prelude::*;
    use warpdot_peers::ggml;

    /// Rows at once, so that their blocks begin at addresses that suit ggml.
    const ROWS: usize = 8;
    if !ggml::has(ty) {
        return None;
    }
    let columns = matrix.columns;
    let mut blocks = Blocks::new(ty, matrix.weights.len());
    let row_bytes = columns / ty.block_weights() * ty.block_bytes();
    let tasks = blocks.bytes_mut().par_chunks_mut(ROWS * row_bytes);
    tasks
        .zip(matrix.weights.par_chunks(ROWS * columns))
        .for_each(|(blocks, weights)| ggml::quantize(ty, weights, columns, given, blocks));
    let mut out = vec![0.0; matrix.weights.len()];
    ggml::dequantize(ty, blocks.bytes(), &mut out);
    Some((relative_error(&matrix.weights, &out, measured), blocks))
}

#[cfg(not(feature = "ggml"))]
fn by_ggml(_: GgmlType, _: &Matrix, _: Option<&[f32]>, _: Option<&[f32]>) -> Option<(f64, Blocks)> {
    None
}

#[cfg(feature = "ggml")]
use warpdot_peers::ggml::needs_importance;

#[cfg(not(feature = "ggml"))]
fn needs_importance(_: GgmlType) -> bool {
    false
}

/// The share of equal blocks.
fn same(ty: GgmlType, ours: &[u8], theirs: &[u8]) -> f64 {
    let size = ty.block_bytes();
    let equal = ours.chunks_exact(size).zip(theirs.chunks_exact(size)).filter(|(a, b)| a == b).count();
    (equal * size) as f64 / ours.len() as f64
}

fn relative_error(weights: &[f32], stored: &[f32], importance: Option<&[f32]>) -> f64 {
    let (mut errors, mut all) = (0.0, 0.0);
    for (i, (&weight, &stored)) in weights.iter().zip(stored).enumerate() {
        let importance = importance.map_or(1.0, |importance| f64::from(importance[i % importance.len()]));
        errors += importance * (f64::from(weight) - f64::from(stored)).powi(2);
        all += importance * f64::from(weight).powi(2);
    }
    (errors / all).sqrt()
}

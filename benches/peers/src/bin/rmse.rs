//! How well weights survive quantization by warpdot, by candle, whose quantizers are ports of ggml's, and by ggml.
//!
//! ```sh
//! cd benches/peers && CC=clang CXX=clang++ cargo run --release --features ggml --bin rmse -- --weights model.gguf
//! ```
//!
//! Errors are relative: the root mean square of the errors by that of the weights. *Same* is the share of blocks
//! in which warpdot and ggml agree to the last bit. Where ggml demands importance weights, it gets equal ones.

use std::path::PathBuf;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use clap::Parser;
use rayon::prelude::*;
use serde_json::{Value, json};
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
        let rows = matrix.weights.len() / matrix.columns;
        println!("\n{} x {} weights, {}", rows, matrix.columns, matrix.name);
        println!(
            "{:<8} {:>7} {:>10} {:>10} {:>10} {:>12} {:>7}",
            "format", "bits", "warpdot", "candle", "ggml", "warpdot/ggml", "same"
        );
        for &ty in &types {
            let (ours, our_blocks) = by_warpdot(ty, &matrix);
            let candle = by_candle(ty, &matrix)?;
            let ggml = by_ggml(ty, &matrix);
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
                "type": ty.name(), "bits": bits, "warpdot": ours, "candle": candle, "ggml": ggml,
                "same_blocks": same, "ggml_importance": importance_of(ty),
            }))?;
        }
    }
    Ok(())
}

fn cell(value: Option<f64>, digits: usize, unit: &str) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}{unit}"))
}

/// Quantizes rows, in parallel.
fn rows(ty: GgmlType, matrix: &Matrix, quantize: impl Fn(&[f32], &mut [u8]) + Sync) -> Blocks {
    /// Rows at once, so that their blocks begin at addresses that suit every library.
    const ROWS: usize = 8;
    let mut blocks = Blocks::new(ty, matrix.weights.len());
    let row_bytes = matrix.columns / ty.block_weights() * ty.block_bytes();
    blocks
        .bytes_mut()
        .par_chunks_mut(ROWS * row_bytes)
        .zip(matrix.weights.par_chunks(ROWS * matrix.columns))
        .for_each(|(blocks, weights)| quantize(weights, blocks));
    blocks
}

fn by_warpdot(ty: GgmlType, matrix: &Matrix) -> (f64, Blocks) {
    let blocks = rows(ty, matrix, |weights, out| blocks::quantize(ty, weights, out));
    let mut out = vec![0.0; matrix.weights.len()];
    blocks::dequantize(ty, blocks.bytes(), &mut out);
    (relative_error(&matrix.weights, &out), blocks)
}

fn by_candle(ty: GgmlType, matrix: &Matrix) -> Outcome<Option<f64>> {
    let Some(dtype) = candle_type(ty) else { return Ok(None) };
    let shape = (matrix.weights.len() / matrix.columns, matrix.columns);
    let tensor = Tensor::from_slice(&matrix.weights, shape, &Device::Cpu)?;
    let out = QTensor::quantize(&tensor, dtype)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    Ok(Some(relative_error(&matrix.weights, &out)))
}

#[cfg(feature = "ggml")]
fn by_ggml(ty: GgmlType, matrix: &Matrix) -> Option<(f64, Blocks)> {
    use warpdot_peers::ggml;
    if !ggml::has(ty) {
        return None;
    }
    let equal = vec![1.0; matrix.columns];
    let importance = ggml::needs_importance(ty).then_some(&equal[..]);
    let blocks =
        rows(ty, matrix, |weights, out| ggml::quantize(ty, weights, matrix.columns, importance, out));
    let mut out = vec![0.0; matrix.weights.len()];
    ggml::dequantize(ty, blocks.bytes(), &mut out);
    Some((relative_error(&matrix.weights, &out), blocks))
}

#[cfg(not(feature = "ggml"))]
fn by_ggml(_: GgmlType, _: &Matrix) -> Option<(f64, Blocks)> {
    None
}

/// What ggml was given.
fn importance_of(ty: GgmlType) -> Value {
    #[cfg(feature = "ggml")]
    if warpdot_peers::ggml::needs_importance(ty) {
        return json!("equal");
    }
    _ = ty;
    Value::Null
}

/// The share of equal blocks.
fn same(ty: GgmlType, ours: &[u8], theirs: &[u8]) -> f64 {
    let size = ty.block_bytes();
    let equal = ours.chunks_exact(size).zip(theirs.chunks_exact(size)).filter(|(a, b)| a == b).count();
    (equal * size) as f64 / ours.len() as f64
}

fn relative_error(weights: &[f32], stored: &[f32]) -> f64 {
    let squares = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
    let errors = squares(&mut weights.iter().zip(stored).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    (errors / squares(&mut weights.iter().map(|weight| f64::from(*weight)))).sqrt()
}

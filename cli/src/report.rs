//! What `run` prints: a table for people, or JSON.

use crate::{args::RunArgs, devices::Selected, error::Error, measure::Measurement};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use std::path::PathBuf;
use warpdot::QuantizedMatrix;
use warpdot_measure::check::Verdict;

/// Everything that was run.
#[derive(Serialize)]
pub(crate) struct Report {
    seed: u64,
    repeat: u32,
    numerics: &'static str,
    /// Whether every product is.
    pub(crate) correct: bool,
    products: Vec<Product>,
}

/// One product on one device.
#[derive(Serialize)]
pub(crate) struct Product {
    weights: String,
    r#type: &'static str,
    m: usize,
    n: usize,
    k: usize,
    device: String,
    device_name: String,
    /// If so, there is no time to tell.
    emulated: bool,
    kernel: String,
    seconds: Option<f64>,
    weight_gb_per_s: Option<f64>,
    gop_per_s: Option<f64>,
    outputs: usize,
    checked: usize,
    max_error: f64,
    max_error_over_bound: f64,
    wrong: usize,
    first_wrong: Option<String>,
    deviating_repeats: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<Saved>,
}

/// The files of `--save`.
#[derive(Clone, Serialize)]
pub(crate) struct Saved {
    pub(crate) w: PathBuf,
    pub(crate) x: PathBuf,
    pub(crate) y: PathBuf,
}

impl Product {
    pub(crate) fn new(
        weights: (&str, &QuantizedMatrix),
        selected: &Selected,
        measured: &Measurement,
        verdict: Verdict,
        saved: Option<Saved>,
    ) -> Self {
        let (name, matrix) = weights;
        let (outputs, n, k) = (measured.y.len(), matrix.rows(), matrix.columns());
        let seconds = measured.time.map(|time| time.as_secs_f64());
        let per_nanosecond = |amount: f64| seconds.map(|seconds| amount / seconds / 1e9);
        let first_wrong = verdict.first.map(|wrong| wrong.to_string());
        Self {
            weights: name.to_owned(),
            r#type: matrix.ty().name(),
            m: outputs / n,
            n,
            k,
            device: selected.id(),
            device_name: selected.device.name(),
            emulated: selected.emulated.is_some(),
            kernel: measured.kernel.clone(),
            seconds,
            weight_gb_per_s: per_nanosecond(matrix.bytes().len() as f64),
            gop_per_s: per_nanosecond(2.0 * outputs as f64 * k as f64),
            outputs,
            checked: verdict.checked,
            max_error: verdict.max_error,
            max_error_over_bound: verdict.max_ratio,
            wrong: verdict.wrong,
            first_wrong,
            deviating_repeats: measured.deviating,
            saved,
        }
    }

    fn is_correct(&self) -> bool {
        self.wrong == 0 && self.deviating_repeats == 0
    }

    fn cells(&self) -> Vec<Cell> {
        let left = [
            format!("{} {}", self.weights, self.r#type),
            format!("{} x {} x {}", self.m, self.n, self.k),
            self.device.clone(),
            self.kernel.clone(),
        ];
        let right = [
            or_dash(self.seconds.map(time)),
            or_dash(self.weight_gb_per_s.map(|rate| format!("{rate:.2}"))),
            or_dash(self.gop_per_s.map(|rate| format!("{rate:.1}"))),
            format!("{:.2e}", self.max_error),
            format!("{:.4}", self.max_error_over_bound),
            match (self.is_correct(), self.checked == self.outputs) {
                (false, _) => "WRONG".into(),
                (true, true) => "all ok".into(),
                (true, false) => format!("{} ok", self.checked),
            },
        ];
        let align = |text, alignment| Cell::new(text).set_alignment(alignment);
        left.map(|text| align(text, CellAlignment::Left))
            .into_iter()
            .chain(right.map(|text| align(text, CellAlignment::Right)))
            .collect()
    }

    /// How many outputs were checked, if not all.
    fn sample(&self) -> Option<String> {
        (self.checked < self.outputs).then(|| {
            format!(
                "checked: a sample of {} of the {} outputs of {} {} with m = {} on {}",
                self.checked, self.outputs, self.weights, self.r#type, self.m, self.device
            )
        })
    }

    /// What is wrong, in sentences.
    fn complaints(&self) -> impl Iterator<Item = String> {
        let who = format!("{} {} {} with m = {}", self.kernel, self.weights, self.r#type, self.m);
        let wrong = self.first_wrong.as_ref().map(|first| {
            format!("WRONG: {who}: {} of {} outputs checked; the first: {first}", self.wrong, self.checked)
        });
        let deviating = self.deviating_repeats;
        let unstable = (deviating > 0)
            .then(|| format!("WRONG: {who}: {deviating} repeats gave other bits than the first run"));
        wrong.into_iter().chain(unstable)
    }
}

const EMULATED: &str = "emulated: executed once on the CPU; times would mean nothing, so there are none";

impl Report {
    pub(crate) fn new(args: &RunArgs, products: Vec<Product>) -> Self {
        Self {
            seed: args.seed,
            repeat: args.repeat,
            numerics: args.numerics.name(),
            correct: products.iter().all(Product::is_correct),
            products,
        }
    }

    /// One object; a number that is infinite or NaN is null there.
    pub(crate) fn json(&self) -> Result<String, Error> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// The table, and a line for everything that needs saying.
    pub(crate) fn text(&self) -> String {
        let mut table = empty_table([
            "weights",
            "m x n x k",
            "device",
            "kernel",
            "time",
            "GB/s",
            "GOP/s",
            "max error",
            "error/bound",
            "checked",
        ]);
        table.add_rows(self.products.iter().map(Product::cells));
        let legend = format!(
            "time: the median of {} runs; GB/s: of weights; seed {}; numerics: {}",
            self.repeat, self.seed, self.numerics
        );
        let emulated = self.products.iter().any(|product| product.emulated).then(|| EMULATED.to_owned());
        let samples = self.products.iter().filter_map(Product::sample);
        let complaints = self.products.iter().flat_map(Product::complaints);
        let lines: Vec<String> = [table.to_string(), legend]
            .into_iter()
            .chain(emulated)
            .chain(samples)
            .chain(complaints)
            .collect();
        lines.join("\n")
    }
}

/// A table with nothing but its header, in the style of this command.
pub(crate) fn empty_table(header: impl IntoIterator<Item = impl Into<Cell>>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(header.into_iter().map(Into::into).collect::<Vec<Cell>>());
    table
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.3} s"),
        s if s >= 1e-3 => format!("{:.3} ms", s * 1e3),
        s => format!("{:.1} us", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;
    use std::time::Duration;
    use warpdot::{Device, GgmlType};
    use warpdot_measure::check::{Expected, Wrong};

    /// The report of two products: a good one, and this one.
    fn report(verdict: Verdict, deviating: u32) -> Report {
        let Command::Run(args) = Cli::parse_from(["warpdot", "run"]).command else { unreachable!("a run") };
        let matrix = QuantizedMatrix::from_bytes(GgmlType::Q8_0, 2, 32, vec![0; 68]).unwrap();
        let product = |verdict, deviating| {
            let time = Some(Duration::from_millis(2));
            let selected = Selected { device: Device::cpu(), emulated: None };
            let measured = Measurement { kernel: "cpu-x-gemm-q8_0".into(), time, y: vec![0.0; 4], deviating };
            Product::new(("w", &matrix), &selected, &measured, verdict, None)
        };
        let good = Verdict { checked: 4, ..Verdict::default() };
        Report::new(&args, vec![product(good, 0), product(verdict, deviating)])
    }

    #[test]
    fn nothing_is_said_of_what_is_right() {
        let report = report(Verdict { checked: 4, max_ratio: 1.0, ..Verdict::default() }, 0);
        assert!(report.correct && report.text().ends_with("numerics: fast"), "{}", report.text());
        assert_eq!(report.text().matches(" all ok ").count(), 2);
    }

    #[test]
    fn a_wrong_output_is_reported() {
        let expected = Expected { value: 1.5, bound: 0.25, exact: Some(1.25) };
        let first = Wrong { row: 1, column: 0, found: f32::NAN, expected };
        let infinite = f64::INFINITY;
        let verdict =
            Verdict { checked: 3, max_error: infinite, max_ratio: infinite, wrong: 2, first: Some(first) };
        let report = report(verdict, 0);
        let text = report.text();
        assert!(!report.correct && text.contains(" WRONG "), "{text}");
        assert!(text.contains("a sample of 3 of the 4 outputs of w Q8_0 with m = 2 on cpu"), "{text}");
        assert!(text.ends_with(
            "WRONG: cpu-x-gemm-q8_0 w Q8_0 with m = 2: 2 of 3 outputs checked; the first: Y[1, 0] is NaN, \
             expected 1.5e0 within 2.500e-1, by definition 1.25e0"
        ));
        assert!(report.json().unwrap().contains("\"correct\": false"));
    }

    #[test]
    fn repeats_that_differ_are_reported() {
        let report = report(Verdict { checked: 4, ..Verdict::default() }, 3);
        assert!(!report.correct);
        assert!(report.text().ends_with("m = 2: 3 repeats gave other bits than the first run"));
    }

    #[test]
    fn figures_follow_from_the_time() {
        let report = report(Verdict::default(), 0);
        let product = &report.products[1];
        assert_eq!(product.weight_gb_per_s, Some(68.0 / 2e-3 / 1e9));
        assert_eq!(product.gop_per_s, Some(2.0 * 2.0 * 2.0 * 32.0 / 2e-3 / 1e9));
    }
}

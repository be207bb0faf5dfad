//! `warpdot run`: multiply, check, report.

use crate::{
    args::RunArgs,
    devices::{self, Selected},
    emulator,
    error::Error,
    measure::{Measurement, measure},
    npy,
    report::{Product, Report, Saved},
    terminal,
    weights::{self, Source},
};
use indicatif::ProgressBar;
use std::{fs, path::PathBuf};
use warpdot::{DeviceMatrix, Options, QuantizedMatrix};
use warpdot_formats::RUN;
use warpdot_measure::check;

/// Whether every output was right.
pub(crate) fn run(args: &RunArgs) -> Result<bool, Error> {
    let devices = devices::select(&args.devices, args.isa)?;
    if args.counters && devices.iter().all(|selected| selected.emulated.is_none()) {
        return Err(Error::NothingCounts);
    }
    let sources = weights::sources(args)?;
    for source in &sources {
        args.m.iter().try_for_each(|&m| check_shape(m, source))?;
    }
    if let Some(folder) = &args.save {
        fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
    }

    let progress =
        terminal::progress(sources.len() * (1 + args.m.len() * (devices.len() + 1)), "{pos}/{len}");
    let mut products = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        progress.set_message(format!("{} as {}: loading", source.name, source.ty));
        let matrix = source.load()?;
        progress.inc(1);
        let job = Job { args, index, source, matrix: &matrix, progress: &progress };
        let uploads: Vec<Upload<'_>> = devices
            .iter()
            .map(|selected| Ok((selected, selected.device.upload(&matrix)?)))
            .collect::<Result<_, Error>>()?;
        for &m in &args.m {
            products.extend(job.products(m, &uploads)?);
        }
    }
    progress.finish_and_clear();

    let report = Report::new(args, products);
    terminal::print(&if args.json { report.json()? } else { report.text() })?;
    if args.counters {
        terminal::print(&emulator::counters())?;
    }
    Ok(report.correct)
}

/// Refuses before anything large is made for it.
pub(crate) fn check_shape(m: usize, source: &Source) -> Result<(), Error> {
    let (n, k) = (source.n, source.k);
    if m == 0 {
        return Err(warpdot::Error::ZeroSize { what: "m" }.into());
    }
    match m.checked_mul(n).and_then(|mn| mn.checked_mul(k)) {
        Some(_) => Ok(()),
        None => Err(warpdot::Error::Overflow { m, n, k }.into()),
    }
}

/// A device, and the matrix in its memory.
type Upload<'a> = (&'a Selected, DeviceMatrix);

/// One matrix, and what is to be done with it.
struct Job<'a> {
    args: &'a RunArgs,
    index: usize,
    source: &'a Source,
    matrix: &'a QuantizedMatrix,
    progress: &'a ProgressBar,
}

impl Job<'_> {
    /// Multiplies `m` rows of activations on every device, and checks all outputs together.
    fn products(&self, m: usize, uploads: &[Upload<'_>]) -> Result<Vec<Product>, Error> {
        let (args, matrix) = (self.args, self.matrix);
        let x = weights::activations(m, matrix.columns(), args.seed)?;
        let numerics = args.numerics.into();
        let options = Options { numerics, ..Options::default() };
        let mut measured = Vec::new();
        for (selected, weights) in uploads {
            self.announce(&format!("m = {m} on {}", selected.id()));
            let repeat = if selected.emulated.is_some() { 0 } else { args.repeat };
            measured.push(measure(weights, &options, m, &x, repeat).map_err(Error::explained)?);
            self.progress.inc(1);
        }
        self.announce(&format!("m = {m}: checking"));
        let outputs: Vec<&[f32]> = measured.iter().map(|measured| measured.y.as_slice()).collect();
        let product = check::Product {
            weights: matrix,
            m,
            x: &x,
            numerics,
            rounded_together: RUN,
            whole: check::WHOLE,
        };
        let verdicts = product.check(&outputs, args.seed)?;
        self.progress.inc(1);

        let results = uploads.iter().zip(&measured).zip(verdicts);
        results
            .map(|(((selected, _), measured), verdict)| {
                let saved = self.save(m, &x, selected, measured)?;
                let named = (self.source.name.as_str(), matrix);
                Ok(Product::new(named, selected, measured, verdict, saved))
            })
            .collect()
    }

    fn announce(&self, what: &str) {
        self.progress.set_message(format!("{} as {}: {what}", self.source.name, self.source.ty));
    }

    fn save(
        &self,
        m: usize,
        x: &[f32],
        selected: &Selected,
        measured: &Measurement,
    ) -> Result<Option<Saved>, Error> {
        let Some(folder) = &self.args.save else { return Ok(None) };
        let (n, k, index) = (self.matrix.rows(), self.matrix.columns(), self.index);
        let device = selected.id().replace(':', "-");
        let file = |name: String| -> PathBuf { folder.join(name) };
        let saved = Saved {
            w: file(format!("{index}-w.npy")),
            x: file(format!("{index}-m{m}-x.npy")),
            y: file(format!("{index}-m{m}-{device}-y.npy")),
        };
        npy::write(&saved.w, [n, self.matrix.bytes().len() / n], self.matrix.bytes())?;
        npy::write(&saved.x, [m, k], x)?;
        npy::write(&saved.y, [m, n], &measured.y)?;
        Ok(Some(saved))
    }
}

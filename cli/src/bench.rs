//! `warpdot bench`: kernels beside each other, beside this machine's ceilings, and beside other libraries.

mod bars;
mod contest;
mod page;
mod panel;
mod plot;
mod replay;
mod roofline;
mod session;
mod style;
mod table;

use crate::{
    args::{BenchArgs, CacheChoice, Shape, TypeChoice},
    devices,
    error::Error,
    run::check_shape,
    terminal,
    weights::Source,
};
use session::{Session, Work};
use std::{fs, path::Path};
use warpdot::QuantizedMatrix;
use warpdot_measure::{Line, machine};

/// What was measured, and what is to be shown of it.
pub(crate) struct Results {
    /// Ours, of this run.
    pub(crate) ours: Vec<Line>,
    /// Other libraries', and ours of their run, from a file.
    pub(crate) peers: Vec<Line>,
    /// The instruction whose rate is the int8 ceiling.
    pub(crate) instruction: Option<&'static str>,
    /// How many samples the medians are of.
    pub(crate) samples: u16,
    /// The command as it was typed.
    pub(crate) command: String,
}

/// Whether every output was right.
pub(crate) fn bench(args: &BenchArgs) -> Result<bool, Error> {
    let peers = match &args.peers {
        Some(path) => read_peers(path)?,
        None => Vec::new(),
    };
    let mut work = work(args)?;
    let devices = devices::select(&args.devices, args.isa)?;
    let session = Session::new(args, devices)?;
    session.check_kernels(&work)?;
    work.retain(|work| session.has_kernels(work));
    // Before minutes pass, whether the files can be written.
    for path in [&args.json, &args.report, &args.svg].into_iter().flatten() {
        write(path, "")?;
    }

    let progress = terminal::progress(session.samples(&work), "{pos}/{len}");
    let mut ours = Vec::new();
    let mut complaints = Vec::new();
    for work in &work {
        progress.set_message(work.to_string());
        let outcome = session.measure(work, &progress).map_err(Error::explained)?;
        ours.extend(outcome.lines);
        complaints.extend(outcome.complaints);
    }
    progress.finish_and_clear();

    let results = Results {
        ours,
        peers,
        instruction: session.instruction(),
        samples: args.samples,
        command: command(),
    };
    terminal::print(&table::text(&results))?;
    complaints.iter().try_for_each(|complaint| terminal::print(complaint))?;
    if let Some(path) = &args.json {
        let lines: Result<Vec<_>, _> = results.ours.iter().map(serde_json::to_string).collect();
        write(path, &lines?.into_iter().map(|line| line + "\n").collect::<String>())?;
    }
    if let Some(path) = &args.report {
        write(path, &page::html(&results))?;
    }
    if let Some(path) = &args.svg {
        write(path, &page::picture(&results))?;
    }
    Ok(complaints.is_empty())
}

/// The products, each format's together; refuses those that cannot be.
fn work(args: &BenchArgs) -> Result<Vec<Work>, Error> {
    let mut work = Vec::new();
    for ty in TypeChoice::formats(&args.types) {
        for &Shape { m, n, k } in &args.shapes {
            check_shape(m, &Source::synthetic(ty, n, k, args.seed))?;
            QuantizedMatrix::byte_len(ty, n, k)?;
            let all = [CacheChoice::Cold, CacheChoice::Warm];
            let caches = all.into_iter().filter(|choice| args.cache.contains(choice));
            work.push(Work { ty, shape: Shape { m, n, k }, caches: caches.collect() });
        }
    }
    Ok(work)
}

fn read_peers(path: &Path) -> Result<Vec<Line>, Error> {
    let lines = Line::read(path)?;
    if lines.iter().all(|line| line.library == "warpdot") {
        return Err(Error::NoPeer { path: path.to_owned() });
    }
    Ok(lines)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// The command line, but for the program's folder.
fn command() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    ["warpdot".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

impl Results {
    /// Version, machine and date, for a subtitle.
    pub(crate) fn whence(&self) -> String {
        format!("warpdot {}, {}, {}", env!("CARGO_PKG_VERSION"), machine::cpu(), machine::date())
    }

    /// The largest share of the machine that others used while something was measured.
    pub(crate) fn others(&self) -> f64 {
        self.ours.iter().filter_map(|line| line.others).fold(0.0, f64::max)
    }

    /// Other libraries' lines.
    pub(crate) fn rivals(&self) -> impl Iterator<Item = &Line> {
        self.peers.iter().filter(|line| line.library != "warpdot")
    }
}

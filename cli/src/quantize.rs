//! `warpdot quantize`: a file anew, its matrices quantized.

use crate::{
    args::QuantizeArgs,
    error::Error,
    imatrix::Imatrix,
    pieces,
    plan::{Plan, Target, file_type, plan},
    report::empty_table,
    size::{Size, right},
    terminal,
};
use bytes::Bytes;
use comfy_table::Cell;
use indexmap::IndexMap;
use std::path::Path;
use warpdot::QuantizedMatrix;
use warpdot_formats::FloatType;
use warpdot_gguf::{Gguf, Outline, Tensor, TensorType, Value};

const FILE_TYPE: &str = "general.file_type";
const QUANTIZATION_VERSION: &str = "general.quantization_version";

/// ggml's version of its quantization formats.
const GGML_QUANTIZATION_VERSION: u32 = 2;

/// Kept tensors are copied in pieces of so many bytes, for the progress bar's sake.
const COPY: usize = 1 << 22;

pub(crate) fn quantize(args: &QuantizeArgs) -> Result<(), Error> {
    let (input, output) = (args.input.as_path(), args.output.as_path());
    let file = Gguf::open(input).map_err(in_file(input))?;
    let imatrix = match args.imatrix.as_deref() {
        Some(path) => Some((path, Imatrix::open(path)?)),
        None => None,
    };
    let jobs = file
        .tensors()
        .map(|tensor| {
            // What has no size can neither be quantized nor kept.
            let bytes = tensor.bytes().map_err(in_file(input))?;
            let plan = plan(tensor, args.ty, args.allow_requantize)?;
            let importance = match (&imatrix, &plan) {
                (Some((_, imatrix)), Plan::Convert { to: Target::Blocks(_), .. }) => imatrix.of(tensor)?,
                _ => None,
            };
            Ok(Job { tensor, bytes, plan, importance })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let writer = outline(&file, &jobs, args.ty).and_then(|mut outline| {
        let notes = imatrix.iter().flat_map(|(path, imatrix)| imatrix.metadata(path));
        notes.for_each(|(key, value)| outline.set(key, value));
        outline.create(output)
    });
    let mut writer = writer.map_err(in_file(output))?;

    let total = jobs.iter().map(|job| job.bytes.len()).sum();
    let progress = terminal::progress(total, "{bytes}/{total_bytes}, {eta} left");
    let mut summary = Summary::default();
    for job in &jobs {
        progress.set_message(terminal::printable(job.tensor.name()).into_owned());
        let before = progress.position();
        let mut written = 0;
        job.run(|source, bytes| {
            written += bytes.len() as u64;
            progress.inc(source as u64);
            writer.write(job.tensor.name(), bytes).map_err(in_file(output))
        })?;
        progress.set_position(before + job.bytes.len() as u64);
        summary.add(job, written);
    }
    writer.finish().map_err(in_file(output))?;
    progress.finish_and_clear();
    terminal::print(&summary.text())?;
    match imatrix {
        Some((path, _)) => terminal::print(&unweighted(path, &jobs)),
        None => Ok(()),
    }
}

/// What to say about the matrices that the importance matrix at `path` says nothing of.
fn unweighted(path: &Path, jobs: &[Job<'_>]) -> String {
    let quantized = jobs.iter().filter(|job| matches!(job.plan, Plan::Convert { to: Target::Blocks(_), .. }));
    let [with, without] = quantized.fold([0, 0], |[with, without], job| match job.importance {
        Some(_) => [with + 1, without],
        None => [with, without + 1],
    });
    let path = path.to_string_lossy();
    format!(
        "Importance from {}: {with} matrices with an entry, {without} without, whose columns count alike.",
        terminal::printable(&path)
    )
}

fn in_file(path: &Path) -> impl Fn(warpdot_gguf::Error) -> Error {
    |source| Error::Gguf { path: path.to_owned(), source }
}

/// The file to be: the metadata as they were, but for what they say of the quantization.
fn outline(file: &Gguf, jobs: &[Job<'_>], ty: Target) -> Result<Outline, warpdot_gguf::Error> {
    let mut outline = Outline::new();
    file.metadata().for_each(|(key, value)| outline.set(key, value.clone()));
    outline.set(FILE_TYPE, Value::U32(file_type(ty)));
    outline.set(QUANTIZATION_VERSION, Value::U32(GGML_QUANTIZATION_VERSION));
    for job in jobs {
        outline.add_tensor(job.tensor.name(), job.target(), job.tensor.dims())?;
    }
    Ok(outline)
}

/// A tensor and what becomes of it.
struct Job<'a> {
    tensor: &'a Tensor,
    bytes: Bytes,
    plan: Plan,
    /// Of the columns of each of the tensor's matrices in turn.
    importance: Option<&'a [f32]>,
}

impl Job<'_> {
    fn target(&self) -> TensorType {
        match &self.plan {
            Plan::Keep(_) => self.tensor.ty(),
            Plan::Convert { to, .. } => to.tensor_type(),
        }
    }

    /// Calls `sink` with the new bytes, piece by piece, each with how many old bytes it was about.
    fn run(&self, mut sink: impl FnMut(usize, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let Plan::Convert { from, to, .. } = &self.plan else {
            return self.bytes.chunks(COPY).try_for_each(|piece| sink(piece.len(), piece));
        };
        let (n, k) = self.tensor.shape().map_err(in_file(self.tensor.name().as_ref()))?;
        let fill = |row: usize, out: &mut [f32]| from.read_row(row, out);
        let result = match to {
            Target::Blocks(ty) => {
                let row_bytes = QuantizedMatrix::byte_len(*ty, 1, k)?;
                let mut sink =
                    |blocks: &[u8]| sink(blocks.len() / row_bytes * (self.bytes.len() / n), blocks);
                let mut quantize =
                    |rows, importance| pieces::quantize(*ty, rows, k, importance, fill, &mut sink);
                match self.importance {
                    None => quantize(0..n, None),
                    Some(importance) => {
                        // Matrices of experts lie one behind the other.
                        let rows = self.tensor.dims().get(1).map_or(n, |&dim| dim as usize);
                        let mut columns = importance.chunks(k).cycle();
                        (0..n)
                            .step_by(rows)
                            .try_for_each(|first| quantize(first..first + rows, columns.next()))
                    }
                }
            }
            Target::Floats(ty) => pieces::for_each(0..n, k, fill, |first, piece| {
                sink(piece.len() / k * (self.bytes.len() / n), &floats(*ty, first, k, piece)?)
            }),
        };
        result.map_err(|error| error.in_tensor(self.tensor.name()))
    }
}

/// Rows of k weights, from row `first` on, as numbers of type `ty`.
fn floats(ty: FloatType, first: usize, k: usize, piece: &[f32]) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; piece.len() * ty.bytes()];
    ty.encode(piece, &mut bytes);
    let mut stored = vec![0.0; piece.len()];
    ty.decode(&bytes, &mut stored);
    let Some(i) = stored.iter().position(|number| !number.is_finite()) else { return Ok(bytes) };
    let (row, column, value) = (first + i / k, i % k, piece[i]);
    Err(if value.is_finite() {
        Error::TooLarge { row, column, value, ty, largest: ty.largest() }
    } else {
        warpdot::Error::NonFiniteWeight { row, column, value }.into()
    })
}

/// What became of the tensors, those with one fate together.
#[derive(Default)]
struct Summary(IndexMap<Fate, Totals>);

#[derive(PartialEq, Eq, Hash)]
struct Fate {
    from: TensorType,
    to: TensorType,
    /// What needs saying.
    note: String,
}

#[derive(Default)]
struct Totals {
    before: Size,
    after: Size,
}

impl Summary {
    fn add(&mut self, job: &Job<'_>, written: u64) {
        let note = match &job.plan {
            Plan::Keep(reason) => format!("kept: {reason}"),
            Plan::Convert { fallback: Some(why), .. } => why.clone(),
            Plan::Convert { fallback: None, .. } => String::new(),
        };
        let fate = Fate { from: job.tensor.ty(), to: job.target(), note };
        let totals = self.0.entry(fate).or_default();
        totals.before.add(Size::of(job.tensor.dims(), job.bytes.len() as u64));
        totals.after.add(Size::of(job.tensor.dims(), written));
    }

    fn text(&self) -> String {
        let mut table = empty_table([
            "from",
            "to",
            "tensors",
            "weights",
            "bytes before",
            "bytes after",
            "bits/weight",
            "note",
        ]);
        let mut all = Totals::default();
        for (fate, totals) in &self.0 {
            all.before.add(totals.before);
            all.after.add(totals.after);
            table.add_row(totals.cells([&fate.from.to_string(), &fate.to.to_string()], &fate.note));
        }
        table.add_row(all.cells(["all", ""], ""));
        table.to_string()
    }
}

impl Totals {
    fn cells(&self, types: [&str; 2], note: &str) -> Vec<Cell> {
        let [tensors, weights, after, bits] = self.after.columns();
        let before = self.before.bytes.to_string();
        let numbers = [tensors, weights, before, after, bits].map(right);
        types.map(Cell::new).into_iter().chain(numbers).chain([Cell::new(note)]).collect()
    }
}

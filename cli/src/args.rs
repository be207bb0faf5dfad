//! The command line.

use crate::devices::{self, DeviceChoice};
use crate::plan::Target;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{fmt, path::PathBuf, str::FromStr};
use warpdot::{GgmlType, Isa, Numerics};

/// Quantized matrix multiplication, Y[m, n] = X[m, k] · W[n, k]ᵀ, on CPUs and GPUs.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print what this machine can multiply with: instruction sets, driver, GPUs, kernels.
    Info,
    /// Multiply on every device asked for, check the outputs, and print a table of times.
    ///
    /// Every output is compared with an f64 product of the dequantized weights. It may be off by what
    /// rounding the activations to int8 can cause, plus f32 rounding: a bound that is computed for each
    /// output. The exit code is 1 if any output is off by more, and 2 if the command could not run.
    Run(RunArgs),
    /// Measure kernels beside what this machine can do at best: a table, a page with plots, lines of JSON.
    ///
    /// Samples of all kernels of a product alternate with samples of the ceilings: reading memory, and multiplying
    /// int8 in registers, by the same threads. Medians are printed. Outputs are compared with an f64 product of the
    /// dequantized weights, as `run` does, and every sample's with the first. The exit code is 1 if an output is
    /// wrong, and 2 if the command could not run.
    Bench(BenchArgs),
    /// Print what is in a GGUF file: its metadata, its tensors, and totals for each type.
    Inspect(InspectArgs),
    /// Quantize the matrices of a GGUF file.
    ///
    /// The metadata stay as they are but for `general.file_type` and `general.quantization_version` (and
    /// `quantize.imatrix.*`, with --imatrix). Vectors,
    /// norms and the other tensors that llama-quantize keeps are kept. Where rows are not whole blocks, the type is
    /// the one that llama-quantize falls back to; the summary tells. Memory holds about 2^20 weights at a time, or
    /// one row.
    ///
    /// OUT is replaced in one step once it is complete, so that it may be IN, and an interrupted run leaves it as
    /// it was.
    Quantize(QuantizeArgs),
}

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// The file.
    pub(crate) file: PathBuf,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct QuantizeArgs {
    /// The file to quantize, of F32, F16 or BF16 tensors.
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The file to write.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The format of the quantized matrices, all of them; or F32, F16 or BF16, the nearest numbers.
    #[arg(long = "type", value_name = "TYPE", value_parser = target)]
    pub(crate) ty: Target,
    /// Quantize for the inputs that this importance matrix of llama-imatrix tells of (GGUF or .dat): errors count as
    /// much as the mean square of what their column meets.
    ///
    /// Matrices without an entry are quantized as without this option, for which no type needs it. The types Q8_0,
    /// MXFP4, TQ1_0 and TQ2_0 take no heed of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) imatrix: Option<PathBuf>,
    /// Dequantize tensors that are quantized already and quantize them anew, at a further loss of accuracy.
    #[arg(long)]
    pub(crate) allow_requantize: bool,
}

fn target(name: &str) -> Result<Target, String> {
    Target::from_name(name).ok_or_else(|| format!("expected {}", Target::names()))
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// Take the weights from this GGUF file: every matrix of a supported type.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["n", "k"])]
    pub(crate) gguf: Option<PathBuf>,
    /// Only this tensor of the file; may be given several times.
    #[arg(long = "tensor", value_name = "NAME", requires = "gguf")]
    pub(crate) tensors: Vec<String>,
    /// Formats of the synthetic weights, or `all` [default: all]. With --gguf: only tensors of these
    /// formats, and F32 tensors, which are quantized to each of them.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub(crate) types: Vec<TypeChoice>,
    /// Rows of X; several numbers give several products.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) m: Vec<usize>,
    /// Rows of the synthetic weights.
    #[arg(long, default_value_t = 4096)]
    pub(crate) n: usize,
    /// Columns of the synthetic weights, a multiple of the format's block.
    #[arg(long, default_value_t = 4096)]
    pub(crate) k: usize,
    /// Where to multiply: cpu, cuda:N, auto (a GPU if there is one), all, or emulated:9.0 (a GPU of that
    /// compute capability, executed on the CPU).
    #[arg(long = "device", value_name = "DEVICE", value_delimiter = ',', default_value = "all")]
    pub(crate) devices: Vec<DeviceChoice>,
    /// The CPU's instruction set, instead of the best one.
    #[arg(long, value_parser = devices::isa)]
    pub(crate) isa: Option<Isa>,
    /// Fast within the bound, or the same bits on every device; then the bits are checked, too.
    #[arg(long, value_enum, default_value_t = NumericsChoice::Fast)]
    pub(crate) numerics: NumericsChoice,
    /// Of the synthetic weights (Gaussian, variance 1/k), of X (Gaussian, variance 1), and of the sample.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Timed runs of each product; the median is printed, and all must give the same bits.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    /// Print JSON instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also print what emulated GPUs counted: instructions, sectors of memory, bank conflicts.
    #[arg(long, conflicts_with = "json")]
    pub(crate) counters: bool,
    /// Write every product's X, W (its blocks' bytes) and Y to this folder as .npy files, which --json
    /// names.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) save: Option<PathBuf>,
}

impl RunArgs {
    /// The formats asked for, in the order of the list.
    pub(crate) fn formats(&self) -> Vec<GgmlType> {
        TypeChoice::formats(&self.types)
    }
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Formats of the weights, or `all`.
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_value = "Q4_0,Q8_0,Q4_K,Q6_K")]
    pub(crate) types: Vec<TypeChoice>,
    /// Sizes of the products: rows of X, rows of W, columns of both.
    #[arg(
        long,
        value_name = "MxNxK",
        value_delimiter = ',',
        default_value = "1x14336x4096,8x14336x4096,512x4096x4096"
    )]
    pub(crate) shapes: Vec<Shape>,
    /// Numbers of the CPU's threads [default: 1, and all that there are].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Vec<u16>,
    /// Where to multiply: cpu, cuda:N, auto, all, or emulated:9.0, which is checked but takes no time that would mean
    /// anything.
    #[arg(long = "device", value_name = "DEVICE", value_delimiter = ',', default_value = "cpu")]
    pub(crate) devices: Vec<DeviceChoice>,
    /// The CPU's instruction set, instead of the best one.
    #[arg(long, value_parser = devices::isa)]
    pub(crate) isa: Option<Isa>,
    /// Fast within the bound, or the same bits on every device; or both, one beside the other.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "fast")]
    pub(crate) numerics: Vec<NumericsChoice>,
    /// Instead of the preferred kernel, all those with one of these in their names: `gemm`, or
    /// `cpu-avx2-gemv-q4k`.
    #[arg(long = "kernel", value_name = "PART", value_delimiter = ',')]
    pub(crate) kernels: Vec<String>,
    /// Weights from memory (going round copies that exceed the caches twice), from the caches, or both.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cold")]
    pub(crate) cache: Vec<CacheChoice>,
    /// Samples of each kernel, whose median counts.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) samples: u16,
    /// Of the weights, the activations, and the sample of outputs that are checked.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write one JSON object a line to this file: impl, kernel, numerics, type, m, n, k, threads, cold, ms, gbps, gops,
    /// ceiling_gbps, ceiling_gops and more.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with a roofline, bars and all figures to this file: HTML that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write the roofline and the first and last shape's bars to this file, as one SVG picture.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Show other libraries' results beside ours: a file that `cargo xtask peers --json FILE` wrote on this machine.
    #[arg(long, value_name = "FILE")]
    pub(crate) peers: Option<PathBuf>,
}

/// The sizes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Option<Vec<usize>> = text.split(['x', 'X']).map(|size| size.parse().ok()).collect();
        match sizes.as_deref() {
            Some(&[m, n, k]) => Ok(Self { m, n, k }),
            _ => Err("expected MxNxK, three numbers: 1x14336x4096 for example".into()),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.m, self.n, self.k)
    }
}

/// Where weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheChoice {
    Cold,
    Warm,
}

/// One format, or all.
#[derive(Clone, Copy)]
pub(crate) enum TypeChoice {
    All,
    One(GgmlType),
}

impl TypeChoice {
    /// The formats chosen, in the order of the list.
    pub(crate) fn formats(choices: &[Self]) -> Vec<GgmlType> {
        let wanted = |ty: &GgmlType| {
            choices.iter().any(|choice| match choice {
                Self::All => true,
                Self::One(one) => one == ty,
            })
        };
        GgmlType::ALL.iter().copied().filter(wanted).collect()
    }
}

impl FromStr for TypeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        if is("all") {
            return Ok(Self::All);
        }
        let found = GgmlType::ALL.iter().find(|ty| is(ty.name()) || is(ty.suffix()));
        found.copied().map(Self::One).ok_or_else(|| format!("expected {} or all", names(GgmlType::ALL)))
    }
}

/// The formats' names, for people.
pub(crate) fn names(formats: &[GgmlType]) -> String {
    formats.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NumericsChoice {
    Fast,
    Reproducible,
}

impl NumericsChoice {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Reproducible => "reproducible",
        }
    }
}

impl From<NumericsChoice> for Numerics {
    fn from(choice: NumericsChoice) -> Self {
        match choice {
            NumericsChoice::Fast => Self::Fast,
            NumericsChoice::Reproducible => Self::Reproducible,
        }
    }
}

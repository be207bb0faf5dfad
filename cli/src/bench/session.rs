//! All kernels of one product after the other's, their samples alternating, with the ceilings among them.

use super::{
    contest::{Contest, In, Reads},
    replay::Replay,
};
use crate::{
    args::{BenchArgs, CacheChoice, NumericsChoice, Shape},
    devices::Selected,
    error::Error,
    pieces,
    weights::{self, Source},
};
use indicatif::ProgressBar;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::fmt;
use warpdot::{DeviceMatrix, GgmlType, KernelId, Numerics, Options, QuantizedMatrix};
use warpdot_formats::RUN;
use warpdot_measure::{
    Line,
    check::{Product, Verdict},
    machine,
    others::Others,
    roofs::{Memory, Multiplier, Reader},
    timing::{Contender, Plan, alternate},
};

/// So many rows are quantized and used over and over: some searches take longer than all products.
const ROWS: usize = 61;
/// Products of more multiplications are checked by a sample of outputs.
const CHECKED: u128 = 1 << 26;
/// Calls in the graph that a GPU is timed by, if the copies of the weights are not more.
const GRAPH: usize = 32;
/// Seconds that a sample may take, and calls in one, if that is less.
const SAMPLE: (f64, usize) = (0.2, 8);

/// A product to measure.
pub(crate) struct Work {
    pub(crate) ty: GgmlType,
    pub(crate) shape: Shape,
    pub(crate) caches: Vec<CacheChoice>,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.ty, self.shape)
    }
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) lines: Vec<Line>,
    /// What is wrong, in sentences.
    pub(crate) complaints: Vec<String>,
}

/// What all measurements share.
pub(crate) struct Session<'a> {
    args: &'a BenchArgs,
    devices: Vec<Selected>,
    /// The CPU's, with their numbers of threads.
    pools: Vec<(usize, ThreadPool)>,
    /// What is read to measure its speed, if the CPU is among the devices.
    memory: Option<Memory>,
    cold_bytes: usize,
}

/// One kernel on one device.
struct Entrant<'a> {
    device: &'a Selected,
    pool: Option<&'a (usize, ThreadPool)>,
    numerics: NumericsChoice,
    contest: Contest<'a>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(args: &'a BenchArgs, devices: Vec<Selected>) -> Result<Self, Error> {
        let mut counts: Vec<usize> = args.threads.iter().map(|&threads| threads.into()).collect();
        if counts.is_empty() {
            counts = vec![1, machine::threads()];
        }
        counts.sort_unstable();
        counts.dedup();
        let pool = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.map(|pool| (threads, pool)).map_err(|source| Error::Threads { threads, source })
        };
        let cold_bytes = machine::cold_bytes();
        let on_cpu = devices.iter().any(is_cpu);
        let memory =
            || Memory::new(cold_bytes).map_err(|source| Error::ReadMemory { bytes: cold_bytes, source });
        Ok(Self {
            args,
            pools: if on_cpu { counts.into_iter().map(pool).collect::<Result<_, _>>()? } else { Vec::new() },
            memory: on_cpu.then(memory).transpose()?,
            devices,
            cold_bytes,
        })
    }

    /// The instruction whose rate is the int8 ceiling.
    pub(crate) fn instruction(&self) -> Option<&'static str> {
        self.memory.as_ref().and(Multiplier::new()).map(|multiplier| multiplier.name())
    }

    /// Refuses a choice of kernels that leaves none.
    pub(crate) fn check_kernels(&self, work: &[Work]) -> Result<(), Error> {
        if work.iter().any(|work| self.has_kernels(work)) {
            return Ok(());
        }
        let pairs = work.iter().flat_map(|work| self.devices.iter().map(move |device| (device, work)));
        let mut known: Vec<String> = pairs
            .flat_map(|(device, work)| device.device.kernels(work.ty, work.shape.m))
            .map(|kernel| kernel.to_string())
            .collect();
        known.sort_unstable();
        known.dedup();
        Err(Error::NoKernel { wanted: self.args.kernels.clone(), expected: known.join(", ") })
    }

    /// Whether there is anything to measure of a product.
    pub(crate) fn has_kernels(&self, work: &Work) -> bool {
        self.devices.iter().any(|device| !self.kernels(device, work).is_empty())
    }

    /// The numerics and kernels to measure; `None` is the preferred one.
    fn kernels(&self, device: &Selected, work: &Work) -> Vec<(NumericsChoice, Option<KernelId>)> {
        let numerics = self.args.numerics.iter().copied();
        if self.args.kernels.is_empty() {
            return numerics.map(|numerics| (numerics, None)).collect();
        }
        let wanted = |kernel: &KernelId| {
            let name = kernel.to_string();
            self.args.kernels.iter().any(|part| name.contains(part.as_str()))
        };
        let kernels: Vec<_> =
            device.device.kernels(work.ty, work.shape.m).into_iter().filter(wanted).collect();
        let of = |numerics: NumericsChoice| {
            let reproducible = Numerics::from(numerics) == Numerics::Reproducible;
            let able = |kernel: &&KernelId| !reproducible || kernel.operation().is_reproducible();
            kernels
                .iter()
                .filter(able)
                .map(move |kernel| (numerics, Some(kernel.clone())))
                .collect::<Vec<_>>()
        };
        numerics.flat_map(of).collect()
    }

    /// The CPU's pools, or one place without a pool.
    fn pools(&self, device: &Selected) -> Vec<Option<&(usize, ThreadPool)>> {
        if is_cpu(device) { self.pools.iter().map(Some).collect() } else { vec![None] }
    }

    /// How many samples will be taken.
    pub(crate) fn samples(&self, work: &[Work]) -> usize {
        let roofs = self.pools.len() * (1 + usize::from(Multiplier::new().is_some()));
        let of = |work: &Work| {
            let timed = self.devices.iter().filter(|device| device.emulated.is_none());
            let kernels = timed.map(|device| self.kernels(device, work).len() * self.pools(device).len());
            work.caches.len() * (kernels.sum::<usize>() + roofs + self.gpus(work).count())
        };
        work.iter().map(of).sum::<usize>() * usize::from(self.args.samples)
    }

    /// The real GPUs that something is measured on.
    fn gpus(&self, work: &Work) -> impl Iterator<Item = &Selected> {
        let measured = |device: &&Selected| !self.kernels(device, work).is_empty();
        self.devices.iter().filter(|device| !is_cpu(device) && device.emulated.is_none()).filter(measured)
    }

    /// Measures and checks a product's kernels.
    pub(crate) fn measure(&self, work: &Work, progress: &ProgressBar) -> Result<Outcome, Error> {
        let Shape { m, k, .. } = work.shape;
        let matrix = self.matrix(work)?;
        let x = weights::activations(m, k, self.args.seed)?;
        let cold = work.caches.contains(&CacheChoice::Cold);
        let copies = if cold { self.cold_bytes / matrix.bytes().len() + 1 } else { 1 };
        let upload = |device: &Selected| -> Result<Vec<DeviceMatrix>, Error> {
            let copies = if device.emulated.is_some() { 1 } else { copies };
            (0..copies).map(|_| Ok(device.device.upload(&matrix)?)).collect()
        };
        let uploads: Vec<_> = self.devices.iter().map(upload).collect::<Result<_, _>>()?;
        let mut outcome = Outcome { lines: Vec::new(), complaints: Vec::new() };
        for &cache in &work.caches {
            let mut entrants = Vec::new();
            for (device, uploads) in self.devices.iter().zip(&uploads) {
                let copies = if cache == CacheChoice::Cold { &uploads[..] } else { &uploads[..1] };
                entrants.extend(self.entrants(work, device, copies, &x)?);
            }
            let others = Others::watch();
            let mut lines = self.compare(work, cache, &mut entrants, matrix.bytes().len(), progress)?;
            let others = others.share();
            let verdicts = self.verdicts(&matrix, &x, work, &entrants)?;
            for ((line, entrant), verdict) in lines.iter_mut().zip(&entrants).zip(verdicts) {
                line.others = Some(others);
                line.checked = Some(verdict.checked);
                line.error_over_bound = Some(verdict.max_ratio);
                if let Some(complaint) = complaint(work, entrant, &verdict) {
                    outcome.complaints.push(complaint);
                    *line = line.clone().untimed();
                }
            }
            outcome.lines.extend(lines);
        }
        Ok(outcome)
    }

    /// Some Gaussian rows, over and over.
    fn matrix(&self, work: &Work) -> Result<QuantizedMatrix, Error> {
        let Work { ty, shape: Shape { n, k, .. }, .. } = *work;
        let rows = Source::synthetic(ty, n.min(ROWS), k, self.args.seed).load()?;
        let len = QuantizedMatrix::byte_len(ty, n, k)?;
        let mut bytes = pieces::allocate("the quantized weights", len)?;
        while bytes.len() < len {
            bytes.extend_from_slice(&rows.bytes()[..rows.bytes().len().min(len - bytes.len())]);
        }
        Ok(QuantizedMatrix::from_bytes(ty, n, k, bytes)?)
    }

    fn entrants<'b>(
        &'b self,
        work: &Work,
        device: &'b Selected,
        copies: &'b [DeviceMatrix],
        x: &'b [f32],
    ) -> Result<Vec<Entrant<'b>>, Error> {
        let mut entrants = Vec::new();
        for pool in self.pools(device) {
            for (numerics, kernel) in self.kernels(device, work) {
                let options = Options { numerics: numerics.into(), kernel };
                let (m, pool_threads) = (work.shape.m, pool.map(|(_, pool)| pool));
                let replay = Replay::products(&device.device, copies, graph_calls(device), &options, (m, x))?;
                let contest = Contest::new(copies, pool_threads, options, m, x, replay)?;
                entrants.push(Entrant { device, pool, numerics, contest });
            }
        }
        Ok(entrants)
    }

    /// A line for each entrant. Samples of those on real devices alternate, and those of the ceilings with them, for
    /// one pool of threads after the other: the threads of two that take turns can stay on one core for a while.
    fn compare(
        &self,
        work: &Work,
        cache: CacheChoice,
        entrants: &mut [Entrant<'_>],
        bytes: usize,
        progress: &ProgressBar,
    ) -> Result<Vec<Line>, Error> {
        let mut lines: Vec<Line> = entrants.iter().map(|entrant| entrant.line(work, cache)).collect();
        let mut gpus = gpus(entrants)?;
        let places = self.pools.iter().map(Some).chain([None]);
        for place in places {
            let threads = place.map(|(threads, _)| *threads);
            let timed: Vec<(&mut Line, &mut Contest<'_>)> = entrants
                .iter_mut()
                .zip(&mut lines)
                .filter(|(entrant, line)| entrant.device.emulated.is_none() && line.threads == threads)
                .map(|(entrant, line)| (line, &mut entrant.contest))
                .collect();
            if !timed.is_empty() {
                let gpus = if place.is_none() { &mut gpus[..] } else { &mut [] };
                self.time(timed, place, gpus, bytes, progress)?;
            }
        }
        Ok(lines)
    }

    /// Writes the times of contests of one pool to their lines, or of those on GPUs.
    fn time(
        &self,
        mut timed: Vec<(&mut Line, &mut Contest<'_>)>,
        place: Option<&(usize, ThreadPool)>,
        gpus: &mut [(String, Reads<'_>)],
        bytes: usize,
        progress: &ProgressBar,
    ) -> Result<(), Error> {
        let slowest = timed.iter_mut().map(|(_, contest)| contest.time(1)).fold(0.0, f64::max);
        let calls = ((SAMPLE.0 / slowest) as usize).clamp(1, SAMPLE.1);
        let plan = Plan { samples: self.args.samples.into(), calls, warm_up: 1 };

        let pool = place.map(|(_, pool)| pool);
        let mut reader = place.and(self.memory.as_ref()).map(|memory| In(pool, Reader::new(memory)));
        let mut multiplier = place.and(Multiplier::new()).map(|multiplier| In(pool, multiplier));
        let mut contenders: Vec<&mut dyn Contender> = Vec::new();
        contenders.extend(timed.iter_mut().map(|(_, contest)| &mut **contest as &mut dyn Contender));
        contenders.extend(reader.iter_mut().map(|reader| reader as &mut dyn Contender));
        contenders.extend(multiplier.iter_mut().map(|multiplier| multiplier as &mut dyn Contender));
        contenders.extend(gpus.iter_mut().map(|(_, reads)| reads as &mut dyn Contender));
        let timings = alternate(plan, &mut contenders, || progress.inc(1));

        let (kernels, roofs) = timings.split_at(timed.len());
        let cpu_gbps = place.zip(roofs.first()).map(|(_, read)| Reader::rate(read.seconds));
        // The bytes that the rates of products count, too: the ratio of the rates is that of the times.
        let gpu_gbps = |device: &str| {
            let gpu = gpus.iter().position(|(id, _)| id == device)?;
            Some(bytes as f64 / roofs.get(gpu)?.seconds / 1e9)
        };
        let ceiling_gops = place
            .zip(multiplier)
            .zip(roofs.get(1))
            .map(|(((threads, _), multiplier), products)| multiplier.1.rate(*threads, products.seconds));
        for ((line, contest), timing) in timed.into_iter().zip(kernels) {
            if let Some(error) = contest.failure.take() {
                return Err(error.into());
            }
            let ceiling_gbps = cpu_gbps.or_else(|| gpu_gbps(&line.device));
            *line = Line { ratio: Some(timing.ratio), ceiling_gbps, ceiling_gops, ..line.clone() }
                .timed(timing.seconds, bytes);
        }
        if let Some(error) = gpus.iter_mut().find_map(|(_, reads)| reads.failure.take()) {
            return Err(error.into());
        }
        Ok(())
    }

    /// How right each entrant's first outputs are.
    fn verdicts(
        &self,
        matrix: &QuantizedMatrix,
        x: &[f32],
        work: &Work,
        entrants: &[Entrant<'_>],
    ) -> Result<Vec<Verdict>, Error> {
        let verdict = |entrant: &Entrant<'_>| {
            let product = Product {
                weights: matrix,
                m: work.shape.m,
                x,
                numerics: entrant.numerics.into(),
                rounded_together: RUN,
                whole: CHECKED,
            };
            Ok(product.check(&[&entrant.contest.first], self.args.seed)?.remove(0))
        };
        entrants.iter().map(verdict).collect()
    }
}

impl Entrant<'_> {
    fn line(&self, work: &Work, cache: CacheChoice) -> Line {
        let Work { ty, shape: Shape { m, n, k }, .. } = *work;
        Line {
            date: machine::date(),
            cpu: machine::cpu(),
            library: "warpdot".into(),
            device: self.device.id(),
            kernel: self.contest.kernel.clone(),
            numerics: self.numerics.name().into(),
            ty: ty.name().into(),
            m,
            n,
            k,
            threads: self.pool.map(|(threads, _)| *threads),
            cold: cache == CacheChoice::Cold,
            ms: None,
            gbps: None,
            gops: None,
            ceiling_gbps: None,
            ceiling_gops: None,
            ratio: None,
            others: None,
            checked: None,
            error_over_bound: None,
        }
    }
}

/// What the kernels of each real GPU are timed beside. What GPUs are timed by is tried on emulated ones, too.
fn gpus<'a>(entrants: &mut [Entrant<'a>]) -> Result<Vec<(String, Reads<'a>)>, Error> {
    let mut gpus: Vec<(String, Reads<'a>)> = Vec::new();
    for Entrant { device, contest, .. } in entrants {
        let emulated = device.emulated.is_some();
        if emulated {
            contest.call();
        }
        if let Some(error) = contest.failure.take() {
            return Err(error.into());
        }
        if gpus.iter().any(|(id, _)| *id == device.id()) {
            continue;
        }
        let Some(replay) = Replay::reads(&device.device, contest.copies(), graph_calls(device))? else {
            continue;
        };
        let mut reads = Reads::new(replay);
        reads.call();
        if let Some(error) = reads.failure.take() {
            return Err(error.into());
        }
        if !emulated {
            gpus.push((device.id(), reads));
        }
    }
    Ok(gpus)
}

/// The least calls in a graph: nothing is timed on an emulated device.
fn graph_calls(device: &Selected) -> usize {
    if device.emulated.is_some() { 1 } else { GRAPH }
}

fn is_cpu(device: &Selected) -> bool {
    device.id() == "cpu"
}

/// What is wrong with an entrant's outputs, if anything is.
fn complaint(work: &Work, entrant: &Entrant<'_>, verdict: &Verdict) -> Option<String> {
    let (kernel, deviating) = (&entrant.contest.kernel, entrant.contest.deviating);
    if let Some(first) = &verdict.first {
        return Some(format!(
            "WRONG: {kernel}, {work}: {} of {} outputs checked; the first: {first}",
            verdict.wrong, verdict.checked
        ));
    }
    (deviating > 0)
        .then(|| format!("WRONG: {kernel}, {work}: {deviating} samples gave other bits than the first call"))
}

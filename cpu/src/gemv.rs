//! Products with few rows of activations: sixteen rows of weights side by side, one in each lane.
//!
//! A group of rows is walked along k, block by block. Each run of weights is unpacked into registers once and meets
//! the same run of all rows of X: eight integer dot products of four codes in each lane, which are exact, then the
//! run's scales. The 32 chains of [`reproducible`](warpdot_formats::reproducible) stay in the first-level cache, a
//! line for the sixteen rows each.

use warpdot_formats::reproducible::CHAINS;
use warpdot_formats::{Format, RUN, RunScales};

use crate::activations::{ActivationRun, Weighing};
use crate::isa::{BlocksOfRows, Lanes, ROWS};
use crate::pack::Packed;
use crate::tensor::Tensor;
use crate::weights::Group;

/// Rows of activations of a tile, at most: their chains fit the first-level cache.
pub(crate) const MAX_COLUMNS: usize = 16;

/// The chains of a tile, those of one number next to each other for all rows of activations (rows apart from each
/// other by a power of two would compete for the same few places of the cache); kept by the caller so that they are
/// cleared only as far as they are used.
pub(crate) struct Accumulators([[f32; ROWS]; CHAINS * MAX_COLUMNS]);

impl Accumulators {
    pub(crate) const ZERO: Self = Self([[0.0; ROWS]; CHAINS * MAX_COLUMNS]);
}

/// Quantizes rows of X for [`multiply`], from `first` on and as many as there is room for: run after run, with all rows
/// side by side.
pub(crate) fn quantize<I: Lanes>(
    isa: I,
    weighing: Weighing,
    x: Tensor,
    first: usize,
    runs: &mut [ActivationRun<1>],
) {
    let columns = runs.len() / (x.columns() / RUN);
    isa.vectorize(
        #[inline(always)]
        || {
            for column in 0..columns {
                for (run, runs) in runs.chunks_exact_mut(columns).enumerate() {
                    let mut activations = [0.0; RUN];
                    x.load(first + column, run * RUN, &mut activations);
                    runs[column].set(0, &activations, weighing);
                }
            }
        },
    );
}

/// What [`quantize`] would leave, of rows that it quantized one by one: the `sources` among them, side by side.
pub(crate) fn gather(rows: &[ActivationRun<1>], sources: &[usize], tile: &mut [ActivationRun<1>]) {
    let columns = sources.len();
    let runs = tile.len() / columns;
    for (column, source) in sources.iter().enumerate() {
        let row = &rows[source * runs..][..runs];
        for (to, run) in tile.chunks_exact_mut(columns).zip(row) {
            to[column] = *run;
        }
    }
}

/// Multiplies a group of rows, `row_blocks` blocks each, by `columns` rows of activations. `emit` receives each column
/// and its products.
pub(crate) fn multiply<I: Lanes, F: Format>(
    isa: I,
    group: &Group<F>,
    row_blocks: usize,
    activations: &[ActivationRun<1>],
    columns: usize,
    accumulators: &mut Accumulators,
    mut emit: impl FnMut(usize, &[f32; ROWS]),
) {
    let accumulators = &mut accumulators.0[..CHAINS * columns];
    accumulators.fill([0.0; ROWS]);
    group.for_each_part(isa, 0..row_blocks, |first, part| {
        let first = first * F::RUNS;
        isa.vectorize(
            #[inline(always)]
            || {
                multiply_part::<I, F>(
                    isa,
                    part,
                    first,
                    &activations[first * columns..],
                    columns,
                    accumulators,
                );
            },
        );
    });
    isa.vectorize(
        #[inline(always)]
        || {
            for column in 0..columns {
                emit(column, &fold(isa, accumulators, columns, column));
            }
        },
    );
}

/// Adds the run values of packed blocks, the first of which is run `first`, to the chains.
#[inline(always)]
fn multiply_part<I: Lanes, F: Format>(
    isa: I,
    part: Packed,
    first: usize,
    activations: &[ActivationRun<1>],
    columns: usize,
    accumulators: &mut [[f32; ROWS]],
) {
    for block in 0..part.len::<F>() {
        let blocks = part.block::<I, F>(isa, block);
        let activations = &activations[block * F::RUNS * columns..][..F::RUNS * columns];
        for (run, activations) in activations.chunks_exact(columns).enumerate() {
            part.fetch_ahead::<I, F>(blocks, run);
            let weights = Run::unpack::<F>(blocks, run);
            let chain = (first + block * F::RUNS + run) % CHAINS;
            let sums = &mut accumulators[chain * columns..][..columns];
            for (activations, sums) in activations.iter().zip(sums) {
                let value = weights.value::<F>(isa, activations);
                let scale = isa.numbers(activations.scales[0]);
                isa.store_numbers(isa.multiply_add(scale, value, isa.load_numbers(sums)), sums);
            }
        }
    }
}

/// A run of sixteen rows of weights.
pub(crate) struct Run<I: Lanes> {
    pub(crate) codes: [I::Words; RUN / 4],
    pub(crate) scales: RunScales<I::Numbers>,
}

impl<I: Lanes> Run<I> {
    /// Unpacks run `run` of the blocks.
    #[inline(always)]
    pub(crate) fn unpack<F: Format>(blocks: BlocksOfRows<'_, I>, run: usize) -> Self {
        let mut codes = F::raw_codes(blocks, run);
        if wide::<I, F>() {
            for word in &mut codes {
                *word = *word ^ 0x8080_8080;
            }
        }
        Self { codes, scales: F::raw_scales(blocks, run) }
    }

    /// [`run_value`](warpdot_formats::reproducible::run_value) of all lanes.
    #[inline(always)]
    fn value<F: Format>(&self, isa: I, activations: &ActivationRun<1>) -> I::Numbers {
        let halves = RUN / F::GROUP;
        let mut value = isa.numbers(0.0);
        for half in 0..halves {
            let mut dot = isa.integers(activations.starts[half][0]);
            for word in half * 8 / halves..(half + 1) * 8 / halves {
                let activations = activations.codes[0][word];
                dot = if wide::<I, F>() {
                    isa.dot::<true>(dot, self.codes[word], activations)
                } else {
                    isa.dot::<false>(dot, self.codes[word], activations)
                };
            }
            let (scale, dot) = (self.scales.scale[half], isa.to_numbers(dot));
            value = if half == 0 { scale * dot } else { isa.multiply_add(scale, dot, value) };
        }
        if F::HAS_OFFSET {
            for half in 0..halves {
                let sum = isa.numbers(activations.sums[half][0]);
                value = isa.multiply_add(self.scales.offset[half], sum, value);
            }
        }
        value
    }
}

/// Whether products of `F` by `I` read codes as signed bytes of any value.
pub(crate) const fn wide<I: Lanes, F: Format>() -> bool {
    F::ZERO == 128 && !I::UNSIGNED
}

/// [`reproducible::fold`](warpdot_formats::reproducible::fold) of all lanes of a column.
#[inline(always)]
fn fold<I: Lanes>(isa: I, accumulators: &[[f32; ROWS]], columns: usize, column: usize) -> [f32; ROWS] {
    let load = |chain: usize| isa.load_numbers(&accumulators[chain * columns + column]);
    let mut total = None;
    for j in 0..CHAINS / 4 {
        let mut sum = load(j);
        for quarter in 1..4 {
            sum = isa.sum(sum, load(j + quarter * CHAINS / 4));
        }
        total = Some(total.map_or(sum, |total| isa.sum(total, sum)));
    }
    let mut folded = [0.0; ROWS];
    if let Some(total) = total {
        isa.store_numbers(total, &mut folded);
    }
    folded
}

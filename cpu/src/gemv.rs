//! Products with few rows of activations: sixteen rows of weights side by side, one in each lane.
//!
//! A group of rows is walked along k, block by block. Each run of weights is unpacked into registers once and meets
//! the same run of all rows of X: eight integer dot products of four codes in each lane, which are exact, then the
//! run's scales. The 32 chains of [`reproducible`](warpdot_formats::reproducible) stay in the first-level cache, a
//! line for the sixteen rows each.

use warpdot_formats::reproducible::CHAINS;
use warpdot_formats::{Format, RUN, RunScales};

use crate::activations::{ActivationRun, Weighing};
use crate::isa::{BlocksOfRows, Lanes, ROWS, RowWords};
use crate::pack::{Group, Packed, odd_halves};

/// Rows of activations of a tile, at most.
pub(crate) const MAX_COLUMNS: usize = 16;

/// How far ahead of their use weights are fetched from memory, in lines.
const AHEAD: usize = 64;

/// The chains of sixteen products.
type Chains = [[f32; ROWS]; CHAINS];

/// The chains of a tile; kept by the caller so that they are cleared only as far as they are used.
pub(crate) struct Accumulators([Chains; MAX_COLUMNS]);

impl Accumulators {
    pub(crate) const ZERO: Self = Self([[[0.0; ROWS]; CHAINS]; MAX_COLUMNS]);
}

/// Quantizes rows of `k` activations for [`multiply`]: run after run, with all rows side by side.
pub(crate) fn quantize<I: Lanes>(
    isa: I,
    weighing: Weighing,
    x: &[f32],
    k: usize,
    runs: &mut [ActivationRun<1>],
) {
    let columns = x.len() / k;
    isa.vectorize(
        #[inline(always)]
        || {
            for (column, row) in x.chunks_exact(k).enumerate() {
                for (runs, x) in runs.chunks_exact_mut(columns).zip(row.as_chunks().0) {
                    runs[column].set(0, x, weighing);
                }
            }
        },
    );
}

/// Multiplies a group of rows by `columns` rows of activations. `emit` receives each column and its products.
pub(crate) fn multiply<I: Lanes, F: Format>(
    isa: I,
    group: Group<F>,
    activations: &[ActivationRun<1>],
    columns: usize,
    accumulators: &mut Accumulators,
    mut emit: impl FnMut(usize, &[f32; ROWS]),
) {
    let accumulators = &mut accumulators.0[..columns];
    accumulators.fill([[0.0; ROWS]; CHAINS]);
    group.for_each(isa, |first, packed| {
        let first = first * F::RUNS;
        isa.vectorize(
            #[inline(always)]
            || multiply_blocks::<I, F>(isa, packed, first, &activations[first * columns..], accumulators),
        );
    });
    isa.vectorize(
        #[inline(always)]
        || {
            for (column, chains) in accumulators.iter().enumerate() {
                emit(column, &fold(isa, chains));
            }
        },
    );
}

/// Adds the run values of packed blocks, the first of which is run `first`, to the chains.
#[inline(always)]
fn multiply_blocks<I: Lanes, F: Format>(
    isa: I,
    packed: Packed,
    first: usize,
    activations: &[ActivationRun<1>],
    accumulators: &mut [Chains],
) {
    let columns = accumulators.len();
    let blocks = packed.words.chunks_exact(F::LAYOUT.words);
    let runs = activations.chunks_exact(F::RUNS * columns);
    for (block, (words, activations)) in blocks.zip(runs).enumerate() {
        let odd = &packed.odd[block * odd_halves::<F>()..][..odd_halves::<F>()];
        fetch_ahead(isa, words);
        let blocks = BlocksOfRows { isa, words, odd };
        for (run, activations) in activations.chunks_exact(columns).enumerate() {
            let weights = Run::unpack::<F>(blocks, run);
            let chain = (first + block * F::RUNS + run) % CHAINS;
            for (activations, chains) in activations.iter().zip(accumulators.iter_mut()) {
                let value = weights.value::<F>(isa, activations);
                let sum = isa.load_numbers(&chains[chain]);
                let sum = isa.multiply_add(isa.numbers(activations.scales[0]), value, sum);
                isa.store_numbers(sum, &mut chains[chain]);
            }
        }
    }
}

#[inline(always)]
fn fetch_ahead<I: Lanes>(isa: I, words: &[RowWords]) {
    for line in words {
        isa.prefetch(std::ptr::from_ref(line).wrapping_add(AHEAD).cast());
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
        let dot = |half: usize| {
            let mut sums = isa.integers(activations.starts[half][0]);
            for word in half * 8 / halves..(half + 1) * 8 / halves {
                let activations = activations.codes[0][word];
                sums = if wide::<I, F>() {
                    isa.dot::<true>(sums, self.codes[word], activations)
                } else {
                    isa.dot::<false>(sums, self.codes[word], activations)
                };
            }
            isa.to_numbers(sums)
        };
        let RunScales { scale, offset } = self.scales;
        let mut value = scale[0] * dot(0);
        if halves > 1 {
            value = isa.multiply_add(scale[1], dot(1), value);
        }
        if F::HAS_OFFSET {
            for half in 0..halves {
                value = isa.multiply_add(offset[half], isa.numbers(activations.sums[half][0]), value);
            }
        }
        value
    }
}

/// Whether products of `F` by `I` read codes as signed bytes of any value.
pub(crate) const fn wide<I: Lanes, F: Format>() -> bool {
    F::ZERO == 128 && !I::UNSIGNED
}

/// [`reproducible::fold`](warpdot_formats::reproducible::fold) of all lanes.
#[inline(always)]
fn fold<I: Lanes>(isa: I, chains: &Chains) -> [f32; ROWS] {
    let mut total = None;
    for j in 0..CHAINS / 4 {
        let mut sum = isa.load_numbers(&chains[j]);
        for quarter in 1..4 {
            sum = isa.sum(sum, isa.load_numbers(&chains[j + quarter * CHAINS / 4]));
        }
        total = Some(total.map_or(sum, |total| isa.sum(total, sum)));
    }
    let mut folded = [0.0; ROWS];
    if let Some(total) = total {
        isa.store_numbers(total, &mut folded);
    }
    folded
}

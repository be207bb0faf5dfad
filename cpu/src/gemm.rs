//! Products with many rows of activations: sixteen rows of weights side by side, one in each lane.
//!
//! A thread unpacks some rows of W once, into a form in which four codes of each of sixteen rows make up a
//! vector. The order of operations is that of [`reproducible`](warpdot_formats::reproducible), chain after chain,
//! and both operands lie in that order. An eighth of the chains at a time, of two vectors, stays in the
//! first-level cache while all rows of X pass by, four at a time, whose sums fit the registers.

use std::cell::RefCell;
use std::ops::Range;

use warpdot_formats::reproducible::CHAINS;
use warpdot_formats::{Format, RUN};

use crate::activations::{ActivationRun, Weighing};
use crate::gemv::{Run, wide};
use crate::isa::{Lanes, ROWS, RunCodes};
use crate::matmul::grown;
use crate::pack::Packed;
use crate::tensor::Tensor;
use crate::weights::Weights;

/// Rows of X that pass by together.
pub(crate) const COLUMNS: usize = 4;

/// The bytes of a cache line.
const LINE: usize = 64;

/// Chains that are added to each other before they are added to others.
const QUARTET: usize = 4;

/// The order in which runs are multiplied: those of one chain after the other, and next to each other the chains
/// that are added to each other first, a quartet.
#[derive(Clone, Copy)]
struct Order {
    runs: usize,
}

impl Order {
    /// The chains of each quartet.
    fn quartets() -> impl Iterator<Item = impl Iterator<Item = usize>> {
        (0..CHAINS / QUARTET).map(|first| (first..CHAINS).step_by(CHAINS / QUARTET))
    }

    /// How many runs each chain of a quartet has, from the first quartet on.
    fn lengths(self) -> impl Iterator<Item = [usize; QUARTET]> {
        let length = move |chain: usize| self.runs.saturating_sub(chain).div_ceil(CHAINS);
        Self::quartets().map(move |mut chains| std::array::from_fn(|_| chains.next().map_or(0, length)))
    }

    /// The place of each chain's first run.
    fn starts(self) -> [usize; CHAINS] {
        let (mut starts, mut place) = ([0; CHAINS], 0);
        for (chains, lengths) in Self::quartets().zip(self.lengths()) {
            for (chain, length) in chains.zip(lengths) {
                starts[chain] = place;
                place += length;
            }
        }
        starts
    }

    /// Calls `work` with the place of each run and the run.
    #[inline(always)]
    fn for_each(self, mut work: impl FnMut(usize, usize)) {
        let runs = Self::quartets().flatten().flat_map(|chain| (chain..self.runs).step_by(CHAINS));
        for (place, run) in runs.enumerate() {
            work(place, run);
        }
    }
}

/// A run of [`ROWS`] rows of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct WeightRun {
    codes: RunCodes,
    /// Of each half of the run.
    scales: [[f32; ROWS]; 2],
    offsets: [[f32; ROWS]; 2],
}

impl WeightRun {
    const ZERO: Self = Self { codes: [[0; _]; _], scales: [[0.0; _]; _], offsets: [[0.0; _]; _] };
}

/// A run of a tile of activations.
pub(crate) type Activations = ActivationRun<COLUMNS>;

/// Quantizes up to [`COLUMNS`] rows of X for [`multiply`], from `first` on; rows that are not there are zero.
pub(crate) fn quantize<I: Lanes>(
    isa: I,
    weighing: Weighing,
    x: Tensor,
    first: usize,
    tile: &mut [Activations],
) {
    isa.vectorize(
        #[inline(always)]
        || {
            Order { runs: tile.len() }.for_each(
                #[inline(always)]
                |place, run| {
                    let mut of_run = Activations::ZERO;
                    for (column, row) in (first..x.rows()).take(COLUMNS).enumerate() {
                        let mut activations = [0.0; RUN];
                        x.load(row, run * RUN, &mut activations);
                        of_run.set(column, &activations, weighing);
                    }
                    tile[place] = of_run;
                },
            );
        },
    );
}

/// What [`quantize`] would leave, tile after tile, of rows that were quantized one by one, run after run: the `sources`
/// among them.
pub(crate) fn gather(rows: &[ActivationRun<1>], sources: &[usize], tiles: &mut [Activations]) {
    let runs = tiles.len() / sources.len().div_ceil(COLUMNS);
    for (sources, tile) in sources.chunks(COLUMNS).zip(tiles.chunks_exact_mut(runs)) {
        Order { runs }.for_each(|place, run| {
            let mut of_run = Activations::ZERO;
            for (column, source) in sources.iter().enumerate() {
                of_run.copy(column, &rows[source * runs + run]);
            }
            tile[place] = of_run;
        });
    }
}

/// The products of a vector of rows of weights with a tile of activations.
pub(crate) type Products = [[f32; ROWS]; COLUMNS];

/// What products are before they are computed.
pub(crate) const NO_PRODUCTS: Products = [[0.0; ROWS]; COLUMNS];

thread_local! {
    /// A thread's unpacked weights, kept so that products do not allocate.
    static UNPACKED: RefCell<Vec<WeightRun>> = const { RefCell::new(Vec::new()) };
}

/// Multiplies groups of rows of weights by tiles of activations. `products` receives the products of the first
/// groups, as many as the instruction set takes at once, tile after tile, then those of the next; [`pieces`] puts
/// them in order.
pub(crate) fn multiply<I: Lanes, F: Format>(
    isa: I,
    weights: &Weights<F>,
    groups: Range<usize>,
    activations: &[Activations],
    products: &mut [Products],
) {
    let runs = weights.row_blocks() * F::RUNS;
    let tiles = activations.len() / runs;
    UNPACKED.with_borrow_mut(|unpacked| {
        let unpacked = grown(unpacked, I::VECTORS * runs, WeightRun::ZERO);
        let firsts = groups.clone().step_by(I::VECTORS);
        for (first, products) in firsts.zip(products.chunks_mut(I::VECTORS * tiles)) {
            let vectors = I::VECTORS.min(groups.end - first);
            let unpacked = &mut unpacked[..vectors * runs];
            for (group, unpacked) in (first..).zip(unpacked.chunks_exact_mut(runs)) {
                weights.group(group).for_each_part(isa, 0..runs / F::RUNS, |first, part| {
                    isa.vectorize(
                        #[inline(always)]
                        || unpack::<I, F>(isa, part, first * F::RUNS, unpacked),
                    );
                });
            }
            let operands = Operands { isa, order: Order { runs }, weights: unpacked, activations };
            match vectors {
                1 => operands.multiply::<F, 1>(products),
                _ => operands.multiply::<F, 2>(products),
            }
        }
    });
}

/// The products that [`multiply`] left for row `row` of Y, for `tiles` tiles, in order; the last may be more than there
/// are rows of weights.
pub(crate) fn pieces<I: Lanes>(
    products: &[Products],
    tiles: usize,
    row: usize,
) -> impl Iterator<Item = &[f32]> {
    products.chunks(I::VECTORS * tiles).flat_map(move |of_groups| {
        let vectors = of_groups.len() / tiles;
        let of_tile = &of_groups[row / COLUMNS * vectors..][..vectors];
        of_tile.iter().map(move |products| products[row % COLUMNS].as_slice())
    })
}

/// Unpacks blocks of a group, the first of which is run `first`, to their places in the order.
#[inline(always)]
fn unpack<I: Lanes, F: Format>(isa: I, packed: Packed, first: usize, unpacked: &mut [WeightRun]) {
    let starts = Order { runs: unpacked.len() }.starts();
    for block in 0..packed.len::<F>() {
        let blocks = packed.block::<I, F>(isa, block);
        for run in 0..F::RUNS {
            packed.fetch_ahead::<I, F>(blocks, run);
            let weights = Run::unpack::<F>(blocks, run);
            let run = first + block * F::RUNS + run;
            let to = &mut unpacked[starts[run % CHAINS] + run / CHAINS];
            isa.store_codes(&weights.codes, &mut to.codes);
            for half in 0..RUN / F::GROUP {
                isa.store_numbers(weights.scales.scale[half], &mut to.scales[half]);
                if F::HAS_OFFSET {
                    isa.store_numbers(weights.scales.offset[half], &mut to.offsets[half]);
                }
            }
        }
    }
}

/// Some vectors of rows of weights, and tiles of activations.
struct Operands<'a, I> {
    isa: I,
    order: Order,
    weights: &'a [WeightRun],
    activations: &'a [Activations],
}

impl<I: Lanes> Operands<'_, I> {
    /// The products of each tile with each vector.
    fn multiply<F: Format, const VECTORS: usize>(&self, products: &mut [Products]) {
        let products = products.as_chunks_mut().0;
        // What the arithmetic depends on, so that formats alike share the code.
        match (F::GROUP < RUN, F::HAS_OFFSET, wide::<I, F>()) {
            (false, false, false) => self.fold::<false, false, false, VECTORS>(products),
            (false, false, true) => self.fold::<false, false, true, VECTORS>(products),
            (true, false, false) => self.fold::<true, false, false, VECTORS>(products),
            (true, false, true) => self.fold::<true, false, true, VECTORS>(products),
            (false, true, _) => self.fold::<false, true, false, VECTORS>(products),
            (true, true, _) => self.fold::<true, true, false, VECTORS>(products),
        }
    }

    /// [`fold`](warpdot_formats::reproducible::fold) of all chains.
    #[inline(never)] // or there would be one for each format after all
    fn fold<const HALVES: bool, const OFFSETS: bool, const WIDE: bool, const VECTORS: usize>(
        &self,
        products: &mut [[Products; VECTORS]],
    ) {
        let (isa, runs) = (self.isa, self.order.runs);
        isa.vectorize(
            #[inline(always)]
            || {
                let mut start = 0;
                for (quartet, lengths) in self.order.lengths().enumerate() {
                    for (activations, products) in self.activations.chunks_exact(runs).zip(&mut *products) {
                        let mut place = start;
                        let mut sums = [[isa.numbers(0.0); COLUMNS]; VECTORS];
                        for (chain, length) in lengths.into_iter().enumerate() {
                            let places = place..place + length;
                            let values = self.chain::<HALVES, OFFSETS, WIDE, VECTORS>(activations, places);
                            place += length;
                            for (sum, value) in sums.as_flattened_mut().iter_mut().zip(values.as_flattened())
                            {
                                *sum = if chain == 0 { *value } else { isa.sum(*sum, *value) };
                            }
                        }
                        let products = products.as_flattened_mut().iter_mut();
                        for (product, sum) in products.zip(sums.as_flattened()) {
                            let total = isa.sum(isa.load_numbers(product), *sum);
                            isa.store_numbers(if quartet == 0 { *sum } else { total }, product);
                        }
                    }
                    start += lengths.iter().sum::<usize>();
                }
            },
        );
    }

    /// The sums of a chain's run values, which lie at `places`.
    #[inline(always)]
    fn chain<const HALVES: bool, const OFFSETS: bool, const WIDE: bool, const VECTORS: usize>(
        &self,
        activations: &[Activations],
        places: Range<usize>,
    ) -> [[I::Numbers; COLUMNS]; VECTORS] {
        let isa = self.isa;
        let mut sums = [[isa.numbers(0.0); COLUMNS]; VECTORS];
        for place in places {
            let mut weights = [&self.weights[place]; VECTORS];
            for (vector, weights) in weights.iter_mut().enumerate() {
                *weights = &self.weights[vector * self.order.runs + place];
            }
            let activations = &activations[place];
            let next = std::ptr::from_ref(activations).wrapping_add(self.order.runs).cast::<u8>();
            for line in 0..size_of::<Activations>() / LINE {
                isa.prefetch(next.wrapping_add(line * LINE));
            }
            let values = self.values::<HALVES, OFFSETS, WIDE, VECTORS>(weights, activations);
            for column in 0..COLUMNS {
                let scale = isa.numbers(activations.scales[column]);
                for (sums, values) in sums.iter_mut().zip(&values) {
                    sums[column] = isa.multiply_add(scale, values[column], sums[column]);
                }
            }
        }
        sums
    }

    /// [`run_value`](warpdot_formats::reproducible::run_value) of all lanes.
    #[inline(always)]
    fn values<const HALVES: bool, const OFFSETS: bool, const WIDE: bool, const VECTORS: usize>(
        &self,
        weights: [&WeightRun; VECTORS],
        activations: &Activations,
    ) -> [[I::Numbers; COLUMNS]; VECTORS] {
        let isa = self.isa;
        let mut values = [[isa.numbers(0.0); COLUMNS]; VECTORS];
        let halves = if HALVES { 2 } else { 1 };
        let mut codes = [&weights[0].codes; VECTORS];
        for (codes, weights) in codes.iter_mut().zip(weights) {
            *codes = &weights.codes;
        }
        for half in 0..halves {
            let mut dots = [[isa.integers(0); COLUMNS]; VECTORS];
            for column in 0..COLUMNS {
                let start = isa.integers(activations.starts[half][column]);
                for dots in &mut dots {
                    dots[column] = start;
                }
            }
            let words = half * 8 / halves..(half + 1) * 8 / halves;
            isa.dots::<WIDE, VECTORS>(&mut dots, codes, &activations.codes, words);
            for ((values, dots), weights) in values.iter_mut().zip(&dots).zip(weights) {
                let scale = isa.load_numbers(&weights.scales[half]);
                for (value, dot) in values.iter_mut().zip(dots) {
                    let dot = isa.to_numbers(*dot);
                    *value = if half == 0 { scale * dot } else { isa.multiply_add(scale, dot, *value) };
                }
            }
        }
        for half in 0..if OFFSETS { halves } else { 0 } {
            for column in 0..COLUMNS {
                let sum = isa.numbers(activations.sums[half][column]);
                for (values, weights) in values.iter_mut().zip(weights) {
                    let offset = isa.load_numbers(&weights.offsets[half]);
                    values[column] = isa.multiply_add(offset, sum, values[column]);
                }
            }
        }
        values
    }
}

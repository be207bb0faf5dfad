//! Products with many rows of activations: sixteen rows of weights side by side, one in each lane.
//!
//! A thread unpacks some rows of W once, into a form in which four codes of each of sixteen rows make up a
//! vector. The order of operations is that of [`reproducible`](warpdot_formats::reproducible), chain after chain,
//! and both operands lie in that order. An eighth of the chains at a time, of two vectors, stays in the
//! first-level cache while all rows of X pass by, four at a time, whose sums fit the registers.

use std::cell::RefCell;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use warpdot_formats::reproducible::CHAINS;
use warpdot_formats::{ActivationBlock, Format, RUN};

use crate::isa::{Lanes, OCTET, ROWS, WORDS, octet_blocks, padded_octet};
use crate::matmul::grown;

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
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct WeightRun {
    /// Biased as the instruction set likes it.
    codes: [[u32; ROWS]; WORDS],
    /// Of each half of the run.
    scales: [[f32; ROWS]; 2],
    offsets: [[f32; ROWS]; 2],
}

/// A run of [`COLUMNS`] rows of activations.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct ActivationRun {
    codes: [[u32; WORDS]; COLUMNS],
    scales: [f32; COLUMNS],
    /// Of the codes in each half of the run.
    sums: [[i32; COLUMNS]; 2],
    padding: [u32; 4],
}

/// Quantizes up to [`COLUMNS`] rows of `k` activations for [`multiply`]; rows that are not there are zero.
pub(crate) fn quantize<I: Lanes>(isa: I, x: &[f32], k: usize, tile: &mut [ActivationRun]) {
    isa.vectorize(
        #[inline(always)]
        || {
            Order { runs: k / RUN }.for_each(
                #[inline(always)]
                |place, run| {
                    let mut of_run = ActivationRun::zeroed();
                    for (column, row) in x.chunks_exact(k).enumerate() {
                        let activations = row[run * RUN..].first_chunk().expect("k is a multiple of 32");
                        let block = ActivationBlock::quantize(activations);
                        of_run.codes[column] = bytemuck::cast(block.codes);
                        of_run.scales[column] = block.scale;
                        of_run.sums[0][column] = i32::from(block.sums[0]);
                        of_run.sums[1][column] = i32::from(block.sums[1]);
                    }
                    tile[place] = of_run;
                },
            );
        },
    );
}

/// The products of a vector of rows of weights with a tile of activations.
pub(crate) type Products = [[f32; ROWS]; COLUMNS];

thread_local! {
    /// A thread's unpacked weights, kept so that products do not allocate.
    static UNPACKED: RefCell<Vec<WeightRun>> = const { RefCell::new(Vec::new()) };
}

/// Multiplies rows of weights, each of `row_blocks` blocks, by tiles of activations. `products` receives the
/// products of the first vectors, as many as the instruction set takes at once, tile after tile, then those of
/// the next; [`collect`] puts them in order.
pub(crate) fn multiply<I: Lanes, F: Format>(
    isa: I,
    weights: &[F],
    row_blocks: usize,
    activations: &[ActivationRun],
    products: &mut [Products],
) {
    let runs = row_blocks * F::RUNS;
    let tiles = activations.len() / runs;
    UNPACKED.with_borrow_mut(|unpacked| {
        let unpacked = grown(unpacked, I::VECTORS * runs);
        let groups = weights.chunks(I::VECTORS * ROWS * row_blocks);
        for (weights, products) in groups.zip(products.chunks_mut(I::VECTORS * tiles)) {
            let vectors = weights.chunks(ROWS * row_blocks);
            let unpacked = &mut unpacked[..vectors.len() * runs];
            isa.vectorize(
                #[inline(always)]
                || {
                    for (rows, unpacked) in vectors.zip(unpacked.chunks_exact_mut(runs)) {
                        unpack(isa, rows, row_blocks, unpacked);
                    }
                },
            );
            let operands = Operands { isa, order: Order { runs }, weights: unpacked, activations };
            match unpacked.len() / runs {
                1 => operands.multiply::<F, 1>(products),
                _ => operands.multiply::<F, 2>(products),
            }
        }
    });
}

/// Writes row `row` of Y, of which [`multiply`] left the products in `products`, for `tiles` tiles.
pub(crate) fn collect<I: Lanes>(products: &[Products], tiles: usize, row: usize, y: &mut [f32]) {
    let groups = y.chunks_mut(I::VECTORS * ROWS).zip(products.chunks(I::VECTORS * tiles));
    for (y, products) in groups {
        let vectors = y.chunks_mut(ROWS);
        let products = &products[row / COLUMNS * vectors.len()..];
        for (y, products) in vectors.zip(products) {
            y.copy_from_slice(&products[row % COLUMNS][..y.len()]);
        }
    }
}

/// Unpacks up to [`ROWS`] rows. Lanes without a row repeat the last one.
#[inline(always)]
fn unpack<I: Lanes, F: Format>(isa: I, weights: &[F], row_blocks: usize, unpacked: &mut [WeightRun]) {
    let blocks = const { octet_blocks::<F>() };
    let (runs, last) = (unpacked.len(), weights.len() / row_blocks - 1);
    let starts = Order { runs }.starts();
    let mut codes = [[[0; WORDS]; ROWS]; OCTET];
    for first in (0..runs).step_by(OCTET) {
        let places: [usize; OCTET] =
            std::array::from_fn(|run| starts[(first + run) % CHAINS] + (first + run) / CHAINS);
        let places = &places[..OCTET.min(runs - first)];
        for lane in 0..ROWS {
            let row = &weights[lane.min(last) * row_blocks..][..row_blocks];
            let start = first / F::RUNS;
            let padded;
            let octet = match row.get(start..start + blocks) {
                Some(octet) => octet,
                None => {
                    padded = padded_octet(&row[start..]);
                    &padded[..blocks]
                }
            };
            let octet = isa.unpack(octet);
            for (run, codes) in codes.iter_mut().enumerate() {
                codes[lane] = isa.words::<F>(&octet.codes, run);
            }
            for half in 0..RUN / F::GROUP {
                let scales = isa.lanes(octet.scales.scale[half]);
                let offsets = isa.lanes(octet.scales.offset[half]);
                for ((place, scale), offset) in places.iter().zip(scales).zip(offsets) {
                    unpacked[*place].scales[half][lane] = scale;
                    if F::HAS_OFFSET {
                        unpacked[*place].offsets[half][lane] = offset;
                    }
                }
            }
        }
        for (place, codes) in places.iter().zip(&codes) {
            isa.transpose(codes, &mut unpacked[*place].codes);
        }
    }
}

/// Some vectors of rows of weights, and tiles of activations.
struct Operands<'a, I> {
    isa: I,
    order: Order,
    weights: &'a [WeightRun],
    activations: &'a [ActivationRun],
}

impl<I: Lanes> Operands<'_, I> {
    /// The products of each tile with each vector.
    fn multiply<F: Format, const VECTORS: usize>(&self, products: &mut [Products]) {
        let products = products.as_chunks_mut().0;
        // What the arithmetic depends on, so that formats alike share the code.
        match (F::GROUP < RUN, F::HAS_OFFSET) {
            (false, false) => self.fold::<false, false, VECTORS>(products),
            (false, true) => self.fold::<false, true, VECTORS>(products),
            (true, false) => self.fold::<true, false, VECTORS>(products),
            (true, true) => self.fold::<true, true, VECTORS>(products),
        }
    }

    /// [`fold`](warpdot_formats::reproducible::fold) of all chains.
    fn fold<const HALVES: bool, const OFFSETS: bool, const VECTORS: usize>(
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
                        let mut sums = [[isa.floats(0.0); COLUMNS]; VECTORS];
                        for (chain, length) in lengths.into_iter().enumerate() {
                            let places = place..place + length;
                            let values = self.chain::<HALVES, OFFSETS, VECTORS>(activations, places);
                            place += length;
                            for (sum, value) in sums.as_flattened_mut().iter_mut().zip(values.as_flattened())
                            {
                                *sum = if chain == 0 { *value } else { isa.add_lanes(*sum, *value) };
                            }
                        }
                        let products = products.as_flattened_mut().iter_mut();
                        for (product, sum) in products.zip(sums.as_flattened()) {
                            let total = isa.add_lanes(isa.load_lanes(product), *sum);
                            isa.store_lanes(if quartet == 0 { *sum } else { total }, product);
                        }
                    }
                    start += lengths.iter().sum::<usize>();
                }
            },
        );
    }

    /// The sums of a chain's run values, which lie at `places`.
    #[inline(always)]
    fn chain<const HALVES: bool, const OFFSETS: bool, const VECTORS: usize>(
        &self,
        activations: &[ActivationRun],
        places: Range<usize>,
    ) -> [[I::Floats; COLUMNS]; VECTORS] {
        let isa = self.isa;
        let mut sums = [[isa.floats(0.0); COLUMNS]; VECTORS];
        for place in places {
            let mut weights = [&self.weights[place]; VECTORS];
            for (vector, weights) in weights.iter_mut().enumerate() {
                *weights = &self.weights[vector * self.order.runs + place];
            }
            let activations = &activations[place];
            let next = std::ptr::from_ref(activations).wrapping_add(self.order.runs).cast::<u8>();
            for line in 0..size_of::<ActivationRun>() / LINE {
                isa.prefetch(next.wrapping_add(line * LINE));
            }
            let values = self.values::<HALVES, OFFSETS, VECTORS>(weights, activations);
            for column in 0..COLUMNS {
                let scale = isa.floats(activations.scales[column]);
                for (sums, values) in sums.iter_mut().zip(&values) {
                    sums[column] = isa.fma_lanes(scale, values[column], sums[column]);
                }
            }
        }
        sums
    }

    /// [`run_value`](warpdot_formats::reproducible::run_value) of all lanes.
    #[inline(always)]
    fn values<const HALVES: bool, const OFFSETS: bool, const VECTORS: usize>(
        &self,
        weights: [&WeightRun; VECTORS],
        activations: &ActivationRun,
    ) -> [[I::Floats; COLUMNS]; VECTORS] {
        let isa = self.isa;
        let mut values = [[isa.floats(0.0); COLUMNS]; VECTORS];
        let halves = if HALVES { 2 } else { 1 };
        let sum_of = |column: usize, half: usize| {
            let sums = &activations.sums;
            if HALVES { sums[half][column] } else { sums[0][column] + sums[1][column] }
        };
        for half in 0..halves {
            let mut dots = [[isa.ints(0); COLUMNS]; VECTORS];
            for column in 0..COLUMNS {
                let start = isa.ints(-i32::from(I::BIAS) * sum_of(column, half));
                for dots in &mut dots {
                    dots[column] = start;
                }
            }
            for word in half * WORDS / halves..(half + 1) * WORDS / halves {
                for column in 0..COLUMNS {
                    for (dots, weights) in dots.iter_mut().zip(weights) {
                        let activations = activations.codes[column][word];
                        dots[column] = isa.dot(dots[column], &weights.codes[word], activations);
                    }
                }
            }
            for ((values, dots), weights) in values.iter_mut().zip(&dots).zip(weights) {
                let scale = isa.load_lanes(&weights.scales[half]);
                for (value, dot) in values.iter_mut().zip(dots) {
                    let dot = isa.to_floats(*dot);
                    *value =
                        if half == 0 { isa.mul_lanes(scale, dot) } else { isa.fma_lanes(scale, dot, *value) };
                }
            }
        }
        for half in 0..if OFFSETS { halves } else { 0 } {
            for column in 0..COLUMNS {
                let sum = isa.floats(sum_of(column, half) as f32);
                for (values, weights) in values.iter_mut().zip(weights) {
                    let offset = isa.load_lanes(&weights.offsets[half]);
                    values[column] = isa.fma_lanes(offset, sum, values[column]);
                }
            }
        }
        values
    }
}

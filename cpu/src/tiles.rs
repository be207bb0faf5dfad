//! Products with many rows of activations where the CPU has tile registers: both operands become `bf16`.
//!
//! What keeps int8 products with a scale for each 32 codes from the speed of tiles is not the tiles but the scales: a
//! conversion and a multiplication for each output and run. Here scales and offsets go into the weights, once for all
//! rows of X, and sums stay in the registers over many runs, as `f32`. Weights and activations are each off by at most
//! 2^-9 of their magnitude, which together is less than int8 activations may be off.
//!
//! Rows of X and rows of W come in squares of [`SIDE`] by [`SIDE`] products. A slice of a side of W, once it is `bf16`,
//! stays in the first-level cache while sides of X pass by, whose slices stay in the second-level cache; so do
//! the products of a strip of W, until the next slice adds to them. What comes next is fetched meanwhile.

use std::ops::Range;

use warpdot_formats::{Format, RUN};

use crate::epilogue::{StoreInStrip, store_strips};
use crate::gemv::Run;
use crate::isa::{
    ActivationTiles, Ahead, Amx, Avx512Vnni, FETCHED, Line, ProductTiles, ROWS, RowWords, SIDE, Tiles,
    Vectorize, WeightTiles,
};
use crate::matmul::grown;
use crate::multiply::Multiply;
use crate::pack::Packed;
use crate::parallel::for_each_chunk;
use crate::tensor::Tensor;
use crate::weights::Weights;

/// Runs in a slice, whose weights take 32 KiB. A slice is whole blocks of every format.
const SLICE: usize = 16;

/// Rows of W in a strip, at most.
const STRIP: usize = 16 * SIDE;

/// Strips for each thread, enough to balance their loads.
const STRIPS_PER_THREAD: usize = 4;

/// Sides of X in a block, at most: their slices take 512 KiB, and their products with a strip 1 MiB.
const BLOCK: usize = 16;

/// Sides whose products are put together in a piece of a row of Y.
const PIECE: usize = 8;

/// Rows of X between the one that is rounded and the one that is fetched.
const ROWS_AHEAD: usize = 2;

/// Lines of activations that a run of a side takes.
const RUN_LINES: usize = size_of::<ActivationTiles>() / size_of::<Line>();

/// All rows of X, in `bf16`: slice after slice, in each of them side after side, run after run.
#[derive(Clone, Copy)]
struct Panel<'a> {
    sides: usize,
    runs: usize,
    /// Rows, the last of which may be less than a side.
    rows: usize,
    tiles: &'a [ActivationTiles],
}

impl Panel<'_> {
    /// The runs of each slice.
    fn slices(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.runs).step_by(SLICE).map(move |first| self.slice(first))
    }

    /// The runs of the slice that starts with run `first`; none at the end.
    fn slice(self, first: usize) -> Range<usize> {
        first..self.runs.min(first + SLICE)
    }

    /// Some runs of a side.
    fn side(&self, side: usize, runs: &Range<usize>) -> &[ActivationTiles] {
        &self.tiles[runs.start * self.sides + side * runs.len()..][..runs.len()]
    }

    /// Sides in a block: about as many in all of them.
    fn block(self) -> usize {
        self.sides.div_ceil(self.sides.div_ceil(BLOCK))
    }

    /// The sides of each block.
    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.sides).step_by(self.block()).map(move |first| first..self.sides.min(first + self.block()))
    }
}

impl<F: Format> Multiply<'_, F> {
    /// W is cut into strips, each of which meets all of X.
    pub(crate) fn tiles(self, amx: Amx) {
        let one_thread = self.one_thread();
        let Self { workspace, weights, n, x, y, epilogue } = self;
        let (runs, sides) = (x.columns() / RUN, x.rows().div_ceil(SIDE));
        let threads = if one_thread { 1 } else { rayon::current_num_threads() };
        let strip = n.div_ceil(threads * STRIPS_PER_THREAD).next_multiple_of(SIDE).min(STRIP);
        let strips = n.div_ceil(strip);

        let at_once = if one_thread { usize::MAX } else { 1 };
        let tiles = grown(&mut workspace.activation_tiles, sides * runs, ActivationTiles::ZERO);
        for_each_chunk(tiles, sides * SLICE, at_once, &|slice, tiles| {
            let runs = tiles.len() / sides;
            for_each_chunk(tiles, runs, at_once, &|side, tiles| {
                round(amx, x, side * SIDE, slice * SLICE * RUN, tiles);
            });
        });

        let panel = Panel { sides, runs, rows: x.rows(), tiles };
        let size = strip / SIDE * panel.block();
        let products = grown(&mut workspace.product_tiles, threads.min(strips) * size, ProductTiles::ZERO);
        store_strips(amx, &epilogue, y, strip, (products, size), &|first, products, store| {
            let strip = StripOf { amx, weights, groups: first / ROWS..n.min(first + strip).div_ceil(ROWS) };
            multiply_strip(amx, panel, products, &strip, store);
        });
    }
}

/// Rounds runs of up to [`SIDE`] rows of X from row `first` and column `column` on; rows that are not there are zero.
fn round(amx: Amx, x: Tensor, first: usize, column: usize, tiles: &mut [ActivationTiles]) {
    amx.vectorize(
        #[inline(always)]
        || {
            for lane in 0..SIDE {
                let mut numbers = [0.0; SLICE * RUN];
                let numbers = &mut numbers[..tiles.len() * RUN];
                if first + lane < x.rows() {
                    x.load(first + lane, column, numbers);
                }
                if first + lane + ROWS_AHEAD < x.rows() {
                    x.fetch(amx, first + lane + ROWS_AHEAD, column, numbers.len());
                }
                for (numbers, tiles) in numbers.as_chunks().0.iter().zip(&mut *tiles) {
                    amx.to_bf16(numbers, &mut tiles.0[lane / ROWS][lane % ROWS]);
                }
            }
        },
    );
}

/// Rows of W in sides.
trait Strip {
    /// How many there are.
    fn sides(&self) -> usize;

    /// Makes the weights of some runs of a side.
    fn unpack(&self, side: usize, runs: &Range<usize>, to: &mut [WeightTiles]);

    /// What [`unpack`](Self::unpack) will read of each group, where that is packed.
    fn lines(&self, side: usize, runs: &Range<usize>) -> [&[RowWords]; SIDE / ROWS];
}

/// Multiplies a strip of W by all of X, a block of it after the other. The `products` of a side of W with the sides of a
/// block lie together.
fn multiply_strip(
    amx: Amx,
    panel: Panel,
    products: &mut [ProductTiles],
    strip: &dyn Strip,
    store: StoreInStrip,
) {
    for sides in panel.blocks() {
        let products = &mut products[..strip.sides() * sides.len()];
        amx.with_tiles(|tiles| {
            for runs in panel.slices() {
                multiply_slice(tiles, panel, &sides, &runs, products, strip);
            }
        });
        store_block(amx, products, &sides, panel.rows, store);
    }
}

/// Multiplies a slice of a strip of W by that of a block of X.
fn multiply_slice(
    tiles: &Tiles,
    panel: Panel,
    sides: &Range<usize>,
    runs: &Range<usize>,
    products: &mut [ProductTiles],
    strip: &dyn Strip,
) {
    let mut unpacked = [WeightTiles::ZERO; SLICE];
    let unpacked = &mut unpacked[..runs.len()];
    // After the last slice comes the first one, for the next strip or block.
    let next_slice = panel.slice(if runs.end < panel.runs { runs.end } else { 0 });
    for (of_weights, products) in products.chunks_exact_mut(sides.len()).enumerate() {
        strip.unpack(of_weights, runs, unpacked);
        let (next, next_runs) = if of_weights + 1 < strip.sides() {
            (of_weights + 1, runs.clone())
        } else {
            (0, panel.slice(runs.end))
        };
        let next_weights = strip.lines(next, &next_runs);
        let part = of_weights % (RUN_LINES / FETCHED) * FETCHED * runs.len();
        for (index, side) in sides.clone().enumerate() {
            // All at once would be more than can be under way.
            let (group, share) =
                (index * next_weights.len() / sides.len(), index * next_weights.len() % sides.len());
            let next_weights = next_weights[group];
            let next_weights = &next_weights[next_weights.len() * share / sides.len()..];
            let next_activations = panel.side(side, &next_slice).as_ptr().cast::<Line>();
            let ahead = Ahead {
                products: products.as_ptr().wrapping_add(index + 1).cast(),
                activations: next_activations.wrapping_add(part),
                weights: next_weights.as_ptr().cast(),
            };
            tiles.multiply(panel.side(side, runs), unpacked, &mut products[index], runs.start > 0, ahead);
        }
    }
}

/// Stores the products of a strip of W with a block of X.
fn store_block(amx: Amx, products: &[ProductTiles], sides: &Range<usize>, rows: usize, store: StoreInStrip) {
    for row in sides.start * SIDE..rows.min(sides.end * SIDE) {
        let column = row / SIDE - sides.start;
        for (piece, some) in products.chunks(PIECE * sides.len()).enumerate() {
            let mut numbers = [[0.0; SIDE]; PIECE];
            amx.vectorize(
                #[inline(always)]
                || {
                    for (numbers, of_weights) in numbers.iter_mut().zip(some.chunks_exact(sides.len())) {
                        *numbers = of_weights[column].0[row % SIDE];
                        numbers.as_chunks_mut().0.iter_mut().for_each(|group| amx.in_order(group));
                    }
                },
            );
            store(row, piece * PIECE * SIDE, numbers[..some.len() / sides.len()].as_flattened());
        }
    }
}

/// A strip of weights of a format.
struct StripOf<'a, F> {
    amx: Amx,
    weights: Weights<'a, F>,
    groups: Range<usize>,
}

impl<F: Format> StripOf<'_, F> {
    /// The one or two groups of a side.
    fn groups(&self, side: usize) -> Range<usize> {
        let first = self.groups.start + side * (SIDE / ROWS);
        first..self.groups.end.min(first + SIDE / ROWS)
    }

    fn blocks(runs: &Range<usize>) -> Range<usize> {
        const { assert!(SLICE.is_multiple_of(F::RUNS), "slices must not end within a block") };
        runs.start / F::RUNS..runs.end / F::RUNS
    }
}

impl<F: Format> Strip for StripOf<'_, F> {
    fn sides(&self) -> usize {
        self.groups.len().div_ceil(SIDE / ROWS)
    }

    /// Without a second group its tiles stay as they are.
    fn unpack(&self, side: usize, runs: &Range<usize>, to: &mut [WeightTiles]) {
        let amx = self.amx;
        for (tile, group) in self.groups(side).enumerate() {
            let group = self.weights.group(group);
            group.for_each_part(Avx512Vnni::from(amx), Self::blocks(runs), |first, part| {
                let to = &mut to[first * F::RUNS - runs.start..];
                amx.vectorize(
                    #[inline(always)]
                    || unpack_part::<F>(amx, part, tile, to),
                );
            });
        }
    }

    fn lines(&self, side: usize, runs: &Range<usize>) -> [&[RowWords]; SIDE / ROWS] {
        let mut lines: [&[_]; _] = [&[]; _];
        if !runs.is_empty() {
            for (lines, group) in lines.iter_mut().zip(self.groups(side)) {
                *lines =
                    self.weights.packed(group).map_or(&[], |packed| packed.lines::<F>(Self::blocks(runs)));
            }
        }
        lines
    }
}

#[inline(always)]
fn unpack_part<F: Format>(amx: Amx, part: Packed, tile: usize, to: &mut [WeightTiles]) {
    let isa = Avx512Vnni::from(amx);
    for block in 0..part.len::<F>() {
        let blocks = part.block::<_, F>(isa, block);
        for run in 0..F::RUNS {
            let Run { codes, scales } = Run::unpack::<F>(blocks, run);
            let to = &mut to[block * F::RUNS + run].0[tile];
            for (word, (codes, to)) in codes.into_iter().zip(to.as_chunks_mut().0).enumerate() {
                let group = word * 4 / F::GROUP;
                amx.store_weights::<F>(codes, scales.scale[group], scales.offset[group], to);
            }
        }
    }
}

#[cfg(test)]
mod tests;

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

use crate::epilogue::store_rows;
use crate::gemv::Run;
use crate::isa::{
    ActivationTiles, Ahead, Amx, Avx512Vnni, FETCHED, Line, ProductTiles, ROWS, SIDE, Vectorize, WeightTiles,
};
use crate::matmul::grown;
use crate::multiply::{Multiply, strip_rows};
use crate::pack::Packed;
use crate::parallel::for_each_chunk;
use crate::tensor::Tensor;
use crate::weights::Weights;

/// Runs in a slice, whose weights take 32 KiB. A slice is whole blocks of every format.
const SLICE: usize = 16;

/// Rows of W in a strip, at most.
const STRIP: usize = 16 * SIDE;

/// Sides of X in a block, at most: their slices take 512 KiB, and their products with a strip 1 MiB.
const BLOCK: usize = 16;

/// Sides whose products are put together in a piece of a row of Y.
const PIECE: usize = 8;

/// Lines of activations that a run of a side takes.
const RUN_LINES: usize = size_of::<ActivationTiles>() / size_of::<Line>();

/// All rows of X, in `bf16`: slice after slice, in each of them side after side, run after run.
#[derive(Clone, Copy)]
struct Panel<'a> {
    sides: usize,
    runs: usize,
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

    /// The sides of each block, about as many in all of them.
    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        let at_once = self.sides.div_ceil(self.sides.div_ceil(BLOCK));
        (0..self.sides).step_by(at_once).map(move |first| first..self.sides.min(first + at_once))
    }
}

impl<F: Format> Multiply<'_, F> {
    /// W is cut into strips, each of which meets all of X.
    pub(crate) fn tiles(self, amx: Amx) {
        let one_thread = self.one_thread();
        let Self { workspace, weights, n, x, y, epilogue } = self;
        let (runs, sides) = (x.columns() / RUN, x.rows().div_ceil(SIDE));
        let width = n.next_multiple_of(SIDE);
        let strip = if one_thread { width } else { strip_rows(n, 1).next_multiple_of(SIDE) }.min(STRIP);
        let at_once = if one_thread { usize::MAX } else { 1 };

        let tiles = grown(&mut workspace.activation_tiles, sides * runs, ActivationTiles::ZERO);
        for_each_chunk(tiles, sides * SLICE, at_once, &|slice, tiles| {
            let runs = tiles.len() / sides;
            for_each_chunk(tiles, runs, at_once, &|side, tiles| {
                round(amx, x, side * SIDE, slice * SLICE * RUN, tiles);
            });
        });

        let panel = Panel { sides, runs, tiles };
        let products = grown(&mut workspace.product_tiles, width / SIDE * sides, ProductTiles::ZERO);
        for_each_chunk(products, strip / SIDE * sides, at_once, &|index, products| {
            let first = index * strip / ROWS;
            let strip = StripOf { amx, weights, first, end: n.div_ceil(ROWS) };
            multiply_strip(amx, panel, products, &strip);
        });

        let products = &*products;
        store_rows(amx, &epilogue, at_once, y, &|row, store| {
            for some in products.chunks(PIECE * sides) {
                let mut piece = [[0.0; SIDE]; PIECE];
                for (piece, of_weights) in piece.iter_mut().zip(some.chunks_exact(sides)) {
                    *piece = of_weights[row / SIDE].0[row % SIDE];
                }
                store(piece[..some.len() / sides].as_flattened());
            }
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
                if first + lane < x.rows() {
                    x.load(first + lane, column, &mut numbers[..tiles.len() * RUN]);
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
    /// Makes the weights of some runs of a side.
    fn unpack(&self, side: usize, runs: &Range<usize>, to: &mut [WeightTiles]);

    /// Fetches a part of what [`unpack`](Self::unpack) will read from memory, number `part` of `parts`. What is not packed
    /// is fetched when it is.
    fn fetch(&self, side: usize, runs: &Range<usize>, part: usize, parts: usize);
}

/// Multiplies a strip of W by all of X. The products of a side of W are those with all sides of X in turn.
fn multiply_strip(amx: Amx, panel: Panel, products: &mut [ProductTiles], strip: &dyn Strip) {
    let sides_of_weights = products.len() / panel.sides;
    let mut unpacked = [WeightTiles::ZERO; SLICE];
    amx.with_tiles(|tiles| {
        for sides in panel.blocks() {
            for runs in panel.slices() {
                let unpacked = &mut unpacked[..runs.len()];
                // After the last slice comes the first one, for the next strip or block.
                let next_slice = panel.slice(if runs.end < panel.runs { runs.end } else { 0 });
                for (of_weights, products) in products.chunks_exact_mut(panel.sides).enumerate() {
                    strip.unpack(of_weights, &runs, unpacked);
                    let (next, next_runs) = if of_weights + 1 < sides_of_weights {
                        (of_weights + 1, runs.clone())
                    } else {
                        (0, panel.slice(runs.end))
                    };
                    for side in sides.clone() {
                        // All at once would be more than can be under way.
                        strip.fetch(next, &next_runs, side - sides.start, sides.len());
                        let part = of_weights % (RUN_LINES / FETCHED) * FETCHED * runs.len();
                        let ahead = Ahead {
                            products: products.as_ptr().wrapping_add(side + 1).cast(),
                            activations: panel
                                .side(side, &next_slice)
                                .as_ptr()
                                .cast::<Line>()
                                .wrapping_add(part),
                        };
                        let products = &mut products[side];
                        tiles.multiply(panel.side(side, &runs), unpacked, products, runs.start > 0, ahead);
                    }
                }
            }
        }
    });
}

/// A strip of weights of a format.
struct StripOf<'a, F> {
    amx: Amx,
    weights: Weights<'a, F>,
    /// The first group.
    first: usize,
    /// The end of all groups of W.
    end: usize,
}

impl<F: Format> StripOf<'_, F> {
    /// The one or two groups of a side, if it is there.
    fn groups(&self, side: usize) -> Range<usize> {
        let first = self.first + side * (SIDE / ROWS);
        first..self.end.min(first + SIDE / ROWS)
    }

    fn blocks(runs: &Range<usize>) -> Range<usize> {
        const { assert!(SLICE.is_multiple_of(F::RUNS), "slices must not end within a block") };
        runs.start / F::RUNS..runs.end / F::RUNS
    }
}

impl<F: Format> Strip for StripOf<'_, F> {
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

    fn fetch(&self, side: usize, runs: &Range<usize>, part: usize, parts: usize) {
        if runs.is_empty() {
            return;
        }
        for packed in self.groups(side).filter_map(|group| self.weights.packed(group)) {
            packed.fetch::<F>(self.amx, Self::blocks(runs), part, parts);
        }
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

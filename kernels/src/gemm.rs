//! Many columns: tiles of Y from tiles of W and X in shared memory.
//!
//! - **Roles.** A block of 256 threads computes a tile of 64 rows of W by 64 rows of X, a warp 32 x 16 and a thread
//!   4 x 4 of it: lane 4g + t has rows from 4g and columns from 4t of its warp's, which is what four products on tensor
//!   cores leave it, if A\[g\] and A\[g + 8\] of the first two are rows 4g and 4g + 1, of the others rows 4g + 2 and
//!   4g + 3, and B\[g\] is column 2g or, of every other one, 2g + 1. Without tensor cores it is `dp4a`.
//! - **Stages.** Chain after chain of [`reproducible`](warpdot_formats::reproducible), in the order in which
//!   they are folded, up to four of a chain's runs at a time. For each stage, thread t unpacks run t / 64 of
//!   row t % 64 of both W and X into shared memory, word by word, rows side by side: a run of weights is
//!   unpacked once per 64 columns, and a thread reads its four rows in one load. Lines of 64 words are 72 apart: the
//!   words that eight lanes read lie in all 32 banks.
//! - **Barriers.** Two per stage: the buffers are free, the buffers are full. Every thread meets all of them.
//! - **Output.** Through the stage's memory, from which each warp stores whole lines of Y, and one product at a time:
//!   the epilogue is too long to be there 16 times.
//! - **Shape.** Any m and n: rows past the end repeat the last, and their products are not stored. k a multiple
//!   of the block.
//! - **Registers.** 48 for the three sums of each product and 16 or 32 for its integer dots.

use crate::activations::Activations;
use crate::epilogue::Epilogue;
use crate::gemv::{Part, dot_starts, group_sums, value};
use crate::gpu::integer::{self, BIAS};
use crate::gpu::lanes::Lanes;
use crate::gpu::matrix::{multiply16, multiply32};
use crate::gpu::shared::Words;
use crate::gpu::weights::{Block, Weights};
use crate::gpu::{thread, warp};
use crate::launch::{GEMM_STAGE, GEMM_THREADS, GEMM_TILE};
use core::array::from_fn;
use core::ops::Range;
use warpdot_formats::reproducible::{CHAINS, fma};
use warpdot_formats::{Format, RUN, RunScales};

/// One number for each product of a thread, row by row.
type PerProduct<T> = [[T; 4]; 4];

/// The sum that changes nothing, not even the sign of a zero.
const NOTHING: PerProduct<f32> = [[-0.0; 4]; 4];

/// Multiplies `m` rows of activations by the rows of `weights` that are `part`, into `Y[m, n]`.
#[inline(always)]
pub fn gemm<F: Format>(
    weights: Weights<F>,
    activations: &[Activations],
    y: &Epilogue,
    stage: Stage,
    m: u32,
    Part { first_row: start, n, k }: Part,
) {
    let thread = thread::thread_idx_x() % GEMM_THREADS;
    let column_tiles = m.div_ceil(GEMM_TILE).max(1);
    let tile = thread::block_idx_x();
    let first_row = (tile / column_tiles) as usize * GEMM_TILE as usize;
    let first_column = (tile % column_tiles) as usize * GEMM_TILE as usize;

    let runs = k as usize / RUN;
    let mine = (thread % GEMM_TILE) as usize;
    let last = |count: u32| (count as usize).saturating_sub(1);
    let my_weights = weights.rows::<1>(start + (first_row + mine).min(last(n)) as u32);
    let my_activations = (first_column + mine).min(last(m)) * runs;

    let mut total = NOTHING;
    for j in 0..8 {
        let mut sum = NOTHING;
        for chain in (j..CHAINS).step_by(8) {
            let mut products = [[0.0; 4]; 4];
            for first in (chain..runs).step_by(CHAINS * GEMM_STAGE as usize) {
                let my_run = first + CHAINS * (thread / GEMM_TILE) as usize;
                thread::sync_threads();
                if my_run < runs {
                    if let Some(block) = my_weights.and_then(|row| row.block((my_run / F::RUNS) as u32)) {
                        stage.fill_weights(thread, block, my_run);
                    }
                    if let Some(&x) = activations.get(my_activations + my_run) {
                        stage.fill_activations::<F>(thread, &x);
                    }
                }
                thread::sync_threads();
                let filled = (runs - first).div_ceil(CHAINS).min(GEMM_STAGE as usize) as u32;
                for run in 0..filled {
                    stage.multiply::<F>(thread, run, &mut products);
                }
            }
            add(&mut sum, &products);
        }
        add(&mut total, &sum);
    }

    thread::sync_threads();
    stage.put(thread, &total);
    thread::sync_threads();
    let (first_row, first_column) = (first_row as u32, first_column as u32);
    for i in (thread..GEMM_TILE * GEMM_TILE).step_by(GEMM_THREADS as usize) {
        let (row, column) = (i % GEMM_TILE, i / GEMM_TILE);
        y.store(first_column + column, first_row + row, stage.product(row, column));
    }
}

#[inline(always)]
fn add(sums: &mut PerProduct<f32>, terms: &PerProduct<f32>) {
    for (sums, terms) in sums.iter_mut().zip(terms) {
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += term;
        }
    }
}

const CODES: usize = RUN / 4;
/// Words from one line to the next.
const LINE: u32 = GEMM_TILE + 8;
/// Words of one word of all rows and runs of a stage.
const LINES: usize = (GEMM_STAGE * LINE) as usize;

/// Words from one column of finished products to the next: consecutive threads' products lie in other banks.
const COLUMN: u32 = GEMM_TILE + 1;

/// The runs of one stage in shared memory. Word w of run r of row i is word `(r * words + w) * 72 + i`.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    codes: Words<{ CODES * LINES }>,
    /// `scale[0]`, `scale[1]`, `offset[0]`, `offset[1]`, as far as the format has them.
    scales: Words<{ 4 * LINES }>,
    x_codes: Words<{ CODES * LINES }>,
    /// The scale, and for each group, as far as the format needs it, where dot products start or the sum.
    x_scales: Words<{ 3 * LINES }>,
    /// The products of the tile, column by column, when all stages are over: the same memory.
    products: Words<{ (COLUMN * GEMM_TILE) as usize }>,
}

impl Stage {
    /// Bytes of shared memory.
    pub const BYTES: u32 = 4 * ((2 * CODES + 4 + 3) * LINES) as u32;

    /// The stage at the start of the block's dynamic shared memory.
    ///
    /// # Safety
    /// The kernel was launched with [`BYTES`](Self::BYTES) of dynamic shared memory.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        const LINES: u32 = self::LINES as u32;
        const CODES: u32 = self::CODES as u32;
        const { assert!(4 * COLUMN * GEMM_TILE <= Self::BYTES) };
        // SAFETY: the first four lie one after the other, and their sizes add up to `BYTES`, which the last does not
        // exceed.
        unsafe {
            Self {
                codes: Words::at(0),
                scales: Words::at(CODES * LINES),
                x_codes: Words::at((CODES + 4) * LINES),
                x_scales: Words::at((2 * CODES + 4) * LINES),
                products: Words::at(0),
            }
        }
    }

    /// The index of word `word` of `words` for what `thread` fills.
    #[inline(always)]
    fn slot(thread: u32, words: u32, word: u32) -> u32 {
        (thread / GEMM_TILE * words + word) * LINE + thread % GEMM_TILE
    }

    #[inline(always)]
    fn fill_weights<F: Format>(self, thread: u32, block: Block<F, 1>, run: usize) {
        for (word, Lanes([codes])) in (0..).zip(&F::raw_codes(block, run)) {
            self.codes.set(Self::slot(thread, CODES as u32, word), *codes);
        }
        let RunScales { scale, offset } = F::raw_scales(block, run);
        for (word, Lanes([value])) in (0..).zip(&[scale[0], scale[1], offset[0], offset[1]]) {
            if has::<F>(word) {
                self.scales.set(Self::slot(thread, 4, word), value.to_bits());
            }
        }
    }

    /// Leaves the products of `thread` for all threads.
    #[inline(always)]
    fn put(self, thread: u32, products: &PerProduct<f32>) {
        let (first_row, first_column) = (4 * row_quad(thread), 4 * column_quad(thread));
        for (row, products) in (first_row..).zip(products) {
            for (column, product) in (first_column..).zip(products) {
                self.products.set(column * COLUMN + row, product.to_bits());
            }
        }
    }

    /// A product that a thread left.
    #[inline(always)]
    fn product(self, row: u32, column: u32) -> f32 {
        f32::from_bits(self.products.get(column * COLUMN + row))
    }

    #[inline(always)]
    fn fill_activations<F: Format>(self, thread: u32, x: &Activations) {
        for (word, codes) in (0..).zip(&x.codes) {
            self.x_codes.set(Self::slot(thread, CODES as u32, word), *codes);
        }
        let of_groups = match F::ZERO {
            0 => group_sums::<F>(x.head).map(f32::to_bits),
            _ => dot_starts::<F>(x.head).map(|start| start as u32),
        };
        self.x_scales.set(Self::slot(thread, 3, 0), x.head.scale.to_bits());
        for (group, word) in (0..groups::<F>()).zip(&of_groups) {
            self.x_scales.set(Self::slot(thread, 3, 1 + group), *word);
        }
    }

    /// Continues the chains of `thread`'s products with run `run` of the stage.
    #[inline(always)]
    fn multiply<F: Format>(self, thread: u32, run: u32, chains: &mut PerProduct<f32>) {
        const QUADS: u32 = LINE / 4;
        let (row, column) = (row_quad(thread), column_quad(thread));
        let x_scales = self.x_scales.get4(run * 3 * QUADS + column);
        let x_groups: [[u32; 4]; 2] = from_fn(|group| {
            let line = run * 3 + 1 + group as u32;
            if (group as u32) < groups::<F>() { self.x_scales.get4(line * QUADS + column) } else { [0; 4] }
        });
        let (starts, x_sums) = match F::ZERO {
            0 => ([[BIAS; 4]; 2], x_groups.map(|sums| sums.map(f32::from_bits))),
            _ => (x_groups.map(|starts| starts.map(|start| start as i32)), [[0.0; 4]; 2]),
        };
        let mut dots: [PerProduct<i32>; 2] = starts.map(|starts| [starts; 4]);
        if cfg!(ampere) {
            self.multiply_matrices::<F>(thread, run, &mut dots);
        } else {
            let group = F::GROUP as u32 / 4;
            self.multiply_words(thread, run, 0..group, &mut dots[0]);
            self.multiply_words(thread, run, group..CODES as u32, &mut dots[1]);
        }

        let scales: [[u32; 4]; 4] = from_fn(|word| {
            if has::<F>(word as u32) {
                self.scales.get4((run * 4 + word as u32) * QUADS + row)
            } else {
                [0; 4]
            }
        });
        for a in 0..4 {
            let scale = |word: usize| f32::from_bits(scales[word][a]);
            let scales = RunScales { scale: [scale(0), scale(1)], offset: [scale(2), scale(3)] };
            for b in 0..4 {
                let x_sums = [x_sums[0][b], x_sums[1][b]];
                let value = value::<F>([dots[0][a][b], dots[1][a][b]], x_sums, &scales);
                chains[a][b] = fma(f32::from_bits(x_scales[b]), value, chains[a][b]);
            }
        }
    }

    /// Adds the dot products of words `words` of run `run` of the stage to `dots`.
    #[inline(always)]
    fn multiply_words(self, thread: u32, run: u32, words: Range<u32>, dots: &mut PerProduct<i32>) {
        for word in words {
            let line = (run * CODES as u32 + word) * LINE / 4;
            let w = self.codes.get4(line + row_quad(thread));
            let x = self.x_codes.get4(line + column_quad(thread));
            for a in 0..4 {
                for b in 0..4 {
                    dots[a][b] = integer::dp4a(w[a], x[b], dots[a][b]);
                }
            }
        }
    }

    /// Adds the dot products of run `run` of the stage to `dots`, by group, on tensor cores.
    #[inline(always)]
    fn multiply_matrices<F: Format>(self, thread: u32, run: u32, dots: &mut [PerProduct<i32>; 2]) {
        let (lane, first_column) = (thread % warp::SIZE, 4 * column_quad(thread - thread % warp::SIZE));
        let line = |half: u32| (run * CODES as u32 + 4 * half + lane % 4) * LINE;
        let w = [0, 1].map(|half| self.codes.get4((line(half) + 4 * row_quad(thread)) / 4));
        let x = [0, 1].map(|half| self.x_codes.get2((line(half) + first_column + 2 * (lane / 4)) / 2));
        for i in (0..4).step_by(2) {
            for j in 0..2 {
                if F::GROUP < RUN {
                    let c = multiply16([w[0][i], w[0][i + 1]], x[0][j], products_of(&dots[0], i, j));
                    set_products(&mut dots[0], i, j, c);
                    let c = multiply16([w[1][i], w[1][i + 1]], x[1][j], products_of(&dots[1], i, j));
                    set_products(&mut dots[1], i, j, c);
                } else {
                    let a = [w[0][i], w[0][i + 1], w[1][i], w[1][i + 1]];
                    let c = multiply32(a, [x[0][j], x[1][j]], products_of(&dots[0], i, j));
                    set_products(&mut dots[0], i, j, c);
                }
            }
        }
    }
}

/// The products of a thread that a product on tensor cores continues: rows i and i + 1, columns j and j + 2.
#[inline(always)]
fn products_of(dots: &PerProduct<i32>, i: usize, j: usize) -> [i32; 4] {
    [dots[i][j], dots[i][j + 2], dots[i + 1][j], dots[i + 1][j + 2]]
}

/// Puts them back.
#[inline(always)]
fn set_products(dots: &mut PerProduct<i32>, i: usize, j: usize, c: [i32; 4]) {
    [dots[i][j], dots[i][j + 2], dots[i + 1][j], dots[i + 1][j + 2]] = c;
}

/// The quad of rows of a thread: those of a warp are eight of the tile's 16.
#[inline(always)]
fn row_quad(thread: u32) -> u32 {
    thread / (4 * warp::SIZE) * 8 + thread % warp::SIZE / 4
}

/// The quad of columns of a thread: those of a warp are four of the tile's 16.
#[inline(always)]
fn column_quad(thread: u32) -> u32 {
    thread / warp::SIZE % 4 * 4 + thread % 4
}

/// How many groups a run has.
#[inline(always)]
fn groups<F: Format>() -> u32 {
    (RUN / F::GROUP) as u32
}

/// Whether format `F` has the number `word` of `scale[0]`, `scale[1]`, `offset[0]`, `offset[1]`.
#[inline(always)]
fn has<F: Format>(word: u32) -> bool {
    (word.is_multiple_of(2) || F::GROUP < RUN) && (word < 2 || F::HAS_OFFSET)
}

//! Many columns: tiles of Y from tiles of W and X in shared memory.
//!
//! - **Roles.** A block of 256 threads computes a tile of 64 rows of W by 64 rows of X, a thread 4 x 4 of it:
//!   thread t has the rows from `4 * (t / 16)` and the columns from `4 * (t % 16)`.
//! - **Stages.** Chain after chain of [`reproducible`](warpdot_formats::reproducible), in the order in which
//!   they are folded, up to four of a chain's runs at a time. For each stage, thread t unpacks run t / 64 of
//!   row t % 64 of both W and X into shared memory, word by word, rows side by side: a run of weights is
//!   unpacked once per 64 columns, and a thread reads its four rows in one load.
//! - **Barriers.** Two per stage: the buffers are free, the buffers are full. Every thread meets all of them.
//! - **Output.** Through the stage's memory, from which each warp stores whole lines of Y, and one product at a time:
//!   the epilogue is too long to be there 16 times.
//! - **Shape.** Any m and n: rows past the end repeat the last, and their products are not stored. k a multiple
//!   of the block.
//! - **Registers.** 48 for the three sums of each product and 16 or 32 for its integer dots.

use crate::activations::Activations;
use crate::epilogue::Epilogue;
use crate::gemv::dot_starts;
use crate::gpu::lanes::Lanes;
use crate::gpu::shared::Words;
use crate::gpu::weights::{Block, Weights};
use crate::gpu::{integer, thread};
use crate::launch::{GEMM_STAGE, GEMM_THREADS, GEMM_TILE};
use core::array::from_fn;
use core::ops::Range;
use warpdot_formats::reproducible::{CHAINS, fma, run_value};
use warpdot_formats::{Format, RUN, RunScales};

/// One number for each product of a thread, row by row.
type PerProduct<T> = [[T; 4]; 4];

/// The sum that changes nothing, not even the sign of a zero.
const NOTHING: PerProduct<f32> = [[-0.0; 4]; 4];

/// Multiplies `m` rows of activations by `n` rows of `weights`, `k` long, into `Y[m, n]`.
#[inline(always)]
pub fn gemm<F: Format>(
    weights: Weights<F>,
    activations: &[Activations],
    y: &Epilogue,
    stage: Stage,
    m: u32,
    n: u32,
    k: u32,
) {
    let thread = thread::thread_idx_x() % GEMM_THREADS;
    let column_tiles = m.div_ceil(GEMM_TILE).max(1);
    let tile = thread::block_idx_x();
    let first_row = (tile / column_tiles) as usize * GEMM_TILE as usize;
    let first_column = (tile % column_tiles) as usize * GEMM_TILE as usize;

    let runs = k as usize / RUN;
    let mine = (thread % GEMM_TILE) as usize;
    let last = |count: u32| (count as usize).saturating_sub(1);
    let my_weights = weights.rows::<1>((first_row + mine).min(last(n)) as u32);
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
                        stage.fill_activations(thread, &x);
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
const ROWS: usize = (GEMM_STAGE * GEMM_TILE) as usize;

/// Words from one column of finished products to the next: consecutive threads' products lie in other banks.
const COLUMN: u32 = GEMM_TILE + 1;

/// The runs of one stage in shared memory. Word w of run r of row i is word `(r * words + w) * 64 + i`.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    codes: Words<{ CODES * ROWS }>,
    /// `scale[0]`, `scale[1]`, `offset[0]`, `offset[1]`, as far as the format has them.
    scales: Words<{ 4 * ROWS }>,
    x_codes: Words<{ CODES * ROWS }>,
    /// The scale, and the two sums in one word.
    x_scales: Words<{ 2 * ROWS }>,
    /// The products of the tile, column by column, when all stages are over: the same memory.
    products: Words<{ (COLUMN * GEMM_TILE) as usize }>,
}

impl Stage {
    /// Bytes of shared memory.
    pub const BYTES: u32 = 4 * ((2 * CODES + 4 + 2) * ROWS) as u32;

    /// The stage at the start of the block's dynamic shared memory.
    ///
    /// # Safety
    /// The kernel was launched with [`BYTES`](Self::BYTES) of dynamic shared memory.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        const ROWS: u32 = self::ROWS as u32;
        const CODES: u32 = self::CODES as u32;
        const { assert!(4 * COLUMN * GEMM_TILE <= Self::BYTES) };
        // SAFETY: the first four lie one after the other, and their sizes add up to `BYTES`, which the last does not
        // exceed.
        unsafe {
            Self {
                codes: Words::at(0),
                scales: Words::at(CODES * ROWS),
                x_codes: Words::at((CODES + 4) * ROWS),
                x_scales: Words::at((2 * CODES + 4) * ROWS),
                products: Words::at(0),
            }
        }
    }

    /// The index of word `word` of `words` for what `thread` fills.
    #[inline(always)]
    fn slot(thread: u32, words: u32, word: u32) -> u32 {
        (thread / GEMM_TILE * words + word) * GEMM_TILE + thread % GEMM_TILE
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
        let (first_row, first_column) = (4 * (thread / 16), 4 * (thread % 16));
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
    fn fill_activations(self, thread: u32, x: &Activations) {
        for (word, codes) in (0..).zip(&x.codes) {
            self.x_codes.set(Self::slot(thread, CODES as u32, word), *codes);
        }
        let sums = u32::from(x.sums[0] as u16) | u32::from(x.sums[1] as u16) << 16;
        self.x_scales.set(Self::slot(thread, 2, 0), x.scale.to_bits());
        self.x_scales.set(Self::slot(thread, 2, 1), sums);
    }

    /// Continues the chains of `thread`'s products with run `run` of the stage.
    #[inline(always)]
    fn multiply<F: Format>(self, thread: u32, run: u32, chains: &mut PerProduct<f32>) {
        const QUADS: u32 = GEMM_TILE / 4;
        let (row, column) = (thread / QUADS, thread % QUADS);
        let x_scales = self.x_scales.get4(run * 2 * QUADS + column);
        let x_sums = self.x_scales.get4((run * 2 + 1) * QUADS + column);
        let x_sums = x_sums.map(|sums| [sums as i16, (sums >> 16) as i16]);
        let starts = x_sums.map(dot_starts::<F>);
        let dots = |words: Range<u32>, group: usize| {
            let mut dots = [starts.map(|starts| starts[group]); 4];
            for word in words {
                let w = self.codes.get4((run * CODES as u32 + word) * QUADS + row);
                let x = self.x_codes.get4((run * CODES as u32 + word) * QUADS + column);
                for a in 0..4 {
                    for b in 0..4 {
                        dots[a][b] = integer::dp4a(w[a], x[b], dots[a][b]);
                    }
                }
            }
            dots
        };
        let group = F::GROUP as u32 / 4;
        let dots: [PerProduct<i32>; 2] =
            [dots(0..group, 0), if F::GROUP < RUN { dots(group..CODES as u32, 1) } else { [[0; 4]; 4] }];

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
                let value = run_value::<F>([dots[0][a][b], dots[1][a][b]], x_sums[b], &scales);
                chains[a][b] = fma(f32::from_bits(x_scales[b]), value, chains[a][b]);
            }
        }
    }
}

/// Whether format `F` has the number `word` of `scale[0]`, `scale[1]`, `offset[0]`, `offset[1]`.
#[inline(always)]
fn has<F: Format>(word: u32) -> bool {
    (word.is_multiple_of(2) || F::GROUP < RUN) && (word < 2 || F::HAS_OFFSET)
}

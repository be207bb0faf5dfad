//! Few columns: each weight is read once, 16 bytes at a time, and split along k over the threads of a block.
//!
//! - **Roles.** A block computes up to 32 rows of W, a tile, by up to `COLUMNS` rows of X; a thread has one quad of rows
//!   and one of the 32 chains of [`reproducible`](warpdot_formats::reproducible), that is every 32nd run. A run of four
//!   rows is unpacked once, in registers, and meets all rows of X. How runs get there is [`feed`](crate::feed)'s.
//! - **Shape.** Any n; m up to `COLUMNS`; k a multiple of the block. Where rows are few, the host gives a block fewer
//!   quads, and there are more blocks; each row is split 32 ways along k in any case.
//! - **Barriers.** Those of `feed`, and one: the chains go through shared memory to the threads that fold them, in the
//!   fixed order.
//! - **Registers.** `4 * COLUMNS` sums, and 32 for the codes.

use crate::activations::{Activations, Head};
use crate::epilogue::Epilogue;
use crate::feed::{Multiply, feed};
use crate::gpu::integer::{self, BIAS, anew, biased_to_f32};
use crate::gpu::lanes::Lanes;
use crate::gpu::shared::Words;
use crate::gpu::stages::{ColumnsOfRun, Ring};
use crate::gpu::thread;
use crate::gpu::weights::Weights;
use crate::launch::GEMV_QUADS;
use crate::packed::QUAD_ROWS;
use core::array::from_fn;
use core::marker::PhantomData;
use warpdot_formats::reproducible::{CHAINS, fma, run_value_of_f32};
use warpdot_formats::{Blocks, Codes, Format, RUN, RunScales};

pub(crate) const QUAD: usize = QUAD_ROWS as usize;

/// The most words of shared memory of a block.
pub const WORDS: usize = gemv_shared_words(8) as usize;

/// Words of shared memory for the chains of a block with this many columns.
pub(crate) const fn gemv_shared_words(columns: u32) -> u32 {
    columns * CHAINS as u32 * GEMV_QUADS * QUAD_ROWS
}

/// The shared memory of a block, first for weights and activations, then for the chains of all threads.
#[derive(Clone, Copy, Debug)]
pub struct Shared<F, const COLUMNS: usize> {
    pub(crate) ring: Option<Ring<F, COLUMNS>>,
    chains: Words<WORDS>,
}

impl<F: Format, const COLUMNS: usize> Shared<F, COLUMNS> {
    /// All dynamic shared memory.
    ///
    /// # Safety
    /// The kernel was launched with as much as [`launch`](crate::launch) says for this format and `COLUMNS`.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        // SAFETY: the caller's. Of the words, those for `COLUMNS` are used.
        unsafe { Self { ring: Ring::new(), chains: Words::at(0) } }
    }
}

/// The rows of a matrix that are multiplied.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The first one.
    pub first_row: u32,
    /// How many.
    pub n: u32,
    /// How long they are.
    pub k: u32,
}

/// Which part of a block's work a thread has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    /// Quads of rows of the block.
    pub(crate) quads: u32,
    /// The number in the matrix of the first of them.
    pub(crate) first_quad: u32,
    /// The thread's quad, from the first one on.
    pub(crate) quad: u32,
    /// The thread's chain.
    pub(crate) chain: u32,
}

/// Multiplies `m` rows of activations by the `n` rows of `weights` from row `first_row` on, all `k` long, into `y`.
#[inline(always)]
pub fn gemv<F: Format, const COLUMNS: usize>(
    weights: Weights<F>,
    activations: &[Activations],
    y: &Epilogue,
    shared: Shared<F, COLUMNS>,
    m: u32,
    part: Part,
) {
    let thread = thread::thread_idx_x();
    let quads = (thread::block_dim_x() / CHAINS as u32).clamp(1, GEMV_QUADS);
    let (quad, chain) = (thread % quads, thread / quads);
    let first_quad = part.first_row / QUAD_ROWS + thread::block_idx_x() * quads;
    let role = Role { quads, first_quad, quad, chain };
    let mut chains = Chains::<F, COLUMNS> { chain, sums: [[0.0; QUAD]; COLUMNS], format: PhantomData };
    feed(weights, (activations, m, part.k), shared.ring, role, &mut chains);
    finish(role, &chains.sums, y, shared, m, part);
}

/// The thread's chain of each row and column.
struct Chains<F, const COLUMNS: usize> {
    chain: u32,
    sums: [[f32; QUAD]; COLUMNS],
    format: PhantomData<F>,
}

impl<F: Format, const COLUMNS: usize> Multiply for Chains<F, COLUMNS> {
    #[inline(always)]
    fn run(&mut self, present: bool, block: impl Blocks<Word = Lanes<u32, QUAD>>, x: impl ColumnsOfRun) {
        if !present {
            return;
        }
        // Of a run's number only the place in its block counts, which a thread's runs have in common.
        let codes = F::raw_codes(block, self.chain as usize);
        let scales = F::raw_scales(block, self.chain as usize);
        unrolled::<COLUMNS>(
            #[inline(always)]
            |column| {
                let (head, x_codes) = (x.head(column as u32), x.codes(column as u32));
                multiply::<F>(&codes, &scales, head, &x_codes, &mut self.sums[column]);
            },
        );
    }
}

/// Folds the chains of all threads of a block, of four rows for each of `COLUMNS` columns, and stores the products.
#[inline(always)]
pub(crate) fn finish<F, const COLUMNS: usize>(
    Role { quads, first_quad, quad, chain }: Role,
    sums: &[[f32; QUAD]; COLUMNS],
    y: &Epilogue,
    Shared { chains, .. }: Shared<F, COLUMNS>,
    m: u32,
    Part { first_row, n, .. }: Part,
) {
    unrolled::<COLUMNS>(
        #[inline(always)]
        |column| {
            let place = (column as u32 * CHAINS as u32 + chain) * quads + quad;
            chains.set4(place, sums[column].map(f32::to_bits));
        },
    );
    thread::sync_threads();

    // As many threads as there are products, or more. What is computed from the number now would else be kept in
    // registers from the start of the kernel on.
    let (thread, rows) = (anew(thread::thread_idx_x()), quads * QUAD_ROWS);
    let (column, row) = (thread / rows, thread % rows);
    // Rows before the first one are far behind the last one.
    let row_of_y = (first_quad * QUAD_ROWS + row).wrapping_sub(first_row);
    if column < m && row_of_y < n {
        let chain =
            |index: usize| f32::from_bits(chains.get((column * CHAINS as u32 + index as u32) * rows + row));
        y.store(column, row_of_y, fold(chain));
    }
}

/// Continues the chains of four rows with a run.
#[inline(always)]
fn multiply<F: Format>(
    codes: &[Lanes<u32, QUAD>; RUN / 4],
    scales: &RunScales<Lanes<f32, QUAD>>,
    head: Head,
    x_codes: &Codes,
    sums: &mut [f32; QUAD],
) {
    let (starts, x_sums) = (dot_starts::<F>(head), group_sums::<F>(head));
    for row in 0..QUAD {
        let codes: [u32; RUN / 4] = from_fn(|word| codes[word].0[row]);
        let pair = |pair: [Lanes<f32, QUAD>; 2]| [pair[0].0[row], pair[1].0[row]];
        let scales = RunScales { scale: pair(scales.scale), offset: pair(scales.offset) };
        let mut dots = starts;
        for word in 0..codes.len() {
            let group = 4 * word / F::GROUP;
            dots[group] = integer::dp4a(codes[word], x_codes[word], dots[group]);
        }
        sums[row] = fma(head.scale, value::<F>(dots, x_sums, &scales), sums[row]);
    }
}

/// Where the dot products of raw codes, each of which is [`Format::ZERO`] too much, have to start so that they are
/// [`BIAS`] too much in the end.
#[inline(always)]
pub(crate) fn dot_starts<F: Format>(head: Head) -> [i32; 2] {
    let zero = F::ZERO.wrapping_neg() as i8; // 128 at most
    sums_by::<F>(head, zero)
}

/// [`reproducible::group_sums`](warpdot_formats::reproducible::group_sums).
#[inline(always)]
pub(crate) fn group_sums<F: Format>(head: Head) -> [f32; 2] {
    if F::HAS_OFFSET { sums_by::<F>(head, 1).map(biased_to_f32) } else { [0.0; 2] }
}

/// [`BIAS`] plus `factor` times the sums of each group's activation codes.
#[inline(always)]
fn sums_by<F: Format>(head: Head, factor: i8) -> [i32; 2] {
    match (factor, F::GROUP < RUN) {
        (0, _) => [BIAS; 2],
        (_, true) => [[factor, 0], [0, factor]].map(|factors| integer::dp2a(head.sums, factors, BIAS)),
        (_, false) => [integer::dp2a(head.sums, [factor; 2], BIAS), BIAS],
    }
}

/// [`reproducible::run_value`](warpdot_formats::reproducible::run_value) of dot products that [`dot_starts`] started.
#[inline(always)]
pub(crate) fn value<F: Format>(dots: [i32; 2], group_sums: [f32; 2], scales: &RunScales) -> f32 {
    run_value_of_f32::<F>(dots.map(biased_to_f32), group_sums, scales)
}

/// Calls `body` with 0 to `N - 1`; `N` is 8 at most.
///
/// Spelled out, because a loop that the optimizer finds too long to unroll would keep its arrays in local memory
/// instead of registers.
#[inline(always)]
pub(crate) fn unrolled<const N: usize>(mut body: impl FnMut(usize)) {
    const { assert!(N <= 8) };
    macro_rules! unroll {
        ($($i:literal)*) => {
            $(if $i < N {
                body($i);
            })*
        };
    }
    unroll!(0 1 2 3 4 5 6 7);
}

/// [`reproducible::fold`](warpdot_formats::reproducible::fold).
#[inline(always)]
fn fold(chain: impl Fn(usize) -> f32) -> f32 {
    let sum = |j| ((chain(j) + chain(j + 8)) + chain(j + 16)) + chain(j + 24);
    (1..8).fold(sum(0), |total, j| total + sum(j))
}

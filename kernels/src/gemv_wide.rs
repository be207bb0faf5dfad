//! Few columns, but enough of them that dot products by four bytes would take longer than the weights take to arrive:
//! the same as [`gemv`](crate::gemv), with the integers on tensor cores.
//!
//! - **Roles.** A block computes a tile of 32 rows of W by up to `COLUMNS` rows of X in eight warps. As in `gemv` a
//!   thread has one quad of rows and one of the 32 chains, unpacks runs of four rows in registers and scales their dot
//!   products. A warp has eight quads by four chains.
//! - **Products.** Lane 4g + t has quad g and chain t of its warp. It is to A, whose 32 columns are 4 words of each of
//!   the lanes' 2, as if it had other words of the same run than its neighbours, but it has words of a run of its own. So B
//!   has, in columns 2t and 2t + 1, the activations of run t, of two rows of X, in the words of lanes t, and zeros in
//!   the others: of the sum over four runs one is left, and C has it where it belongs, in lane 4g + t. A quarter of
//!   each product is used and nothing is moved between lanes.
//! - **Cost.** An `mma` does the work of 8 `dp4a`, of 2 rows by 2 columns by 8 codes; it takes the time of 2 to 4.
//! - **Barriers.** One, as in `gemv`. Threads of a warp stay together, those without rows or runs, too.
//! - **Registers.** `4 * COLUMNS` sums, 32 for the codes, and 8 of B and 8 or 16 of C.

use crate::activations::Activations;
use crate::epilogue::Epilogue;
use crate::feed::{Multiply, feed};
use crate::gemv::{Part, QUAD, Role, Shared, dot_starts, finish, group_sums, unrolled, value};
use crate::gpu::lanes::Lanes;
use crate::gpu::matrix::multiply32;
use crate::gpu::stages::ColumnsOfRun;
use crate::gpu::weights::Weights;
use crate::gpu::{thread, warp};
use crate::launch::GEMV_QUADS;
use crate::packed::QUAD_ROWS;
use core::marker::PhantomData;
use warpdot_formats::reproducible::fma;
use warpdot_formats::{Blocks, Codes, Format, RUN, RunScales};

/// Chains of a warp.
const WARP_CHAINS: u32 = warp::SIZE / GEMV_QUADS;

/// What [`gemv`](crate::gemv::gemv) does, to the bit. `COLUMNS` is a multiple of 2.
#[inline(always)]
pub fn gemv_wide<F: Format, const COLUMNS: usize>(
    weights: Weights<F>,
    activations: &[Activations],
    y: &Epilogue,
    shared: Shared<F, COLUMNS>,
    m: u32,
    part: Part,
) {
    let (thread, lane) = (thread::thread_idx_x(), thread::thread_idx_x() % warp::SIZE);
    let (quad, chain) = (lane / WARP_CHAINS, thread / warp::SIZE * WARP_CHAINS + lane % WARP_CHAINS);
    let first_quad = part.first_row / QUAD_ROWS + thread::block_idx_x() * GEMV_QUADS;
    let role = Role { quads: GEMV_QUADS, first_quad, quad, chain };
    let sums = [[0.0; QUAD]; COLUMNS];
    let mut chains = Chains::<F, COLUMNS> { lane, chain, sums, format: PhantomData };
    feed(weights, (activations, m, part.k), shared.ring, role, &mut chains);
    finish(role, &chains.sums, y, shared, m, part);
}

/// The lane's chain of each row and column.
struct Chains<F, const COLUMNS: usize> {
    lane: u32,
    chain: u32,
    sums: [[f32; QUAD]; COLUMNS],
    format: PhantomData<F>,
}

impl<F: Format, const COLUMNS: usize> Multiply for Chains<F, COLUMNS> {
    #[inline(always)]
    fn run(&mut self, present: bool, block: impl Blocks<Word = Lanes<u32, QUAD>>, x: impl ColumnsOfRun) {
        // The lane has a column of B in the words of its own run, or else zeros.
        let (has_b, odd) = (self.lane / 8 == self.lane % 4, self.lane / 4 % 2);
        // Of a run's number only the place in its block counts, which a thread's runs have in common.
        let codes = F::raw_codes(block, self.chain as usize);
        let scales = F::raw_scales(block, self.chain as usize);
        unrolled::<COLUMNS>(
            #[inline(always)]
            |column| {
                if column % 2 == 1 {
                    return;
                }
                let b = if has_b { x.codes(column as u32 + odd) } else { [0; RUN / 4] };
                let heads = [0, 1].map(|i| x.head(column as u32 + i));
                let dots = multiply::<F>(&codes, &b, heads.map(dot_starts::<F>));
                if present {
                    for (i, head) in heads.into_iter().enumerate() {
                        let x_sums = group_sums::<F>(head);
                        for row in 0..QUAD {
                            let value = value::<F>(dots[row][i], x_sums, &of_row(&scales, row));
                            let sum = &mut self.sums[column + i][row];
                            *sum = fma(head.scale, value, *sum);
                        }
                    }
                }
            },
        );
    }
}

/// The dot products of the lane's rows with two rows of activations, by group, from `starts` on.
#[inline(always)]
fn multiply<F: Format>(
    codes: &[Lanes<u32, QUAD>; RUN / 4],
    b: &Codes,
    starts: [[i32; 2]; 2],
) -> [[[i32; 2]; 2]; QUAD] {
    let mut dots = [starts; QUAD];
    for first in (0..QUAD).step_by(2) {
        for word in (0..codes.len()).step_by(2) {
            let group = 4 * word / F::GROUP;
            let [w, w1] = [codes[word].0, codes[word + 1].0];
            let [upper, lower] = [dots[first], dots[first + 1]];
            let c = [upper[0][group], upper[1][group], lower[0][group], lower[1][group]];
            let c = multiply32([w[first], w[first + 1], w1[first], w1[first + 1]], [b[word], b[word + 1]], c);
            for (i, dot) in c.into_iter().enumerate() {
                dots[first + i / 2][i % 2][group] = dot;
            }
        }
    }
    dots
}

/// The scales of one of the rows.
#[inline(always)]
fn of_row(scales: &RunScales<Lanes<f32, QUAD>>, row: usize) -> RunScales {
    let pair = |pair: [Lanes<f32, QUAD>; 2]| [pair[0].0[row], pair[1].0[row]];
    RunScales { scale: pair(scales.scale), offset: pair(scales.offset) }
}

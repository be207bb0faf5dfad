//! Few columns: each row of the weights is read once, by one warp.
//!
//! - **Roles.** A warp computes `Y[.., row]` for up to `COLUMNS` rows of X; a lane is one of the 32 chains of
//!   [`reproducible`](warpdot_formats::reproducible) and takes every 32nd run of the row.
//! - **Shape.** Any n; m up to `COLUMNS`; k a multiple of the block. Lanes without a run keep a zero chain.
//! - **Barriers.** None; the chains are folded by shuffles.

use crate::activations::Activations;
use crate::epilogue::Epilogue;
use crate::gpu::{integer, thread, warp};
use crate::launch::GEMV_WARPS;
use warpdot_formats::reproducible::{CHAINS, fma, run_value};
use warpdot_formats::{Codes, Format, RUN};

/// Multiplies `m` rows of activations by the rows of `weights`, all `k` long, into `y`.
#[inline(always)]
pub fn gemv<F: Format, const COLUMNS: usize>(
    weights: &[F],
    activations: &[Activations],
    y: &Epilogue,
    m: u32,
    k: u32,
) {
    let lane = warp::lane_id() as usize;
    let warp = thread::thread_idx_x() / warp::SIZE;
    let row = thread::block_idx_x() as usize * GEMV_WARPS as usize + warp as usize;
    let (blocks, runs) = (k as usize / F::WEIGHTS, k as usize / RUN);
    let Some(weights) = weights.get(row * blocks..(row + 1) * blocks) else { return };
    // Columns past the last repeat it; their products are not stored.
    let mut columns = [[].as_slice(); COLUMNS];
    for (i, column) in columns.iter_mut().enumerate() {
        let start = i.min((m as usize).saturating_sub(1)) * runs;
        let Some(activations) = activations.get(start..start + runs) else { return };
        *column = activations;
    }

    let mut chains = [0.0; COLUMNS];
    let mut run = lane;
    while run < runs {
        let Some(block) = weights.get(run / F::RUNS) else { break };
        let (codes, scales) = (block.codes(run), block.scales(run));
        unrolled::<COLUMNS>(|column| {
            if let Some(&x) = columns[column].get(run) {
                let value = run_value::<F>(dots::<F>(&codes, &x.codes), x.sums, &scales);
                chains[column] = fma(x.scale, value, chains[column]);
            }
        });
        run += CHAINS;
    }

    // Every lane gets every sum; lane i stores that of column i.
    let mut product = 0.0;
    unrolled::<COLUMNS>(|column| {
        let sum = fold(chains[column]);
        product = if lane == column { sum } else { product };
    });
    if lane < COLUMNS {
        y.store(lane as u32, row as u32, product);
    }
}

/// Calls `body` with 0 to `N - 1`; `N` is 8 at most.
///
/// Spelled out, because a loop that the optimizer finds too long to unroll would keep its arrays in local memory
/// instead of registers.
#[inline(always)]
fn unrolled<const N: usize>(mut body: impl FnMut(usize)) {
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

/// The integer dot products of a run's groups.
#[inline(always)]
fn dots<F: Format>(codes: &Codes, activations: &Codes) -> [i32; 2] {
    let mut dots = [0; 2];
    for i in 0..codes.len() {
        let group = 4 * i / F::GROUP;
        dots[group] = integer::dp4a(codes[i], activations[i], dots[group]);
    }
    dots
}

/// [`reproducible::fold`](warpdot_formats::reproducible::fold) of the lanes' chains, on every lane.
#[inline(always)]
fn fold(chain: f32) -> f32 {
    let lane = warp::lane_id();
    let at = |distance| warp::shuffle_idx(chain, lane + distance);
    let sum = ((chain + at(8)) + at(16)) + at(24);
    (1..8).fold(warp::shuffle_idx(sum, 0), |total, j| total + warp::shuffle_idx(sum, j))
}

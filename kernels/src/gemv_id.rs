//! Mixture of experts: each row of activations by the weights of an expert that a list on the device names.
//!
//! - **Roles.** The blocks of one number in the grid's second dimension compute one row of Y as [`gemv`] does, with one
//!   column.
//! - **Shape.** Any number of rows and experts; `repeat` consecutive rows of Y share a row of X.
//! - **Barriers.** None.

use crate::activations::Activations;
use crate::epilogue::Epilogue;
use crate::gemv::gemv;
use crate::gpu::thread;
use warpdot_formats::{Format, RUN};

/// Multiplies row i / `repeat` of the activations by the `n` rows of expert `ids[i]`, all `k` long, into row i of `y`.
///
/// Expert e has the rows of `weights` from `e * n` on. A row whose expert does not exist is left as it is.
#[inline(always)]
pub fn gemv_id<F: Format>(
    weights: &[F],
    activations: &[Activations],
    ids: &[u32],
    y: &Epilogue,
    n: u32,
    k: u32,
    repeat: u32,
) {
    let row = thread::block_idx_y();
    let (Some(&id), Some(x)) = (ids.get(row as usize), row.checked_div(repeat)) else { return };
    let (blocks, runs) = (n as usize * (k as usize / F::WEIGHTS), k as usize / RUN);
    let Some(weights) = part(weights, id, blocks) else { return };
    let Some(activations) = part(activations, x, runs) else { return };
    gemv::<F, 1>(weights, activations, &y.from_row(row), 1, k);
}

/// Number `index` of the parts of `length`.
#[inline(always)]
fn part<T>(all: &[T], index: u32, length: usize) -> Option<&[T]> {
    let start = index as usize * length;
    all.get(start..start + length)
}

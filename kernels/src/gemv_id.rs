//! Mixture of experts: each row of activations by the weights of an expert that a list on the device names.
//!
//! - **Roles.** The blocks of one number in the grid's second dimension compute one row of Y as [`gemv`] does, with one
//!   column.
//! - **Shape.** Any number of rows and experts; `repeat` consecutive rows of Y share a row of X.
//! - **Barriers.** That of `gemv`; threads without an expert leave together.

use crate::activations::Activations;
use crate::epilogue::Epilogue;
use crate::gemv::{Part, Shared, gemv};
use crate::gpu::thread;
use crate::gpu::weights::Weights;
use warpdot_formats::{Format, RUN};

/// The sizes of a product.
#[derive(Clone, Copy, Debug)]
pub struct Experts {
    /// Experts.
    pub count: u32,
    /// The row of the matrix that the first expert's first one is.
    pub first_row: u32,
    /// Rows of an expert's weights.
    pub n: u32,
    /// How long they are.
    pub k: u32,
    /// Consecutive rows of Y for a row of X.
    pub repeat: u32,
}

/// Multiplies row i / `repeat` of the activations by the `n` rows of expert `ids[i]`, all `k` long, into row i of `y`.
///
/// Expert e has the rows of `weights` from `first_row + e * n` on. A row whose expert does not exist is left as it is.
#[inline(always)]
pub fn gemv_id<F: Format>(
    weights: Weights<F>,
    activations: &[Activations],
    ids: &[u32],
    y: &Epilogue,
    shared: Shared<F, 1>,
    Experts { count, first_row, n, k, repeat }: Experts,
) {
    let row = thread::block_idx_y();
    let (Some(&id), Some(x)) = (ids.get(row as usize), row.checked_div(repeat)) else { return };
    if id >= count {
        return;
    }
    let runs = k as usize / RUN;
    let Some(activations) = activations.get(x as usize * runs..(x as usize + 1) * runs) else { return };
    let part = Part { first_row: first_row + id * n, n, k };
    gemv::<F, 1>(weights, activations, &y.from_row(row), shared, 1, part);
}

//! How weights and activations reach the threads of a `gemv` block: run after run, each thread those of its chain.
//!
//! - **Staged**, from sm_80 on. What all threads need for their next runs is copied to shared memory while they compute
//!   with the last: however long memory takes, there is enough on its way, and a thread's registers hold none of it. One
//!   barrier a stage.
//! - **Direct**, on sm_75. Each thread loads what it needs when it needs it.

use crate::activations::Activations;
use crate::gemv::{QUAD, Role};
use crate::gpu::columns::Columns;
use crate::gpu::lanes::Lanes;
use crate::gpu::stages::{ColumnsOfRun, Ring, commit, wait};
use crate::gpu::thread;
use crate::gpu::weights::Weights;
use crate::packed::QUAD_ROWS;
use warpdot_formats::reproducible::CHAINS;
use warpdot_formats::{Blocks, Format, RUN};

/// What a thread does with the runs of its chain, wherever they are.
pub(crate) trait Multiply {
    /// Takes the next run of four rows, which is one of `block`, and of all columns. All threads of a block get here
    /// together, unless they are fed directly; those for which there is no run, with anything.
    fn run(&mut self, present: bool, block: impl Blocks<Word = Lanes<u32, QUAD>>, x: impl ColumnsOfRun);
}

/// Feeds a thread the runs of its chain, of its quad of rows and of `m` columns, in the order of their numbers.
#[inline(always)]
pub(crate) fn feed<F: Format, const COLUMNS: usize>(
    weights: Weights<F>,
    (activations, m, k): (&[Activations], u32, u32),
    ring: Option<Ring<F, COLUMNS>>,
    role: Role,
    thread: &mut impl Multiply,
) {
    let Some(columns) = Columns::new(activations, m, k / RUN as u32) else { return };
    match ring {
        Some(ring) => staged(weights, columns, ring, role, thread),
        None => direct(weights, columns, role, thread),
    }
}

#[inline(always)]
fn staged<F: Format, const COLUMNS: usize>(
    weights: Weights<F>,
    columns: Columns<'_>,
    ring: Ring<F, COLUMNS>,
    role: Role,
    thread: &mut impl Multiply,
) {
    let (number, quads) = (thread::thread_idx_x(), role.quads);
    // A warp copies whole lines, whatever its threads compute.
    let (quad, chain) = (number % quads, number / quads);
    let first_row = (role.first_quad + quad) * QUAD_ROWS;
    let mut copies = ring.copies(weights, columns, first_row, (quad, quads, chain));

    let stages = Ring::<F, COLUMNS>::STAGES;
    let last = columns.runs().div_ceil(CHAINS as u32);
    for stage in 0..stages - 1 {
        if stage < last {
            copies.start(stage);
        }
        commit();
    }
    let (mut slot, mut free) = (0, stages - 1);
    for stage in 0..last {
        match stages {
            2 => wait::<0>(),
            3 => wait::<1>(),
            _ => wait::<2>(),
        }
        // Now the stage is there for all threads, and all of them are done with the one before.
        thread::sync_threads();
        if stage + stages - 1 < last {
            copies.start(free);
        }
        commit();
        let present = stage * CHAINS as u32 + role.chain < columns.runs();
        thread.run(present, ring.block(slot, role.quad, role.chain), ring.columns(slot, role.chain));
        (free, slot) = (slot, if slot + 1 < stages { slot + 1 } else { 0 });
    }
    // The ring's memory is used for other things now.
    thread::sync_threads();
}

#[inline(always)]
fn direct<F: Format>(weights: Weights<F>, columns: Columns<'_>, role: Role, thread: &mut impl Multiply) {
    let Some(rows) = weights.rows::<QUAD>((role.first_quad + role.quad) * QUAD_ROWS) else { return };
    let mut run = role.chain;
    while let (Some(x), Some(block)) = (columns.run(run), rows.block(run / F::RUNS as u32)) {
        thread.run(true, block, x);
        run += CHAINS as u32;
    }
}

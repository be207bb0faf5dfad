//! Plain numbers to super-blocks of 256, whose groups of 16 or 32 weights have small multiples of units as scales.
//!
//! - **Roles.** A thread has a group, in registers; 8 or 16 neighbouring threads make a super-block. Each finds what is
//!   best for its group alone and tells the others, by shuffles, so that all know the units; then it finds its level
//!   and codes. Both searches are the CPU's ([`Group`]), with a single lane.
//! - **Shape.** As for [`quantize_rows`](crate::quantize_rows); k a multiple of 256.
//! - **Barriers.** Two: after the numbers have been fetched, and after levels and codes, four to a word, have taken
//!   their place in shared memory. From there the threads of a super-block write its half-words, in turns.

use crate::gpu::global::Matrix;
use crate::gpu::shared::Words;
use crate::gpu::{thread, warp};
use crate::quantize_rows::{Pieces, Target};
use warpdot_formats::{Found, Group, Grouped, Search, Units};

/// The levels and codes of a super-block in shared memory.
#[derive(Clone, Copy)]
struct Shared<const GROUP: usize, const WORDS: usize> {
    pieces: Pieces<GROUP, WORDS>,
    /// The thread of the first group.
    first: u32,
    units: Units,
}

impl<const GROUP: usize, const WORDS: usize> Shared<GROUP, WORDS> {
    /// Words of a group's codes. Behind them lie its levels.
    const CODES: usize = GROUP / 4;
}

impl<const GROUP: usize, const WORDS: usize> Found for Shared<GROUP, WORDS> {
    #[inline(always)]
    fn units(self) -> Units {
        self.units
    }

    #[inline(always)]
    fn levels(self, group: usize) -> [u8; 2] {
        let [scale, min, ..] = self.pieces.get(self.first + group as u32, Self::CODES as u32).to_le_bytes();
        [scale, min]
    }

    #[inline(always)]
    fn codes(self, index: usize) -> u32 {
        self.pieces.get(self.first + (index / Self::CODES) as u32, (index % Self::CODES) as u32)
    }
}

/// Quantizes the `m` rows of `x`, which are `row_blocks` super-blocks long.
///
/// `staging` is shared memory of [`words`](crate::quantize_rows::words) for groups.
#[inline(always)]
pub fn quantize_groups<F: Grouped, const GROUP: usize, const WORDS: usize>(
    x: Matrix,
    target: Target<'_, u16>,
    staging: Words<WORDS>,
    m: u32,
    row_blocks: u32,
) {
    const { assert!(GROUP == F::GROUP) };
    let groups = (F::WEIGHTS / GROUP) as u32;
    let (pieces, place) = Pieces::<GROUP, WORDS>::fetch(x, staging, row_blocks * groups);
    let (lane, thread) = (warp::lane_id(), thread::thread_idx_x());
    let member = lane % groups;

    let group = Group::<GROUP>::new::<F>(&pieces.weights(thread));
    let (scale, min) = group.ideal();
    let of_all = |value: f32| (0..groups).map(move |group| warp::shuffle_idx(value, lane - member + group));
    let units = F::SEARCH.units(of_all(scale), of_all(min));
    let levels = group.quantize::<F>(
        units,
        #[inline(always)]
        |index, codes| pieces.set(thread, index as u32, codes),
    );
    let found = Shared { pieces, first: thread - member, units };
    pieces.set(thread, Shared::<GROUP, WORDS>::CODES as u32, u32::from(u16::from_le_bytes(levels)));
    thread::sync_threads();

    let Some((row, of_row)) = place else { return };
    let Some(to) = target.row(row, m) else { return };
    let first = (to * row_blocks as usize + (of_row / groups) as usize) * (size_of::<F>() / 2);
    let mut index = member as usize;
    while index < F::LAYOUT.words {
        let word = F::word(found, index);
        target.blocks.set(first + 2 * index, word as u16);
        target.blocks.set(first + 2 * index + 1, (word >> 16) as u16);
        index += groups as usize;
    }
    if F::LAYOUT.odd > 0 && member == 0 {
        target.blocks.set(first + 2 * F::LAYOUT.words, units.scale.0);
    }
}

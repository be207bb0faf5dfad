//! Weights and activations on their way through shared memory: copies that go on while a block computes.
//!
//! From sm_80 on. A *stage* has what the threads of a block need for one run of each chain, of up to eight quads of
//! rows and of all columns; stages are a ring in the block's dynamic shared memory:
//!
//! ```text
//! word w of block b of quad q   16 bytes at b * (W * 128 + 32) + w * 128 + q * 16
//! odd fields of that block      behind the words, 4 or 8 bytes a quad, 8 quads a block
//! run c of column j             behind them, 48 bytes at (j * 32 + c) * 48: 8 unused ones, then the block
//! ```
//!
//! The 32 bytes between blocks put neighbouring blocks of a quad into different banks.

use core::marker::PhantomData;

use super::columns::{Columns, Run, RunSteps};
use super::lanes::Lanes;
use super::shared::{self, load, load2, load4};
use super::weights::{BlockSteps, Weights};
use crate::activations::{Activations, Head};
use crate::packed::TILE_ROWS;
use warpdot_formats::reproducible::CHAINS;
use warpdot_formats::{Blocks, Codes, Format, RUN};

/// `$body` where there are asynchronous copies; elsewhere a function that nothing calls.
macro_rules! asynchronous {
    (($($argument:expr),*), $body:expr) => {{
        #[cfg(all(target_arch = "nvptx64", ampere))]
        $body;
        #[cfg(not(all(target_arch = "nvptx64", ampere)))]
        {
            let _ = ($($argument,)*);
            unreachable!("this GPU has no asynchronous copies")
        }
    }};
}

/// Bytes from a word of a block to the next.
const LINE: u32 = 16 * QUADS;
/// Quads of rows that there is room for.
const QUADS: u32 = 8;
/// Bytes between blocks.
const GAP: u32 = 32;
/// Bytes for a block of activations, and those that are left out: its codes start at a multiple of 16.
const COLUMN: u32 = 48;
const COLUMN_GAP: u32 = 8;
/// Bytes that one copy moves of a block of activations, whose address is a multiple of this.
const PIECE: u32 = 8;
/// The memory of a ring, if two stages fit: with so much, a multiprocessor that has 228 KB has three blocks.
const RING: u32 = 75 << 10;

/// Bytes of a stage for blocks of so many weights and bytes.
#[inline(always)]
pub const fn stage_bytes(block_weights: usize, block_bytes: usize, columns: u32) -> u32 {
    Parts::new(block_weights, block_bytes).columns + columns * CHAINS as u32 * COLUMN
}

/// Stages in a ring: from two, the one that is computed with and one that is on its way, to four.
#[inline(always)]
pub const fn ring_stages(stage_bytes: u32) -> u32 {
    match RING / stage_bytes {
        0..=2 => 2,
        3 => 3,
        _ => 4,
    }
}

/// Where the parts of a stage start behind the words, in bytes.
struct Parts {
    odd: u32,
    columns: u32,
}

impl Parts {
    #[inline(always)]
    const fn new(block_weights: usize, block_bytes: usize) -> Self {
        let blocks = (CHAINS * RUN / block_weights) as u32;
        let (words, odd) = ((block_bytes / 4) as u32, (block_bytes % 4) as u32);
        let odd_start = blocks * (words * LINE + GAP);
        Self { odd: odd_start, columns: odd_start + blocks * QUADS * 4 * odd }
    }
}

/// The ring of a block's stages.
#[derive(Clone, Copy, Debug)]
pub struct Ring<F, const COLUMNS: usize> {
    /// In the shared address space.
    start: u32,
    format: PhantomData<F>,
}

impl<F: Format, const COLUMNS: usize> Ring<F, COLUMNS> {
    const BYTES: u32 = stage_bytes(F::WEIGHTS, size_of::<F>(), COLUMNS as u32);
    const PARTS: Parts = Parts::new(F::WEIGHTS, size_of::<F>());
    /// Stages.
    pub const STAGES: u32 = ring_stages(Self::BYTES);
    /// Blocks of a row in a stage.
    const BLOCKS: u32 = (CHAINS / F::RUNS) as u32;
    const BLOCK: u32 = F::LAYOUT.words as u32 * LINE + GAP;
    /// Bytes of the odd fields of a quad.
    const ODD: u32 = 4 * F::LAYOUT.odd as u32;

    /// The ring that starts with the dynamic shared memory; none where a block cannot have one.
    ///
    /// # Safety
    /// The kernel was launched with dynamic shared memory for it.
    #[inline(always)]
    pub unsafe fn new() -> Option<Self> {
        cfg!(ampere).then(
            #[inline(always)]
            || Self { start: shared::start(), format: PhantomData },
        )
    }

    #[inline(always)]
    fn slot(self, slot: u32) -> u32 {
        // Slots past the last are the last, so that all that is computed from one is inside of the ring.
        self.start + slot.min(Self::STAGES - 1) * Self::BYTES
    }

    /// The block of `quad` that the run of `chain` is in.
    #[inline(always)]
    pub fn block(self, slot: u32, quad: u32, chain: u32) -> Block<F> {
        let (quad, block) = (quad % QUADS, chain % CHAINS as u32 / F::RUNS as u32);
        let start = self.slot(slot);
        Block {
            words: start + block * Self::BLOCK + 16 * quad,
            odd: start + Self::PARTS.odd + (block * QUADS + quad) * Self::ODD,
            format: PhantomData,
        }
    }

    /// The activations of the run of `chain`.
    #[inline(always)]
    pub fn columns(self, slot: u32, chain: u32) -> StagedRun<COLUMNS> {
        StagedRun { start: self.slot(slot) + Self::PARTS.columns + chain % CHAINS as u32 * COLUMN }
    }

    /// The copies of a thread that has `quad` of `quads`, which is the rows from `first_row` on, and `chain`: of the rows,
    /// what the run of that chain adds to those of the chains before; of the activations, a part of that run.
    #[inline(always)]
    pub fn copies(
        self,
        weights: Weights<F>,
        columns: Columns<'_>,
        first_row: u32,
        (quad, quads, chain): (u32, u32, u32),
    ) -> Copies<F, COLUMNS> {
        let (chain, runs) = (chain % CHAINS as u32, F::RUNS as u32);
        Copies {
            ring: self,
            blocks: weights.steps(first_row, chain / runs),
            runs: columns.steps(chain),
            quad,
            quads: quads.max(1),
            chain,
        }
    }
}

/// What a thread copies, stage after stage.
#[derive(Clone, Copy, Debug)]
pub struct Copies<F, const COLUMNS: usize> {
    ring: Ring<F, COLUMNS>,
    blocks: BlockSteps<F>,
    runs: RunSteps,
    quad: u32,
    quads: u32,
    chain: u32,
}

impl<F: Format, const COLUMNS: usize> Copies<F, COLUMNS> {
    /// Starts the copies of the next stage into a slot. Zeros take the place of what there is not.
    ///
    /// No thread may use the slot until all have waited for their copies and met at a barrier.
    #[inline(always)]
    pub fn start(&mut self, slot: u32) {
        let (block, present) = (self.blocks.block(), self.blocks.has_next());
        let (to, of_block) = (self.ring.block(slot, self.quad, self.chain), self.chain % F::RUNS as u32);
        if block.words_apart() == TILE_ROWS {
            // Rows of a whole tile: the addresses differ by constants.
            Self::start_words(to, block.word_address(of_block, TILE_ROWS), TILE_ROWS, present, of_block);
        } else {
            let apart = block.words_apart();
            Self::start_words(to, block.word_address(of_block, apart), apart, present, of_block);
        }
        if F::LAYOUT.odd > 0 && of_block == 0 {
            // SAFETY: the place is inside of the ring, and the odd fields are the matrix's.
            unsafe {
                if F::LAYOUT.odd == 1 {
                    copy::<4>(to.odd, block.odd_address(), present);
                } else {
                    copy::<8>(to.odd, block.odd_address(), present);
                }
            }
        }
        self.blocks.advance(Ring::<F, COLUMNS>::BLOCKS);

        let to = self.ring.columns(slot, self.chain);
        let mut piece = self.quad * PIECE;
        while piece < size_of::<Activations>() as u32 {
            for column in 0..COLUMNS as u32 {
                let from = self.runs.address(column).wrapping_add(piece as usize / 4);
                // SAFETY: as above; blocks of activations are whole pieces.
                unsafe { copy::<PIECE>(to.head_address(column) + piece, from, self.runs.has_next()) };
            }
            piece += self.quads * PIECE;
        }
        self.runs.advance(CHAINS as u32);
    }

    #[inline(always)]
    fn start_words(to: Block<F>, from: *const u32, apart: u32, present: bool, of_block: u32) {
        let (words, runs) = (F::LAYOUT.words as u32, F::RUNS as u32);
        for i in 0..words.div_ceil(runs) {
            let word = of_block + i * runs;
            if words.is_multiple_of(runs) || word < words {
                let from = from.wrapping_add((i * runs * apart) as usize);
                // SAFETY: the place is inside of the ring, and the words are the matrix's.
                unsafe { copy::<16>(to.words + word * LINE, from, present) };
            }
        }
    }
}

/// A block of four rows in a stage.
#[derive(Clone, Copy, Debug)]
pub struct Block<F> {
    words: u32,
    odd: u32,
    format: PhantomData<F>,
}

impl<F: Format> Blocks for Block<F> {
    type Word = Lanes<u32, 4>;

    #[inline(always)]
    fn word(self, index: usize) -> Self::Word {
        // Known where the index is, and where it comes of a run's number.
        if index >= F::LAYOUT.words {
            return Lanes([0; 4]);
        }
        // SAFETY: `Ring::block` has made the address of one in the ring, and the block has the word.
        Lanes(unsafe { load4(self.words + index as u32 * LINE) })
    }

    #[inline(always)]
    fn odd(self) -> Self::Word {
        // SAFETY: as above: four bytes or half-words, if there are any.
        Lanes(unsafe {
            match F::LAYOUT.odd {
                0 => [0; 4],
                1 => {
                    let word = load(self.odd);
                    core::array::from_fn(
                        #[inline(always)]
                        |row| word >> (8 * row) & 0xff,
                    )
                }
                _ => {
                    let words = load2(self.odd);
                    core::array::from_fn(
                        #[inline(always)]
                        |row| words[row / 2] >> (16 * (row % 2)),
                    )
                }
            }
        })
    }
}

/// A block of each of the columns in a stage.
#[derive(Clone, Copy, Debug)]
pub struct StagedRun<const COLUMNS: usize> {
    start: u32,
}

impl<const COLUMNS: usize> StagedRun<COLUMNS> {
    #[inline(always)]
    fn head_address(self, column: u32) -> u32 {
        self.start + column.min(COLUMNS as u32 - 1) * CHAINS as u32 * COLUMN + COLUMN_GAP
    }
}

impl<const COLUMNS: usize> ColumnsOfRun for StagedRun<COLUMNS> {
    #[inline(always)]
    fn head(self, column: u32) -> Head {
        // SAFETY: `Ring::columns` has made the address of a run in the ring, and `head` adds that of a column.
        let [scale, sums] = unsafe { load2(self.head_address(column)) };
        Head { scale: f32::from_bits(scale), sums }
    }

    #[inline(always)]
    fn codes(self, column: u32) -> Codes {
        let codes = self.head_address(column) + size_of::<Head>() as u32;
        // SAFETY: as above.
        let [[a, b, c, d], [e, f, g, h]] = unsafe { [load4(codes), load4(codes + 16)] };
        [a, b, c, d, e, f, g, h]
    }
}

/// A block of activations of each column, wherever it is.
pub trait ColumnsOfRun: Copy {
    /// The scale and the sums of a column's block.
    fn head(self, column: u32) -> Head;
    /// Its codes.
    fn codes(self, column: u32) -> Codes;
}

impl ColumnsOfRun for Run<'_> {
    #[inline(always)]
    fn head(self, column: u32) -> Head {
        self.column(column).head
    }

    #[inline(always)]
    fn codes(self, column: u32) -> Codes {
        self.column(column).codes
    }
}

/// Ends what a thread has started to copy since the last call, be it nothing.
#[inline(always)]
pub fn commit() {
    // SAFETY: touches no memory.
    asynchronous!((), unsafe { core::arch::asm!("cp.async.commit_group;", options(nostack)) })
}

/// Waits for what the thread had started to copy before the last `LATER` calls of [`commit`].
#[inline(always)]
pub fn wait<const LATER: u32>() {
    // SAFETY: makes writes visible that were promised to be in order.
    asynchronous!((), unsafe { core::arch::asm!("cp.async.wait_group {};", const LATER, options(nostack)) })
}

/// Starts to copy `BYTES`, or as many zeros if there is nothing to copy.
///
/// # Safety
/// Both addresses are multiples of `BYTES`, which are 4, 8 or 16; `to` is inside of the ring. `from` is global, and valid
/// for reads of as many bytes if they are `present`; nothing writes them while the kernel runs.
#[inline(always)]
unsafe fn copy<const BYTES: u32>(to: u32, from: *const u32, present: bool) {
    let count = if present { BYTES } else { 0 };
    // SAFETY: the caller's.
    asynchronous!((to, from, count), unsafe {
        if BYTES == 16 {
            core::arch::asm!(
                "cp.async.cg.shared.global [{}], [{}], 16, {};",
                in(reg32) to, in(reg64) from, in(reg32) count,
                options(nostack)
            );
        } else {
            core::arch::asm!(
                "cp.async.ca.shared.global [{}], [{}], {}, {};",
                in(reg32) to, in(reg64) from, const BYTES, in(reg32) count,
                options(nostack)
            );
        }
    })
}

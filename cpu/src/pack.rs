//! Weights as products read them: the blocks of sixteen rows side by side, a word of each in turn.
//!
//! A [`Group`] holds the blocks of sixteen rows of W. Of each block along k, first words of all rows lie next to each
//! other, then second words, and so on: a cache line for each word of a block, read by lanes that hold a row each. The
//! odd byte or half-word that blocks may have lies apart in the same order, so that lines are aligned. Not a bit is
//! changed or added.

use rayon::prelude::*;
use warpdot_formats::{Format, FormatVisitor, GgmlType};

use crate::bytes::{blocks_of_bytes, expect_length};
use crate::isa::{Isa, IsaVisitor, Lanes, ROWS, RowWords};
use crate::{Error, Problem};

/// Lines of words that are packed at once when rows are packed as they are needed.
const LINES: usize = 64;

/// The half-words that the odd fields of blocks of sixteen rows take.
pub(crate) const fn odd_halves<F: Format>() -> usize {
    F::LAYOUT.odd * ROWS / 2
}

/// Blocks of sixteen rows, packed.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) words: &'a [RowWords],
    pub(crate) odd: &'a [u16],
}

/// Sixteen rows of weights, or the last ones.
#[derive(Clone, Copy)]
pub(crate) enum Group<'a, F> {
    /// Packed, sixteen of them.
    Packed(Packed<'a>),
    /// In ggml's blocks, one row after the other.
    Rows {
        /// All blocks of the rows.
        blocks: &'a [F],
        /// The blocks of one.
        row_blocks: usize,
    },
}

impl<F: Format> Group<'_, F> {
    /// Calls `work` with packed blocks, a few at a time or all of them, and the number of the first one. Lanes without a
    /// row repeat the last one.
    #[inline(always)]
    pub(crate) fn for_each<I: Lanes>(self, isa: I, mut work: impl FnMut(usize, Packed<'_>)) {
        match self {
            Self::Packed(packed) => work(0, packed),
            Self::Rows { blocks, row_blocks } => {
                let at_once = const { LINES / F::LAYOUT.words };
                let (mut words, mut odd) = ([RowWords([0; ROWS]); LINES], [0; LINES * ROWS / 4]);
                for first in (0..row_blocks).step_by(at_once) {
                    let count = at_once.min(row_blocks - first);
                    let words = &mut words[..count * F::LAYOUT.words];
                    let odd = &mut odd[..count * odd_halves::<F>()];
                    isa.vectorize(
                        #[inline(always)]
                        || pack(isa, blocks, row_blocks, first, words, odd),
                    );
                    work(first, Packed { words, odd });
                }
            }
        }
    }
}

/// Packs the blocks from `first` on of up to sixteen rows, as many as `words` and `odd` have room for.
#[inline(always)]
fn pack<I: Lanes, F: Format>(
    isa: I,
    blocks: &[F],
    row_blocks: usize,
    first: usize,
    words: &mut [RowWords],
    odd: &mut [u16],
) {
    let layout = F::LAYOUT;
    let last = blocks.len() / row_blocks - 1;
    let mut rows: [&[F]; ROWS] = [&[]; ROWS];
    for (lane, row) in rows.iter_mut().enumerate() {
        *row = &blocks[lane.min(last) * row_blocks..][..row_blocks][first..];
    }
    for (i, words) in words.chunks_exact_mut(layout.words).enumerate() {
        let mut bytes: [&[u8]; ROWS] = [&[]; ROWS];
        for (bytes, row) in bytes.iter_mut().zip(rows) {
            *bytes = bytemuck::bytes_of(&row[i]);
        }
        // Four words at a time; the last four may overlap those before.
        for four in 0..layout.words.div_ceil(4) {
            let word = (4 * four).min(layout.words - 4);
            let mut fours: [&[u8; 16]; ROWS] = [&[0; 16]; ROWS];
            for (four, bytes) in fours.iter_mut().zip(bytes) {
                *four = bytes[layout.first + 4 * word..].first_chunk().expect("four words");
            }
            isa.transpose(fours, words[word..].first_chunk_mut().expect("four words"));
        }
        let odd = &mut odd[i * odd_halves::<F>()..][..odd_halves::<F>()];
        let start = layout.odd_start();
        match layout.odd {
            0 => {}
            1 => {
                let odd: &mut [u8] = bytemuck::cast_slice_mut(odd);
                for (odd, bytes) in odd.iter_mut().zip(bytes) {
                    *odd = bytes[start];
                }
            }
            _ => {
                for (odd, bytes) in odd.iter_mut().zip(bytes) {
                    *odd = u16::from_le_bytes([bytes[start], bytes[start + 1]]);
                }
            }
        }
    }
}

/// A matrix W\[n, k\] packed for products by the CPU; it takes as many bytes as its blocks do.
///
/// Rows that do not make up sixteen stay as they are.
pub struct PackedMatrix {
    ty: GgmlType,
    n: usize,
    k: usize,
    words: Vec<RowWords>,
    odd: Vec<u16>,
    /// The blocks of the last rows, in words for the sake of their alignment.
    rest: Vec<u64>,
}

impl PackedMatrix {
    /// Packs n rows of k weights in blocks of the format `ty`, by threads of rayon's current pool.
    ///
    /// # Errors
    /// If a dimension is zero, `k` is not a multiple of the format's block, or `bytes` are not as many as n rows take
    /// or start at an odd address.
    pub fn new(isa: Isa, ty: GgmlType, n: usize, k: usize, bytes: &[u8]) -> Result<Self, Error> {
        Problem { m: 1, n, k }.check(ty)?;
        expect_length(
            "weights (bytes of n rows)",
            n * (k / ty.block_weights()) * ty.block_bytes(),
            bytes.len(),
        )?;
        ty.visit(Pack { isa, n, k, bytes })
    }

    /// The bytes that [`new`](Self::new) allocates: as many as the blocks of n rows of k weights have.
    ///
    /// # Errors
    /// If a dimension is zero, `k` is not a multiple of the format's block, or the size overflows.
    pub fn size(ty: GgmlType, n: usize, k: usize) -> Result<usize, Error> {
        Problem { m: 1, n, k }.check(ty)?;
        let row = k / ty.block_weights() * ty.block_bytes();
        n.checked_mul(row).ok_or(Error::Overflow { m: 1, n, k })
    }

    /// The format.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// n.
    pub fn rows(&self) -> usize {
        self.n
    }

    /// k.
    pub fn columns(&self) -> usize {
        self.k
    }

    /// The weights as products of the format's blocks take them.
    pub(crate) fn weights<F: Format>(&self) -> Weights<'_, F> {
        let row_blocks = self.k / F::WEIGHTS;
        let rest = self.n % ROWS * row_blocks;
        let bytes: &[u8] = bytemuck::cast_slice(&self.rest);
        Weights {
            row_blocks,
            packed: Packed { words: &self.words, odd: &self.odd },
            blocks: bytemuck::cast_slice(&bytes[..rest * size_of::<F>()]),
        }
    }
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedMatrix({} x {} {})", self.n, self.k, self.ty)
    }
}

struct Pack<'a> {
    isa: Isa,
    n: usize,
    k: usize,
    bytes: &'a [u8],
}

impl FormatVisitor for Pack<'_> {
    type Output = Result<PackedMatrix, Error>;

    fn visit<F: Format>(self) -> Self::Output {
        let blocks: &[F] = blocks_of_bytes(self.bytes)?;
        let (groups, row_blocks) = (self.n / ROWS, self.k / F::WEIGHTS);
        let (packed, rest) = blocks.split_at(groups * ROWS * row_blocks);
        let mut matrix = PackedMatrix {
            ty: F::TYPE,
            n: self.n,
            k: self.k,
            words: vec![RowWords([0; ROWS]); groups * row_blocks * F::LAYOUT.words],
            odd: vec![0; groups * row_blocks * odd_halves::<F>()],
            rest: vec![0; size_of_val(rest).div_ceil(size_of::<u64>())],
        };
        let bytes: &[u8] = bytemuck::cast_slice(rest);
        bytemuck::cast_slice_mut(&mut matrix.rest)[..bytes.len()].copy_from_slice(bytes);
        self.isa.visit(PackGroups { blocks: packed, row_blocks, matrix: &mut matrix });
        Ok(matrix)
    }
}

struct PackGroups<'a, F> {
    blocks: &'a [F],
    row_blocks: usize,
    matrix: &'a mut PackedMatrix,
}

impl<F: Format> IsaVisitor for PackGroups<'_, F> {
    type Output = ();

    fn visit<I: Lanes>(self, isa: I) {
        let Self { blocks, row_blocks, matrix } = self;
        let rows = blocks.par_chunks_exact(ROWS * row_blocks);
        let words = matrix.words.par_chunks_exact_mut(row_blocks * F::LAYOUT.words);
        let pack_group = |(blocks, words): (&[F], &mut [RowWords]), odd: &mut [u16]| {
            isa.vectorize(
                #[inline(always)]
                || pack(isa, blocks, row_blocks, 0, words, odd),
            );
        };
        if F::LAYOUT.odd == 0 {
            rows.zip(words).for_each(|group| pack_group(group, &mut []));
        } else {
            let odd = matrix.odd.par_chunks_exact_mut(row_blocks * odd_halves::<F>());
            rows.zip(words).zip(odd).for_each(|(group, odd)| pack_group(group, odd));
        }
    }
}

/// The weights of a product: packed groups of rows, then rows in blocks; either may be missing.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a, F> {
    row_blocks: usize,
    packed: Packed<'a>,
    blocks: &'a [F],
}

impl<'a, F: Format> Weights<'a, F> {
    /// Rows of `row_blocks` blocks.
    pub(crate) fn of_blocks(blocks: &'a [F], row_blocks: usize) -> Self {
        Self { row_blocks, packed: Packed { words: &[], odd: &[] }, blocks }
    }

    /// Blocks of a row.
    pub(crate) fn row_blocks(&self) -> usize {
        self.row_blocks
    }

    fn packed_groups(&self) -> usize {
        self.packed.words.len() / (self.row_blocks * F::LAYOUT.words)
    }

    /// The rows from `ROWS * index` on.
    pub(crate) fn group(&self, index: usize) -> Group<'a, F> {
        let packed = self.packed_groups();
        if index < packed {
            let (words, odd) = (self.row_blocks * F::LAYOUT.words, self.row_blocks * odd_halves::<F>());
            return Group::Packed(Packed {
                words: &self.packed.words[index * words..][..words],
                odd: &self.packed.odd[index * odd..][..odd],
            });
        }
        let blocks = &self.blocks[(index - packed) * ROWS * self.row_blocks..];
        Group::Rows {
            blocks: &blocks[..blocks.len().min(ROWS * self.row_blocks)],
            row_blocks: self.row_blocks,
        }
    }
}

//! Weights as products read them: the blocks of sixteen rows side by side, a word of each in turn.
//!
//! A group holds sixteen rows of W. Of each block along k, first words of all rows lie next to each other, then
//! second words, and so on: a cache line for each word of a block, read by lanes that hold a row each. The odd half-words
//! that blocks of some formats have fill a line before each two blocks, odd bytes one before each four: all of it is
//! read in order, and every line is aligned. Not a bit is changed, and none is added unless the blocks of a row are too
//! few to fill the last of these lines.

use std::ops::Range;

use warpdot_formats::{Format, FormatVisitor, GgmlType};

use crate::bytes::{blocks_of_bytes, expect_length};
use crate::isa::{BlocksOfRows, Isa, IsaVisitor, Lanes, ROWS, RowWords};
use crate::memory::PackedLines;
use crate::parallel::for_each_chunk;
use crate::weights::{Row, Weights};
use crate::{Error, Problem};

/// How far ahead of their use the bytes of a row are fetched from memory, where rows are packed as they are needed.
const BYTES_AHEAD: usize = 1024;

/// Blocks that lie next to each other along k, and how many lines they take: one of odd fields, if there are any, and
/// one for each word.
pub(crate) struct Chunk {
    pub(crate) blocks: usize,
    pub(crate) lines: usize,
}

/// The chunks of a format.
pub(crate) const fn chunk<F: Format>() -> Chunk {
    match F::LAYOUT.odd {
        0 => Chunk { blocks: 1, lines: F::LAYOUT.words },
        odd => Chunk { blocks: 4 / odd, lines: 1 + 4 / odd * F::LAYOUT.words },
    }
}

/// The lines of `blocks` blocks of sixteen rows.
pub(crate) const fn lines<F: Format>(blocks: usize) -> usize {
    blocks * F::LAYOUT.words + (blocks * F::LAYOUT.odd).div_ceil(4)
}

/// Blocks of sixteen rows, packed.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) lines: &'a [RowWords],
    /// How far ahead of its use a line is fetched from memory, in lines.
    pub(crate) ahead: usize,
}

impl<'a> Packed<'a> {
    /// The blocks of each row.
    #[inline(always)]
    pub(crate) fn len<F: Format>(self) -> usize {
        let Chunk { blocks, lines } = const { chunk::<F>() };
        let rest = self.lines.len() % lines;
        self.lines.len() / lines * blocks + rest.saturating_sub(odd_lines::<F>()) / F::LAYOUT.words
    }

    /// The blocks of `range`, which starts with a chunk.
    #[inline(always)]
    pub(crate) fn part<F: Format>(self, range: Range<usize>) -> Self {
        debug_assert!(range.start.is_multiple_of(chunk::<F>().blocks));
        Self { lines: &self.lines[lines::<F>(range.start)..lines::<F>(range.end)], ..self }
    }

    /// The lines of some blocks.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn lines<F: Format>(self, blocks: Range<usize>) -> &'a [RowWords] {
        self.part::<F>(blocks).lines
    }

    /// The lines of the words of the blocks that are number `index` of their rows, and their odd fields.
    #[inline(always)]
    pub(crate) fn block<I, F: Format>(self, isa: I, index: usize) -> BlocksOfRows<'a, I> {
        let Chunk { blocks, lines } = const { chunk::<F>() };
        let (first, index) = (index / blocks * lines, index % blocks);
        let words = &self.lines[first + odd_lines::<F>() + index * F::LAYOUT.words..][..F::LAYOUT.words];
        let odd: &[u16] = bytemuck::cast_slice(&self.lines[first..][..odd_lines::<F>()]);
        BlocksOfRows { isa, words, odd: &odd[index * odd_halves::<F>()..][..odd_halves::<F>()] }
    }

    /// Fetches what lies ahead of a run's share of the lines of blocks, and of a line more where there are odd fields:
    /// all at once would be more than can be under way.
    #[inline(always)]
    pub(crate) fn fetch_ahead<I: Lanes, F: Format>(self, blocks: BlocksOfRows<'_, I>, run: usize) {
        let share = |run: usize| run * F::LAYOUT.words / F::RUNS;
        let odd = if run + 1 == F::RUNS { odd_lines::<F>() } else { 0 };
        for line in share(run)..share(run + 1) + odd {
            blocks.isa.prefetch(blocks.words.as_ptr().wrapping_add(self.ahead + line).cast());
        }
    }
}

/// Lines of odd fields in a chunk.
pub(crate) const fn odd_lines<F: Format>() -> usize {
    if F::LAYOUT.odd > 0 { 1 } else { 0 }
}

/// The half-words that the odd fields of sixteen blocks take.
const fn odd_halves<F: Format>() -> usize {
    F::LAYOUT.odd * ROWS / 2
}

/// Rows in blocks that are packed together, one for each lane, and those that are packed after them.
#[derive(Clone, Copy)]
pub(crate) struct Sixteen<'a, F> {
    pub(crate) rows: [&'a [F]; ROWS],
    pub(crate) next: [&'a [F]; ROWS],
}

/// Packs the blocks from `first` on of sixteen rows, as many as `packed` has room for.
#[inline(always)]
pub(crate) fn pack<I: Lanes, F: Format>(isa: I, from: &Sixteen<F>, first: usize, packed: &mut [RowWords]) {
    let Sixteen { rows, next } = from;
    let row_bytes = size_of_val(rows[0]);
    let mut block = first;
    for lines in packed.chunks_mut(const { chunk::<F>().lines }) {
        let (odd, words) = lines.split_at_mut(odd_lines::<F>());
        let odd: &mut [u8] = bytemuck::cast_slice_mut(odd);
        for (i, words) in words.chunks_exact_mut(F::LAYOUT.words).enumerate() {
            let mut bytes: [&[u8]; ROWS] = [&[]; ROWS];
            for (bytes, row) in bytes.iter_mut().zip(rows) {
                *bytes = bytemuck::bytes_of(&row[block]);
            }
            // Further on in the rows or, towards their end, in the next ones.
            let ahead = block * size_of::<F>() + BYTES_AHEAD;
            let (ahead, to_fetch) = if ahead < row_bytes { (ahead, rows) } else { (ahead - row_bytes, next) };
            // Four words at a time; the last four may overlap those before.
            for four in 0..F::LAYOUT.words.div_ceil(4) {
                let word = (4 * four).min(F::LAYOUT.words - 4);
                let mut fours: [&[u8; 16]; ROWS] = [&[0; 16]; ROWS];
                for (four, bytes) in fours.iter_mut().zip(bytes) {
                    *four = bytes[F::LAYOUT.first + 4 * word..].first_chunk().expect("four words");
                }
                // Every fourth time, sixteen bytes each, is enough for a row's lines.
                let step = block * F::LAYOUT.words.div_ceil(4) + four;
                for row in to_fetch.iter().skip(step % 4).step_by(4) {
                    isa.prefetch(row.as_ptr().cast::<u8>().wrapping_add(ahead + 4 * word));
                }
                isa.transpose(fours, words[word..].first_chunk_mut().expect("four words"));
            }
            let (start, size) = (F::LAYOUT.odd_start(), F::LAYOUT.odd);
            for (odd, bytes) in odd[i * size * ROWS..].chunks_exact_mut(size.max(1)).zip(bytes) {
                odd[..size].copy_from_slice(&bytes[start..start + size]);
            }
            block += 1;
        }
    }
}

/// A matrix W\[n, k\] packed for products by the CPU; it takes as many bytes as its blocks do, or 32 to 48 more for each
/// sixteen rows if the blocks of a row are not a multiple of two or four.
///
/// Rows that do not make up sixteen stay as they are.
pub struct PackedMatrix {
    ty: GgmlType,
    n: usize,
    k: usize,
    /// Of all groups.
    lines: PackedLines,
    /// The blocks of the last rows, in words for the sake of their alignment.
    rest: Vec<u64>,
}

impl PackedMatrix {
    /// Packs n rows of k weights in blocks of the format `ty`, by threads of rayon's current pool.
    ///
    /// # Errors
    /// If a dimension is zero, `k` is not a multiple of the format's block, or `bytes` are not as many as n rows take
    /// or start at an odd address, or if there is no memory for the packed ones.
    pub fn new(isa: Isa, ty: GgmlType, n: usize, k: usize, bytes: &[u8]) -> Result<Self, Error> {
        Problem { m: 1, n, k }.check(ty)?;
        expect_length(
            "weights (bytes of n rows)",
            n * (k / ty.block_weights()) * ty.block_bytes(),
            bytes.len(),
        )?;
        ty.visit(Pack { isa, n, k, bytes })
    }

    /// The bytes that the weights take, packed.
    ///
    /// # Errors
    /// If a dimension is zero, `k` is not a multiple of the format's block, or the size overflows.
    pub fn size(ty: GgmlType, n: usize, k: usize) -> Result<usize, Error> {
        Problem { m: 1, n, k }.check(ty)?;
        ty.visit(Size { n, k }).ok_or(Error::Overflow { m: 1, n, k })
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

    /// Writes the blocks of row `row` to `out`, as [`new`](Self::new) found them.
    ///
    /// # Errors
    /// If there is no such row, or `out` does not have as many bytes as a row.
    pub fn row(&self, row: usize, out: &mut [u8]) -> Result<(), Error> {
        if row >= self.n {
            return Err(Error::NoSuchRow { row, rows: self.n });
        }
        let expected = self.k / self.ty.block_weights() * self.ty.block_bytes();
        expect_length("out (bytes of a row)", expected, out.len())?;
        self.ty.visit(CopyRow { matrix: self, row, out });
        Ok(())
    }

    /// The weights as products of the format's blocks take them.
    pub(crate) fn weights<F: Format>(&self) -> Weights<'_, F> {
        let row_blocks = self.k / F::WEIGHTS;
        let rest = self.n % ROWS * row_blocks;
        let bytes: &[u8] = bytemuck::cast_slice(&self.rest);
        Weights::new(row_blocks, &self.lines, bytemuck::cast_slice(&bytes[..rest * size_of::<F>()]))
    }
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedMatrix({} x {} {})", self.n, self.k, self.ty)
    }
}

struct Size {
    n: usize,
    k: usize,
}

impl FormatVisitor for Size {
    /// Nothing if it overflows.
    type Output = Option<usize>;

    fn visit<F: Format>(self) -> Self::Output {
        let row_blocks = self.k / F::WEIGHTS;
        let groups =
            (self.n / ROWS).checked_mul(lines::<F>(row_blocks))?.checked_mul(size_of::<RowWords>())?;
        groups.checked_add((self.n % ROWS).checked_mul(row_blocks)?.checked_mul(size_of::<F>())?)
    }
}

struct CopyRow<'a> {
    matrix: &'a PackedMatrix,
    row: usize,
    out: &'a mut [u8],
}

impl FormatVisitor for CopyRow<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        match self.matrix.weights::<F>().row(self.row) {
            Row::Blocks(blocks) => self.out.copy_from_slice(bytemuck::cast_slice(blocks)),
            Row::Packed(packed, lane) => {
                for (index, out) in self.out.chunks_exact_mut(size_of::<F>()).enumerate() {
                    let BlocksOfRows { words, odd, .. } = packed.block::<_, F>((), index);
                    let odd: &[u8] = bytemuck::cast_slice(odd);
                    let size = F::LAYOUT.odd;
                    out[F::LAYOUT.odd_start()..][..size].copy_from_slice(&odd[lane * size..][..size]);
                    for (word, out) in words.iter().zip(out[F::LAYOUT.first..].chunks_exact_mut(4)) {
                        out.copy_from_slice(&word.0[lane].to_le_bytes());
                    }
                }
            }
        }
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
            lines: PackedLines::zeroed(groups * lines::<F>(row_blocks))?,
            rest: vec![0; size_of_val(rest).div_ceil(size_of::<u64>())],
        };
        let bytes: &[u8] = bytemuck::cast_slice(rest);
        bytemuck::cast_slice_mut(&mut matrix.rest)[..bytes.len()].copy_from_slice(bytes);
        self.isa.visit(PackGroups { blocks: packed, row_blocks, lines: &mut matrix.lines });
        Ok(matrix)
    }
}

struct PackGroups<'a, F> {
    blocks: &'a [F],
    row_blocks: usize,
    lines: &'a mut [RowWords],
}

impl<F: Format> IsaVisitor for PackGroups<'_, F> {
    type Output = ();

    fn visit<I: Lanes>(self, isa: I) {
        let Self { blocks, row_blocks, lines } = self;
        let weights = Weights::new(row_blocks, &[], blocks);
        for_each_chunk(lines, self::lines::<F>(row_blocks), 1, &|group, lines| {
            let rows = weights.sixteen(group);
            isa.vectorize(
                #[inline(always)]
                || pack(isa, &rows, 0, lines),
            );
        });
    }
}

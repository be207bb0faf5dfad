//! The rows of weights that a product multiplies by, sixteen at a time.
//!
//! They are any rows of a matrix, in any order: those from one on, or a list. Sixteen that lie packed beside each other
//! are read as they are; others are brought side by side piece by piece, into a buffer that the first-level cache holds.

use std::ops::Range;

use warpdot_formats::Format;

use crate::isa::{Lanes, ROWS, RowWords};
use crate::pack::{Chunk, Packed, Sixteen, chunk, lines, odd_lines, pack};

/// Lines that are brought together at once.
const LINES: usize = 128;

/// How far ahead of its use a packed line is fetched from memory, in lines.
const LINES_AHEAD: usize = 96;

/// The weights of a product: packed groups of rows, then rows in blocks, either of which may be missing; and which of
/// them are multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a, F> {
    row_blocks: usize,
    packed: &'a [RowWords],
    blocks: &'a [F],
    /// The row that others are counted from.
    first: usize,
    /// Which rows from there on, if not all in order; at least one.
    ids: Option<&'a [u32]>,
}

/// Where a row is.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a, F> {
    /// In a lane of a packed group.
    Packed(Packed<'a>, usize),
    /// In ggml's blocks.
    Blocks(&'a [F]),
}

/// Sixteen rows of weights.
#[derive(Clone, Copy)]
pub(crate) enum Group<'a, F> {
    /// Side by side already.
    Packed(Packed<'a>),
    /// In ggml's blocks.
    Blocks(Sixteen<'a, F>),
    /// Here and there.
    Any([Row<'a, F>; ROWS]),
}

impl<'a, F: Format> Weights<'a, F> {
    /// All rows, of `row_blocks` blocks each.
    pub(crate) fn new(row_blocks: usize, packed: &'a [RowWords], blocks: &'a [F]) -> Self {
        Self { row_blocks, packed, blocks, first: 0, ids: None }
    }

    /// The rows `ids` of these, each of which is there.
    pub(crate) fn gather(self, ids: &'a [u32]) -> Self {
        Self { ids: Some(ids), ..self }
    }

    /// The rows from `first` on, of these.
    pub(crate) fn starting_at(self, first: usize) -> Self {
        match self.ids {
            Some(ids) => Self { ids: Some(&ids[first..]), ..self },
            None => Self { first: self.first + first, ..self },
        }
    }

    /// Blocks of a row.
    pub(crate) fn row_blocks(&self) -> usize {
        self.row_blocks
    }

    fn packed_groups(&self) -> usize {
        self.packed.len() / lines::<F>(self.row_blocks)
    }

    /// The numbers of the rows from `ROWS * index` on; where there are no more, the last one again.
    fn numbers(&self, index: usize) -> [usize; ROWS] {
        let last = self.packed_groups() * ROWS + self.blocks.len() / self.row_blocks - 1;
        let mut numbers = [0; ROWS];
        for (number, i) in numbers.iter_mut().zip(index * ROWS..) {
            *number = match self.ids {
                Some(ids) => self.first + ids[i.min(ids.len() - 1)] as usize,
                None => (self.first + i).min(last),
            };
        }
        numbers
    }

    /// Packed group `index` of the whole matrix.
    fn packed_group(&self, index: usize) -> Packed<'a> {
        let lines = lines::<F>(self.row_blocks);
        Packed { lines: &self.packed[index * lines..][..lines], ahead: LINES_AHEAD }
    }

    /// A row of the whole matrix.
    pub(crate) fn row(&self, number: usize) -> Row<'a, F> {
        let packed = self.packed_groups() * ROWS;
        if number < packed {
            return Row::Packed(self.packed_group(number / ROWS), number % ROWS);
        }
        Row::Blocks(&self.blocks[(number - packed) * self.row_blocks..][..self.row_blocks])
    }

    /// The rows from `ROWS * index` on where all of the matrix is in blocks, and what is likely to be read next.
    pub(crate) fn sixteen(&self, index: usize) -> Sixteen<'a, F> {
        let rows = |index| {
            let mut rows: [&[F]; ROWS] = [&[]; ROWS];
            for (row, number) in rows.iter_mut().zip(self.numbers(index)) {
                *row = &self.blocks[number * self.row_blocks..][..self.row_blocks];
            }
            rows
        };
        Sixteen { rows: rows(index), next: rows(index + 1) }
    }

    /// The rows from `ROWS * index` on, if they are packed side by side.
    pub(crate) fn packed(&self, index: usize) -> Option<Packed<'a>> {
        if self.packed.is_empty() {
            return None;
        }
        let first = match self.ids {
            None => self.first + index * ROWS,
            Some(_) => {
                let numbers = self.numbers(index);
                let consecutive = numbers.iter().zip(numbers[0]..).all(|(number, next)| *number == next);
                consecutive.then_some(numbers[0])?
            }
        };
        let whole = first.is_multiple_of(ROWS) && first / ROWS < self.packed_groups();
        whole.then(|| self.packed_group(first / ROWS))
    }

    /// The rows from `ROWS * index` on, and whatever fills their group.
    pub(crate) fn group(&self, index: usize) -> Group<'a, F> {
        if self.packed.is_empty() {
            return Group::Blocks(self.sixteen(index));
        }
        if let Some(packed) = self.packed(index) {
            return Group::Packed(packed);
        }
        let mut rows = [Row::Blocks::<F>(&[]); ROWS];
        for (row, number) in rows.iter_mut().zip(self.numbers(index)) {
            *row = self.row(number);
        }
        Group::Any(rows)
    }
}

impl<F: Format> Group<'_, F> {
    /// Calls `work` with packed blocks of the rows, a few at a time or all of them, and the number of the first one. Only
    /// those of `range` count, which starts with a chunk.
    #[inline(always)]
    pub(crate) fn for_each_part<I: Lanes>(
        &self,
        isa: I,
        range: Range<usize>,
        mut work: impl FnMut(usize, Packed<'_>),
    ) {
        if let Self::Packed(packed) = self {
            return work(range.start, packed.part::<F>(range));
        }
        let at_once = const { LINES / chunk::<F>().lines * chunk::<F>().blocks };
        let mut buffer = [RowWords([0; ROWS]); LINES];
        for first in range.clone().step_by(at_once) {
            let lines = &mut buffer[..lines::<F>(at_once.min(range.end - first))];
            match self {
                Self::Blocks(sixteen) => isa.vectorize(
                    #[inline(always)]
                    || pack(isa, sixteen, first, lines),
                ),
                Self::Any(rows) => gather(rows, first, lines),
                Self::Packed(_) => {}
            }
            work(first, Packed { lines, ahead: 0 });
        }
    }
}

/// What [`pack`] does, for rows anywhere; `first` is the first block of a [`Chunk`].
#[inline(never)] // for all instruction sets
fn gather<F: Format>(rows: &[Row<F>; ROWS], first: usize, packed: &mut [RowWords]) {
    let Chunk { blocks: of_chunk, lines: chunk_lines } = const { chunk::<F>() };
    let size = F::LAYOUT.odd;
    for (lane, row) in rows.iter().enumerate() {
        let chunks = packed.chunks_mut(chunk_lines).map(|lines| lines.split_at_mut(odd_lines::<F>()));
        match row {
            Row::Packed(from, from_lane) => {
                let from = from.lines[first / of_chunk * chunk_lines..].chunks(chunk_lines);
                for ((odd, words), from) in chunks.zip(from) {
                    let (from_odd, from_words) = from.split_at(odd_lines::<F>());
                    let odd = bytemuck::cast_slice_mut::<_, u8>(odd).chunks_exact_mut(ROWS * size.max(1));
                    let from_odd = bytemuck::cast_slice::<_, u8>(from_odd).chunks_exact(ROWS * size.max(1));
                    for (odd, from) in odd.zip(from_odd) {
                        odd[lane * size..][..size].copy_from_slice(&from[from_lane * size..][..size]);
                    }
                    for (word, from) in words.iter_mut().zip(from_words) {
                        word.0[lane] = from.0[*from_lane];
                    }
                }
            }
            Row::Blocks(blocks) => {
                for ((odd, words), blocks) in chunks.zip(blocks[first..].chunks(of_chunk)) {
                    let odd: &mut [u8] = bytemuck::cast_slice_mut(odd);
                    for (i, (words, block)) in words.chunks_exact_mut(F::LAYOUT.words).zip(blocks).enumerate()
                    {
                        let bytes = bytemuck::bytes_of(block);
                        odd[(i * ROWS + lane) * size..][..size]
                            .copy_from_slice(&bytes[F::LAYOUT.odd_start()..][..size]);
                        for (word, bytes) in words.iter_mut().zip(bytes[F::LAYOUT.first..].as_chunks().0) {
                            word.0[lane] = u32::from_le_bytes(*bytes);
                        }
                    }
                }
            }
        }
    }
}

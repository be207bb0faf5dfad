//! Strips of columns of a matrix, for threads to write to at the same time.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A row-major matrix, cut into strips of columns, each of which is handed out once.
pub(crate) struct Strips<'a, T> {
    numbers: *mut T,
    rows: usize,
    columns: usize,
    stride: usize,
    /// Columns in a strip, at most.
    width: usize,
    /// The strip to hand out next.
    next: AtomicUsize,
    matrix: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for the numbers alone, parts of which it hands out to threads, each to one.
unsafe impl<T: Send> Sync for Strips<'_, T> {}

impl<'a, T> Strips<'a, T> {
    /// Strips of `width` columns; the last may have fewer.
    ///
    /// # Panics
    /// If `numbers` end before the last row does, or columns are more than the stride.
    pub(crate) fn new(
        numbers: &'a mut [T],
        rows: usize,
        columns: usize,
        stride: usize,
        width: usize,
    ) -> Self {
        let end = rows.checked_sub(1).and_then(|before| before.checked_mul(stride)?.checked_add(columns));
        assert!(
            columns <= stride && end.unwrap_or(0) <= numbers.len(),
            "{rows} rows, {columns} of {stride} columns"
        );
        let numbers = numbers.as_mut_ptr();
        Self { numbers, rows, columns, stride, width, next: AtomicUsize::new(0), matrix: PhantomData }
    }

    /// The next strip.
    pub(crate) fn take(&self) -> Option<Strip<'_, T>> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let first = index.checked_mul(self.width).filter(|first| *first < self.columns)?;
        Some(Strip { of: self, columns: first..self.columns.min(first + self.width) })
    }
}

/// All rows of some columns of a matrix.
pub(crate) struct Strip<'a, T> {
    of: &'a Strips<'a, T>,
    columns: Range<usize>,
}

impl<T> Strip<'_, T> {
    /// The first column.
    pub(crate) fn first(&self) -> usize {
        self.columns.start
    }

    /// How many columns there are.
    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// What the strip has of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        let Strips { numbers, rows, stride, .. } = *self.of;
        assert!(row < rows, "row {row} of {rows}");
        // SAFETY: `new` has seen that the columns of all rows are there, and borrows them for as long as `self` lives. No
        // other strip has these columns, since each number of a strip is handed out once, and whoever holds this strip
        // borrows it as long as the row.
        unsafe {
            std::slice::from_raw_parts_mut(numbers.add(row * stride + self.columns.start), self.columns.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_belongs_to_one_strip() {
        for (rows, columns, stride, width) in
            [(3, 10, 12, 4), (1, 1, 1, 5), (4, 8, 8, 8), (2, 0, 3, 1), (0, 3, 3, 2)]
        {
            let mut numbers = vec![0; usize::saturating_sub(rows * stride + columns, stride)];
            let strips = Strips::new(&mut numbers, rows, columns, stride, width);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while let Some(mut strip) = strips.take() {
                            for row in 0..rows {
                                let first = strip.first();
                                strip
                                    .row(row)
                                    .iter_mut()
                                    .enumerate()
                                    .for_each(|(i, number)| *number += first + i + 1);
                            }
                        }
                    });
                }
            });
            assert!(strips.take().is_none());
            for (i, number) in numbers.iter().enumerate() {
                let column = i % stride;
                assert_eq!(*number, if column < columns { column + 1 } else { 0 }, "row {}", i / stride);
            }
        }
    }

    #[test]
    #[should_panic(expected = "2 rows, 3 of 4 columns")]
    fn numbers_that_are_not_there() {
        Strips::new(&mut [0; 6], 2, 3, 4, 1);
    }
}

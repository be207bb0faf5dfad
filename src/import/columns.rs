//! Columns sorted by group.

use rayon::prelude::*;
use warpdot_formats::RUN;

use crate::Error;
use crate::matrix::expect_length;

/// The order of a matrix's k columns: column i of the matrix was column `order[i]` of the original.
///
/// A product with such a matrix needs the activations' columns in the same order. They can be gathered before each
/// product, or the layer that computes them can compute them in that order: sort the rows of its own weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOrder {
    order: Vec<u32>,
}

impl ColumnOrder {
    /// For each column of the matrix, which one of the original it was: each of 0 to k - 1, once.
    pub fn as_slice(&self) -> &[u32] {
        &self.order
    }

    /// Writes the m x k row-major `x` to `out`, of the same shape, with its columns in this order.
    ///
    /// # Errors
    /// If `x` is not whole rows of k, or `out` has another length.
    pub fn gather(&self, x: &[f32], out: &mut [f32]) -> Result<(), Error> {
        /// Numbers that are worth a thread.
        const SHARE: usize = 1 << 16;
        let k = self.order.len();
        expect_length("x (m * k)", x.len().next_multiple_of(k), x.len())?;
        expect_length("out (m * k)", x.len(), out.len())?;
        let rows = x.par_chunks_exact(k).zip(out.par_chunks_exact_mut(k));
        rows.with_min_len(SHARE.div_ceil(k)).for_each(|(x, out)| {
            for (out, column) in out.iter_mut().zip(&self.order) {
                *out = x[*column as usize];
            }
        });
        Ok(())
    }
}

/// Which group each run of columns belongs to.
pub(super) struct Grouping {
    /// One for each 32 columns.
    pub(super) groups: Vec<usize>,
    /// How the columns had to be moved for that.
    pub(super) order: Option<ColumnOrder>,
}

impl Grouping {
    /// Groups of `group` neighbours, the last one perhaps smaller.
    pub(super) fn neighbours(k: usize, group: usize) -> Result<Self, Error> {
        for (index, columns) in [(0, group.min(k)), (k / group, k % group)] {
            if !columns.is_multiple_of(RUN) {
                return Err(Error::GroupSize { group: index, columns });
            }
        }
        Ok(Self { groups: (0..k / RUN).map(|run| run * RUN / group).collect(), order: None })
    }

    /// The groups that `g_idx` gives, one for each column: sorts the columns by them, and leaves the order within
    /// a group.
    pub(super) fn sorted(g_idx: &[i32], groups: usize) -> Result<Self, Error> {
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); groups];
        for (column, &found) in g_idx.iter().enumerate() {
            let group = usize::try_from(found).ok().filter(|group| *group < groups);
            let group = group.ok_or(Error::GroupIndex { column, found, groups })?;
            members[group].push(u32::try_from(column).map_err(|_| Error::TooManyColumns { k: g_idx.len() })?);
        }
        let mut sorted = Self { groups: Vec::with_capacity(g_idx.len() / RUN), order: None };
        for (group, members) in members.iter().enumerate() {
            if !members.len().is_multiple_of(RUN) {
                return Err(Error::GroupSize { group, columns: members.len() });
            }
            sorted.groups.extend(std::iter::repeat_n(group, members.len() / RUN));
        }
        let order = members.concat();
        if !order.is_sorted() {
            sorted.order = Some(ColumnOrder { order });
        }
        Ok(sorted)
    }
}

//! Which rows of X meet which rows of W.
//!
//! A plain product is one such meeting: all rows of X and all rows of W. In a mixture of experts each expert's rows of
//! W meet the rows of X that chose it.
//!
//! Tile registers have no part in plans, whose tiles are for a gemv or a gemm: the routine of tiles counts as a gemm.

use crate::{Error, Routine, gemm, gemv};

/// Rows of X, and the first of the rows of W that they meet together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// Of W.
    pub(crate) first_row: usize,
    /// Of X.
    pub(crate) columns: usize,
    /// Rows of X in the tiles before.
    pub(crate) before: usize,
    /// Where its activations and products start, in what a routine counts them by: columns for a gemv,
    /// [`gemm::COLUMNS`] of them for a gemm.
    pub(crate) start: usize,
}

/// The columns of tiles, those that a gemv multiplies first, and where the rows of Y come from.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    tiles: Vec<Tile>,
    /// How many of the tiles are for a gemv.
    gemv: usize,
    /// The row of X of each column of the tiles, in order. Nothing if that is its number.
    sources: Vec<usize>,
    /// The tile and the column of each row of Y.
    places: Vec<(usize, usize)>,
    /// Of each expert.
    shares: Vec<Share>,
}

/// What an expert has of the tiles.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// Rows of Y that chose it.
    rows: usize,
    /// How many of them have found their place.
    placed: usize,
    /// Its first tile.
    tile: usize,
    /// Columns of each of its tiles but the last.
    columns: usize,
}

impl Plan {
    /// All of X[m, k] meets the rows of W from the first one on.
    pub(crate) fn product(&mut self, routine: Routine, m: usize) {
        self.clear();
        let columns = self.add(routine, 0, m);
        self.places.extend((0..m).map(|row| (row / columns, row % columns)));
    }

    /// Row i of Y, one for each of `ids`, is that of the row of X with number i / `repeat` and of expert `ids[i]`,
    /// one of `count` with n rows of W each. `routine` computes the products of as many rows with an expert.
    ///
    /// # Errors
    /// If there is no such expert.
    pub(crate) fn experts(
        &mut self,
        ids: &[u32],
        repeat: usize,
        (count, n): (usize, usize),
        routine: impl Fn(usize) -> Routine,
    ) -> Result<(), Error> {
        self.clear();
        self.shares.resize(count, Share::default());
        for (row, &id) in ids.iter().enumerate() {
            let share = self.shares.get_mut(id as usize);
            share.ok_or(Error::NoSuchExpert { row, expert: id, count })?.rows += 1;
        }
        for which in [Routine::Gemv, Routine::Gemm] {
            for expert in 0..count {
                let rows = self.shares[expert].rows;
                if rows > 0 && (routine(rows) == Routine::Gemv) == (which == Routine::Gemv) {
                    let tile = self.tiles.len();
                    let columns = self.add(which, expert * n, rows);
                    self.shares[expert] = Share { rows, placed: 0, tile, columns };
                }
            }
        }
        self.sources.resize(ids.len(), 0);
        for (row, &id) in ids.iter().enumerate() {
            let share = &mut self.shares[id as usize];
            let (tile, column) = (share.tile + share.placed / share.columns, share.placed % share.columns);
            share.placed += 1;
            self.places.push((tile, column));
            self.sources[self.tiles[tile].before + column] = row / repeat;
        }
        Ok(())
    }

    fn clear(&mut self) {
        let Self { tiles, gemv, sources, places, shares } = self;
        tiles.clear();
        sources.clear();
        places.clear();
        shares.clear();
        *gemv = 0;
    }

    /// Adds tiles for `rows` rows of X, and returns how many each has but the last. Those for a gemv come first.
    fn add(&mut self, routine: Routine, first_row: usize, rows: usize) -> usize {
        let columns = match routine {
            Routine::Gemv => rows.div_ceil(rows.div_ceil(gemv::MAX_COLUMNS)),
            Routine::Gemm | Routine::Tiles => rows,
        };
        let mut left = rows;
        while left > 0 {
            let before = self.tiles.last().map_or(0, |last| last.before + last.columns);
            let start = self.extent(routine);
            self.tiles.push(Tile { first_row, columns: columns.min(left), before, start });
            self.gemv += usize::from(routine == Routine::Gemv);
            left -= columns.min(left);
        }
        columns
    }

    /// The rows of Y.
    pub(crate) fn rows(&self) -> usize {
        self.places.len()
    }

    /// The tiles of a routine.
    pub(crate) fn tiles(&self, routine: Routine) -> &[Tile] {
        let (gemv, gemm) = self.tiles.split_at(self.gemv);
        match routine {
            Routine::Gemv => gemv,
            Routine::Gemm | Routine::Tiles => gemm,
        }
    }

    /// Where the activations and products of a routine end.
    pub(crate) fn extent(&self, routine: Routine) -> usize {
        let last = self.tiles(routine).last();
        last.map_or(0, |last| {
            last.start
                + match routine {
                    Routine::Gemv => last.columns,
                    Routine::Gemm | Routine::Tiles => last.columns.div_ceil(gemm::COLUMNS),
                }
        })
    }

    /// The tile of a routine, if it is one of it, and the column that a row of Y comes from.
    pub(crate) fn place(&self, routine: Routine, row: usize) -> Option<(Tile, usize)> {
        let (tile, column) = self.places[row];
        let ours = (tile < self.gemv) == (routine == Routine::Gemv);
        ours.then(|| (self.tiles[tile], column))
    }

    /// Whether rows of X are gathered, and so have to be quantized one by one.
    pub(crate) fn gathers(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The rows of X of a tile.
    pub(crate) fn sources(&self, tile: &Tile) -> &[usize] {
        &self.sources[tile.before..][..tile.columns]
    }
}

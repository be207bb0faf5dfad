//! Tiles, and what instructions do with them.

/// Bytes of a row at most, and rows of a tile.
const BYTES: usize = 64;
const ROWS: usize = 16;
const TILES: usize = 8;

/// A thread's tiles. Bytes beyond a tile's shape are zero.
pub(super) struct State {
    configuration: [u8; 64],
    bytes_in_row: [usize; TILES],
    rows: [usize; TILES],
    tiles: [[[u8; BYTES]; ROWS]; TILES],
}

/// What is wrong with an instruction.
type Outcome = Result<(), String>;

macro_rules! expect {
    ($condition:expr, $($broken:tt)*) => {
        if !$condition {
            return Err(format!($($broken)*));
        }
    };
}

impl State {
    /// No tile is configured.
    pub(super) const RELEASED: Self = Self {
        configuration: [0; _],
        bytes_in_row: [0; TILES],
        rows: [0; TILES],
        tiles: [[[0; BYTES]; ROWS]; TILES],
    };

    fn in_use(&self) -> bool {
        self.configuration[0] != 0
    }

    /// As it was given; all zero if no tile is configured.
    pub(super) fn configuration(&self) -> [u8; 64] {
        self.configuration
    }

    pub(super) fn configure(&mut self, bytes: &[u8; 64]) -> Outcome {
        *self = Self::RELEASED;
        if bytes[0] == 0 {
            return Ok(());
        }
        expect!(bytes[0] == 1, "the palette is {}: expected 0 or 1", bytes[0]);
        expect!(bytes[1] == 0, "the start row is {}: expected 0", bytes[1]);
        expect!(bytes[2..16].iter().all(|byte| *byte == 0), "reserved bytes are not zero");
        for tile in 0..16 {
            let bytes_in_row = usize::from(u16::from_le_bytes([bytes[16 + 2 * tile], bytes[17 + 2 * tile]]));
            let rows = usize::from(bytes[48 + tile]);
            expect!(bytes_in_row <= BYTES, "tile {tile}: {bytes_in_row} bytes in a row");
            expect!(rows <= ROWS, "tile {tile}: {rows} rows");
            expect!((rows == 0) == (bytes_in_row == 0), "tile {tile}: {rows} rows of {bytes_in_row} bytes");
            expect!(tile < TILES || rows == 0, "there is no tile {tile}");
            if tile < TILES {
                (self.bytes_in_row[tile], self.rows[tile]) = (bytes_in_row, rows);
            }
        }
        self.configuration = *bytes;
        Ok(())
    }

    pub(super) fn zero(&mut self, tile: usize) -> Outcome {
        self.expect_configured(tile)?;
        self.tiles[tile] = [[0; BYTES]; ROWS];
        Ok(())
    }

    /// Hands out all rows of a tile, to be overwritten or copied.
    pub(super) fn for_each_row(&mut self, tile: usize, mut work: impl FnMut(usize, &mut [u8])) -> Outcome {
        self.expect_configured(tile)?;
        for (row, bytes) in self.tiles[tile].iter_mut().enumerate().take(self.rows[tile]) {
            work(row, &mut bytes[..self.bytes_in_row[tile]]);
        }
        Ok(())
    }

    /// Adds to `to` the products of the rows of `a` with the pairs of rows of `b`: odd and even products are summed up
    /// on their own, then added to each other, and that to what was there. Subnormal numbers are zero throughout.
    pub(super) fn dot_bf16(&mut self, to: usize, a: usize, b: usize) -> Outcome {
        self.for_each_dot(to, a, b, |total, words| {
            let mut sums = [0f32; 2];
            for (a, b) in words {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // The product is exact, so that this rounds once, as a fused multiply-add does.
                    *sum = flushed(bf16(&a[2 * i..]) * bf16(&b[2 * i..]) + *sum);
                }
            }
            let [even, odd] = sums;
            flushed(flushed(f32::from_le_bytes(total)) + flushed(even + odd)).to_le_bytes()
        })
    }

    /// Adds to `to` the products of the rows of `a`, of unsigned bytes, with four rows of `b`, of signed ones.
    pub(super) fn dot_bytes(&mut self, to: usize, a: usize, b: usize) -> Outcome {
        self.for_each_dot(to, a, b, |total, words| {
            let products = words.flat_map(|(a, b)| {
                std::iter::zip(a, b).map(|(a, b)| i32::from(a) * i32::from(b.cast_signed()))
            });
            products.fold(i32::from_le_bytes(total), i32::wrapping_add).to_le_bytes()
        })
    }

    /// Replaces each word of `to` by what `dot` makes of it, and of the words of a row of `a` and a column of `b`.
    fn for_each_dot(
        &mut self,
        to: usize,
        a: usize,
        b: usize,
        dot: impl Fn([u8; 4], &mut dyn Iterator<Item = ([u8; 4], [u8; 4])>) -> [u8; 4],
    ) -> Outcome {
        expect!(to != a && to != b && a != b, "the three tiles are not different ones");
        for tile in [to, a, b] {
            self.expect_configured(tile)?;
            let bytes = self.bytes_in_row[tile];
            expect!(bytes.is_multiple_of(4), "tile {tile}: rows of {bytes} bytes are not whole words");
        }
        let (rows, bytes) = (self.rows, self.bytes_in_row);
        expect!(rows[to] == rows[a], "{} rows of sums, {} of the first operand", rows[to], rows[a]);
        expect!(bytes[to] == bytes[b], "{} bytes of sums, {} of the second operand", bytes[to], bytes[b]);
        expect!(rows[b] * 4 == bytes[a], "{} bytes of the first operand, {} rows to meet", bytes[a], rows[b]);
        let [first, second] = [self.tiles[a], self.tiles[b]];
        for (total, first) in self.tiles[to].iter_mut().zip(&first).take(rows[to]) {
            for (column, total) in total.as_chunks_mut().0.iter_mut().enumerate().take(bytes[to] / 4) {
                let column = second.iter().map(|row| row.as_chunks().0[column]);
                *total = dot(*total, &mut first.as_chunks().0.iter().copied().zip(column).take(rows[b]));
            }
        }
        Ok(())
    }

    fn expect_configured(&self, tile: usize) -> Outcome {
        expect!(self.in_use(), "the tiles are not configured");
        expect!(self.rows[tile] > 0, "tile {tile} has no rows");
        Ok(())
    }
}

/// The first number, zero if it is subnormal.
fn bf16(bytes: &[u8]) -> f32 {
    flushed(f32::from_bits(u32::from_le_bytes([0, 0, bytes[0], bytes[1]])))
}

fn flushed(number: f32) -> f32 {
    if number.is_subnormal() { 0f32.copysign(number) } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_kept_until_the_next_one() {
        let mut state = State::RELEASED;
        let mut one_tile = [0; 64];
        (one_tile[0], one_tile[16], one_tile[48]) = (1, 64, 16);
        for configuration in [one_tile, [0; 64]] {
            state.configure(&configuration).expect("a valid configuration");
            assert_eq!(state.configuration(), configuration);
            assert_eq!(state.zero(0).is_ok(), configuration == one_tile);
        }
        one_tile[48] = 17;
        state.configure(&one_tile).expect_err("too many rows");
    }
}

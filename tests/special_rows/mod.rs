//! Numbers on which quantizers can differ: nothing, ties, and what is so small or large that scales are special.

use rand::RngExt;
use rand::rngs::StdRng;

/// Numbers of a row: whole blocks of every format.
pub(crate) const COLUMNS: usize = 768;

/// Rows of numbers in whose blocks of 32 something is special, and then in super-blocks of 256.
pub(crate) fn special_rows(rng: &mut StdRng) -> Vec<f32> {
    let mut rows: Vec<f32> = (0..11 * COLUMNS).map(|_| rng.random_range(-1f32..1.0).powi(3)).collect();
    let (small, large) = rows.split_at_mut(5 * COLUMNS);
    special_blocks(small, rng);
    special_super_blocks(large);
    rows
}

fn special_blocks(rows: &mut [f32], rng: &mut StdRng) {
    for (i, block) in rows.chunks_exact_mut(32).enumerate() {
        let place = rng.random_range(0..31);
        match i % 8 {
            // Nothing, with either sign; one weight alone; all alike.
            0 => block.fill([0.0, -0.0][i / 8 % 2]),
            1 => block.iter_mut().enumerate().for_each(|(j, x)| *x = if j == place { -3.5 } else { 0.0 }),
            2 => block.fill(-0.625),
            // The two largest magnitudes have opposite signs.
            3 => (block[place], block[31]) = [(2.0, -2.0), (-2.0, 2.0)][i / 8 % 2],
            // Ties of every rounding: the largest is a multiple of what makes the others' codes halves.
            4 => block
                .iter_mut()
                .enumerate()
                .for_each(|(j, x)| *x = 15.75 - 0.5 * j as f32 + 0.25 * (j % 3) as f32),
            // So small that scales are subnormal, or their reciprocals infinite; so large that little is left.
            5 => block.iter_mut().for_each(|x| *x *= 1e-6),
            6 => block.iter_mut().for_each(|x| *x *= 1e-41),
            _ => block.iter_mut().for_each(|x| *x *= 1e4),
        }
    }
}

/// What makes units zero, subnormal or as large as can be, and groups that tie for them.
fn special_super_blocks(rows: &mut [f32]) {
    for (i, block) in rows.chunks_exact_mut(256).enumerate() {
        let number = |j: usize, x: f32| match i {
            // Nothing, with either sign; all alike; groups each alike, of equal magnitude, the first of either sign.
            0 => 0.0,
            1 => -0.0,
            2 => 0.625,
            3 => -0.625,
            4 => [2.0, -2.0][j / 32 % 2],
            5 => [-2.0, 2.0][j / 16 % 2],
            // Every weight ties with its neighbour, every group with the others.
            6 => [1.5, -1.5][j % 2],
            7 => [[-1.0, 1.0, 0.5], [1.0, -1.0, 0.0]][j / 16 % 2][j % 3],
            // Groups of nothing between others; one weight alone; halves of codes.
            8 => [0.0, -0.0, x, 1.0][j / 16 % 4],
            9 => [0.0, -3.5][usize::from(j == 200)],
            10 => (x * 8.0).round() / 8.0,
            // No minimum, no maximum.
            11 => x.abs(),
            12 => -x.abs(),
            // Subnormal units, reciprocals that are infinite, and what is lost in an `f16`.
            13 => x * 1e-4,
            14 => x * 1e-6,
            15 => x * 1e-38,
            16 => x * 1e-41,
            // As large as an `f16` can be.
            _ => x * 65504.0,
        };
        block.iter_mut().enumerate().for_each(|(j, x)| *x = number(j, *x));
    }
}

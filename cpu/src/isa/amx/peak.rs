//! How fast tiles multiply bytes.

use std::arch::asm;

use super::{Amx, Line, ROWS};

/// Products of four tiles with 64 bytes for each of their sums.
pub(crate) const PRODUCTS_PER_ROUND: usize = 4 * ROWS * ROWS * size_of::<Line>();

impl Amx {
    /// Does that many rounds on this thread, with products 2 * 3; gives their sum.
    pub(crate) fn multiply_in_registers(self, rounds: usize) -> i64 {
        let (twos, threes) = ([Line([2; _]); ROWS], [Line([3; _]); ROWS]);
        let mut sums = [Line::ZERO; 4 * ROWS];
        self.with_tiles(|_| {
            // SAFETY: this thread's tiles are configured, as 16 rows of 64 bytes: operands are a tile each, and sums four.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "tileloadd tmm4, [{twos} + {line} * 1]",
                    "tileloadd tmm5, [{twos} + {line} * 1]",
                    "tileloadd tmm6, [{threes} + {line} * 1]",
                    "tileloadd tmm7, [{threes} + {line} * 1]",
                    "test {rounds}, {rounds}",
                    "jz 3f",
                    "2:",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tdpbusd tmm1, tmm4, tmm7",
                    "tdpbusd tmm2, tmm5, tmm6",
                    "tdpbusd tmm3, tmm5, tmm7",
                    "dec {rounds}",
                    "jnz 2b",
                    "3:",
                    "tilestored [{sums} + {line} * 1], tmm0",
                    "tilestored [{sums} + {line} * 1 + 1024], tmm1",
                    "tilestored [{sums} + {line} * 1 + 2048], tmm2",
                    "tilestored [{sums} + {line} * 1 + 3072], tmm3",
                    rounds = inout(reg) rounds => _,
                    twos = in(reg) twos.as_ptr(),
                    threes = in(reg) threes.as_ptr(),
                    sums = in(reg) sums.as_mut_ptr(),
                    line = in(reg) size_of::<Line>(),
                    options(nostack),
                );
            }
        });
        bytemuck::cast_slice::<_, i32>(&sums).iter().map(|sum| i64::from(*sum)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_products_are_computed_as_are_counted() {
        let Some(amx) = Amx::for_tests() else { return };
        for rounds in [0, 1, 3] {
            assert_eq!(amx.multiply_in_registers(rounds), (6 * PRODUCTS_PER_ROUND * rounds) as i64);
        }
    }
}

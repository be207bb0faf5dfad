//! AMX: eight registers that each hold a tile, 16 rows of 64 bytes, and an instruction that multiplies tiles of `bf16`.
//!
//! There are no intrinsics of them in stable Rust. The compiler knows nothing of the registers, so nothing that lies in
//! one outlives the `asm!` that put it there; only their configuration does, which [`Tiles`] takes back.

use std::arch::asm;
use std::marker::PhantomData;
use std::sync::OnceLock;

use warpdot_formats::RUN;

use super::{Avx512Vnni, Line, ROWS, Vectorize};

pub(crate) use peak::PRODUCTS_PER_ROUND;

#[cfg(test)]
mod emulator;
mod peak;
mod permission;

/// The CPU has AMX with tiles of int8 and bf16, and AVX512-BF16, beside what [`Avx512Vnni`] stands for, and the system
/// lets this process use the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amx {
    avx512: Avx512Vnni,
}

impl Amx {
    /// The proof, if the CPU has the instructions and the system allows them; it is asked once.
    pub fn detect() -> Option<Self> {
        static PERMITTED: OnceLock<bool> = OnceLock::new();
        let there = || *PERMITTED.get_or_init(|| permission::cpu_has_tiles() && permission::granted());
        Self::vectors().filter(|_| there())
    }

    /// The token, if the CPU has what is needed beside the tiles.
    fn vectors() -> Option<Self> {
        Avx512Vnni::detect().filter(|_| is_x86_feature_detected!("avx512bf16")).map(|avx512| Self { avx512 })
    }

    /// The token, by emulation of the tiles where this machine lacks them; nothing if it lacks vectors, too.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Option<Self> {
        Self::detect().or_else(|| Self::vectors().inspect(|_| emulator::install()))
    }

    /// Does `work` with this thread's tile registers, which are given back at the end, even by a panic: a thread with
    /// tiles costs the system 8 KiB more whenever it switches. Within `work` no other such work must start.
    ///
    /// Other libraries configure the tiles of a thread once and for all, so they are given back as they were configured.
    pub(crate) fn with_tiles<R>(self, work: impl FnOnce(&Tiles) -> R) -> R {
        let before = Configuration::of_this_thread(self);
        Configuration::WHOLE.load(self);
        work(&Tiles { amx: self, before, of_this_thread: PhantomData })
    }
}

impl From<Amx> for Avx512Vnni {
    fn from(isa: Amx) -> Self {
        isa.avx512
    }
}

impl Vectorize for Amx {
    #[inline(always)]
    fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")]
        fn with_bf16<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { with_bf16(work) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        self.avx512.prefetch(address);
    }
}

/// What the tile registers are to hold, as the CPU reads it.
#[derive(Debug, PartialEq, Eq)]
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_in_row: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// No tiles: they are given back to the system.
    const NONE: Self =
        Self { palette: 0, start_row: 0, reserved: [0; 14], bytes_in_row: [0; 16], rows: [0; 16] };

    /// All eight registers with as many and as long rows as they can hold.
    const WHOLE: Self = {
        let (mut bytes_in_row, mut rows) = ([0; 16], [0; 16]);
        let mut tile = 0;
        while tile < 8 {
            bytes_in_row[tile] = size_of::<Line>() as u16;
            rows[tile] = ROWS as u8;
            tile += 1;
        }
        Self { palette: 1, bytes_in_row, rows, ..Self::NONE }
    };

    fn of_this_thread(_: Amx) -> Self {
        let mut found = Self::NONE;
        // SAFETY: the token proves that there are tiles; a configuration is 64 bytes, which may be written.
        unsafe { asm!("sttilecfg [{}]", in(reg) &raw mut found, options(nostack, preserves_flags)) };
        found
    }

    /// Makes it this thread's, whose tiles become zero.
    fn load(&self, _: Amx) {
        // SAFETY: the token proves that there are tiles; a configuration is 64 bytes, and a valid one: one of the above, or
        // what the CPU itself has written.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, preserves_flags, readonly)) };
    }
}

/// Rows of X, and of W, whose products four tiles hold: twice a tile's.
pub(crate) const SIDE: usize = 2 * ROWS;

/// A run of [`SIDE`] rows of X, in `bf16`: two tiles, row after row.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct ActivationTiles(pub(crate) [[[u16; RUN]; ROWS]; 2]);

impl ActivationTiles {
    pub(crate) const ZERO: Self = Self([[[0; _]; _]; _]);
}

/// A run of two groups of rows of W, in `bf16`: two tiles, with two weights in a word for each row of W, pair after pair
/// along k. Rows of a group are in the order of [`Amx::store_weights`].
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct WeightTiles(pub(crate) [[[u32; ROWS]; RUN / 2]; 2]);

impl WeightTiles {
    pub(crate) const ZERO: Self = Self([[[0; _]; _]; _]);
}

/// Products of [`SIDE`] rows of X with as many rows of W: row after row of X. Each group of W is in the order of its tile.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct ProductTiles(pub(crate) [[f32; SIDE]; SIDE]);

impl ProductTiles {
    pub(crate) const ZERO: Self = Self([[0.0; _]; _]);
}

/// What is fetched while tiles are multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// To be written, into the first-level cache: four lines for every run.
    pub(crate) products: *const Line,
    /// To be read, into the second-level cache: [`FETCHED`] lines for every run.
    pub(crate) activations: *const Line,
    /// To be read, into the second-level cache, too: a line for every run.
    pub(crate) weights: *const Line,
}

/// Lines of activations that are fetched for every run.
pub(crate) const FETCHED: usize = 2;

/// This thread's tile registers, configured. They stay with the thread.
pub(crate) struct Tiles {
    amx: Amx,
    before: Configuration,
    of_this_thread: PhantomData<*mut ()>,
}

impl Drop for Tiles {
    fn drop(&mut self) {
        self.before.load(self.amx);
    }
}

/// Loops over runs with the sums of four tiles in registers 0 to 3, which are what `$start` makes of them at first.
///
/// Tiles of weights stay in the first-level cache, of which those of activations, by `t1`, take nothing away.
macro_rules! sums_of_products {
    ([$($start:literal)*], $runs:expr, $activations:expr, $weights:expr, $products:expr, $ahead:expr) => {
        asm!(
            $($start,)*
            "2:",
            "tileloaddt1 tmm4, [{activations} + {line} * 1]",
            "tileloadd tmm6, [{weights} + {line} * 1]",
            "tileloadd tmm7, [{weights} + {line} * 1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloaddt1 tmm5, [{activations} + {line} * 1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "prefetchw [{products_ahead}]",
            "prefetchw [{products_ahead} + 64]",
            "prefetchw [{products_ahead} + 128]",
            "prefetchw [{products_ahead} + 192]",
            "prefetcht1 [{activations_ahead}]",
            "prefetcht1 [{activations_ahead} + 64]",
            "prefetcht1 [{weights_ahead}]",
            "add {products_ahead}, 256",
            "add {activations_ahead}, 128",
            "add {weights_ahead}, 64",
            "add {activations}, 2048",
            "add {weights}, 2048",
            "dec {runs}",
            "jnz 2b",
            "tilestored [{products} + {row} * 1], tmm0",
            "tilestored [{products} + {row} * 1 + 64], tmm1",
            "tilestored [{products} + {row} * 1 + 2048], tmm2",
            "tilestored [{products} + {row} * 1 + 2112], tmm3",
            runs = inout(reg) $runs => _,
            activations = inout(reg) $activations => _,
            weights = inout(reg) $weights => _,
            products_ahead = inout(reg) $ahead.products => _,
            activations_ahead = inout(reg) $ahead.activations => _,
            weights_ahead = inout(reg) $ahead.weights => _,
            line = in(reg) size_of::<Line>(),
            products = in(reg) $products,
            row = in(reg) size_of::<[f32; SIDE]>(),
            options(nostack),
        )
    };
}

impl Tiles {
    /// Multiplies some runs of [`SIDE`] rows of X by those of as many rows of W, and stores the products or, where `add`,
    /// adds them to what is there. Meanwhile what lies `ahead` is fetched, wherever that may be.
    ///
    /// Numbers below 2^-126 count as zero.
    ///
    /// # Panics
    /// If there are not as many runs of X as of W, at least one.
    pub(crate) fn multiply(
        &self,
        activations: &[ActivationTiles],
        weights: &[WeightTiles],
        products: &mut ProductTiles,
        add: bool,
        ahead: Ahead,
    ) {
        let runs = activations.len();
        assert!(runs > 0 && runs == weights.len(), "{runs} runs of X, {} of W", weights.len());
        let (activations, weights) = (activations.as_ptr(), weights.as_ptr());
        let products = std::ptr::from_mut(products);
        // SAFETY: `self` proves that this thread's tiles are configured, as 16 rows of 64 bytes. Each run of X and of W
        // is 2048 readable bytes, two tiles, and there are as many as are counted. The products are 32 rows of 128 bytes.
        // Fetching has no effect that could be seen, at any address.
        unsafe {
            if add {
                sums_of_products!(
                    [
                        "tileloadd tmm0, [{products} + {row} * 1]"
                        "tileloadd tmm1, [{products} + {row} * 1 + 64]"
                        "tileloadd tmm2, [{products} + {row} * 1 + 2048]"
                        "tileloadd tmm3, [{products} + {row} * 1 + 2112]"
                    ],
                    runs, activations, weights, products, ahead
                );
            } else {
                sums_of_products!(
                    ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
                    runs, activations, weights, products, ahead
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_given_back_as_they_were() {
        let Some(amx) = Amx::for_tests() else { return };
        let mut of_another = Configuration { palette: 1, ..Configuration::NONE };
        (of_another.rows[3], of_another.bytes_in_row[3]) = (8, 32);
        for before in [&of_another, &Configuration::NONE] {
            before.load(amx);
            amx.with_tiles(|_| assert_eq!(Configuration::of_this_thread(amx), Configuration::WHOLE));
            assert_eq!(Configuration::of_this_thread(amx), *before);
            std::panic::catch_unwind(|| amx.with_tiles(|_| std::panic::resume_unwind(Box::new(()))))
                .expect_err("a panic");
            assert_eq!(Configuration::of_this_thread(amx), *before, "after a panic");
        }
    }
}

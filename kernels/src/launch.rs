//! How the host launches a kernel: its name, its module's family, and its grid.

use crate::gemm::Stage;
use crate::gemv::gemv_shared_words;
use crate::gpu::stages::{ring_stages, stage_bytes};
use crate::gpu::warp;
use crate::packed::{QUAD_ROWS, TILE_ROWS};
use crate::quantize_rows;
use crate::read;
use crate::rows;
use warpdot_formats::reproducible::CHAINS;
use warpdot_formats::{Format, GgmlType, RUN, for_each_format};

/// Warps in a block of `quantize_activations`.
pub(crate) const QUANTIZE_WARPS: u32 = 4;
/// The most quads of rows in a block of a `gemv` kernel: a tile.
pub(crate) const GEMV_QUADS: u32 = TILE_ROWS / QUAD_ROWS;
/// Columns from which on a `gemv` kernel uses tensor cores, where there are some for int8: its blocks have a whole tile.
pub(crate) const GEMV_WIDE: u32 = 4;
/// Blocks of a `gemv` kernel below which they get fewer quads: about as many as the large GPUs have multiprocessors.
const GEMV_BLOCKS: u64 = 128;
/// Threads in a block of a `pack` kernel.
pub(crate) const PACK_THREADS: u32 = 256;
/// Threads in a block of a `gemm` kernel.
pub(crate) const GEMM_THREADS: u32 = 256;
/// Rows of W and of X in a tile.
pub(crate) const GEMM_TILE: u32 = 64;
/// Runs of a chain in a stage: each thread fills one of every row.
pub(crate) const GEMM_STAGE: u32 = GEMM_THREADS / GEMM_TILE;

/// The kernels of one PTX module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Family {
    /// Activations to int8.
    Quantize,
    /// Weights to the layout that the others read.
    Pack,
    /// Few rows of activations by all rows of weights.
    Gemv,
    /// Each row of activations by all rows of an expert's weights.
    GemvId,
    /// Any number of rows of activations by all rows of weights.
    Gemm,
    /// Rows of weights as plain numbers.
    Rows,
    /// Rows of plain numbers as blocks.
    QuantizeRows,
    /// Memory, read and nothing else.
    Read,
}

impl Family {
    /// The module's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quantize => "quantize",
            Self::Pack => "pack",
            Self::Gemv => "gemv",
            Self::GemvId => "gemv_id",
            Self::Gemm => "gemm",
            Self::Rows => "rows",
            Self::QuantizeRows => "quantize_rows",
            Self::Read => "read",
        }
    }
}

/// A kernel that the host can launch.
///
/// Each family takes its arguments in this order, m, n and k being sizes in `u32` and `w` rows of weights that are packed
/// as [`packed`](crate::packed) says:
///
/// | family | arguments |
/// |---|---|
/// | `Quantize` | `x: View, out: *mut ActivationBlock, runs: u32, blocks: u32`, with k / 32 runs in a row |
/// | `Pack` | `blocks: *const Block, w: *mut u32, first: u32, m, n, k`, for whole tiles of n rows, from row `first` on |
/// | `Gemv`, `Gemm` | `w: WeightRows, x: *const ActivationBlock, ending: Ending, m, n, k` |
/// | `GemvId` | the same with `ids: *const u32` before and `experts: u32, repeat: u32` after `ending: Ending, m, n, k` |
/// | `Rows` | `w: WeightRows, ids: *const u32, out: View, m, n, k`, for m of n rows, the first ones if `ids` is null |
/// | `QuantizeRows` | `x: View, ids: *const u32, out: *mut Block, m, n, k`, for m rows, to the same of n rows if `ids` is null |
/// | `Read` | `start: *const Words4, sums: *mut u32, n`, for n pieces of 16 bytes |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The module that has it.
    pub family: Family,
    /// Its name in the module.
    pub entry: &'static str,
    /// The format of the weights, for kernels that read weights.
    pub ty: Option<GgmlType>,
    /// The most rows of activations in one launch.
    pub columns: u32,
}

/// Chips whose kernels are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// sm_75.
    Turing,
    /// sm_80 and all later ones: they copy to shared memory while they compute, and have tensor cores for int8.
    Ampere,
}

impl Generation {
    /// That of a chip of compute capability `major`.x, from 7.5 on.
    pub const fn of(major: u32) -> Self {
        if major < 8 { Self::Turing } else { Self::Ampere }
    }
}

/// The size of a launch; what is not said here is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Blocks in the first two dimensions of the grid.
    pub grid: [u32; 2],
    /// Threads in a block, in its first dimension.
    pub block: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
}

macro_rules! define_kernels {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        const OF_ALL_FORMATS: &[Kernel] = &[
            Kernel { family: Family::Quantize, entry: "quantize_activations", ty: None, columns: u32::MAX },
            Kernel { family: Family::Read, entry: "read_memory", ty: None, columns: u32::MAX },
            $(
                pack(GgmlType::$block, concat!("pack_", stringify!($suffix))),
                gemv(GgmlType::$block, concat!("gemv_", stringify!($suffix), "_m1"), 1),
                gemv(GgmlType::$block, concat!("gemv_", stringify!($suffix), "_m2"), 2),
                gemv(GgmlType::$block, concat!("gemv_", stringify!($suffix), "_m4"), 4),
                gemv(GgmlType::$block, concat!("gemv_", stringify!($suffix), "_m8"), 8),
                gemv_id(GgmlType::$block, concat!("gemv_id_", stringify!($suffix))),
                gemm(GgmlType::$block, concat!("gemm_", stringify!($suffix))),
                rows(GgmlType::$block, concat!("rows_", stringify!($suffix))),
            )*
        ];
    };
}
for_each_format!(define_kernels);

/// Calls a macro with the formats that rows can be quantized to: those whose blocks fit the registers of a thread and
/// whose scales follow from the weights without a search; and those of super-blocks, of which a thread has a group.
#[macro_export]
#[doc(hidden)]
macro_rules! for_each_quantizer {
    ($callback:ident) => {
        $callback! {
            blocks: (Q4_0, q4_0), (Q4_1, q4_1), (Q5_0, q5_0), (Q5_1, q5_1), (Q8_0, q8_0), (Mxfp4, mxfp4);
            groups: (Q2K, q2k), (Q3K, q3k), (Q4K, q4k), (Q5K, q5k), (Q6K, q6k);
        }
    };
}

macro_rules! define_quantizers {
    (blocks: $(($block:ident, $suffix:ident)),*; groups: $(($super_block:ident, $super_suffix:ident)),*;) => {
        const QUANTIZERS: &[Kernel] = &[
            $(quantizer(GgmlType::$block, concat!("quantize_rows_", stringify!($suffix))),)*
            $(quantizer(GgmlType::$super_block, concat!("quantize_rows_", stringify!($super_suffix))),)*
        ];

        /// Weights that a thread quantizes: a block, or a group of one.
        const fn thread_weights(ty: GgmlType) -> usize {
            match ty {
                $(GgmlType::$super_block => <warpdot_formats::$super_block as Format>::GROUP,)*
                _ => ty.block_weights(),
            }
        }
    };
}
for_each_quantizer!(define_quantizers);

/// Every kernel: those for all formats in the order of their list, of each the narrowest first; then those that only
/// some formats have.
pub const KERNELS: &[Kernel] = &{
    let mut kernels = [QUANTIZERS[0]; OF_ALL_FORMATS.len() + QUANTIZERS.len()];
    let mut i = 0;
    while i < kernels.len() {
        let of_some = i.checked_sub(OF_ALL_FORMATS.len());
        kernels[i] = if let Some(i) = of_some { QUANTIZERS[i] } else { OF_ALL_FORMATS[i] };
        i += 1;
    }
    kernels
};

const fn pack(ty: GgmlType, entry: &'static str) -> Kernel {
    Kernel { family: Family::Pack, entry, ty: Some(ty), columns: u32::MAX }
}

const fn gemv(ty: GgmlType, entry: &'static str, columns: u32) -> Kernel {
    Kernel { family: Family::Gemv, entry, ty: Some(ty), columns }
}

const fn gemv_id(ty: GgmlType, entry: &'static str) -> Kernel {
    Kernel { family: Family::GemvId, entry, ty: Some(ty), columns: 65_535 }
}

const fn gemm(ty: GgmlType, entry: &'static str) -> Kernel {
    Kernel { family: Family::Gemm, entry, ty: Some(ty), columns: u32::MAX }
}

const fn rows(ty: GgmlType, entry: &'static str) -> Kernel {
    Kernel { family: Family::Rows, entry, ty: Some(ty), columns: u32::MAX }
}

const fn quantizer(ty: GgmlType, entry: &'static str) -> Kernel {
    Kernel { family: Family::QuantizeRows, entry, ty: Some(ty), columns: u32::MAX }
}

impl Kernel {
    /// The launch for `m` rows of activations, or of results, `n` rows of weights, the first ones of their matrix, and
    /// rows of `k`.
    ///
    /// `None` if the kernel takes fewer rows of activations, if one of the sizes is zero, or if a GPU has no
    /// grid that large.
    pub fn size(&self, generation: Generation, m: u32, n: u32, k: u32) -> Option<Size> {
        self.size_from(0, generation, m, n, k)
    }

    /// [`size`](Self::size) for rows of weights from `first` on, whose quad some threads may share with rows before it.
    pub fn size_from(&self, first: u32, generation: Generation, m: u32, n: u32, k: u32) -> Option<Size> {
        const LARGEST_GRID: u64 = i32::MAX as u64;
        let ([m, n, k], runs) = ([m, n, k].map(u64::from), u64::from(k) / RUN as u64);
        let (grid, block, shared_bytes) = match self.family {
            Family::Quantize => {
                let blocks = m.checked_mul(runs).filter(|&blocks| blocks <= u64::from(u32::MAX))?;
                (blocks.div_ceil(u64::from(QUANTIZE_WARPS)), QUANTIZE_WARPS * warp::SIZE, 0)
            }
            Family::Pack => {
                let quads = m.div_ceil(u64::from(QUAD_ROWS));
                let threads = quads.checked_mul(self.row_words(k))?;
                let threads = Some(threads).filter(|&threads| threads <= u64::from(u32::MAX))?;
                (threads.div_ceil(u64::from(PACK_THREADS)), PACK_THREADS, 0)
            }
            Family::Gemv => self.gemv_size(generation, n + u64::from(first % QUAD_ROWS)),
            // An expert's first row may be any of a quad.
            Family::GemvId => self.gemv_size(generation, n + u64::from(QUAD_ROWS) - 1),
            Family::Gemm => {
                let tiles = |count: u64| count.div_ceil(u64::from(GEMM_TILE));
                (tiles(m) * tiles(n), GEMM_THREADS, Stage::BYTES)
            }
            Family::Rows => {
                let (along_m, along_k) = rows::blocks(m as u32, runs as u32);
                (u64::from(along_m) * u64::from(along_k), rows::THREADS, 0)
            }
            Family::Read => (n.div_ceil(read::BLOCK_PIECES as u64), read::THREADS, 0),
            Family::QuantizeRows => {
                let weights = self.ty.map_or(RUN, thread_weights);
                let pieces =
                    m.checked_mul(k / weights as u64).filter(|&pieces| pieces <= u64::from(u32::MAX))?;
                let threads = quantize_rows::THREADS;
                (pieces.div_ceil(u64::from(threads)), threads, 4 * quantize_rows::words(weights) as u32)
            }
        };
        let fits = m <= u64::from(self.columns) && m.min(n).min(k) > 0 && (1..=LARGEST_GRID).contains(&grid);
        let second = if self.family == Family::GemvId { m as u32 } else { 1 };
        fits.then_some(Size { grid: [grid as u32, second], block, shared_bytes })
    }

    /// Blocks, threads in a block and its shared memory for the products of n rows.
    fn gemv_size(&self, generation: Generation, n: u64) -> (u64, u32, u32) {
        let matrix_quads = n.div_ceil(u64::from(QUAD_ROWS));
        let mut quads = GEMV_QUADS;
        let halved = self.gemv_columns() < GEMV_WIDE;
        while halved && quads > 1 && matrix_quads.div_ceil(u64::from(quads)) < GEMV_BLOCKS {
            quads /= 2;
        }
        let blocks = matrix_quads.div_ceil(u64::from(quads));
        (blocks, quads * CHAINS as u32, self.gemv_shared_bytes(generation))
    }

    /// Rows of activations that a block of a `gemv` kernel takes.
    fn gemv_columns(&self) -> u32 {
        if self.family == Family::GemvId { 1 } else { self.columns }
    }

    fn gemv_shared_bytes(&self, generation: Generation) -> u32 {
        let (columns, chains) = (self.gemv_columns(), 4 * gemv_shared_words(self.gemv_columns()));
        match (generation, self.ty) {
            (Generation::Ampere, Some(ty)) => {
                let stage = stage_bytes(ty.block_weights(), ty.block_bytes(), columns);
                chains.max(ring_stages(stage) * stage)
            }
            _ => chains,
        }
    }

    /// The dynamic shared memory of the kernel's blocks, if they need a driver's leave for it: more than 48 KB.
    pub fn large_shared_bytes(&self, generation: Generation) -> Option<u32> {
        let gemv = matches!(self.family, Family::Gemv | Family::GemvId);
        gemv.then(|| self.gemv_shared_bytes(generation)).filter(|&bytes| bytes > 48 << 10)
    }

    /// Words of a row of `k` weights, without the odd fields of its blocks.
    fn row_words(&self, k: u64) -> u64 {
        self.ty.map_or(0, |ty| k / ty.block_weights() as u64 * (ty.block_bytes() / 4) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(entry: &str) -> &'static Kernel {
        KERNELS.iter().find(|kernel| kernel.entry == entry).unwrap()
    }

    #[test]
    fn every_format_has_its_kernels_once() {
        for &ty in GgmlType::ALL {
            let of = |family| {
                KERNELS.iter().filter(move |kernel| kernel.ty == Some(ty) && kernel.family == family)
            };
            assert!(of(Family::Gemv).map(|kernel| kernel.columns).eq([1, 2, 4, 8]));
            for family in [Family::Pack, Family::GemvId, Family::Gemm, Family::Rows] {
                assert_eq!(of(family).count(), 1, "{family:?}");
            }
            for kernel in KERNELS.iter().filter(|kernel| kernel.ty == Some(ty)) {
                assert!(kernel.entry.starts_with(kernel.family.name()), "{kernel:?}");
                assert!(kernel.entry.contains(ty.suffix()), "{kernel:?}");
            }
        }
    }

    #[test]
    fn grids_cover_ragged_shapes() {
        let size = |entry, m, n, k| {
            kernel(entry).size(Generation::Ampere, m, n, k).map(|size| (size.grid, size.block))
        };
        assert_eq!(size("gemv_q4_0_m2", 2, 9, 32), Some(([3, 1], 32)));
        assert_eq!(size("gemv_q4_0_m2", 2, 1021, 32), Some(([128, 1], 64)));
        assert_eq!(size("gemv_q4_0_m2", 2, 4097, 32), Some(([129, 1], 256)));
        assert_eq!(size("gemv_q4_0_m8", 5, 9, 32), Some(([1, 1], 256)));
        assert_eq!(size("gemv_q4_0_m4", 4, 4097, 32), Some(([129, 1], 256)));
        let from = |first, n| {
            kernel("gemv_q4_0_m2").size_from(first, Generation::Ampere, 2, n, 32).map(|size| size.grid[0])
        };
        assert_eq!([from(4, 9), from(7, 9), from(6, 2), from(7, 2)], [3, 3, 1, 2].map(Some));
        assert_eq!(size("gemv_id_q4_0", 7, 9, 32), Some(([3, 7], 32)));
        assert_eq!(size("gemv_id_q4_0", 7, 10, 32), Some(([4, 7], 32)));
        assert_eq!(size("pack_q4_0", 33, 999, 96), Some(([1, 1], 256)));
        assert_eq!(size("pack_q4_0", 85, 999, 96), Some(([2, 1], 256)));
        assert_eq!(size("gemm_q4_0", 65, 64, 32), Some(([2, 1], 256)));
        assert_eq!(size("quantize_activations", 3, 1, 96), Some(([3, 1], 128)));
        assert_eq!(size("rows_q4_0", 3, 1, 96), Some(([1, 1], 256)));
        assert_eq!(size("rows_q4_0", 11, 1, 96), Some(([2, 1], 256)));
        assert_eq!(size("rows_q4_0", 1, 1, 1056), Some(([2, 1], 256)));
        assert_eq!(size("rows_q4_0", 65, 1, 96), Some(([9, 1], 256)));
        assert_eq!(size("quantize_rows_q8_0", 43, 50, 96), Some(([3, 1], 64)));
        assert_eq!(size("quantize_rows_q4k", 3, 9, 768), Some(([2, 1], 64)));
        assert_eq!(size("quantize_rows_q6k", 3, 9, 768), Some(([3, 1], 64)));
        assert_eq!(size("read_memory", 1, 1024, 1), Some(([1, 1], 256)));
        assert_eq!(size("read_memory", 1, 1025, 1), Some(([2, 1], 256)));
        assert!(kernel("gemm_q6k").size(Generation::Ampere, 1, 1, 256).unwrap().shared_bytes <= 48 << 10);
    }

    #[test]
    fn launches_that_no_gpu_takes_are_refused() {
        assert_eq!(kernel("gemv_q4_0_m2").size(Generation::Ampere, 3, 9, 32), None);
        assert_eq!(kernel("gemv_id_q4_0").size(Generation::Ampere, 65_536, 9, 32), None);
        for (m, n, k) in [(0, 1, 32), (1, 0, 32), (1, 1, 0)] {
            for kernel in KERNELS {
                assert_eq!(kernel.size(Generation::Ampere, m, n, k), None, "{kernel:?} {m} {n} {k}");
            }
        }
        assert!(kernel("gemm_q4_0").size(Generation::Ampere, u32::MAX, 1, 32).is_some());
        assert_eq!(kernel("gemm_q4_0").size(Generation::Ampere, u32::MAX, u32::MAX, 32), None);
        assert_eq!(kernel("quantize_activations").size(Generation::Ampere, 1 << 31, 1, 64), None);
    }
}

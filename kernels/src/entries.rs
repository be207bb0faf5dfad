//! The kernels that the host launches, each an instance of a generic one. Compiled for GPUs only.
//!
//! Arguments are device pointers, the structures of [`arguments`](crate::arguments), and `u32` sizes. `W` is `[n, k]`,
//! some rows of a matrix that is packed as [`packed`](crate::packed) says, `X` is `[m, k]` in activation blocks, `Y` is
//! `[m, n]`, all row-major.

#[cfg(family = "quantize")]
mod quantize {
    use crate::activations::Activations;
    use crate::arguments::View;
    use crate::gpu::global::{Matrix, Output};
    use warpdot_formats::RUN;

    /// # Safety
    /// `x` is a matrix of m rows of `runs * 32`, `out` has room for the `blocks = m * runs` of them; nothing else
    /// touches `out` meanwhile.
    #[unsafe(no_mangle)]
    unsafe extern "ptx-kernel" fn quantize_activations(
        x: View,
        out: *mut Activations,
        runs: u32,
        blocks: u32,
    ) {
        let words = blocks as usize * Activations::WORDS;
        let rows = blocks.checked_div(runs).unwrap_or(0);
        // SAFETY: as the caller promised; a warp writes its own block only.
        let (x, out) =
            unsafe { (Matrix::new(x, rows, runs * RUN as u32), Output::new(out.cast::<u32>(), words)) };
        crate::quantize::quantize(x, out, runs);
    }
}

#[cfg(family = "read")]
mod read {
    use crate::gpu::global::{Output, input};
    use crate::pack::Words4;
    use crate::read::{BLOCK_PIECES, BLOCK_SUMS};

    /// # Safety
    /// `start` has `pieces` of them, and `sums` room for a word of each warp of as many blocks as read them; nothing
    /// else touches `sums` meanwhile.
    #[unsafe(no_mangle)]
    unsafe extern "ptx-kernel" fn read_memory(start: *const Words4, sums: *mut u32, pieces: u32) {
        let blocks = pieces.div_ceil(BLOCK_PIECES as u32);
        // SAFETY: as the caller promised; each word is written by one thread.
        let (pieces, sums) =
            unsafe { (input(start, pieces as usize), Output::new(sums, (blocks * BLOCK_SUMS) as usize)) };
        crate::read::read(pieces, sums);
    }
}

/// Defines an entry that multiplies, for a module that imports its block type as `Block`.
#[cfg(any(family = "gemv", family = "gemm"))]
macro_rules! matmul_entry {
    ($entry:ident = $name:expr, $kernel:expr) => {
        /// # Safety
        /// `w` is `n` rows of `k` packed weights and `x` has `m * k` activations, with `k` a multiple of the block;
        /// `ending` is right for `m * n` products, and its `up` for as many weights.
        #[unsafe(export_name = $name)]
        unsafe extern "ptx-kernel" fn $entry(
            w: crate::arguments::WeightRows,
            x: *const crate::activations::Activations,
            ending: crate::arguments::Ending,
            m: u32,
            n: u32,
            k: u32,
        ) {
            use crate::epilogue::{Epilogue, each_product};
            use crate::gemv::Part;
            use crate::gpu::global::input;
            use crate::gpu::weights::Weights;
            use warpdot_formats::RUN;
            // SAFETY: as the caller promised.
            let x = unsafe { input(x, m as usize * (k as usize / RUN)) };
            each_product(
                w,
                &ending,
                [m, n, k],
                #[inline(always)]
                |w, of_up, [m, n, k]| {
                    let part = Part { first_row: w.first, n, k };
                    // SAFETY: as the caller promised; each product is stored by one thread.
                    let (w, y) =
                        unsafe { (Weights::<Block>::new(w, k), Epilogue::new(&ending, of_up, m, n)) };
                    ($kernel)(w, x, &y, m, part);
                },
            );
        }
    };
}

/// Defines an entry that multiplies by up to `$columns` rows of X.
#[cfg(family = "gemv")]
macro_rules! gemv_entry {
    ($entry:ident = $name:expr, $columns:literal) => {
        // SAFETY: the host launches kernels with the sizes of `launch`.
        matmul_entry!($entry = $name, |w, x, y, m, part| {
            let shared = unsafe { Shared::new() };
            if cfg!(ampere) && $columns >= GEMV_WIDE {
                gemv_wide::<Block, $columns>(w, x, y, shared, m, part)
            } else {
                gemv::<Block, $columns>(w, x, y, shared, m, part)
            }
        });
    };
}

#[cfg(family = "gemv")]
macro_rules! gemv_entries {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        $(
            mod $suffix {
                use crate::gemv::{Shared, gemv};
                use crate::gemv_wide::gemv_wide;
                use crate::launch::GEMV_WIDE;
                use warpdot_formats::$block as Block;
                gemv_entry!(m1 = concat!("gemv_", stringify!($suffix), "_m1"), 1);
                gemv_entry!(m2 = concat!("gemv_", stringify!($suffix), "_m2"), 2);
                gemv_entry!(m4 = concat!("gemv_", stringify!($suffix), "_m4"), 4);
                gemv_entry!(m8 = concat!("gemv_", stringify!($suffix), "_m8"), 8);
            }
        )*
    };
}
#[cfg(family = "gemv")]
warpdot_formats::for_each_format!(gemv_entries);

#[cfg(family = "gemv_id")]
macro_rules! gemv_id_entries {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        $(
            mod $suffix {
                use crate::activations::Activations;
                use crate::arguments::{Ending, WeightRows};
                use crate::epilogue::{Epilogue, each_product};
                use crate::gemv::Shared;
                use crate::gemv_id::{Experts, gemv_id};
                use crate::gpu::global::input;
                use crate::gpu::weights::Weights;
                use warpdot_formats::{$block as Block, RUN};

                /// # Safety
                /// `w` is `experts * n` rows of `k` packed weights, `x` and `ids` have `m / repeat * k` activations and m
                /// numbers, with `k` a multiple of the block; `ending` is right for `m * n` products.
                #[unsafe(export_name = concat!("gemv_id_", stringify!($suffix)))]
                unsafe extern "ptx-kernel" fn of_format(
                    w: WeightRows,
                    x: *const Activations,
                    ids: *const u32,
                    ending: Ending,
                    m: u32,
                    n: u32,
                    k: u32,
                    experts: u32,
                    repeat: u32,
                ) {
                    let x_rows = m.checked_div(repeat).unwrap_or(0) as usize;
                    // SAFETY: as the caller promised. The host launches kernels with the sizes of `launch`.
                    let (x, ids, shared) = unsafe {
                        (input(x, x_rows * (k as usize / RUN)), input(ids, m as usize), Shared::new())
                    };
                    each_product(
                        w,
                        &ending,
                        [n, k],
                        #[inline(always)]
                        |w, of_up, [n, k]| {
                            let experts = Experts { count: experts, first_row: w.first, n, k, repeat };
                            // SAFETY: as the caller promised; each product is stored by one thread.
                            let (w, y) =
                                unsafe { (Weights::<Block>::new(w, k), Epilogue::new(&ending, of_up, m, n)) };
                            gemv_id(w, x, ids, &y, shared, experts);
                        },
                    );
                }
            }
        )*
    };
}
#[cfg(family = "gemv_id")]
warpdot_formats::for_each_format!(gemv_id_entries);

#[cfg(family = "rows")]
macro_rules! rows_entries {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        $(
            mod $suffix {
                use crate::arguments::{View, WeightRows};
                use crate::gpu::global::{Matrix, input};
                use crate::gpu::weights::Weights;
                use crate::gemv::Part;
                use crate::rows::rows;
                use warpdot_formats::$block as Block;

                /// # Safety
                /// `w` is `n` rows of `k` packed weights, with `k` a multiple of the block; `ids` is null or has `m`
                /// numbers; `out` is a matrix of m rows of `k` numbers, which nothing else touches meanwhile.
                #[unsafe(export_name = concat!("rows_", stringify!($suffix)))]
                unsafe extern "ptx-kernel" fn of_format(
                    w: WeightRows,
                    ids: *const u32,
                    out: View,
                    m: u32,
                    n: u32,
                    k: u32,
                ) {
                    let part = Part { first_row: w.first, n, k };
                    // SAFETY: as the caller promised; each four weights are written by one thread.
                    let (w, ids, out) = unsafe {
                        (
                            Weights::<Block>::new(w, k),
                            (!ids.is_null()).then(|| input(ids, m as usize)),
                            Matrix::new(out, m, k),
                        )
                    };
                    rows(w, ids, out, m, part);
                }
            }
        )*
    };
}
#[cfg(family = "rows")]
warpdot_formats::for_each_format!(rows_entries);

#[cfg(family = "gemm")]
macro_rules! gemm_entries {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        $(
            mod $suffix {
                use crate::gemm::{Stage, gemm};
                use warpdot_formats::$block as Block;
                // SAFETY: the host launches kernels with the sizes of `launch`.
                matmul_entry!(tiled = concat!("gemm_", stringify!($suffix)), |w, x, y, m, part| {
                    gemm::<Block>(w, x, y, unsafe { Stage::new() }, m, part)
                });
            }
        )*
    };
}
#[cfg(family = "gemm")]
warpdot_formats::for_each_format!(gemm_entries);

#[cfg(family = "pack")]
macro_rules! pack_entries {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        $(
            mod $suffix {
                use crate::gpu::global::{Output, input};
                use crate::pack::{Words4, pack};
                use crate::packed::Packing;
                use warpdot_formats::{$block as Block, Format};

                /// # Safety
                /// `blocks` has `rows` rows of `k` weights, with `k` a multiple of the block, and `packed` room for
                /// `n`; nothing else touches what `packed` has for these rows, which start at row `first`.
                #[unsafe(export_name = concat!("pack_", stringify!($suffix)))]
                unsafe extern "ptx-kernel" fn of_format(
                    blocks: *const Block,
                    packed: *mut u32,
                    first: u32,
                    rows: u32,
                    n: u32,
                    k: u32,
                ) {
                    let packing = Packing::new::<Block>(n, k);
                    let words = packing.plane_words();
                    // SAFETY: as the caller promised; the planes lie one after the other, and each word is written by
                    // one thread.
                    let (blocks, words, odd) = unsafe {
                        (
                            input(blocks, rows as usize * (k as usize / Block::WEIGHTS)),
                            Output::new(packed.cast::<Words4>(), words / 4),
                            Output::new(packed.wrapping_add(words), packing.odd_words()),
                        )
                    };
                    pack(blocks, words, odd, packing, first, rows);
                }
            }
        )*
    };
}
#[cfg(family = "pack")]
warpdot_formats::for_each_format!(pack_entries);

/// Defines an entry that quantizes rows to blocks of `Block`, by threads that have `$weights` of them each.
#[cfg(family = "quantize_rows")]
macro_rules! quantize_rows_entry {
    ($name:expr, $weights:expr, $element:ty, $kernel:ident) => {
        use crate::arguments::View;
        use crate::gpu::global::{Matrix, Output, input};
        use crate::gpu::shared::Words;
        use crate::quantize_rows::{Target, words};
        use warpdot_formats::Format;

        const WEIGHTS: usize = $weights;

        /// # Safety
        /// `x` is a matrix of m rows of `k` numbers, with `k` a multiple of the block; `ids` is null or has `m`
        /// numbers, no two of them alike; `out` has room for `n` rows of blocks, which nothing else touches
        /// meanwhile.
        #[unsafe(export_name = $name)]
        unsafe extern "ptx-kernel" fn of_format(
            x: View,
            ids: *const u32,
            out: *mut Block,
            m: u32,
            n: u32,
            k: u32,
        ) {
            let row_blocks = k / Block::WEIGHTS as u32;
            let elements = size_of::<Block>() / size_of::<$element>();
            // SAFETY: as the caller promised; each block, or half-word of one, is written by one thread. The host
            // launches kernels with the sizes of `launch`.
            let (x, ids, blocks, staging) = unsafe {
                (
                    Matrix::new(x, m, k),
                    (!ids.is_null()).then(|| input(ids, m as usize)),
                    Output::new(out.cast::<$element>(), n as usize * row_blocks as usize * elements),
                    Words::<{ words(WEIGHTS) }>::at(0),
                )
            };
            let target = Target { blocks, rows: n, ids };
            $kernel::<Block, WEIGHTS, { words(WEIGHTS) }>(x, target, staging, m, row_blocks);
        }
    };
}

#[cfg(family = "quantize_rows")]
macro_rules! quantize_rows_entries {
    (blocks: $(($block:ident, $suffix:ident)),*; groups: $(($super_block:ident, $super_suffix:ident)),*;) => {
        $(
            mod $suffix {
                use crate::quantize_rows::quantize_rows;
                use warpdot_formats::$block as Block;
                quantize_rows_entry!(
                    concat!("quantize_rows_", stringify!($suffix)), Block::WEIGHTS, Block, quantize_rows
                );
            }
        )*
        $(
            mod $super_suffix {
                use crate::quantize_groups::quantize_groups;
                use warpdot_formats::$super_block as Block;
                quantize_rows_entry!(
                    concat!("quantize_rows_", stringify!($super_suffix)), Block::GROUP, u16, quantize_groups
                );
            }
        )*
    };
}
#[cfg(family = "quantize_rows")]
crate::for_each_quantizer!(quantize_rows_entries);

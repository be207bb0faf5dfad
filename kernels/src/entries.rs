//! The kernels that the host launches, each an instance of a generic one. Compiled for GPUs only.
//!
//! Arguments are device pointers, the structures of [`arguments`](crate::arguments), and `u32` sizes. `W` is `[n, k]`
//! in blocks of its format, `X` is `[m, k]` in activation blocks, `Y` is `[m, n]`, all row-major.

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

/// Defines an entry that multiplies, for a module that imports its block type as `Block`.
#[cfg(any(family = "gemv", family = "gemm"))]
macro_rules! matmul_entry {
    ($entry:ident = $name:expr, $kernel:expr) => {
        /// # Safety
        /// `w` and `x` have `n * k` weights and `m * k` activations, with `k` a multiple of the block; `ending` is
        /// right for `m * n` products.
        #[unsafe(export_name = $name)]
        unsafe extern "ptx-kernel" fn $entry(
            w: *const Block,
            x: *const crate::activations::Activations,
            ending: crate::arguments::Ending,
            m: u32,
            n: u32,
            k: u32,
        ) {
            use crate::epilogue::Epilogue;
            use crate::gpu::global::input;
            use warpdot_formats::{Format, RUN};
            let (rows, columns, k_) = (n as usize, m as usize, k as usize);
            // SAFETY: as the caller promised; each product is stored by one thread.
            let (w, x, y) = unsafe {
                (
                    input(w, rows * (k_ / Block::WEIGHTS)),
                    input(x, columns * (k_ / RUN)),
                    Epilogue::new(&ending, m, n),
                )
            };
            ($kernel)(w, x, &y, m, n, k);
        }
    };
}

#[cfg(family = "gemv")]
macro_rules! gemv_entries {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        $(
            mod $suffix {
                use crate::gemv::gemv;
                use warpdot_formats::$block as Block;
                matmul_entry!(m1 = concat!("gemv_", stringify!($suffix), "_m1"), |w, x, y, m, _, k| {
                    gemv::<Block, 1>(w, x, y, m, k)
                });
                matmul_entry!(m2 = concat!("gemv_", stringify!($suffix), "_m2"), |w, x, y, m, _, k| {
                    gemv::<Block, 2>(w, x, y, m, k)
                });
                matmul_entry!(m4 = concat!("gemv_", stringify!($suffix), "_m4"), |w, x, y, m, _, k| {
                    gemv::<Block, 4>(w, x, y, m, k)
                });
                matmul_entry!(m8 = concat!("gemv_", stringify!($suffix), "_m8"), |w, x, y, m, _, k| {
                    gemv::<Block, 8>(w, x, y, m, k)
                });
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
                use crate::arguments::Ending;
                use crate::epilogue::Epilogue;
                use crate::gemv_id::gemv_id;
                use crate::gpu::global::input;
                use warpdot_formats::{$block as Block, Format, RUN};

                /// # Safety
                /// `w`, `x` and `ids` have `experts * n * k` weights, `m / repeat * k` activations and m numbers, with
                /// `k` a multiple of the block; `ending` is right for `m * n` products.
                #[unsafe(export_name = concat!("gemv_id_", stringify!($suffix)))]
                unsafe extern "ptx-kernel" fn of_format(
                    w: *const Block,
                    x: *const Activations,
                    ids: *const u32,
                    ending: Ending,
                    m: u32,
                    n: u32,
                    k: u32,
                    experts: u32,
                    repeat: u32,
                ) {
                    let (rows, columns, k_) = (experts as usize * n as usize, m as usize, k as usize);
                    let x_rows = m.checked_div(repeat).unwrap_or(0) as usize;
                    // SAFETY: as the caller promised; each product is stored by one thread.
                    let (w, x, ids, y) = unsafe {
                        (
                            input(w, rows * (k_ / Block::WEIGHTS)),
                            input(x, x_rows * (k_ / RUN)),
                            input(ids, columns),
                            Epilogue::new(&ending, m, n),
                        )
                    };
                    gemv_id::<Block>(w, x, ids, &y, n, k, repeat);
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
                use crate::gpu::global::{Output, input};
                use crate::rows::{Quad, rows};
                use warpdot_formats::{$block as Block, Format};

                /// # Safety
                /// `w`, `ids` and `out` have `n * k` weights, `m` numbers and room for `m * k` weights, with `k` a
                /// multiple of the block; nothing else touches `out` meanwhile.
                #[unsafe(export_name = concat!("rows_", stringify!($suffix)))]
                unsafe extern "ptx-kernel" fn of_format(
                    w: *const Block,
                    ids: *const u32,
                    out: *mut Quad,
                    m: u32,
                    n: u32,
                    k: u32,
                ) {
                    let (count, row) = (m as usize, k as usize);
                    // SAFETY: as the caller promised; each four weights are written by one thread.
                    let (w, ids, out) = unsafe {
                        (
                            input(w, n as usize * (row / Block::WEIGHTS)),
                            input(ids, count),
                            Output::new(out, count * (row / 4)),
                        )
                    };
                    rows::<Block>(w, ids, out, k);
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
                matmul_entry!(tiled = concat!("gemm_", stringify!($suffix)), |w, x, y, m, n, k| {
                    gemm::<Block>(w, x, y, unsafe { Stage::new() }, m, n, k)
                });
            }
        )*
    };
}
#[cfg(family = "gemm")]
warpdot_formats::for_each_format!(gemm_entries);

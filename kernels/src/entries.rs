//! The kernels that the host launches, each an instance of a generic one. Compiled for GPUs only.
//!
//! All arguments are device pointers and `u32` sizes. `W` is `[n, k]` in blocks of its format, `X` is `[m, k]`
//! in activation blocks, `Y` is `[m, n]`, all row-major.

#[cfg(family = "quantize")]
mod quantize {
    use crate::activations::Activations;
    use crate::gpu::global::{Output, input};
    use warpdot_formats::RUN;

    /// # Safety
    /// `x` has `blocks * 32` elements, `out` room for `blocks`; nothing else touches `out` meanwhile.
    #[unsafe(no_mangle)]
    unsafe extern "ptx-kernel" fn quantize_activations(x: *const f32, out: *mut Activations, blocks: u32) {
        let blocks = blocks as usize;
        // SAFETY: as the caller promised; a warp writes its own block only.
        let (x, out) =
            unsafe { (input(x, blocks * RUN), Output::new(out.cast::<u32>(), blocks * Activations::WORDS)) };
        crate::quantize::quantize(x, out);
    }
}

/// Defines an entry that multiplies, for a module that imports its block type as `Block`.
#[cfg(any(family = "gemv", family = "gemm"))]
macro_rules! matmul_entry {
    ($entry:ident = $name:expr, $kernel:expr) => {
        /// # Safety
        /// `w`, `x` and `y` have `n * k` weights, `m * k` activations and room for `m * n` products, with `k` a
        /// multiple of the block; nothing else touches `y` meanwhile.
        #[unsafe(export_name = $name)]
        unsafe extern "ptx-kernel" fn $entry(
            w: *const Block,
            x: *const crate::activations::Activations,
            y: *mut f32,
            m: u32,
            n: u32,
            k: u32,
        ) {
            use crate::gpu::global::{Output, input};
            use warpdot_formats::{Format, RUN};
            let (rows, columns, k_) = (n as usize, m as usize, k as usize);
            // SAFETY: as the caller promised; each product is written by one thread.
            let (w, x, y) = unsafe {
                (
                    input(w, rows * (k_ / Block::WEIGHTS)),
                    input(x, columns * (k_ / RUN)),
                    Output::new(y, rows * columns),
                )
            };
            ($kernel)(w, x, y, m, n, k);
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
                matmul_entry!(m1 = concat!("gemv_", stringify!($suffix), "_m1"), gemv::<Block, 1>);
                matmul_entry!(m2 = concat!("gemv_", stringify!($suffix), "_m2"), gemv::<Block, 2>);
                matmul_entry!(m4 = concat!("gemv_", stringify!($suffix), "_m4"), gemv::<Block, 4>);
                matmul_entry!(m8 = concat!("gemv_", stringify!($suffix), "_m8"), gemv::<Block, 8>);
            }
        )*
    };
}
#[cfg(family = "gemv")]
warpdot_formats::for_each_format!(gemv_entries);

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

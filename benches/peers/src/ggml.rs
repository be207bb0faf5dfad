//! ggml, by its raw symbols in `llama-cpp-sys-2`.
//!
//! A fair build takes clang and the flags of this very CPU. For a CPU with AMX it must be clang 16 or later: clang 14
//! calls the feature by names that ggml does not look for, and GCC 12 drops a store that ggml's AMX path needs.
//! [`lack`] tells whether that went wrong.
//!
//! ```sh
//! apt-get install cmake clang-19 libclang-dev
//! CC=clang-19 CXX=clang++-19 cargo run --release --features ggml -- --help
//! ```

mod matmul;

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::Once;

use llama_cpp_sys_2 as sys;
pub use matmul::{Buffers, MatMul};
use warpdot_cpu::Isa;
use warpdot_formats::GgmlType;

/// ggml's version.
pub fn version() -> String {
    // SAFETY: takes no arguments; gives a static string.
    unsafe { CStr::from_ptr(sys::ggml_version()) }.to_string_lossy().into_owned()
}

/// Fills ggml's tables, which its functions expect.
fn init() {
    static ONCE: Once = Once::new();
    /// Loses ggml's messages about every tensor that it repacks.
    unsafe extern "C" fn silence(_: sys::ggml_log_level, _: *const c_char, _: *mut c_void) {}
    // SAFETY: the callback does nothing; the other has no conditions.
    ONCE.call_once(|| unsafe {
        sys::ggml_log_set(Some(silence), ptr::null_mut());
        sys::ggml_cpu_init();
    });
}

/// What the CPU has and this build of ggml does without.
pub fn lack() -> Option<&'static str> {
    let offered = || Buffers::all().iter().any(|kind| kind.name() == "AMX");
    (Isa::best().has_tiles() && !offered()).then_some(
        "ggml was built without its buffers for AMX, which this CPU has: it takes clang 16 or later, named by CC and CXX",
    )
}

fn id(ty: GgmlType) -> sys::ggml_type {
    ty.id()
}

/// Whether ggml refuses to quantize to this format without importance weights.
pub fn needs_importance(ty: GgmlType) -> bool {
    // SAFETY: the number of a format that ggml has.
    unsafe { sys::ggml_quantize_requires_imatrix(id(ty)) }
}

/// Whether ggml has this format, with blocks of the same size.
pub fn has(ty: GgmlType) -> bool {
    if ty.id() >= sys::GGML_TYPE_COUNT {
        return false;
    }
    // SAFETY: the number of a format that ggml has.
    let (weights, bytes) = unsafe { (sys::ggml_blck_size(id(ty)), sys::ggml_type_size(id(ty))) };
    (weights as usize, bytes) == (ty.block_weights(), ty.block_bytes())
}

/// Writes `weights`, rows of `columns`, to `out`, as `llama-quantize` does, with one importance for each column or
/// with none.
///
/// # Panics
/// If the sizes do not match, ggml lacks the format, or it needs importance weights and there are none.
pub fn quantize(ty: GgmlType, weights: &[f32], columns: usize, importance: Option<&[f32]>, out: &mut [u8]) {
    init();
    assert!(has(ty) && columns.is_multiple_of(ty.block_weights()) && weights.len().is_multiple_of(columns));
    assert_eq!(out.len(), weights.len() / ty.block_weights() * ty.block_bytes());
    assert!(importance.is_some() || !needs_importance(ty), "ggml wants importance weights for {ty}");
    assert!(importance.is_none_or(|importance| importance.len() == columns));
    let importance = importance.map_or(ptr::null(), <[f32]>::as_ptr);
    let rows = (weights.len() / columns) as i64;
    // SAFETY: `weights` is that many rows of `columns`, `out` as large as their blocks, and `importance` null or
    // `columns` long, as was just checked.
    let written = unsafe {
        sys::ggml_quantize_chunk(
            id(ty),
            weights.as_ptr(),
            out.as_mut_ptr().cast(),
            0,
            rows,
            columns as i64,
            importance,
        )
    };
    assert_eq!(written, out.len());
}

/// The quantizer that ggml's CPU backend uses between operations, if it has one for this format. Its blocks are
/// those of [`quantize`] for the formats of 32 weights, and of a shorter search for others.
#[derive(Clone, Copy)]
pub struct FromFloat {
    ty: GgmlType,
    function: unsafe extern "C" fn(*const f32, *mut c_void, i64),
}

impl FromFloat {
    /// `None` if there is none.
    pub fn new(ty: GgmlType) -> Option<Self> {
        init();
        if !has(ty) {
            return None;
        }
        // SAFETY: a format that ggml has gives a valid pointer to static data.
        let function = unsafe { (*sys::ggml_get_type_traits_cpu(id(ty))).from_float };
        function.map(|function| Self { ty, function })
    }

    /// Writes a row of weights to `out`.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn quantize(self, weights: &[f32], out: &mut [u8]) {
        assert!(weights.len().is_multiple_of(self.ty.block_weights()));
        assert_eq!(out.len(), weights.len() / self.ty.block_weights() * self.ty.block_bytes());
        // SAFETY: `weights` is whole blocks of weights, `out` as large as their blocks, as was just checked.
        unsafe { (self.function)(weights.as_ptr(), out.as_mut_ptr().cast(), weights.len() as i64) }
    }
}

/// Writes the weights of blocks to `out`.
///
/// # Panics
/// If the sizes do not match or ggml lacks the format.
pub fn dequantize(ty: GgmlType, blocks: &[u8], out: &mut [f32]) {
    init();
    assert!(has(ty) && blocks.len().is_multiple_of(ty.block_bytes()));
    assert_eq!(out.len(), blocks.len() / ty.block_bytes() * ty.block_weights());
    assert!(blocks.as_ptr().cast::<u32>().is_aligned(), "ggml may read words");
    // SAFETY: a format that ggml has gives a valid pointer to static data.
    let to_float =
        unsafe { (*sys::ggml_get_type_traits(id(ty))).to_float }.expect("every quantized type has one");
    // SAFETY: `blocks` is whole blocks of any bytes, `out` as long as their weights, as was just checked.
    unsafe { to_float(blocks.as_ptr().cast(), out.as_mut_ptr(), out.len() as i64) }
}

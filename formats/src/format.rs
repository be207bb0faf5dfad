//! The contract between formats and kernels.

use crate::GgmlType;

/// Weights that meet one [`ActivationBlock`](crate::ActivationBlock): the unit in which kernels work along k.
pub const RUN: usize = 32;

/// The 32 codes of a run as `i8`, in order, four to a little-endian word.
pub type Codes = [u32; RUN / 4];

/// The scale and offset of each 16-code half of a run.
///
/// Formats with one scale per 32 codes ([`Format::GROUP`] is 32) use element 0 alone; those without offsets
/// leave [`offset`](Self::offset) zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunScales {
    /// Factors of the codes.
    pub scale: [f32; 2],
    /// Added to every weight of the group.
    pub offset: [f32; 2],
}

/// Any bytes are a valid block. `bytemuck`'s trait where that crate is compiled, which is not on the GPU.
#[cfg(not(target_arch = "nvptx64"))]
pub(crate) use bytemuck::Pod;
#[cfg(target_arch = "nvptx64")]
pub trait Pod: Copy + 'static {}
#[cfg(target_arch = "nvptx64")]
impl<T: Copy + 'static> Pod for T {}

/// A block format; implemented by the block types themselves, which have ggml's exact layout.
///
/// This is all that a kernel, on any device, may know of a format.
pub trait Format: Pod + Send + Sync {
    /// The format as a value.
    const TYPE: GgmlType;
    /// ggml's number for the format, as it stands in GGUF files.
    const ID: u32;
    /// ggml's name for the format.
    const NAME: &'static str;
    /// Weights in a block: a multiple of [`RUN`].
    const WEIGHTS: usize;
    /// Codes that share a scale: 16 or 32.
    const GROUP: usize;
    /// Whether groups have an offset beside their scale.
    const HAS_OFFSET: bool;
    /// The magnitude above which [`quantize`](Self::quantize) cuts weights off. In formats without this limit
    /// (the default) the scales of weights that are too large are not finite.
    const SATURATION: f32 = f32::MAX;
    /// Runs in a block.
    const RUNS: usize = Self::WEIGHTS / RUN;

    /// The codes of run `run`, taken modulo [`RUNS`](Self::RUNS).
    fn codes(&self, run: usize) -> Codes;

    /// The scales and offsets of run `run`, taken modulo [`RUNS`](Self::RUNS).
    fn scales(&self, run: usize) -> RunScales;

    /// The block that stands for `weights`: [`WEIGHTS`](Self::WEIGHTS) finite numbers.
    ///
    /// Weights that the format cannot hold are told by [`SATURATION`](Self::SATURATION) and by scales that are
    /// not finite.
    ///
    /// # Panics
    /// If `weights` has another length.
    fn quantize(weights: &[f32]) -> Self;

    /// Writes the block's weights to `out`: [`WEIGHTS`](Self::WEIGHTS) numbers.
    ///
    /// # Panics
    /// If `out` has another length.
    fn dequantize(&self, out: &mut [f32]) {
        assert_eq!(out.len(), Self::WEIGHTS, "a block of {} has {} weights", Self::NAME, Self::WEIGHTS);
        for (run, out) in out.chunks_exact_mut(RUN).enumerate() {
            let codes = code_bytes(&self.codes(run));
            let RunScales { scale, offset } = self.scales(run);
            for (i, (out, code)) in out.iter_mut().zip(codes).enumerate() {
                let group = i / Self::GROUP;
                let product = scale[group] * f32::from(code);
                *out = if Self::HAS_OFFSET { product + offset[group] } else { product };
            }
        }
    }
}

/// The codes of a run one by one.
#[inline(always)]
pub fn code_bytes(codes: &Codes) -> [i8; RUN] {
    core::array::from_fn(|i| (codes[i / 4] >> (8 * (i % 4))) as i8)
}

/// Work that is generic over the format, run for a format known only at run time by [`GgmlType::visit`].
pub trait FormatVisitor {
    /// What the work gives back.
    type Output;

    /// Does the work for format `F`.
    fn visit<F: Format>(self) -> Self::Output;
}

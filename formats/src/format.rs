//! The contract between formats and kernels.

use crate::blocks::{Blocks, Layout, One};
use crate::swar::{splat, sub};
use crate::{GgmlType, Importance, Number, Word};

/// Weights that meet one [`ActivationBlock`](crate::ActivationBlock): the unit in which kernels work along k.
pub const RUN: usize = 32;

/// The 32 codes of a run as `i8`, in order, four to a little-endian word.
pub type Codes = [u32; RUN / 4];

/// The scale and offset of each 16-code half of a run.
///
/// Formats with one scale per 32 codes ([`Format::GROUP`] is 32) use element 0 alone; those without offsets
/// leave [`offset`](Self::offset) zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunScales<N = f32> {
    /// Factors of the codes.
    pub scale: [N; 2],
    /// Added to every weight of the group.
    pub offset: [N; 2],
}

impl<N: Number> RunScales<N> {
    /// One scale for the whole run.
    #[inline(always)]
    pub(crate) fn whole(scale: N) -> Self {
        Self::halves(scale, scale.splat_like(0.0))
    }

    /// A scale for each half of the run.
    #[inline(always)]
    pub(crate) fn halves(first: N, second: N) -> Self {
        Self { scale: [first, second], offset: [first.splat_like(0.0); 2] }
    }

    /// The same scales, and one offset for the whole run.
    #[inline(always)]
    pub(crate) fn with_offset(self, offset: N) -> Self {
        Self { offset: [offset, self.offset[1]], ..self }
    }
}

/// The numbers in the lanes of some blocks.
pub type NumberOf<B> = <<B as Blocks>::Word as Word>::Number;

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
    /// Where the block's words are.
    const LAYOUT: Layout;
    /// The raw code of weight zero: either 128, or less than 64 as then all raw codes are.
    const ZERO: u8;

    /// The codes of run `run`, taken modulo [`RUNS`](Self::RUNS), each raised by [`ZERO`](Self::ZERO), which makes
    /// it an unsigned byte.
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4];

    /// The scales and offsets of run `run`, taken modulo [`RUNS`](Self::RUNS).
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>>;

    /// The codes of run `run`, taken modulo [`RUNS`](Self::RUNS).
    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let raw = Self::raw_codes(One(self), run);
        match Self::ZERO {
            0 => raw,
            128 => raw.map(|word| word ^ splat(128)),
            zero => raw.map(|word| sub(word, zero)),
        }
    }

    /// The scales and offsets of run `run`, taken modulo [`RUNS`](Self::RUNS).
    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        Self::raw_scales(One(self), run)
    }

    /// The block that stands for `weights`: [`WEIGHTS`](Self::WEIGHTS) finite numbers.
    ///
    /// Weights that the format cannot hold are told by [`SATURATION`](Self::SATURATION) and by scales that are
    /// not finite.
    ///
    /// # Panics
    /// If `weights` has another length.
    #[cfg(not(target_arch = "nvptx64"))]
    fn quantize(weights: &[f32]) -> Self;

    /// As [`quantize`](Self::quantize), for the smallest sum of squared errors each multiplied by the weight's
    /// `importance`: as many finite numbers that are not negative. Only their ratios matter; where all are zero,
    /// all weights matter equally.
    ///
    /// Q8_0, MXFP4, TQ1_0 and TQ2_0, whose scales follow from the largest magnitude alone, take no heed of it, as
    /// in ggml.
    ///
    /// # Panics
    /// If `weights` or `importance` has another length.
    #[cfg(not(target_arch = "nvptx64"))]
    fn quantize_weighted(weights: &[f32], importance: &[f32]) -> Self;

    /// What [`quantize`](Self::quantize) and [`quantize_weighted`](Self::quantize_weighted) do, to be inlined into
    /// functions that are compiled for an instruction set. The bits are the same with all of them.
    ///
    /// # Panics
    /// If `weights` has another length.
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self;

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

/// The two quantizers of a format, compiled here once, for every CPU.
macro_rules! quantizers {
    () => {
        #[cfg(not(target_arch = "nvptx64"))]
        fn quantize(weights: &[f32]) -> Self {
            Self::quantize_with(weights, $crate::Equal)
        }

        #[cfg(not(target_arch = "nvptx64"))]
        fn quantize_weighted(weights: &[f32], importance: &[f32]) -> Self {
            assert_eq!(importance.len(), weights.len(), "one importance for each weight");
            Self::quantize_with(weights, $crate::PerWeight::new(importance))
        }
    };
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

//! Four bits a weight from a table of integers that lie closer together near zero.
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::scales`]).

use crate::codebooks::IQ4;
use crate::kquant::SUPER_BLOCK;
use crate::pack::{halves, nibble_pair};
use crate::scales::{Levels, Scales, best_scale, trials};
use crate::swar::{byte, nibbles};
use crate::{Codes, F16, Format, GgmlType, RUN, RunScales};

static LEVELS: Levels<16> = Levels::new(IQ4);

/// The integers that four nibbles stand for.
#[inline(always)]
fn look_up(nibbles: u32) -> u32 {
    u32::from_le_bytes(nibbles.to_le_bytes().map(|nibble| IQ4[usize::from(nibble % 16)] as u8))
}

/// The best scale for weights on their own, of either sign because the table is not symmetric.
fn best_signed_scale(weights: &[f32]) -> f32 {
    let both = trials(weights, 127.0, 0.7, 9).flat_map(|trial| [trial, -trial]);
    best_scale(both, |scale| LEVELS.fit(weights, scale))
}

/// One scale per 32 weights. 18 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq4Nl {
    /// The block's scale.
    pub scale: F16,
    /// 16 bytes: weight i in the low half of byte i, weight i + 16 in the high half.
    pub nibbles: [u16; RUN / 4],
}

impl Format for Iq4Nl {
    const TYPE: GgmlType = GgmlType::Iq4Nl;
    const ID: u32 = 20;
    const NAME: &'static str = "IQ4_NL";
    const WEIGHTS: usize = RUN;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = false;

    #[inline(always)]
    fn codes(&self, _run: usize) -> Codes {
        core::array::from_fn(|i| look_up(nibbles(&self.nibbles, 0, i)))
    }

    #[inline(always)]
    fn scales(&self, _run: usize) -> RunScales {
        RunScales { scale: [self.scale.to_f32(), 0.0], ..RunScales::default() }
    }

    fn quantize(weights: &[f32]) -> Self {
        let weights: &[f32; RUN] = weights.try_into().expect("32 weights");
        let scale = F16::from_f32(best_signed_scale(weights));
        let codes = weights.map(|weight| LEVELS.nearest(weight, scale.to_f32()));
        Self { scale, nibbles: halves(|i| nibble_pair(&codes, 16, i)) }
    }
}

/// A 6-bit scale per 32 weights. 136 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq4Xs {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// The high two bits of the runs' scales, run 0 lowest.
    pub high: u16,
    /// 4 bytes: the low four bits of the runs' scales.
    pub low: [u16; 2],
    /// 16 bytes per run, as in [`Iq4Nl`].
    pub nibbles: [u16; SUPER_BLOCK / 4],
}

impl Format for Iq4Xs {
    const TYPE: GgmlType = GgmlType::Iq4Xs;
    const ID: u32 = 23;
    const NAME: &'static str = "IQ4_XS";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = false;
    const SATURATION: f32 = 32.0 * 127.0 * F16::LARGEST;

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| look_up(nibbles(&self.nibbles, run % Self::RUNS * 4, i)))
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let run = run % Self::RUNS;
        let low = byte(&self.low, run / 2) >> (run % 2 * 4) & 0x0f;
        let level = u16::from(low) | (self.high >> (2 * run) & 3) << 4;
        RunScales { scale: [self.scale.to_f32() * (f32::from(level) - 32.0), 0.0], ..RunScales::default() }
    }

    fn quantize(weights: &[f32]) -> Self {
        assert_eq!(weights.len(), SUPER_BLOCK, "256 weights");
        let run = |run: usize| &weights[run * RUN..][..RUN];
        let multiples: [f32; 64] = core::array::from_fn(|level| level as f32 - 32.0);
        let ideal: [f32; Self::RUNS] = core::array::from_fn(|i| best_signed_scale(run(i)));
        let Scales { scale, levels } =
            Scales::search(&multiples, &ideal, |i, scale| LEVELS.fit(run(i), scale));
        let codes: [u8; SUPER_BLOCK] = core::array::from_fn(|i| {
            LEVELS.nearest(weights[i], scale.to_f32() * multiples[usize::from(levels[i / RUN])])
        });
        Self {
            scale,
            high: levels.iter().rev().fold(0, |bits, level| bits << 2 | u16::from(level >> 4)),
            low: halves(|i| levels[2 * i] & 0x0f | levels[2 * i + 1] << 4),
            nibbles: halves(|i| nibble_pair(&codes, 16, i)),
        }
    }
}

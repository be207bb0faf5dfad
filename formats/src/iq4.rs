//! Four bits a weight from a table of integers that lie closer together near zero.
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::scales`]).

use crate::blocks::{Blocks, Layout};
use crate::codebooks::IQ4;
use crate::kquant::SUPER_BLOCK;
use crate::lanes::{Lanes, geometric, reciprocal};
use crate::levels::Levels;
use crate::pack::{halves, nibble_pairs};
use crate::rows::Rows;
use crate::scales::{Multiples, Scales, Trials, best_scale};
use crate::swar::raised;
use crate::{F16, Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

static LEVELS: Levels<16> = Levels::new(IQ4);

/// The integers that the nibbles stand for, raised by the zero point.
const RAISED: &[u8; 16] = &raised(IQ4, Iq4Nl::ZERO);

/// Trial scales, relative to the one at which the largest magnitude reaches the end of the table. All are tried
/// with both signs, because the table is not symmetric.
const TRIALS: [f32; 12] = geometric(0.7, 1.06);

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
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 128;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, _run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.nibbles);
        words!(|i| field.word(i % 4).look_up_nibbles(i / 4, RAISED))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, _run: usize) -> RunScales<NumberOf<B>> {
        RunScales::whole(blocks.odd().half_to_number())
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        assert_eq!(weights.len(), RUN, "32 weights");
        let rows = Rows::<I, RUN, 16>::repeated(weights, importance, 0);
        let mut trials = Lanes::ZERO;
        for (i, trial) in geometric::<8>(0.75, 1.08).into_iter().enumerate() {
            (trials.0[i], trials.0[i + 8]) = (1.0 / trial, -1.0 / trial);
        }
        let inverse = (rows.largest().abs() / 127.0).reciprocal() * trials;
        let scale = best_scale(
            [inverse],
            #[inline(always)]
            |inverse| LEVELS.fit(&rows, inverse),
        );
        let scale = F16::from_f32(scale);
        let inverse = reciprocal(scale.to_f32());
        let mut codes = [0; RUN];
        for (code, weight) in codes.iter_mut().zip(weights) {
            *code = LEVELS.code(*weight, inverse);
        }
        Self { scale, nibbles: nibble_pairs(&codes, 16) }
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
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 128;
    const SATURATION: f32 = 32.0 * 127.0 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let field = field!(blocks.nibbles);
        words!(|i| field.word(run % Self::RUNS * 4 + i % 4).look_up_nibbles(i / 4, RAISED))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let (both, run) = (field!(blocks.scale).word(0), run as u32 % 8);
        let low = field!(blocks.low).word(0) >> (4 * run) & 0x0f;
        let level = low | (both >> 16 >> (2 * run) & 3) << 4;
        RunScales::whole(both.half_to_number() * (level.to_number() - 32.0))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        assert_eq!(weights.len(), SUPER_BLOCK, "256 weights");
        const MULTIPLES: Multiples = Multiples { first: -32.0, step: 1.0, count: 64 };
        const COUNT: usize = 2 * TRIALS.len();
        let rows = Rows::<I, RUN, 8>::groups(weights, importance, 0);
        let inverse = (rows.largest().abs() / 127.0).reciprocal();
        let trials = Trials::<COUNT, 8>::new(
            #[inline(always)]
            |trial| {
                let factor = TRIALS[trial / 2] * if trial % 2 == 0 { 1.0 } else { -1.0 };
                LEVELS.fit(&rows, inverse * (1.0 / factor))
            },
        );
        let Scales { scale, levels, scales } = Scales::search(MULTIPLES, &trials);
        let inverses = scales.reciprocal();
        let mut codes = [0; SUPER_BLOCK];
        for (i, code) in codes.iter_mut().enumerate() {
            *code = LEVELS.code(weights[i], inverses.0[i / RUN]);
        }
        Self {
            scale,
            high: levels.iter().rev().fold(0, |bits, level| bits << 2 | u16::from(level >> 4)),
            low: halves(|i| levels[2 * i] & 0x0f | levels[2 * i + 1] << 4),
            nibbles: nibble_pairs(&codes, 16),
        }
    }
}

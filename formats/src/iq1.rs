//! Less than two bits a weight: eight weights at once from a codebook of -1, 0 and 1, all of them shifted up or
//! down by an eighth.
//!
//! Codes are eight times that, from -9 to 9, and scales an eighth. Layouts as in ggml's `ggml-common.h`.
//! Quantization is our own search ([`crate::ternary_code`]).

use crate::blocks::{Blocks, Layout};
use crate::codebooks::IQ1;
use crate::iq2::odd_multiple;
use crate::kquant::SUPER_BLOCK;
use crate::lanes::{Lanes, geometric};
use crate::pack::halves;
use crate::rows::Fits;
use crate::scales::{Multiples, Scales, Trials};
use crate::swar::{splat, spread2};
use crate::ternary_code::{Classes, SHIFTS, Tables, VECTORS, Vectors, fold, nearest, repeat, vector_at};
use crate::{F16, Format, GgmlType, Importance, NumberOf, RUN, RunScales, Word};

/// The groups' scales are odd multiples of the super-block's; codes are in eighths.
const MULTIPLES: Multiples = Multiples::odd(0.125, 8);

/// Half `half` (four weights) of the codebook's point `index`, shifted down if `down` is 1.
/// The codes are raw.
#[inline(always)]
fn half_point<W: Word>(index: W, down: W, half: usize) -> W {
    let levels = spread2(index.look_up(IQ1) >> (8 * half as u32));
    // 8 (level - 1) + 1 - 2 down, raised by 9.
    (levels << 3) + splat(2) - down * splat(2)
}

/// The scale of a group whose three bits are the lowest of `level`.
#[inline(always)]
fn scale_of_level<W: Word>(scale: W::Number, level: W) -> W::Number {
    odd_multiple(scale * 0.125, level & 7)
}

/// 1.5625 bits a weight: one scale and shift per 32. 50 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq1S {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// 32 bytes, the low eight bits of the indices, one for each eight weights.
    pub low: [u16; SUPER_BLOCK / 16],
    /// For each run the high three bits of its four indices, three bits of scale, and whether the shift is down.
    pub runs: [u16; SUPER_BLOCK / 32],
}

impl Format for Iq1S {
    const TYPE: GgmlType = GgmlType::Iq1S;
    const ID: u32 = 19;
    const NAME: &'static str = "IQ1_S";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 32;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_first(size_of::<Self>());
    const ZERO: u8 = 9;
    const SATURATION: f32 = 15.0 * 1.125 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let run = run % Self::RUNS;
        let (low, high) = (field!(blocks.low).word(run), field!(blocks.runs).half(run));
        words!(|i| half_point(low.byte(i / 2) | (high >> (i as u32 / 2 * 3) & 7) << 8, high >> 15, i % 2))
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let level = field!(blocks.runs).half(run % Self::RUNS) >> 12;
        RunScales::whole(scale_of_level(blocks.odd().half_to_number(), level))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let found = ShiftedSuperBlock::<8>::search::<true, _>(weights, importance);
        let run = |i: usize| {
            let high = (0..4).fold(0, |bits, k| bits | found.points[4 * i + k] >> 8 << (3 * k));
            high | u16::from(found.scales.levels[i]) << 12 | u16::from(found.down[4 * i]) << 15
        };
        Self {
            scale: found.scales.scale,
            low: halves(|i| found.points[i] as u8),
            runs: core::array::from_fn(run),
        }
    }
}

/// 1.75 bits a weight: a scale per 16 and a shift per 8. 56 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Iq1M {
    /// 32 bytes, the low eight bits of the indices, one for each eight weights.
    pub low: [u16; SUPER_BLOCK / 16],
    /// 16 bytes: for each eight weights four bits, the high three of the index and whether the shift is down.
    pub high: [u16; SUPER_BLOCK / 32],
    /// For each four groups their scales, three bits each; on top, four bits of the super-block's scale, the
    /// lowest first.
    pub groups: [u16; 4],
}

impl Iq1M {
    /// The scale of the groups' scales.
    #[inline(always)]
    pub fn scale(&self) -> F16 {
        let bits = |i: usize| self.groups[i] >> 12 << (4 * i);
        F16(bits(0) | bits(1) | bits(2) | bits(3))
    }
}

impl Format for Iq1M {
    const TYPE: GgmlType = GgmlType::Iq1M;
    const ID: u32 = 29;
    const NAME: &'static str = "IQ1_M";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;
    const LAYOUT: Layout = Layout::odd_last(size_of::<Self>());
    const ZERO: u8 = 9;
    const SATURATION: f32 = 15.0 * 1.125 * F16::LARGEST;

    quantizers!();

    #[inline(always)]
    fn raw_codes<B: Blocks>(blocks: B, run: usize) -> [B::Word; RUN / 4] {
        let run = run % Self::RUNS;
        let (low, high) = (field!(blocks.low).word(run), field!(blocks.high).half(run));
        words!(|i| {
            let high = high >> (i as u32 / 2 * 4);
            half_point(low.byte(i / 2) | (high & 7) << 8, high >> 3 & 1, i % 2)
        })
    }

    #[inline(always)]
    fn raw_scales<B: Blocks>(blocks: B, run: usize) -> RunScales<NumberOf<B>> {
        let words = [field!(blocks.groups).word(0), field!(blocks.groups).word(1)];
        // The scale's bits are the highest four of each half-word, lowest first.
        let bits = |word: B::Word| word >> 12 & 0x0f | word >> 24 & 0xf0;
        let scale = (bits(words[0]) | bits(words[1]) << 8).half_to_number();
        let word = if (run / 4).is_multiple_of(2) { words[0] } else { words[1] }; // an index would keep them in memory
        let groups = word >> (run as u32 / 2 % 2 * 16 + run as u32 % 2 * 6);
        RunScales::halves(scale_of_level(scale, groups), scale_of_level(scale, groups >> 3))
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let found = ShiftedSuperBlock::<16>::search::<false, _>(weights, importance);
        let high = |v: usize| (found.points[v] >> 8) as u8 | u8::from(found.down[v]) << 3;
        let groups = |i: usize| {
            let levels =
                (0..4).fold(0, |bits, k| bits | u16::from(found.scales.levels[4 * i + k]) << (3 * k));
            levels | (found.scales.scale.0 >> (4 * i)) << 12
        };
        Self {
            low: halves(|i| found.points[i] as u8),
            high: halves(|i| high(2 * i) | high(2 * i + 1) << 4),
            groups: core::array::from_fn(groups),
        }
    }
}

/// A super-block as either format needs it.
struct ShiftedSuperBlock<const GROUPS: usize> {
    scales: Scales<GROUPS>,
    /// The points' indices in the codebook.
    points: [u16; VECTORS],
    /// Whether they are shifted down.
    down: [bool; VECTORS],
}

/// The mean magnitude of a code in the codebook.
const MEAN: f32 = 5.16;

/// Trial scales, relative to the one at which the largest code reaches the largest weight.
const TRIALS: [f32; 10] = geometric(0.23, 1.25);

impl<const GROUPS: usize> ShiftedSuperBlock<GROUPS> {
    /// The best super-block for `weights`; all vectors of a group have one shift if they are `SHARED`.
    #[inline(always)]
    fn search<const SHARED: bool, I: Importance>(weights: &[f32], importance: I) -> Self {
        assert_eq!(weights.len(), SUPER_BLOCK, "256 weights");
        let vectors = Vectors::new::<I, GROUPS>(weights, importance);
        let (largest, mean) = vectors.magnitudes();
        let reference = repeat(mean * (1.0 / MEAN));
        let mut tables = Tables::EMPTY;
        let classes = Classes::search(&mut tables, &vectors, reference);
        let unit: Lanes<GROUPS> = largest * (1.0 / 9.0);
        let trials = Trials::<{ TRIALS.len() }, GROUPS>::new(
            #[inline(always)]
            |trial| {
                let scale = repeat(unit * TRIALS[trial]);
                let [up, down] = [classes[0].best(scale), classes[1].best(scale)];
                let shift = shift::<SHARED, GROUPS>([up.gain(scale), down.gain(scale)]);
                let best = up.or_where(shift, Lanes::ZERO, down);
                Fits { products: fold(best.products), squares: fold(best.squares) }
            },
        );
        let scales = Scales::search(MULTIPLES, &trials);

        let mut found = [(Lanes::ZERO, [0; VECTORS]); 2];
        for (found, levels) in found.iter_mut().zip(SHIFTS) {
            *found = nearest(&mut tables, &vectors, levels, repeat(scales.scales));
        }
        let shift = shift::<SHARED, GROUPS>([found[0].0, found[1].0]);
        let (mut points, mut down) = ([0; VECTORS], [false; VECTORS]);
        for lane in 0..VECTORS {
            let vector = vector_at::<GROUPS>(lane);
            down[vector] = shift.0[lane] > 0.0;
            points[vector] = found[usize::from(down[vector])].1[lane];
        }
        Self { scales, points, down }
    }
}

/// 1 for vectors that gain more when they are shifted down, or of whose group that is true if it is `SHARED`.
#[inline(always)]
fn shift<const SHARED: bool, const GROUPS: usize>(gains: [Lanes<VECTORS>; 2]) -> Lanes<VECTORS> {
    let [up, down] = if SHARED { gains.map(|gains| repeat(fold::<GROUPS>(gains))) } else { gains };
    Lanes::select(down, up, Lanes::splat(1.0), Lanes::ZERO)
}

//! Less than two bits a weight: eight weights at once from a codebook of -1, 0 and 1, all of them shifted up or
//! down by an eighth.
//!
//! Codes are eight times that, from -9 to 9, and scales an eighth. Layouts as in ggml's `ggml-common.h`.
//! Quantization is our own search ([`crate::vector_code`]).

use crate::codebooks::IQ1;
use crate::iq2::odd_multiples;
use crate::kquant::SUPER_BLOCK;
use crate::pack::halves;
use crate::scales::{Fit, Scales, best_scale, trials};
use crate::swar::{byte, splat, spread2, sub};
use crate::vector_code::{Codebook, Vectors};
use crate::{Codes, F16, Format, GgmlType, RunScales};

/// The groups' scales are odd multiples of the super-block's; codes are in eighths.
const MULTIPLES: [f32; 8] = odd_multiples(0.125);

/// Half `half` (four weights) of the codebook's point `index`, shifted down if the lowest bit of `down` is set.
#[inline(always)]
fn half_point(index: u32, down: u32, half: usize) -> u32 {
    let levels = spread2(IQ1[index as usize % IQ1.len()] >> (8 * half));
    sub(levels << 3 | splat(1), 8 + 2 * (down & 1) as u8)
}

/// The scale of a group whose three bits are the lowest of `level`.
#[inline(always)]
fn scale_of_level(scale: F16, level: u16) -> f32 {
    scale.to_f32() * 0.125 * (2.0 * f32::from(level & 7) + 1.0)
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
    const SATURATION: f32 = 15.0 * 1.125 * F16::LARGEST;

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let run = run % Self::RUNS;
        let high = u32::from(self.runs[run]);
        core::array::from_fn(|i| {
            let low = u32::from(byte(&self.low, run * 4 + i / 2));
            half_point(low | (high >> (i / 2 * 3) & 7) << 8, high >> 15, i % 2)
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let scale = scale_of_level(self.scale, self.runs[run % Self::RUNS] >> 12);
        RunScales { scale: [scale, 0.0], ..RunScales::default() }
    }

    fn quantize(weights: &[f32]) -> Self {
        let found = ShiftedSuperBlock::<8>::search(weights, 4);
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
    #[inline(always)]
    fn scale(&self) -> F16 {
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
    const SATURATION: f32 = 15.0 * 1.125 * F16::LARGEST;

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let run = run % Self::RUNS;
        let high = u32::from(self.high[run]);
        core::array::from_fn(|i| {
            let (low, high) = (u32::from(byte(&self.low, run * 4 + i / 2)), high >> (i / 2 * 4));
            half_point(low | (high & 7) << 8, high >> 3, i % 2)
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let (scale, groups) = (self.scale(), self.groups[run / 2 % 4] >> (run % 2 * 6));
        RunScales {
            scale: [groups, groups >> 3].map(|level| scale_of_level(scale, level)),
            ..RunScales::default()
        }
    }

    fn quantize(weights: &[f32]) -> Self {
        let found = ShiftedSuperBlock::<16>::search(weights, 1);
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

/// Vectors in a super-block.
const VECTORS: usize = SUPER_BLOCK / 8;

impl<const GROUPS: usize> ShiftedSuperBlock<GROUPS> {
    /// The best super-block for `weights`, of which every `shared` vectors in turn have one shift.
    fn search(weights: &[f32], shared: usize) -> Self {
        static SHIFTED: [Codebook<8, 2048>; 2] =
            [Codebook::new(IQ1, &[-7, 1, 9]), Codebook::new(IQ1, &[-9, -1, 7])];
        let weights: &[f32; SUPER_BLOCK] = weights.try_into().expect("256 weights");
        let vectors =
            SHIFTED.each_ref().map(|codebook| Vectors::<VECTORS>::new::<false, _, _>(codebook, weights));

        // The better shift for `shared` vectors from `first` on.
        let choose = |first: usize, scale: f32| {
            let fit =
                |down: usize| (first..first + shared).map(|v| vectors[down].best(v, scale).0).sum::<Fit>();
            let fits = [fit(0), fit(1)];
            let down = fits[1].gain(scale) > fits[0].gain(scale);
            (down, fits[usize::from(down)])
        };
        let per_group = VECTORS / GROUPS;
        let fit = |group: usize, scale: f32| {
            let firsts = (group * per_group..(group + 1) * per_group).step_by(shared);
            firsts.map(|first| choose(first, scale).1).sum::<Fit>()
        };

        let group_weights = |group: usize| &weights[group * SUPER_BLOCK / GROUPS..][..SUPER_BLOCK / GROUPS];
        let ideal: [f32; GROUPS] = core::array::from_fn(|group| {
            best_scale(trials(group_weights(group), 9.0, 0.2, 30), |scale| fit(group, scale))
        });
        let scales = Scales::search(&MULTIPLES, &ideal, fit);

        let scale = |v: usize| scales.scale.to_f32() * MULTIPLES[usize::from(scales.levels[v / per_group])];
        let down = core::array::from_fn(|v| choose(v / shared * shared, scale(v)).0);
        let points = core::array::from_fn(|v| {
            SHIFTED[usize::from(down[v])].index(vectors[usize::from(down[v])].best(v, scale(v)).1)
        });
        Self { scales, points, down }
    }
}

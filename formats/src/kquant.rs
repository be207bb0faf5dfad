//! Super-blocks of 256 weights whose groups have small integer scales: ggml's "k-quants".
//!
//! Layouts as in ggml's `ggml-common.h`. Quantization is our own search ([`crate::search`]) for the smallest
//! squared error.

use crate::affine::AffineSuperBlock;
use crate::pack::{bit_of_runs, bit_pairs, halves, nibble_pair};
use crate::swar::{byte, splat, sub, word};
use crate::symmetric::SymmetricSuperBlock;
use crate::{Codes, F16, Format, GgmlType, Importance, RUN, RunScales};

/// Weights in a super-block.
pub(crate) const SUPER_BLOCK: usize = 256;

/// Groups of 32 weights in a super-block.
const GROUPS_OF_32: usize = SUPER_BLOCK / 32;

/// Groups of 16 weights in a super-block.
const GROUPS_OF_16: usize = SUPER_BLOCK / 16;

/// 2 bits a weight: `scale * s * code - min_scale * m`, with 4-bit `s` and `m` per 16 weights. 84 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q2K {
    /// 16 bytes: the groups' scales in the low halves, their minima in the high ones.
    pub groups: [u16; GROUPS_OF_16 / 2],
    /// 64 bytes: of each 32, the bit pairs are four runs.
    pub pairs: [u16; SUPER_BLOCK / 8],
    /// The scale of the groups' scales.
    pub scale: F16,
    /// The scale of the groups' minima.
    pub min_scale: F16,
}

impl Format for Q2K {
    const TYPE: GgmlType = GgmlType::Q2K;
    const ID: u32 = 10;
    const NAME: &'static str = "Q2_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = true;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| pairs_of_run(&self.pairs, run, i))
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let (scale, min_scale) = (self.scale.to_f32(), self.min_scale.to_f32());
        let groups = [0, 1].map(|i| byte(&self.groups, run % Self::RUNS * 2 + i));
        RunScales {
            scale: groups.map(|group| scale * f32::from(group & 0x0f)),
            offset: groups.map(|group| -(min_scale * f32::from(group >> 4))),
        }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let found = AffineSuperBlock::<GROUPS_OF_16>::search::<_, 16>(weights, importance, 3, 15);
        Self {
            groups: halves(|i| found.scales[i] | found.mins[i] << 4),
            pairs: halves(|i| bit_pairs(&found.codes, i)),
            scale: found.scale,
            min_scale: found.min_scale,
        }
    }
}

/// 3 bits a weight: `scale * (s - 32) * (code - 4)`, with a 6-bit `s` per 16 weights. 110 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q3K {
    /// 32 bytes: bit k of byte i is the highest of code i of run k.
    pub high: [u16; SUPER_BLOCK / 16],
    /// 64 bytes, the low two bits of the codes, as in [`Q2K`].
    pub pairs: [u16; SUPER_BLOCK / 8],
    /// 12 bytes, the groups' scales: the low four bits of groups 0 to 7 in the low halves of bytes 0 to 7 and
    /// of groups 8 to 15 in the high ones; the two bits above, of groups i, i + 4, i + 8 and i + 12, in byte
    /// 8 + i.
    pub groups: [u16; 6],
    /// The scale of the groups' scales.
    pub scale: F16,
}

impl Q3K {
    /// The scale of group `index`, with 32 added.
    #[inline(always)]
    fn group(&self, index: usize) -> u8 {
        let low = byte(&self.groups, index % 8) >> (index / 8 % 2 * 4);
        let high = byte(&self.groups, 8 + index % 4) >> (index / 4 % 4 * 2);
        low & 0x0f | (high & 3) << 4
    }

    /// The inverse of [`group`](Self::group) for all groups.
    fn pack_groups(scales: &[u8; GROUPS_OF_16]) -> [u16; 6] {
        halves(|i| match i {
            0..8 => nibble_pair(scales, 8, i),
            _ => (0..4).fold(0, |bits, k| bits | scales[i - 8 + 4 * k] >> 4 << (2 * k)),
        })
    }
}

impl Format for Q3K {
    const TYPE: GgmlType = GgmlType::Q3K;
    const ID: u32 = 11;
    const NAME: &'static str = "Q3_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| {
            sub(pairs_of_run(&self.pairs, run, i) | bits_of_run(&self.high, run, i) << 2, 4)
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let scale = self.scale.to_f32();
        RunScales {
            scale: [0, 1].map(|i| scale * (f32::from(self.group(run % Self::RUNS * 2 + i)) - 32.0)),
            ..RunScales::default()
        }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let found = SymmetricSuperBlock::<GROUPS_OF_16>::search::<_, 16>(weights, importance, 4, 32);
        Self {
            high: halves(|i| bit_of_runs(&found.codes, 2, i)),
            pairs: halves(|i| bit_pairs(&found.codes, i)),
            groups: Self::pack_groups(&found.scales.map(|scale| (scale + 32) as u8)),
            scale: found.scale,
        }
    }
}

/// 4 bits a weight: `scale * s * nibble - min_scale * m`, with 6-bit `s` and `m` per 32 weights. 144 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q4K {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// The scale of the groups' minima.
    pub min_scale: F16,
    /// The groups' scales and minima.
    pub groups: AffineGroups,
    /// 128 bytes: of each 32, the low halves are one run and the high halves the next.
    pub nibbles: [u16; SUPER_BLOCK / 4],
}

impl Format for Q4K {
    const TYPE: GgmlType = GgmlType::Q4K;
    const ID: u32 = 12;
    const NAME: &'static str = "Q4_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = true;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| nibbles_of_run(&self.nibbles, run, i))
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        self.groups.scales(self.scale, self.min_scale, run)
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let found = AffineSuperBlock::search::<_, 32>(weights, importance, 15, 63);
        Self {
            scale: found.scale,
            min_scale: found.min_scale,
            groups: AffineGroups::new(&found.scales, &found.mins),
            nibbles: halves(|i| nibble_pair(&found.codes, RUN, i)),
        }
    }
}

/// 5 bits a weight: `scale * s * code - min_scale * m`, with 6-bit `s` and `m` per 32 weights. 176 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q5K {
    /// The scale of the groups' scales.
    pub scale: F16,
    /// The scale of the groups' minima.
    pub min_scale: F16,
    /// The groups' scales and minima.
    pub groups: AffineGroups,
    /// 32 bytes: bit k of byte i is the highest of code i of run k.
    pub high: [u16; SUPER_BLOCK / 16],
    /// 128 bytes, the low four bits of the codes, as in [`Q4K`].
    pub nibbles: [u16; SUPER_BLOCK / 4],
}

impl Format for Q5K {
    const TYPE: GgmlType = GgmlType::Q5K;
    const ID: u32 = 13;
    const NAME: &'static str = "Q5_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = RUN;
    const HAS_OFFSET: bool = true;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        core::array::from_fn(|i| nibbles_of_run(&self.nibbles, run, i) | bits_of_run(&self.high, run, i) << 4)
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        self.groups.scales(self.scale, self.min_scale, run)
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let found = AffineSuperBlock::search::<_, 32>(weights, importance, 31, 63);
        Self {
            scale: found.scale,
            min_scale: found.min_scale,
            groups: AffineGroups::new(&found.scales, &found.mins),
            high: halves(|i| bit_of_runs(&found.codes, 4, i)),
            nibbles: halves(|i| nibble_pair(&found.codes, RUN, i)),
        }
    }
}

/// 6 bits a weight: `scale * s * (code - 32)`, with an 8-bit `s` per 16 weights. 210 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Q6K {
    /// 128 bytes, the low four bits of the codes. Each half super-block has 64: their low halves are its runs
    /// 0 and 1, their high halves its runs 2 and 3.
    pub low: [u16; SUPER_BLOCK / 4],
    /// 64 bytes, the high two bits. Each half super-block has 32, whose bit pairs are its runs 0 to 3.
    pub high: [u16; SUPER_BLOCK / 8],
    /// The scale of each 16 weights.
    pub groups: [i8; GROUPS_OF_16],
    /// The scale of the groups' scales.
    pub scale: F16,
}

impl Format for Q6K {
    const TYPE: GgmlType = GgmlType::Q6K;
    const ID: u32 = 14;
    const NAME: &'static str = "Q6_K";
    const WEIGHTS: usize = SUPER_BLOCK;
    const GROUP: usize = 16;
    const HAS_OFFSET: bool = false;

    quantizers!();

    #[inline(always)]
    fn codes(&self, run: usize) -> Codes {
        let (half, within) = (run / 4 % 2, run % 4);
        core::array::from_fn(|i| {
            let low = word(&self.low, half * 16 + within % 2 * 8 + i) >> (within / 2 * 4);
            sub(low & splat(0x0f) | pairs_of_run(&self.high, run, i) << 4, 32)
        })
    }

    #[inline(always)]
    fn scales(&self, run: usize) -> RunScales {
        let (scale, first) = (self.scale.to_f32(), run % Self::RUNS * 2);
        RunScales {
            scale: [first, first + 1].map(|group| scale * f32::from(self.groups[group])),
            ..RunScales::default()
        }
    }

    #[inline(always)]
    fn quantize_with<I: Importance>(weights: &[f32], importance: I) -> Self {
        let found = SymmetricSuperBlock::search::<_, 16>(weights, importance, 32, 128);
        let high = found.codes.map(|code| code >> 4);
        Self {
            low: halves(|i| nibble_pair(&found.codes, 64, i)),
            high: halves(|i| bit_pairs(&high, i)),
            groups: found.scales,
            scale: found.scale,
        }
    }
}

/// The 6-bit scales and minima of eight groups: 12 bytes.
///
/// Bytes 0 to 3 hold the scales of groups 0 to 3 in their low six bits, bytes 4 to 7 their minima; groups 4 to
/// 7 have the low four bits of both in bytes 8 to 11, and the two bits above them on top of the bytes of groups
/// 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "nvptx64"), derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct AffineGroups(pub [u16; 6]);

impl AffineGroups {
    fn new(scales: &[u8; GROUPS_OF_32], mins: &[u8; GROUPS_OF_32]) -> Self {
        Self(halves(|i| match i {
            0..4 => scales[i] | scales[i + 4] >> 4 << 6,
            4..8 => mins[i - 4] | mins[i] >> 4 << 6,
            _ => scales[i - 4] & 0x0f | mins[i - 4] << 4,
        }))
    }

    /// The scale and minimum of group `index`, modulo eight.
    #[inline(always)]
    fn group(&self, index: usize) -> (u8, u8) {
        let (scale, min) = (byte(&self.0, index % 4), byte(&self.0, index % 4 + 4));
        if index % GROUPS_OF_32 < 4 {
            (scale & 0x3f, min & 0x3f)
        } else {
            let low = byte(&self.0, index % 4 + 8);
            (low & 0x0f | scale >> 6 << 4, low >> 4 | min >> 6 << 4)
        }
    }

    #[inline(always)]
    fn scales(&self, scale: F16, min_scale: F16, run: usize) -> RunScales {
        let (s, m) = self.group(run);
        RunScales {
            scale: [scale.to_f32() * f32::from(s), 0.0],
            offset: [-(min_scale.to_f32() * f32::from(m)), 0.0],
        }
    }
}

/// Word `index` of the nibbles of run `run`: two runs share 32 bytes.
#[inline(always)]
fn nibbles_of_run(nibbles: &[u16; SUPER_BLOCK / 4], run: usize, index: usize) -> u32 {
    (word(nibbles, run / 2 % 4 * 8 + index) >> (run % 2 * 4)) & splat(0x0f)
}

/// Word `index` of the bit pairs of run `run`: four runs share 32 bytes.
#[inline(always)]
pub(crate) fn pairs_of_run(pairs: &[u16; SUPER_BLOCK / 8], run: usize, index: usize) -> u32 {
    (word(pairs, run / 4 % 2 * 8 + index) >> (run % 4 * 2)) & splat(0x03)
}

/// Word `index` of the single bits of run `run`: all eight runs share 32 bytes.
#[inline(always)]
fn bits_of_run(bits: &[u16; SUPER_BLOCK / 16], run: usize, index: usize) -> u32 {
    (word(bits, index) >> (run % 8)) & splat(0x01)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_packing_has_an_inverse() {
        let scales: [u8; 8] = core::array::from_fn(|i| (i * 9) as u8);
        let mins: [u8; 8] = core::array::from_fn(|i| 63 - (i * 5) as u8);
        let groups = AffineGroups::new(&scales, &mins);
        for i in 0..8 {
            assert_eq!(groups.group(i), (scales[i], mins[i]));
        }

        let scales: [u8; 16] = core::array::from_fn(|i| 63 - (i * 4) as u8);
        let mut block: Q3K = bytemuck::Zeroable::zeroed();
        block.groups = Q3K::pack_groups(&scales);
        for (i, &scale) in scales.iter().enumerate() {
            assert_eq!(block.group(i), scale);
        }
    }
}

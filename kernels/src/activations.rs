//! Activation blocks as a GPU loads them.

use warpdot_formats::{ActivationBlock, Codes};

/// An [`ActivationBlock`] in words, for loads of 8 bytes.
///
/// The host allocates device memory in multiples of 256 bytes, and a block has 40: each starts at a multiple of 8.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Activations {
    /// What stands before the codes.
    pub head: Head,
    /// Four to a word.
    pub codes: Codes,
}

impl Activations {
    /// Words of a block.
    pub const WORDS: usize = size_of::<Self>() / 4;
}

/// The scale and the sums of a block.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Head {
    /// The factor of the codes.
    pub scale: f32,
    /// The sums of the halves, the first in the low half of the word.
    pub sums: u32,
}

const _: () = {
    assert!(size_of::<Activations>() == size_of::<ActivationBlock>());
    assert!(core::mem::offset_of!(Activations, head.sums) == core::mem::offset_of!(ActivationBlock, sums));
    assert!(core::mem::offset_of!(Activations, codes) == core::mem::offset_of!(ActivationBlock, codes));
};

//! Stores that go past the caches, for results larger than these.

use bytemuck::{Pod, Zeroable};

use super::{HALF, Simd};
use crate::dequantize::{Float, Kind};

/// Results of more bytes than this would only drive each other out of the caches.
pub(crate) const LARGE: usize = 1 << 24;

/// A cache line.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

#[cfg(target_arch = "x86_64")]
impl Line {
    pub(crate) const ZERO: Self = Self([0; _]);
}

/// Leave to store past the caches, until a fence.
pub(crate) struct Streaming<I: Simd> {
    isa: I,
    past_caches: bool,
}

/// Does work that stores past the caches, if that is asked for; its results are there for all threads when it is done.
#[inline(always)]
pub(crate) fn streaming<I: Simd, R>(isa: I, past_caches: bool, work: impl FnOnce(&Streaming<I>) -> R) -> R {
    struct Fence<I: Simd>(I);

    impl<I: Simd> Drop for Fence<I> {
        #[inline(always)]
        fn drop(&mut self) {
            self.0.fence();
        }
    }

    let _fence = past_caches.then_some(Fence(isa));
    work(&Streaming { isa, past_caches })
}

impl<I: Simd> Streaming<I> {
    /// Whether to store past the caches at all.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn past_caches(&self) -> bool {
        self.past_caches
    }

    /// Stores numbers as `T`; past the caches where `to` is aligned to 16 bytes.
    #[inline(always)]
    pub(crate) fn put<T: Float>(&self, numbers: I::Numbers, to: &mut [T; HALF]) {
        match T::KIND {
            Kind::F32 => self.isa.put_f32(numbers, bytemuck::cast_mut(to), self),
            Kind::F16 => self.isa.put_f16(numbers, bytemuck::cast_mut(to), self),
            Kind::Bf16 => self.isa.put_bf16(numbers, bytemuck::cast_mut(to), self),
        }
    }

    /// Copies `from` to `to`, which is as long; lines that lie only partly in `to` go through the caches.
    /// To be inlined into the work given to [`vectorize`](super::Vectorize::vectorize).
    #[inline(always)]
    pub(crate) fn copy(&self, from: &[u8], to: &mut [u8]) {
        if !self.past_caches {
            return to.copy_from_slice(from);
        }
        let (head, lines, tail) = bytemuck::pod_align_to_mut::<u8, Line>(to);
        let (from_head, from) = from.split_at(head.len());
        let (whole, from_tail) = from.as_chunks();
        head.copy_from_slice(from_head);
        for (line, from) in lines.iter_mut().zip(whole) {
            // SAFETY: `streaming`, which alone makes `self`, ends in a fence, before anyone else can get at `to`.
            unsafe { self.isa.stream(from, line) };
        }
        tail.copy_from_slice(from_tail);
    }
}

//! Copies that go past the caches, for results larger than these.

use bytemuck::{Pod, Zeroable};

use super::Simd;

/// A cache line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// Leave to copy past the caches.
pub(crate) struct Streaming<I: Simd>(I);

/// Does work that may copy past the caches, whose results are there for all threads when it is done.
#[inline(always)]
pub(crate) fn streaming<I: Simd, R>(isa: I, work: impl FnOnce(&Streaming<I>) -> R) -> R {
    struct Fence<I: Simd>(I);

    impl<I: Simd> Drop for Fence<I> {
        #[inline(always)]
        fn drop(&mut self) {
            self.0.fence();
        }
    }

    let _fence = Fence(isa);
    work(&Streaming(isa))
}

impl<I: Simd> Streaming<I> {
    /// Copies `from` to `to`, which is as long; lines that lie only partly in `to` go through the caches. To be inlined into the work given to [`vectorize`](super::Vectorize::vectorize).
    #[inline(always)]
    pub(crate) fn copy(&self, from: &[u8], to: &mut [u8]) {
        let (head, lines, tail) = bytemuck::pod_align_to_mut::<u8, Line>(to);
        let (from_head, from) = from.split_at(head.len());
        let (whole, from_tail) = from.as_chunks();
        head.copy_from_slice(from_head);
        for (line, from) in lines.iter_mut().zip(whole) {
            // SAFETY: `streaming`, which alone makes `self`, ends in a fence, before anyone else can get at `to`.
            unsafe { self.0.stream(from, line) };
        }
        tail.copy_from_slice(from_tail);
    }
}

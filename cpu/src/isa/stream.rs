//! Copies that go past the caches, for results larger than these.

use bytemuck::{Pod, Zeroable};

use super::Simd;

/// A cache line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// A quarter of a line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(16))]
pub(crate) struct Quarter(pub(crate) [u8; 16]);

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
    /// Copies `from` to `to`, which is as long. To be inlined into the work given to [`Simd::vectorize`].
    #[inline(always)]
    pub(crate) fn copy(&self, from: &[u8], to: &mut [u8]) {
        // Lines that lie partly in `to` are completed by the copies before and after this one.
        let (head, quarters, tail) = bytemuck::pod_align_to_mut::<u8, Quarter>(to);
        let (from_head, from) = from.split_at(head.len());
        let (from, from_tail) = from.split_at(size_of_val(quarters));
        let (first, lines, last) = bytemuck::pod_align_to_mut::<Quarter, Line>(quarters);
        let (from_first, from) = from.split_at(size_of_val(first));
        let (from, from_last) = from.split_at(size_of_val(lines));

        head.copy_from_slice(from_head);
        self.copy_quarters(from_first, first);
        for (line, from) in lines.iter_mut().zip(from.as_chunks().0) {
            // SAFETY: `streaming`, which alone makes `self`, ends in a fence, before anyone else can get at `to`.
            unsafe { self.0.stream(from, line) };
        }
        self.copy_quarters(from_last, last);
        tail.copy_from_slice(from_tail);
    }

    #[inline(always)]
    fn copy_quarters(&self, from: &[u8], to: &mut [Quarter]) {
        for (quarter, from) in to.iter_mut().zip(from.as_chunks().0) {
            // SAFETY: as in `copy`.
            unsafe { self.0.stream_quarter(from, quarter) };
        }
    }
}

//! No kernel touches a byte before or behind its operands: each lies against a page that cannot be accessed.

#![cfg(unix)]

mod common;

use std::ptr::NonNull;

use bytemuck::Pod;
use common::{normal, weights};
use warpdot_cpu::{Isa, Kernel, Problem, Routine, Workspace, dequantize};
use warpdot_formats::{Format, FormatVisitor, GgmlType};

const PAGE: usize = 1 << 16; // a multiple of every platform's page

/// Memory with forbidden pages on both sides.
struct Guarded {
    start: NonNull<libc::c_void>,
    room: usize,
}

impl Guarded {
    fn new(bytes: usize) -> Self {
        let room = bytes.next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping touches no existing memory, and the protected part lies within it.
        unsafe {
            let start = libc::mmap(std::ptr::null_mut(), room + 2 * PAGE, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(start.byte_add(PAGE), room, libc::PROT_READ | libc::PROT_WRITE), 0);
            Self { start: NonNull::new(start).expect("mapped"), room }
        }
    }

    /// `values` right before the page behind, or right behind the page before.
    fn place<T: Pod>(&mut self, values: &[T], at_end: bool) -> &mut [T] {
        let bytes = size_of_val(values);
        let offset = PAGE + if at_end { self.room - bytes } else { 0 };
        // SAFETY: the range lies in the accessible part, is aligned (both ends are page boundaries and sizes
        // multiples of alignments), is initialized by the copy, and is borrowed from `self` alone.
        unsafe {
            let to = self.start.byte_add(offset).cast::<T>();
            to.copy_from_nonoverlapping(NonNull::from(values).cast(), values.len());
            std::slice::from_raw_parts_mut(to.as_ptr(), values.len())
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nothing borrows any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.room + 2 * PAGE) };
    }
}

struct StaysWithin;

impl FormatVisitor for StaysWithin {
    type Output = ();

    fn visit<F: Format>(self) {
        for blocks in [1, 2, 3, 7, 8, 9, 15, 16, 17] {
            for (m, n) in [(1, 1), (1, 5), (3, 4), (9, 6)] {
                let problem = Problem { m, n, k: blocks * F::WEIGHTS };
                let (w, x) = (weights::<F>(1, n, problem.k), normal(2, m * problem.k));
                let (y, dequantized) = (vec![0.0f32; m * n], vec![0.0f32; n * problem.k]);
                let sizes =
                    [size_of_val(&*w), size_of_val(&*x), size_of_val(&*y), size_of_val(&*dequantized)];
                let [mut for_w, mut for_x, mut for_y, mut for_dequantized] = sizes.map(Guarded::new);
                for isa in Isa::available() {
                    for routine in [Routine::Gemv, Routine::Gemm] {
                        for at_end in [true, false] {
                            let (w, x) = (for_w.place(&w, at_end), for_x.place(&x, at_end));
                            let kernel = Kernel { isa, routine };
                            kernel
                                .matmul(&mut Workspace::new(), problem, w, x, for_y.place(&y, at_end))
                                .expect("a valid problem");
                        }
                    }
                    for at_end in [true, false] {
                        let (w, out) = (for_w.place(&w, at_end), for_dequantized.place(&dequantized, at_end));
                        dequantize(isa, w, out).expect("matching lengths");
                    }
                }
            }
        }
    }
}

#[test]
fn no_access_outside_of_operands() {
    for ty in GgmlType::ALL {
        ty.visit(StaysWithin);
    }
}

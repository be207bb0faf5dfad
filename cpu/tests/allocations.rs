//! Calls with a used workspace do not allocate.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{normal, weights};
use warpdot_cpu::{
    Experts, Isa, Kernel, Matrix, Numerics, Problem, Product, Routine, Tensor, TensorMut, Workspace, matmul,
};
use warpdot_formats::{GgmlType, Q8_0};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn none_after_the_first_call() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    pool.install(|| {
        let mut workspace = Workspace::new();
        let mut allocations_of_calls = |m: usize, calls: usize| {
            let problem = Problem { m, n: 256, k: 1024 };
            let (w, x) = (weights::<Q8_0>(1, problem.n, problem.k), normal(2, m * problem.k));
            let mut y = vec![0.0; m * problem.n];
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..calls {
                matmul(Isa::best(), Numerics::Fast, &mut workspace, problem, &w, &x, &mut y).expect("valid");
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        assert!(allocations_of_calls(12, 1) > 0, "the workspace has to come from somewhere");
        assert_eq!([1, 3, 12].map(|m| allocations_of_calls(m, 4)), [0; 3]);

        let kernel = Kernel { isa: Isa::best(), routine: Routine::Gemv };
        let mut allocations_of_experts = |tokens: usize, calls: usize| {
            let (n, k, count) = (64, 1024, 4);
            let (w, x) = (weights::<Q8_0>(1, count * n, k), normal(2, tokens * k));
            let bytes = bytemuck::cast_slice(&w);
            let ids: Vec<u32> = (0..2 * tokens as u32).map(|row| row % 3).collect();
            let mut y = vec![0.0; ids.len() * n];
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..calls {
                let matrix = Matrix::Blocks { ty: GgmlType::Q8_0, n: count * n, k, bytes };
                let x = Tensor::new(&x[..], tokens, k).expect("rows");
                let y = TensorMut::new(&mut y[..], ids.len(), n).expect("rows");
                let experts = Experts::new(matrix, count, &ids).expect("64 rows each");
                let product = Product::new(x, y);
                experts.compute_with(kernel, &mut workspace, product).expect("valid");
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        assert!(allocations_of_experts(48, 1) > 0, "more rows are more memory");
        assert_eq!([1, 3, 48].map(|tokens| allocations_of_experts(tokens, 4)), [0; 3]);
    });
}

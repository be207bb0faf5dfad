//! Where a thread is, and waiting for the others of its block.

intrinsic!("llvm.nvvm.read.ptx.sreg.tid.x", tid_x() -> u32);
intrinsic!("llvm.nvvm.read.ptx.sreg.ctaid.x", ctaid_x() -> u32);
intrinsic!("llvm.nvvm.read.ptx.sreg.ctaid.y", ctaid_y() -> u32);
intrinsic!("llvm.nvvm.read.ptx.sreg.ntid.x", ntid_x() -> u32);
intrinsic!("llvm.nvvm.barrier0", barrier0());

/// The thread's index in its block.
#[inline(always)]
pub fn thread_idx_x() -> u32 {
    // SAFETY: reads a special register.
    gpu_only!((), unsafe { tid_x() })
}

/// The block's index in the grid.
#[inline(always)]
pub fn block_idx_x() -> u32 {
    // SAFETY: reads a special register.
    gpu_only!((), unsafe { ctaid_x() })
}

/// The block's index in the second dimension of the grid.
#[inline(always)]
pub fn block_idx_y() -> u32 {
    // SAFETY: reads a special register.
    gpu_only!((), unsafe { ctaid_y() })
}

/// Threads in a block.
#[inline(always)]
pub fn block_dim_x() -> u32 {
    // SAFETY: reads a special register.
    gpu_only!((), unsafe { ntid_x() })
}

/// Waits until all threads of the block are here; what they wrote before is then visible to all of them.
///
/// Threads that have ended do not count; those that have not must all get here.
#[inline(always)]
pub fn sync_threads() {
    // SAFETY: a barrier touches no memory of its own; threads that part ways around it hang or continue in
    // disorder, which shared memory's accesses are defined for.
    gpu_only!((), unsafe { barrier0() })
}

//! What the emulator found wrong with a kernel, and where.

use std::fmt;

use thiserror::Error;

/// A memory that a kernel can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Space {
    /// Device memory.
    Global,
    /// The memory that a block shares.
    Shared,
    /// A thread's own memory.
    Local,
    /// The kernel's parameters.
    Param,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Global => "global",
            Space::Shared => "shared",
            Space::Local => "local",
            Space::Param => "parameter",
        })
    }
}

/// What an access does to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An atomic read-modify-write.
    Atomic,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Atomic => "atomic access",
        })
    }
}

/// A rule that a kernel broke.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// Outside every allocation, or outside the block's shared or the thread's local memory.
    #[error("{access} of {bytes} bytes at {address:#x} is out of bounds of {space} memory ({nearest})")]
    OutOfBounds {
        /// Which memory.
        space: Space,
        /// Which access.
        access: Access,
        /// The address, in that memory.
        address: u64,
        /// How many bytes the access covers.
        bytes: u64,
        /// What lies nearest, or how large the memory is.
        nearest: String,
    },
    /// The address is not a multiple of the access's size.
    #[error("{access} of {bytes} bytes at {address:#x} of {space} memory is misaligned")]
    Misaligned {
        /// Which memory.
        space: Space,
        /// Which access.
        access: Access,
        /// The address, in that memory.
        address: u64,
        /// The size, and therefore the alignment.
        bytes: u64,
    },
    /// Memory that nothing has written.
    #[error("read of {bytes} bytes at {address:#x} of {space} memory, which nothing has written")]
    Uninitialized {
        /// Which memory.
        space: Space,
        /// The address, in that memory.
        address: u64,
        /// How many bytes the read covers.
        bytes: u64,
    },
    /// A store to constant memory.
    #[error("{access} at {address:#x}, which is constant memory")]
    ReadOnly {
        /// Which access.
        access: Access,
        /// The address.
        address: u64,
    },
    /// Two threads touch the same shared memory with no barrier between them, and one writes.
    #[error("race on shared memory at {address:#x}: {access} here, {earlier} by {other}, no barrier between")]
    Race {
        /// The address, in shared memory.
        address: u64,
        /// The access at fault.
        access: Access,
        /// What the other thread did before.
        earlier: Access,
        /// The other thread, or a word for several.
        other: String,
    },
    /// Shared memory that an asynchronous copy still has to fill.
    #[error("{access} of shared memory at {address:#x}, which an asynchronous copy may still be filling")]
    PendingCopy {
        /// Which access.
        access: Access,
        /// The address, in shared memory.
        address: u64,
    },
    /// A barrier that some of its threads never reach.
    #[error("barrier {barrier}: {arrived} of {expected} threads arrived, and no other thread can")]
    Barrier {
        /// The number of the barrier.
        barrier: u32,
        /// How many threads wait there.
        arrived: u32,
        /// How many it waits for.
        expected: u32,
    },
    /// `bar.sync`, which all lanes of a warp execute together, met by a part of them.
    #[error("a warp reaches an aligned barrier with lanes {arrived:#010x} of {alive:#010x}")]
    DivergedBarrier {
        /// The lanes that are here.
        arrived: u32,
        /// The lanes that have not exited.
        alive: u32,
    },
    /// A warp-wide operation that some named lane does not reach.
    #[error("lanes {named:#010x} are named, only lanes {arrived:#010x} reach the instruction")]
    Collective {
        /// The lanes that the member mask names.
        named: u32,
        /// The lanes that arrived.
        arrived: u32,
    },
    /// A lane that executes a warp-wide operation without being named in its mask.
    #[error("the lane executes a warp-wide operation whose mask {named:#010x} does not name it")]
    NotNamed {
        /// The lanes that the member mask names.
        named: u32,
    },
    /// An operand whose value makes no sense.
    #[error("{0}")]
    Operand(String),
    /// The kernel executed `trap`.
    #[error("the kernel executed `trap`")]
    Trap,
    /// A block ran for longer than the device allows.
    #[error("the block executed {0} warp instructions and was stopped")]
    Timeout(u64),
}

/// A broken rule, with its place in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The entry's name.
    pub kernel: String,
    /// The line of the PTX text, from 1.
    pub line: u32,
    /// That line.
    pub instruction: String,
    /// `%ctaid` of the block.
    pub block: [u32; 3],
    /// `%tid` of the thread, the first one if several broke the rule.
    pub thread: [u32; 3],
    /// What it did.
    pub violation: Violation,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        write!(
            f,
            "{}, PTX line {} `{}`, block ({bx},{by},{bz}), thread ({tx},{ty},{tz}): {}",
            self.kernel, self.line, self.instruction, self.violation
        )
    }
}

impl std::error::Error for Diagnostic {}

/// A violation on its way up: which lane of the warp.
#[derive(Debug)]
pub(crate) struct LaneFault {
    pub(crate) lane: u32,
    pub(crate) violation: Box<Violation>,
}

impl LaneFault {
    #[cold]
    pub(crate) fn new(lane: usize, violation: Violation) -> Self {
        Self { lane: lane as u32, violation: Box::new(violation) }
    }
}

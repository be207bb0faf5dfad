//! Execution: a [`warp`] walks through a program, a [`block`] runs its warps in turn, a [`launch`] its
//! blocks in parallel.

pub(crate) mod block;
pub(crate) mod environment;
pub(crate) mod launch;
pub(crate) mod pool;
pub(crate) mod registers;
pub(crate) mod warp;

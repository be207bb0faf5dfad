//! What an instruction can reach beyond the registers of its warp.

use std::sync::Mutex;

use crate::counters::Counters;
use crate::memory::global::GlobalView;
use crate::memory::shared::SharedMemory;

pub(crate) struct Environment<'a> {
    pub(crate) parameters: &'a [u8],
    pub(crate) global: GlobalView<'a>,
    pub(crate) atomics: &'a Mutex<()>,
    pub(crate) shared: &'a mut SharedMemory,
    pub(crate) counters: &'a mut Counters,
    /// The warp that is executing.
    pub(crate) warp: usize,
}

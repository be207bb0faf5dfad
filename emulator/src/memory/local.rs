//! The local memory of a warp's lanes, one piece for each.

use super::window::LOCAL_OFFSET;
use super::{Checked, check_alignment};
use crate::diagnostic::{Access, Space, Violation};
use crate::exec::registers::LANES;

#[derive(Debug, Default)]
pub(crate) struct LocalMemory {
    size: usize,
    bytes: Vec<u8>,
    written: Vec<bool>,
}

impl LocalMemory {
    pub(crate) fn reset(&mut self, size: u32) {
        self.size = size as usize;
        self.bytes.clear();
        self.bytes.resize(self.size * LANES, 0);
        self.written.clear();
        self.written.resize(self.size * LANES, false);
    }

    fn check(&self, lane: usize, access: Access, address: u64, bytes: u64) -> Checked<usize> {
        check_alignment(Space::Local, access, address, bytes)?;
        let offset = address.wrapping_sub(LOCAL_OFFSET.into());
        if offset.checked_add(bytes).is_none_or(|end| end > self.size as u64) {
            let nearest = format!("the thread has {} bytes from {LOCAL_OFFSET:#x}", self.size);
            let space = Space::Local;
            return Err(Box::new(Violation::OutOfBounds { space, access, address, bytes, nearest }));
        }
        Ok(lane * self.size + offset as usize)
    }

    /// Checks a whole vector access; its elements follow by [`Self::load`] or [`Self::store`].
    pub(crate) fn access(&mut self, lane: usize, access: Access, address: u64, bytes: u64) -> Checked<usize> {
        let start = self.check(lane, access, address, bytes)?;
        let written = &mut self.written[start..start + bytes as usize];
        if access == Access::Write {
            written.fill(true);
        } else if written.contains(&false) {
            return Err(Box::new(Violation::Uninitialized { space: Space::Local, address, bytes }));
        }
        Ok(start)
    }

    pub(crate) fn load(&self, at: usize, bytes: usize) -> u64 {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(&self.bytes[at..at + bytes]);
        u64::from_le_bytes(value)
    }

    pub(crate) fn store(&mut self, at: usize, bytes: usize, value: u64) {
        self.bytes[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }
}

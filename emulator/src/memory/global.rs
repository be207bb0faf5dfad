//! Device memory: allocations with bounds, and one bit for every byte that has been written.
//!
//! Blocks run in parallel, so the bytes live in relaxed atomic words: what two blocks do to one word
//! without synchronisation is as undefined as on a device, but never undefined here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::window::{GLOBAL_BASE, GLOBAL_SIZE};
use super::{Checked, check_alignment};
use crate::diagnostic::{Access, Space, Violation};

/// What fresh memory holds: a NaN in every float format. Words are kept with these bits flipped, so that
/// untouched memory is zero pages, which cost nothing.
const POISON: u32 = 0x7fff_7fff;

#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) base: u64,
    pub(crate) bytes: u64,
    pub(crate) constant: bool,
    words: Box<[AtomicU32]>,
    /// One bit a byte.
    written: Box<[AtomicU32]>,
}

impl Allocation {
    /// None if the host lacks the memory.
    fn new(base: u64, bytes: u64, constant: bool) -> Option<Self> {
        let zeros = |words: u64| bytemuck::try_zeroed_slice_box(usize::try_from(words).ok()?).ok();
        let (words, written) = (zeros(bytes.div_ceil(4))?, zeros(bytes.div_ceil(32))?);
        Some(Self { base, bytes, constant, words, written })
    }

    #[inline(always)]
    fn word(&self, at: u64) -> u32 {
        self.words[at as usize].load(Relaxed) ^ POISON
    }

    #[inline(always)]
    fn set_word(&self, at: u64, value: u32) {
        self.words[at as usize].store(value ^ POISON, Relaxed);
    }

    fn end(&self) -> u64 {
        self.base + self.bytes
    }

    fn contains(&self, address: u64, bytes: u64) -> bool {
        address >= self.base && bytes <= self.bytes && address - self.base <= self.bytes - bytes
    }

    /// Whether all bytes of an aligned access of up to 32 bytes have been written.
    #[inline(always)]
    fn is_written(&self, offset: u64, bytes: u64) -> bool {
        let mask = (((1u64 << bytes) - 1) as u32) << (offset & 31);
        self.written[(offset >> 5) as usize].load(Relaxed) & mask == mask
    }

    #[inline(always)]
    fn mark_written(&self, offset: u64, bytes: u64) {
        let mask = (((1u64 << bytes) - 1) as u32) << (offset & 31);
        let shadow = &self.written[(offset >> 5) as usize];
        if shadow.load(Relaxed) & mask != mask {
            shadow.fetch_or(mask, Relaxed);
        }
    }

    /// One element of 1, 2, 4 or 8 bytes; the caller has checked bounds and alignment.
    #[inline(always)]
    pub(crate) fn load(&self, offset: u64, bytes: u64) -> u64 {
        let word = |at: u64| u64::from(self.word(at));
        match bytes {
            8 => word(offset >> 2) | word((offset >> 2) + 1) << 32,
            4 => word(offset >> 2),
            _ => word(offset >> 2) >> (8 * (offset & 3)) & ((1 << (8 * bytes)) - 1),
        }
    }

    #[inline(always)]
    pub(crate) fn store(&self, offset: u64, bytes: u64, value: u64) {
        let at = offset >> 2;
        match bytes {
            8 => {
                self.set_word(at, value as u32);
                self.set_word(at + 1, (value >> 32) as u32);
            }
            4 => self.set_word(at, value as u32),
            _ => self.store_part(offset, bytes, value as u32),
        }
    }

    /// Bytes inside a word: a neighbour's bytes, which another block may be writing, stay whole.
    fn store_part(&self, offset: u64, bytes: u64, value: u32) {
        let shift = 8 * (offset & 3);
        let mask = (((1u64 << (8 * bytes)) - 1) as u32) << shift;
        let replace = |old| Some(old & !mask | (value << shift ^ POISON) & mask);
        // The closure never gives up, so neither does the update.
        let _ = self.words[(offset >> 2) as usize].fetch_update(Relaxed, Relaxed, replace);
    }

    /// Copies bytes in from the host and marks them written.
    pub(crate) fn write_bytes(&self, mut offset: u64, mut bytes: &[u8]) {
        while offset & 3 != 0 && !bytes.is_empty() {
            self.store_part(offset, 1, bytes[0].into());
            self.mark_written(offset, 1);
            (offset, bytes) = (offset + 1, &bytes[1..]);
        }
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            let value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            self.set_word(offset >> 2, value);
            self.mark_written(offset, 4);
            offset += 4;
        }
        for &byte in words.remainder() {
            self.store_part(offset, 1, byte.into());
            self.mark_written(offset, 1);
            offset += 1;
        }
    }

    pub(crate) fn read_bytes(&self, mut offset: u64, bytes: &mut [u8]) {
        let mut rest = bytes;
        while offset & 3 != 0 && !rest.is_empty() {
            rest[0] = self.load(offset, 1) as u8;
            (offset, rest) = (offset + 1, &mut rest[1..]);
        }
        for chunk in rest.chunks_mut(4) {
            let word = self.word(offset >> 2).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
            offset += 4;
        }
    }

    /// Copies within the device: what was never written stays so.
    pub(crate) fn copy_from(&self, offset: u64, source: &Allocation, source_offset: u64, bytes: u64) {
        for i in 0..bytes {
            let (to, from) = (offset + i, source_offset + i);
            self.store_part(to, 1, source.load(from, 1) as u32);
            if source.is_written(from, 1) {
                self.mark_written(to, 1);
            }
        }
    }
}

/// The allocations of a context.
#[derive(Debug, Default)]
pub(crate) struct GlobalMemory {
    allocations: RwLock<BTreeMap<u64, Arc<Allocation>>>,
    /// Held by every atomic instruction, so that those of two launches at once do not tear.
    pub(crate) atomics: Mutex<()>,
    next: Mutex<u64>,
}

impl GlobalMemory {
    /// Addresses are never reused, so a stale pointer cannot hit a younger allocation. They are odd
    /// multiples of 256 with a gap behind each: no more aligned than a driver promises.
    ///
    /// None if the host lacks the memory.
    pub(crate) fn allocate(&self, bytes: u64, constant: bool) -> Option<Arc<Allocation>> {
        let base = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let base = GLOBAL_BASE + *next + 256;
            let end = next.checked_add(bytes)?.checked_add(256 + 4096)?;
            *next = end.checked_next_multiple_of(512).filter(|&next| next < GLOBAL_SIZE)?;
            base
        };
        let allocation = Arc::new(Allocation::new(base, bytes, constant)?);
        let mut allocations = self.allocations.write().unwrap_or_else(PoisonError::into_inner);
        allocations.insert(base, Arc::clone(&allocation));
        Some(allocation)
    }

    /// Takes an allocation away, by its first address.
    pub(crate) fn free(&self, base: u64) -> Option<Arc<Allocation>> {
        self.allocations.write().unwrap_or_else(PoisonError::into_inner).remove(&base)
    }

    /// The allocation that an address lies in.
    pub(crate) fn find(&self, address: u64) -> Option<Arc<Allocation>> {
        let allocations = self.allocations.read().unwrap_or_else(PoisonError::into_inner);
        let (_, allocation) = allocations.range(..=address).next_back()?;
        allocation.contains(address, 1).then(|| Arc::clone(allocation))
    }

    /// The allocations as they are now, for the time of one launch.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Allocation>> {
        let allocations = self.allocations.read().unwrap_or_else(PoisonError::into_inner);
        allocations.values().map(Arc::clone).collect()
    }
}

/// A block's view of device memory: remembers which allocation was hit last.
#[derive(Debug)]
pub(crate) struct GlobalView<'a> {
    allocations: &'a [Arc<Allocation>],
    last: usize,
}

impl<'a> GlobalView<'a> {
    pub(crate) fn new(allocations: &'a [Arc<Allocation>]) -> Self {
        Self { allocations, last: 0 }
    }

    /// The allocation and the offset for an access, checked for alignment, bounds and, for reads,
    /// that the bytes have been written; a write marks them.
    #[inline(always)]
    pub(crate) fn access(
        &mut self,
        access: Access,
        address: u64,
        bytes: u64,
    ) -> Checked<(&'a Allocation, u64)> {
        check_alignment(Space::Global, access, address, bytes)?;
        let allocation = match self.allocations.get(self.last) {
            Some(allocation) if allocation.contains(address, bytes) => allocation,
            _ => self.search(access, address, bytes)?,
        };
        let offset = address - allocation.base;
        if access != Access::Write && !allocation.is_written(offset, bytes) {
            return Err(Box::new(Violation::Uninitialized { space: Space::Global, address, bytes }));
        }
        if access != Access::Read {
            if allocation.constant {
                return Err(Box::new(Violation::ReadOnly { access, address }));
            }
            allocation.mark_written(offset, bytes);
        }
        Ok((allocation, offset))
    }

    fn search(&mut self, access: Access, address: u64, bytes: u64) -> Checked<&'a Arc<Allocation>> {
        let after = self.allocations.partition_point(|allocation| allocation.base <= address);
        if let Some(allocation) = after.checked_sub(1).and_then(|at| self.allocations.get(at))
            && allocation.contains(address, bytes)
        {
            self.last = after - 1;
            return Ok(allocation);
        }
        let describe = |allocation: &Arc<Allocation>| {
            let Allocation { base, bytes, .. } = **allocation;
            if address < base {
                format!("{} bytes before an allocation of {bytes} bytes at {base:#x}", base - address)
            } else if address >= allocation.end() {
                format!(
                    "{} bytes past an allocation of {bytes} bytes at {base:#x}",
                    address - allocation.end()
                )
            } else {
                format!("it crosses the end of an allocation of {bytes} bytes at {base:#x}")
            }
        };
        let before = after.checked_sub(1).and_then(|at| self.allocations.get(at));
        let nearest = match (before, self.allocations.get(after)) {
            (Some(before), Some(next)) if next.base - address < address.saturating_sub(before.end()) => {
                describe(next)
            }
            (Some(before), _) => describe(before),
            (None, Some(next)) => describe(next),
            (None, None) => "there is no allocation".into(),
        };
        Err(Box::new(Violation::OutOfBounds { space: Space::Global, access, address, bytes, nearest }))
    }
}

//! The shared memory of one block, and the shadow that finds races.
//!
//! Time in a block is a counter that every barrier moves on. Each warp knows up to which time it has
//! *seen* every other warp (and itself: the lanes of a warp are ordered among each other only by
//! `bar.warp.sync`). An access is ordered behind an earlier one of another thread if its warp has seen
//! the other's warp up to that access. Two accesses, one of them a write, that are not ordered race.
//!
//! The shadow has one cell per *grain*, the narrowest access that the kernel makes, and a cell keeps
//! the last write and the reads since. Reads (or atomic accesses) of one cell by several warps at
//! different times share the earliest time: a race may then go unnoticed, but no alarm is false.

use super::window::SHARED_OFFSET;
use super::{Checked, check_alignment};
use crate::diagnostic::{Access, Space, Violation};

const MAX_WARPS: usize = 32;
const SEVERAL_LANES: u8 = 0xff;

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    write_time: u32,
    read_time: u32,
    read_warps: u32,
    /// The warps that wrote atomically; if there are any, `writer` means nothing.
    atomic_warps: u32,
    /// The thread's index in the block.
    writer: u16,
    read_lane: u8,
    /// An asynchronous copy into the cell is under way.
    pending: bool,
}

/// A thread, as shared memory sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread {
    pub(crate) warp: usize,
    pub(crate) lane: usize,
}

impl Thread {
    fn id(self) -> u16 {
        (self.warp * 32 + self.lane) as u16
    }
}

/// The cells that an asynchronous copy fills.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingCells {
    first: u32,
    count: u32,
}

#[derive(Debug, Default)]
pub(crate) struct SharedMemory {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    grain: u32,
    /// Anything stamped before this happened in an earlier block.
    start: u32,
    now: u32,
    /// `seen[a][b]`: the time up to which warp `a` has seen warp `b`.
    seen: Vec<[u32; MAX_WARPS]>,
}

impl SharedMemory {
    /// Makes the memory that of a new block. The cells keep their old stamps, which have expired.
    pub(crate) fn reset(&mut self, size: u32, grain: u32, warps: usize) {
        if grain != self.grain || self.now > u32::MAX / 2 {
            self.cells.clear();
            self.now = 0;
        }
        self.grain = grain;
        self.bytes.resize(size as usize, 0);
        self.cells.resize((size as usize).div_ceil(1 << grain), Cell::default());
        self.now += 1;
        self.start = self.now;
        self.seen.clear();
        self.seen.resize(warps, [0; MAX_WARPS]);
    }

    /// Orders everything that these warps did before everything that they do from now on.
    pub(crate) fn synchronize(&mut self, warps: u32) {
        let members = || (0..self.seen.len()).filter(|warp| warps >> warp & 1 != 0);
        let mut joined = [0; MAX_WARPS];
        for member in members() {
            for (joined, &seen) in joined.iter_mut().zip(&self.seen[member]) {
                *joined = seen.max(*joined);
            }
            joined[member] = self.now;
        }
        for member in members().collect::<Vec<_>>() {
            self.seen[member] = joined;
        }
        self.now += 1;
    }

    /// What [`Self::synchronize`] does for several warps, in halves: what the warp has done so far...
    pub(crate) fn release(&mut self, warp: usize) -> [u32; MAX_WARPS] {
        let mut released = self.seen[warp];
        released[warp] = self.now;
        self.now += 1;
        released
    }

    /// ...and what another warp learns of it.
    pub(crate) fn acquire(&mut self, warp: usize, released: &[u32; MAX_WARPS]) {
        for (seen, &released) in self.seen[warp].iter_mut().zip(released) {
            *seen = released.max(*seen);
        }
    }

    #[inline(always)]
    fn check(&self, access: Access, address: u64, bytes: u64) -> Checked<usize> {
        check_alignment(Space::Shared, access, address, bytes)?;
        let offset = address.wrapping_sub(SHARED_OFFSET.into());
        let size = self.bytes.len() as u64;
        if offset >= size || bytes > size - offset {
            let nearest = format!("the block has {size} bytes from {SHARED_OFFSET:#x}");
            let space = Space::Shared;
            return Err(Box::new(Violation::OutOfBounds { space, access, address, bytes, nearest }));
        }
        Ok(offset as usize)
    }

    /// Checks an access of a thread and notes it; returns where its bytes are.
    #[inline(always)]
    pub(crate) fn access(
        &mut self,
        access: Access,
        thread: Thread,
        address: u64,
        bytes: u64,
    ) -> Checked<usize> {
        let offset = self.check(access, address, bytes)?;
        let seen = &self.seen[thread.warp];
        let first = offset >> self.grain;
        let last = (offset + bytes as usize - 1) >> self.grain;
        for cell in &mut self.cells[first..=last] {
            let earlier = match access {
                Access::Read => cell.read(thread, self.start, self.now, seen),
                Access::Write => cell.write(thread, self.start, self.now, seen),
                Access::Atomic => cell.atomic(thread, self.start, self.now, seen),
            };
            if let Err(trouble) = earlier {
                return Err(trouble.violation(access, address, bytes));
            }
        }
        Ok(offset)
    }

    /// Starts an asynchronous copy into shared memory: nobody may touch the bytes until it ends.
    pub(crate) fn begin_copy(
        &mut self,
        thread: Thread,
        address: u64,
        bytes: u64,
    ) -> Checked<(usize, PendingCells)> {
        let offset = self.access(Access::Write, thread, address, bytes)?;
        let first = offset >> self.grain;
        let last = (offset + bytes as usize - 1) >> self.grain;
        for cell in &mut self.cells[first..=last] {
            cell.pending = true;
        }
        Ok((offset, PendingCells { first: first as u32, count: (last - first + 1) as u32 }))
    }

    /// Ends it, as a write by the thread that waited.
    pub(crate) fn end_copy(&mut self, thread: Thread, cells: PendingCells) {
        for cell in &mut self.cells[cells.first as usize..][..cells.count as usize] {
            cell.pending = false;
            (cell.write_time, cell.writer, cell.atomic_warps) = (self.now, thread.id(), 0);
        }
    }

    /// One element of up to 8 bytes at an offset that [`Self::access`] gave.
    #[inline(always)]
    pub(crate) fn load(&self, offset: usize, bytes: usize) -> u64 {
        let source = &self.bytes[offset..offset + bytes];
        match *source {
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
            _ => source.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
        }
    }

    #[inline(always)]
    pub(crate) fn store(&mut self, offset: usize, bytes: usize, value: u64) {
        let target = &mut self.bytes[offset..offset + bytes];
        match bytes {
            4 => target.copy_from_slice(&(value as u32).to_le_bytes()),
            _ => target.copy_from_slice(&value.to_le_bytes()[..bytes]),
        }
    }
}

/// Why a cell refuses an access.
enum Trouble {
    Unwritten,
    Pending,
    Race { earlier: Access, warps: u32, lane: Option<u8> },
}

impl Trouble {
    #[cold]
    fn violation(self, access: Access, address: u64, bytes: u64) -> Box<Violation> {
        Box::new(match self {
            Trouble::Unwritten => Violation::Uninitialized { space: Space::Shared, address, bytes },
            Trouble::Pending => Violation::PendingCopy { access, address },
            Trouble::Race { earlier, warps, lane } => {
                let other = match (warps.count_ones(), lane) {
                    (1, Some(lane)) => format!("lane {lane} of warp {}", warps.trailing_zeros()),
                    (1, None) => format!("several lanes of warp {}", warps.trailing_zeros()),
                    _ => "several warps".into(),
                };
                Violation::Race { address, access, earlier, other }
            }
        })
    }
}

impl Cell {
    /// Whether the last write happened before the thread's next access.
    #[inline(always)]
    fn write_is_ordered(&self, thread: Thread, seen: &[u32; MAX_WARPS]) -> bool {
        if self.atomic_warps != 0 {
            return unseen(self.atomic_warps, self.write_time, seen) == 0;
        }
        self.writer == thread.id() || self.write_time <= seen[(self.writer >> 5) as usize]
    }

    fn write_race(&self) -> Trouble {
        if self.atomic_warps != 0 {
            return Trouble::Race { earlier: Access::Atomic, warps: self.atomic_warps, lane: None };
        }
        let lane = Some((self.writer & 31) as u8);
        Trouble::Race { earlier: Access::Write, warps: 1 << (self.writer >> 5), lane }
    }

    #[inline(always)]
    fn read(&mut self, thread: Thread, start: u32, now: u32, seen: &[u32; MAX_WARPS]) -> Result<(), Trouble> {
        if self.write_time < start {
            return Err(Trouble::Unwritten);
        }
        if self.pending {
            return Err(Trouble::Pending);
        }
        if !self.write_is_ordered(thread, seen) {
            return Err(self.write_race());
        }
        let (warp, lane) = (1 << thread.warp, thread.lane as u8);
        if self.read_time == now {
            if self.read_warps != warp || self.read_lane != lane {
                self.read_warps |= warp;
                self.read_lane = SEVERAL_LANES;
            }
        } else if self.read_time < start || self.unseen_readers(thread, seen) == 0 {
            (self.read_time, self.read_warps, self.read_lane) = (now, warp, lane);
        } else {
            self.read_warps |= warp;
            self.read_lane = SEVERAL_LANES;
        }
        Ok(())
    }

    /// The warps whose reads may still be going on, as far as this thread knows.
    #[inline(always)]
    fn unseen_readers(&self, thread: Thread, seen: &[u32; MAX_WARPS]) -> u32 {
        let own = 1 << thread.warp;
        if self.read_warps == own && self.read_lane == thread.lane as u8 {
            return 0;
        }
        unseen(self.read_warps, self.read_time, seen)
    }

    #[inline(always)]
    fn write(
        &mut self,
        thread: Thread,
        start: u32,
        now: u32,
        seen: &[u32; MAX_WARPS],
    ) -> Result<(), Trouble> {
        if self.write_time >= start {
            if self.pending {
                return Err(Trouble::Pending);
            }
            if !self.write_is_ordered(thread, seen) {
                return Err(self.write_race());
            }
            self.check_readers(thread, start, seen)?;
        }
        *self = Cell { write_time: now, writer: thread.id(), ..Cell::default() };
        Ok(())
    }

    #[inline(always)]
    fn check_readers(&self, thread: Thread, start: u32, seen: &[u32; MAX_WARPS]) -> Result<(), Trouble> {
        if self.read_time < start {
            return Ok(());
        }
        match self.unseen_readers(thread, seen) {
            0 => Ok(()),
            warps => {
                let lane = (self.read_lane != SEVERAL_LANES).then_some(self.read_lane);
                Err(Trouble::Race { earlier: Access::Read, warps, lane })
            }
        }
    }

    /// Atomic accesses are ordered among themselves.
    fn atomic(
        &mut self,
        thread: Thread,
        start: u32,
        now: u32,
        seen: &[u32; MAX_WARPS],
    ) -> Result<(), Trouble> {
        if self.write_time < start {
            return Err(Trouble::Unwritten);
        }
        if self.pending {
            return Err(Trouble::Pending);
        }
        let ordered = self.write_is_ordered(thread, seen);
        if !ordered && self.atomic_warps == 0 {
            return Err(self.write_race());
        }
        self.check_readers(thread, start, seen)?;
        let (before, write_time) = if ordered { (0, now) } else { (self.atomic_warps, self.write_time) };
        *self = Cell { write_time, atomic_warps: before | 1 << thread.warp, ..Cell::default() };
        Ok(())
    }
}

/// Those of some warps that have not been seen up to a time.
#[inline(always)]
fn unseen(warps: u32, time: u32, seen: &[u32; MAX_WARPS]) -> u32 {
    let (mut left, mut unseen) = (warps, 0);
    while left != 0 {
        let warp = left.trailing_zeros();
        left &= left - 1;
        unseen |= u32::from(seen[warp as usize] < time) << warp;
    }
    unseen
}

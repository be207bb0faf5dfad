//! `cp.async`: copies from global to shared memory that end only when their thread waits for them.
//! The bytes arrive at once, but nobody may look before the wait.

use super::memory::{Address, AddressSpace, HINTS, for_lanes};
use crate::diagnostic::{Access, LaneFault, Space, Violation};
use crate::exec::environment::Environment;
use crate::exec::registers::{LANES, Registers};
use crate::memory::check_alignment;
use crate::memory::shared::{PendingCells, Thread};
use crate::program::decoder::{Decoder, Predicate, Row};
use crate::program::opcode::Opcode;
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug)]
pub(crate) enum AsyncCopy {
    Copy {
        bytes: u64,
        to: Address,
        from: Address,
        source: SourceBytes,
    },
    Commit,
    /// Waits until at most so many of the latest groups are unfinished.
    WaitGroup(u32),
    /// Waits for every copy, committed or not.
    WaitAll,
}

/// How much of the source is read; the rest of the destination becomes zero.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SourceBytes {
    All,
    Count(Row),
    NoneIf(Predicate),
}

/// The copies of one warp that no wait has ended yet.
#[derive(Debug, Default)]
pub(crate) struct AsyncCopies {
    committed: [u32; LANES],
    pending: Vec<(u8, u32, PendingCells)>,
}

impl AsyncCopies {
    pub(crate) fn reset(&mut self) {
        self.committed = [0; LANES];
        self.pending.clear();
    }
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<AsyncCopy>> {
    if opcode.base != "cp" {
        return Ok(None);
    }
    if !opcode.take("async") || opcode.take("bulk") || opcode.take("mbarrier") {
        return opcode.unsupported("only `cp.async` with groups is supported");
    }
    if opcode.take("commit_group") {
        return Ok(Some(AsyncCopy::Commit));
    }
    if opcode.take("wait_all") {
        return Ok(Some(AsyncCopy::WaitAll));
    }
    if opcode.take("wait_group") {
        return match operands {
            [Operand::Integer(count)] => Ok(Some(AsyncCopy::WaitGroup(*count as u32))),
            _ => opcode.unsupported("needs a number of groups as an immediate"),
        };
    }
    let only_16 = opcode.require(&[("ca", false), ("cg", true)])?;
    opcode.require(&[("shared", ()), ("shared::cta", ())])?;
    opcode.require(&[("global", ())])?;
    let hint = usize::from(opcode.take("L2::cache_hint"));
    opcode.ignore(HINTS);
    let (to, from, bytes, source) = match operands.get(..operands.len().saturating_sub(hint)) {
        Some([to, from, Operand::Integer(bytes)]) => (to, from, *bytes, None),
        Some([to, from, Operand::Integer(bytes), source]) => (to, from, *bytes, Some(source)),
        _ => return opcode.unsupported("has the wrong operands"),
    };
    if !(matches!(bytes, 4 | 8) && !only_16 || bytes == 16) {
        return opcode.unsupported("copies 4, 8 or 16 bytes, and with `.cg` 16");
    }
    let to = Address::decode(decoder, opcode, AddressSpace::Shared, to)?;
    let from = Address::decode(decoder, opcode, AddressSpace::Global, from)?;
    let source = match source {
        None => SourceBytes::All,
        Some(source) if decoder.is_predicate(source) => {
            SourceBytes::NoneIf(decoder.predicate(opcode, source)?)
        }
        Some(source) => SourceBytes::Count(decoder.source32(opcode, source)?),
    };
    Ok(Some(AsyncCopy::Copy { bytes, to, from, source }))
}

pub(crate) fn execute(
    op: &AsyncCopy,
    registers: &Registers,
    copies: &mut AsyncCopies,
    env: &mut Environment,
    mask: u32,
) -> std::result::Result<(), LaneFault> {
    match op {
        AsyncCopy::Copy { bytes, to, from, source } => {
            copy(registers, copies, env, mask, *bytes, (to, from), *source)
        }
        AsyncCopy::Commit => for_lanes(mask, |lane| {
            copies.committed[lane] += 1;
            Ok(())
        }),
        AsyncCopy::WaitGroup(count) => {
            finish(copies, env, mask, |group, committed| group + count < committed);
            Ok(())
        }
        AsyncCopy::WaitAll => {
            finish(copies, env, mask, |_, _| true);
            Ok(())
        }
    }
}

fn copy(
    registers: &Registers,
    copies: &mut AsyncCopies,
    env: &mut Environment,
    mask: u32,
    bytes: u64,
    (to, from): (&Address, &Address),
    source: SourceBytes,
) -> std::result::Result<(), LaneFault> {
    let (to, from) = (to.lanes(registers), from.lanes(registers));
    let read_by = |lane: usize| match source {
        SourceBytes::All => bytes,
        SourceBytes::Count(row) => registers.narrow[row as usize][lane].into(),
        SourceBytes::NoneIf(predicate) if registers.predicate(predicate) >> lane & 1 != 0 => 0,
        SourceBytes::NoneIf(_) => bytes,
    };
    let readers = (0..LANES).filter(|&lane| read_by(lane) > 0).fold(0, |readers, lane| readers | 1 << lane);
    env.counters.global_access(mask & readers, &from, bytes);
    env.counters.shared_access(mask, &to, bytes);
    for_lanes(mask, |lane| {
        let read = read_by(lane);
        if read > bytes {
            let message = format!("the source size {read} is larger than the copy of {bytes} bytes");
            return Err(Box::new(Violation::Operand(message)));
        }
        check_alignment(Space::Global, Access::Read, from[lane], bytes)?;
        let thread = Thread { warp: env.warp, lane };
        let (offset, cells) = env.shared.begin_copy(thread, to[lane], bytes)?;
        copies.pending.push((lane as u8, copies.committed[lane], cells));
        if read == bytes {
            let (allocation, at) = env.global.access(Access::Read, from[lane], bytes)?;
            for i in (0..bytes).step_by(4) {
                env.shared.store(offset + i as usize, 4, allocation.load(at + i, 4));
            }
            return Ok(());
        }
        for i in 0..bytes {
            let byte = if i < read {
                let (allocation, at) = env.global.access(Access::Read, from[lane] + i, 1)?;
                allocation.load(at, 1)
            } else {
                0
            };
            env.shared.store(offset + i as usize, 1, byte);
        }
        Ok(())
    })
}

/// Ends the copies whose group, given the number of groups that their lane has committed, is done.
fn finish(copies: &mut AsyncCopies, env: &mut Environment, mask: u32, is_done: impl Fn(u32, u32) -> bool) {
    let AsyncCopies { committed, pending } = copies;
    pending.retain(|&(lane, group, cells)| {
        let waits = mask >> lane & 1 != 0 && is_done(group, committed[lane as usize]);
        if waits {
            env.shared.end_copy(Thread { warp: env.warp, lane: lane.into() }, cells);
        }
        !waits
    });
}

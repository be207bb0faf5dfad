//! Loads and stores.

use crate::diagnostic::{Access, LaneFault, Violation};
use crate::exec::environment::Environment;
use crate::exec::registers::{LANES, Registers};
use crate::memory::MAX_ACCESS;
use crate::memory::local::LocalMemory;
use crate::memory::shared::Thread;
use crate::memory::window::{self, Window};
use crate::program::decoder::{AnyRow, Decoder, Row, Symbol};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressSpace {
    Global,
    Shared,
    Local,
    Generic,
}

pub(crate) const SPACES: &[(&str, AddressSpace)] = &[
    ("global", AddressSpace::Global),
    ("const", AddressSpace::Global),
    ("shared", AddressSpace::Shared),
    ("shared::cta", AddressSpace::Shared),
    ("local", AddressSpace::Local),
];

/// `[base + displacement]`
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    base: AnyRow,
    displacement: i64,
}

impl Address {
    pub(crate) fn decode(
        decoder: &mut Decoder,
        opcode: &Opcode,
        space: AddressSpace,
        operand: &Operand,
    ) -> Result<Self> {
        let Operand::Address(base, displacement) = operand else {
            return opcode.unsupported("needs an address in brackets");
        };
        let ty = match space {
            AddressSpace::Global | AddressSpace::Generic => Type::U64,
            // Either width: the windows are small.
            _ => Type::U32,
        };
        let base = decoder.source_any(opcode, ty, base)?;
        Ok(Self { base, displacement: *displacement })
    }

    #[inline(always)]
    pub(crate) fn lanes(&self, registers: &Registers) -> [u64; LANES] {
        match self.base {
            AnyRow::Wide(row) => {
                registers.wide[row as usize].map(|base| base.wrapping_add(self.displacement as u64))
            }
            AnyRow::Narrow(row) => registers.narrow[row as usize]
                .map(|base| u64::from(base.wrapping_add(self.displacement as u32))),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Memory {
    Parameter {
        offset: usize,
        ty: Type,
        d: Box<[AnyRow]>,
    },
    Load {
        space: AddressSpace,
        ty: Type,
        address: Address,
        d: Box<[AnyRow]>,
    },
    Store {
        space: AddressSpace,
        ty: Type,
        address: Address,
        a: Box<[AnyRow]>,
    },
    /// `prefetch` and `fence` change nothing that a program can see here.
    Nothing,
    /// `createpolicy`: a cache policy, which nothing here reads.
    Policy {
        d: Row,
    },
}

/// How memory may be cached and ordered: of no consequence for one block at a time.
pub(crate) const HINTS: &[&str] = &[
    "weak",
    "volatile",
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "cta",
    "gpu",
    "sys",
    "ca",
    "cg",
    "cs",
    "cv",
    "lu",
    "wb",
    "wt",
    "nc",
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
    "L2::evict_normal",
    "L2::evict_first",
    "L2::evict_last",
    "L2::64B",
    "L2::128B",
    "L2::256B",
];

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Memory>> {
    match opcode.base {
        "ld" | "ldu" | "st" => {}
        "prefetch" | "prefetchu" | "fence" | "membar" => {
            opcode.ignore(HINTS);
            opcode.ignore(&[
                "global",
                "local",
                "L1",
                "L2",
                "L2::evict_last",
                "gl",
                "sc",
                "proxy",
                "async",
                "alias",
                "async::generic",
                "async.shared::cta",
                "shared::cta",
                "async.global",
            ]);
            return Ok(Some(Memory::Nothing));
        }
        "createpolicy" => {
            opcode.ignore(HINTS);
            opcode.ignore(&["fractional"]);
            opcode.require(&[("b64", ())])?;
            let Some(d) = operands.first() else { return opcode.unsupported("needs a destination") };
            return Ok(Some(Memory::Policy { d: decoder.destination64(opcode, d)? }));
        }
        _ => return Ok(None),
    }
    let hint = usize::from(opcode.take("L2::cache_hint"));
    if operands.len() != 2 + hint {
        return opcode.unsupported("has the wrong number of operands");
    }
    let is_parameter = opcode.take("param") || opcode.take("param::entry");
    let space = opcode.take_any(SPACES).unwrap_or(AddressSpace::Generic);
    opcode.ignore(HINTS);
    let count = opcode.take_any(&[("v2", 2), ("v4", 4), ("v8", 8)]).unwrap_or(1);
    let ty = opcode.ty()?;
    if count * ty.bytes() > MAX_ACCESS {
        return opcode.unsupported(format!("moves more than {MAX_ACCESS} bytes at once"));
    }
    let (value, address) = match opcode.base {
        "st" => (&operands[1], &operands[0]),
        _ => (&operands[0], &operands[1]),
    };
    let parts = match value {
        Operand::Vector(parts) => parts.as_slice(),
        single => std::slice::from_ref(single),
    };
    if parts.len() != count {
        return opcode.unsupported(format!("moves {} values, expected {count}", parts.len()));
    }
    if opcode.base == "st" {
        if is_parameter {
            return opcode.unsupported("kernel parameters cannot be written");
        }
        let address = Address::decode(decoder, opcode, space, address)?;
        let a = parts.iter().map(|part| decoder.source_any(opcode, ty, part)).collect::<Result<_>>()?;
        return Ok(Some(Memory::Store { space, ty, address, a }));
    }
    let d = parts.iter().map(|part| decoder.destination_any(opcode, ty, part)).collect::<Result<_>>()?;
    if is_parameter {
        let Operand::Address(base, displacement) = address else {
            return opcode.unsupported("needs an address in brackets");
        };
        let Operand::Symbol(name, _) = **base else {
            return opcode.unsupported("parameters are read by name");
        };
        let Some(Symbol::Parameter { offset, bytes }) = decoder.symbol(name) else {
            return opcode.unsupported(format!("`{name}` is no parameter of this entry"));
        };
        let inside = usize::try_from(*displacement).ok().filter(|&at| at + count * ty.bytes() <= bytes);
        let Some(at) = inside else {
            return opcode.unsupported(format!("reads outside parameter `{name}` of {bytes} bytes"));
        };
        return Ok(Some(Memory::Parameter { offset: offset + at, ty, d }));
    }
    let address = Address::decode(decoder, opcode, space, address)?;
    Ok(Some(Memory::Load { space, ty, address, d }))
}

impl Memory {
    /// log2 of the narrowest part of shared memory that this may touch.
    pub(crate) fn shared_grain(&self) -> Option<u32> {
        match self {
            Memory::Load { space: AddressSpace::Shared | AddressSpace::Generic, ty, d: parts, .. }
            | Memory::Store { space: AddressSpace::Shared | AddressSpace::Generic, ty, a: parts, .. } => {
                Some((ty.bytes() * parts.len()).ilog2().min(2))
            }
            _ => None,
        }
    }
}

pub(crate) fn execute(
    op: &Memory,
    registers: &mut Registers,
    local: &mut LocalMemory,
    env: &mut Environment,
    mask: u32,
) -> std::result::Result<(), LaneFault> {
    match op {
        Memory::Nothing => {}
        &Memory::Policy { d } => registers.write::<u64>(mask, d, &[0; LANES]),
        Memory::Parameter { offset, ty, d } => {
            for (i, &row) in d.iter().enumerate() {
                let at = offset + i * ty.bytes();
                let mut bytes = [0; 8];
                bytes[..ty.bytes()].copy_from_slice(&env.parameters[at..at + ty.bytes()]);
                let value = extend(*ty, u64::from_le_bytes(bytes));
                registers.write_any(mask, row, &[value; LANES]);
            }
        }
        Memory::Load { space, ty, address, d } => {
            let addresses = address.lanes(registers);
            load(registers, local, env, Lanes { mask, space: *space, addresses: &addresses }, *ty, d)?;
        }
        Memory::Store { space, ty, address, a } => {
            let addresses = address.lanes(registers);
            store(registers, local, env, Lanes { mask, space: *space, addresses: &addresses }, *ty, a)?;
        }
    }
    Ok(())
}

#[inline(always)]
fn extend(ty: Type, value: u64) -> u64 {
    match ty {
        Type::S8 => value as i8 as u64,
        Type::S16 => value as i16 as u64,
        Type::S32 => value as i32 as u64,
        _ => value,
    }
}

#[inline(always)]
fn put(registers: &mut Registers, row: AnyRow, lane: usize, value: u64) {
    match row {
        AnyRow::Narrow(row) => registers.narrow[row as usize][lane] = value as u32,
        AnyRow::Wide(row) => registers.wide[row as usize][lane] = value,
    }
}

#[inline(always)]
fn get(registers: &Registers, row: AnyRow, lane: usize) -> u64 {
    match row {
        AnyRow::Narrow(row) => registers.narrow[row as usize][lane].into(),
        AnyRow::Wide(row) => registers.wide[row as usize][lane],
    }
}

/// Calls `each` for the lanes of a mask, and names the lane that fails.
#[inline(always)]
pub(crate) fn for_lanes(
    mask: u32,
    mut each: impl FnMut(usize) -> std::result::Result<(), Box<Violation>>,
) -> std::result::Result<(), LaneFault> {
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros();
        left &= left - 1;
        each(lane as usize).map_err(|violation| LaneFault { lane, violation })?;
    }
    Ok(())
}

/// Splits the lanes of a generic access by the memory that each one reaches; makes the addresses
/// relative to its window.
fn split_generic(mask: u32, addresses: &[u64; LANES]) -> ([u64; LANES], [(AddressSpace, u32); 3]) {
    let (mut relative, mut masks) = (*addresses, [0; 3]);
    for lane in (0..LANES).filter(|lane| mask >> lane & 1 != 0) {
        let which = match window::of(addresses[lane]) {
            None => 0,
            Some((window, address)) => {
                relative[lane] = address;
                if window == Window::Shared { 1 } else { 2 }
            }
        };
        masks[which] |= 1 << lane;
    }
    let spaces = [AddressSpace::Global, AddressSpace::Shared, AddressSpace::Local];
    (relative, std::array::from_fn(|i| (spaces[i], masks[i])))
}

/// The lanes that access memory, and where.
#[derive(Clone, Copy)]
struct Lanes<'a> {
    mask: u32,
    space: AddressSpace,
    addresses: &'a [u64; LANES],
}

fn load(
    registers: &mut Registers,
    local: &mut LocalMemory,
    env: &mut Environment,
    Lanes { mask, space, addresses }: Lanes,
    ty: Type,
    d: &[AnyRow],
) -> std::result::Result<(), LaneFault> {
    let bytes = ty.bytes();
    let total = (bytes * d.len()) as u64;
    match space {
        AddressSpace::Global => {
            env.counters.global_access(mask, addresses, total);
            for_lanes(mask, |lane| {
                let (allocation, offset) = env.global.access(Access::Read, addresses[lane], total)?;
                for (i, &row) in d.iter().enumerate() {
                    let value = allocation.load(offset + (i * bytes) as u64, bytes as u64);
                    put(registers, row, lane, extend(ty, value));
                }
                Ok(())
            })
        }
        AddressSpace::Shared => {
            env.counters.shared_access(mask, addresses, total);
            for_lanes(mask, |lane| {
                let thread = Thread { warp: env.warp, lane };
                let offset = env.shared.access(Access::Read, thread, addresses[lane], total)?;
                for (i, &row) in d.iter().enumerate() {
                    put(registers, row, lane, extend(ty, env.shared.load(offset + i * bytes, bytes)));
                }
                Ok(())
            })
        }
        AddressSpace::Local => for_lanes(mask, |lane| {
            let start = local.access(lane, Access::Read, addresses[lane], total)?;
            for (i, &row) in d.iter().enumerate() {
                put(registers, row, lane, extend(ty, local.load(start + i * bytes, bytes)));
            }
            Ok(())
        }),
        AddressSpace::Generic => {
            let (relative, parts) = split_generic(mask, addresses);
            for (space, mask) in parts.into_iter().filter(|&(_, mask)| mask != 0) {
                load(registers, local, env, Lanes { mask, space, addresses: &relative }, ty, d)?;
            }
            Ok(())
        }
    }
}

fn store(
    registers: &Registers,
    local: &mut LocalMemory,
    env: &mut Environment,
    Lanes { mask, space, addresses }: Lanes,
    ty: Type,
    a: &[AnyRow],
) -> std::result::Result<(), LaneFault> {
    let bytes = ty.bytes();
    let total = (bytes * a.len()) as u64;
    match space {
        AddressSpace::Global => {
            env.counters.global_access(mask, addresses, total);
            for_lanes(mask, |lane| {
                let (allocation, offset) = env.global.access(Access::Write, addresses[lane], total)?;
                for (i, &row) in a.iter().enumerate() {
                    let value = get(registers, row, lane);
                    allocation.store(offset + (i * bytes) as u64, bytes as u64, value);
                }
                Ok(())
            })
        }
        AddressSpace::Shared => {
            env.counters.shared_access(mask, addresses, total);
            for_lanes(mask, |lane| {
                let thread = Thread { warp: env.warp, lane };
                let offset = env.shared.access(Access::Write, thread, addresses[lane], total)?;
                for (i, &row) in a.iter().enumerate() {
                    env.shared.store(offset + i * bytes, bytes, get(registers, row, lane));
                }
                Ok(())
            })
        }
        AddressSpace::Local => for_lanes(mask, |lane| {
            let start = local.access(lane, Access::Write, addresses[lane], total)?;
            for (i, &row) in a.iter().enumerate() {
                local.store(start + i * bytes, bytes, get(registers, row, lane));
            }
            Ok(())
        }),
        AddressSpace::Generic => {
            let (relative, parts) = split_generic(mask, addresses);
            for (space, mask) in parts.into_iter().filter(|&(_, mask)| mask != 0) {
                store(registers, local, env, Lanes { mask, space, addresses: &relative }, ty, a)?;
            }
            Ok(())
        }
    }
}

//! `atom` and `red`. The lanes of a warp take turns in their order.

use super::memory::{Address, AddressSpace, HINTS, SPACES, for_lanes};
use super::rounding::{self, BF16, F16, Format, Rounding};
use crate::diagnostic::{Access, LaneFault};
use crate::exec::environment::Environment;
use crate::exec::registers::Registers;
use crate::memory::shared::Thread;
use crate::memory::window::{self, Window};
use crate::program::decoder::{AnyRow, Decoder};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    Add,
    /// Up to a limit, then to zero.
    Increment,
    /// Down to zero, then to the limit.
    Decrement,
    Min,
    Max,
}

#[derive(Debug)]
pub(crate) struct Atomic {
    op: Operation,
    ty: Type,
    space: AddressSpace,
    address: Address,
    /// None for `red`.
    d: Option<AnyRow>,
    b: AnyRow,
    /// The new value of a compare-and-swap; else `b` again.
    c: AnyRow,
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Atomic>> {
    let (d, rest) = match (opcode.base, operands) {
        ("atom", [d, rest @ ..]) => (Some(d), rest),
        ("red", rest) => (None, rest),
        _ => return Ok(None),
    };
    if opcode.take("async") {
        return opcode.unsupported("asynchronous reductions are not supported");
    }
    let space = opcode.take_any(SPACES).unwrap_or(AddressSpace::Generic);
    if space == AddressSpace::Local {
        return opcode.unsupported("local memory has no atomics");
    }
    opcode.ignore(HINTS);
    opcode.ignore(&["noftz"]);
    let op = opcode.require(&[
        ("and", Operation::And),
        ("or", Operation::Or),
        ("xor", Operation::Xor),
        ("exch", Operation::Exchange),
        ("cas", Operation::CompareAndSwap),
        ("add", Operation::Add),
        ("inc", Operation::Increment),
        ("dec", Operation::Decrement),
        ("min", Operation::Min),
        ("max", Operation::Max),
    ])?;
    let ty = opcode.ty()?;
    let float = !ty.is_integer();
    let float_op =
        matches!(op, Operation::Add) || (matches!(op, Operation::Min | Operation::Max) && ty.bytes() == 2);
    let counts_up_or_down = matches!(op, Operation::Increment | Operation::Decrement);
    if ty.bytes() == 1
        || (counts_up_or_down && ty != Type::U32)
        || (float && !float_op)
        || matches!(ty, Type::TF32 | Type::Pred)
    {
        return opcode.unsupported("does not exist for this type");
    }
    let (address, b, c) = match rest {
        [address, b] if op != Operation::CompareAndSwap => (address, b, b),
        [address, b, c] if op == Operation::CompareAndSwap => (address, b, c),
        _ => return opcode.unsupported("has the wrong number of operands"),
    };
    let address = Address::decode(decoder, opcode, space, address)?;
    let (b, c) = (decoder.source_any(opcode, ty, b)?, decoder.source_any(opcode, ty, c)?);
    let d = d.map(|d| decoder.destination_any(opcode, ty, d)).transpose()?;
    Ok(Some(Atomic { op, ty, space, address, d, b, c }))
}

impl Atomic {
    pub(crate) fn may_be_global(&self) -> bool {
        self.space != AddressSpace::Shared
    }

    pub(crate) fn shared_grain(&self) -> Option<u32> {
        (self.space != AddressSpace::Global).then(|| self.ty.bytes().ilog2().min(2))
    }
}

pub(crate) fn execute(
    atomic: &Atomic,
    registers: &mut Registers,
    env: &mut Environment,
    mask: u32,
) -> std::result::Result<(), LaneFault> {
    let addresses = atomic.address.lanes(registers);
    let bytes = atomic.ty.bytes();
    let (b, c) = (registers.read_any(atomic.b), registers.read_any(atomic.c));
    let mut before = atomic.d.map(|d| registers.read_any(d)).unwrap_or_default();
    let in_shared = |address| match atomic.space {
        AddressSpace::Shared => Some(address),
        AddressSpace::Generic => match window::of(address) {
            Some((Window::Shared, address)) => Some(address),
            _ => None,
        },
        _ => None,
    };
    let shared = (0..32).fold(0, |lanes, lane| {
        lanes | u32::from(mask >> lane & 1 != 0 && in_shared(addresses[lane]).is_some()) << lane
    });
    if mask & !shared != 0 {
        env.counters.global_access(mask & !shared, &addresses, bytes as u64);
    }
    if shared != 0 {
        env.counters.shared_access(shared, &addresses, bytes as u64);
    }
    for_lanes(mask, |lane| {
        let change = |old| apply(atomic.op, atomic.ty, old, b[lane], c[lane]);
        before[lane] = if let Some(address) = in_shared(addresses[lane]) {
            let thread = Thread { warp: env.warp, lane };
            let at = env.shared.access(Access::Atomic, thread, address, bytes as u64)?;
            let old = env.shared.load(at, bytes);
            env.shared.store(at, bytes, change(old));
            old
        } else {
            let (allocation, offset) = env.global.access(Access::Atomic, addresses[lane], bytes as u64)?;
            let _turn = env.atomics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let old = allocation.load(offset, bytes as u64);
            allocation.store(offset, bytes as u64, change(old));
            old
        };
        Ok(())
    })?;
    if let Some(d) = atomic.d {
        registers.write_any(mask, d, &before);
    }
    Ok(())
}

fn apply(op: Operation, ty: Type, old: u64, b: u64, c: u64) -> u64 {
    match op {
        Operation::And => old & b,
        Operation::Or => old | b,
        Operation::Xor => old ^ b,
        Operation::Exchange => b,
        Operation::CompareAndSwap => {
            let mask = u64::MAX >> (64 - 8 * ty.bytes());
            if old == b & mask { c } else { old }
        }
        Operation::Add => add(ty, old, b),
        Operation::Increment => {
            if old as u32 >= b as u32 {
                0
            } else {
                old + 1
            }
        }
        Operation::Decrement => {
            if old as u32 == 0 || old as u32 > b as u32 {
                b
            } else {
                old - 1
            }
        }
        Operation::Min | Operation::Max => {
            let keep_old = match ty {
                Type::S32 => (old as i32) < b as i32,
                Type::S64 => (old as i64) < b as i64,
                Type::F16 => F16.to_f64(old as u32) < F16.to_f64(b as u32 & 0xffff),
                Type::BF16 => BF16.to_f64(old as u32) < BF16.to_f64(b as u32 & 0xffff),
                Type::U32 => (old as u32) < b as u32,
                _ => old < b,
            };
            if keep_old == (op == Operation::Min) { old } else { b }
        }
    }
}

fn add(ty: Type, a: u64, b: u64) -> u64 {
    let halves = |format: Format, a: u64, b: u64| {
        let value = rounding::add(format.to_f64(a as u32 & 0xffff), format.to_f64(b as u32 & 0xffff));
        u64::from(format.round(value, Rounding::Nearest))
    };
    match ty {
        // Atomic f32 addition in global memory flushes nothing; `red.f32` is the same addition.
        Type::F32 => (f32::from_bits(a as u32) + f32::from_bits(b as u32)).to_bits().into(),
        Type::F64 => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        Type::F16 => halves(F16, a, b),
        Type::BF16 => halves(BF16, a, b),
        Type::F16x2 => halves(F16, a, b) | halves(F16, a >> 16, b >> 16) << 16,
        Type::BF16x2 => halves(BF16, a, b) | halves(BF16, a >> 16, b >> 16) << 16,
        _ => a.wrapping_add(b),
    }
}

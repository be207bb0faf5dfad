//! The instructions, one file for each class: its decoded form, its decoder and its execution.
//!
//! Asynchronous matrix products (`wgmma`, `tcgen05`), memory barriers (`mbarrier`) and bulk copies
//! would be further classes beside [`matrix`] and [`async_copy`]; today they are refused by name.

pub(crate) mod async_copy;
pub(crate) mod atomics;
pub(crate) mod bits;
pub(crate) mod compare;
pub(crate) mod control;
pub(crate) mod convert;
pub(crate) mod float;
pub(crate) mod int;
pub(crate) mod integer;
pub(crate) mod matrix;
pub(crate) mod memory;
pub(crate) mod moves;
pub(crate) mod rounding;
pub(crate) mod warp;

use crate::counters::Kind;
use crate::program::decoder::{Decoder, Row};
use crate::program::opcode::{Opcode, Type};
use crate::program::target;
use crate::ptx::Result;
use crate::ptx::tree::Instruction;
use control::Control;
use memory::{AddressSpace, Memory};

/// A decoded instruction.
#[derive(Debug)]
pub(crate) enum Op {
    Integer(integer::Integer),
    Bits(bits::Bits),
    Float(float::Float),
    Convert(convert::Convert),
    Compare(compare::Compare),
    Move(moves::Move),
    Memory(Memory),
    Atomic(Box<atomics::Atomic>),
    AsyncCopy(Box<async_copy::AsyncCopy>),
    /// With the row that holds the member mask.
    Warp(warp::WarpOp, Row),
    ActiveMask(Row),
    /// All 32 lanes execute these together.
    Matrix(matrix::Matrix),
    Control(Control),
}

impl Op {
    pub(crate) fn exit() -> Self {
        Op::Control(Control::Exit)
    }

    /// log2 of the narrowest access to shared memory that this may make.
    pub(crate) fn shared_grain(&self) -> Option<u32> {
        match self {
            Op::Memory(memory) => memory.shared_grain(),
            Op::Atomic(atomic) => atomic.shared_grain(),
            _ => None,
        }
    }

    pub(crate) fn is_global_atomic(&self) -> bool {
        matches!(self, Op::Atomic(atomic) if atomic.may_be_global())
    }
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    mut opcode: Opcode,
    instruction: &Instruction,
) -> Result<(Op, Kind)> {
    target::check(&opcode, decoder.target)?;
    let decoded = decode_class(decoder, &mut opcode, instruction)?;
    opcode.finish()?;
    Ok(decoded)
}

fn decode_class(decoder: &mut Decoder, opcode: &mut Opcode, instruction: &Instruction) -> Result<(Op, Kind)> {
    let operands = instruction.operands.as_slice();
    if let Some((op, mask)) = warp::decode(decoder, opcode, operands)? {
        let kind = if matches!(op, warp::WarpOp::Synchronize) { Kind::Barrier } else { Kind::Warp };
        return Ok((Op::Warp(op, mask), kind));
    }
    if opcode.base == "activemask" {
        opcode.require(&[("b32", ())])?;
        let [d] = decoder.operands(opcode, operands)?;
        return Ok((Op::ActiveMask(decoder.destination32(opcode, d)?), Kind::Warp));
    }
    if let Some(op) = control::decode(decoder, opcode, instruction)? {
        let kind = if matches!(op, Control::Barrier(_)) { Kind::Barrier } else { Kind::Control };
        return Ok((Op::Control(op), kind));
    }
    if let Some(op) = memory::decode(decoder, opcode, operands)? {
        let kind = memory_kind(&op);
        return Ok((Op::Memory(op), kind));
    }
    if let Some(op) = atomics::decode(decoder, opcode, operands)? {
        return Ok((Op::Atomic(Box::new(op)), Kind::Atomic));
    }
    if let Some(op) = async_copy::decode(decoder, opcode, operands)? {
        return Ok((Op::AsyncCopy(Box::new(op)), Kind::AsyncCopy));
    }
    if let Some(op) = matrix::decode(decoder, opcode, operands)? {
        return Ok((Op::Matrix(op), Kind::Matrix));
    }
    if let Some(op) = compare::decode(decoder, opcode, operands)? {
        return Ok((Op::Compare(op), Kind::Move));
    }
    if let Some(op) = moves::decode(decoder, opcode, operands)? {
        return Ok((Op::Move(op), Kind::Move));
    }
    if let Some(op) = convert::decode(decoder, opcode, operands)? {
        return Ok((Op::Convert(op), Kind::Convert));
    }
    if let Some(op) = bits::decode(decoder, opcode, operands)? {
        let dot = matches!(op, bits::Bits::Dot4 { .. } | bits::Bits::Dot2 { .. });
        return Ok((Op::Bits(op), if dot { Kind::DotProduct } else { Kind::Integer }));
    }
    if is_float(opcode) {
        if let Some(op) = float::decode(decoder, opcode, operands)? {
            return Ok((Op::Float(op), Kind::Float));
        }
    } else if let Some(op) = integer::decode(decoder, opcode, operands)? {
        return Ok((Op::Integer(op), Kind::Integer));
    }
    opcode.unsupported("is not supported")
}

/// `add`, `min` and their like exist for both; the type decides.
fn is_float(opcode: &Opcode) -> bool {
    matches!(
        opcode.peek_type(),
        Some(Type::F16 | Type::F16x2 | Type::BF16 | Type::BF16x2 | Type::F32 | Type::F32x2 | Type::F64)
    )
}

fn memory_kind(op: &Memory) -> Kind {
    match op {
        Memory::Parameter { .. } => Kind::Param,
        Memory::Nothing => Kind::Barrier,
        Memory::Policy { .. } => Kind::Move,
        Memory::Load { space, .. } => match space {
            AddressSpace::Global | AddressSpace::Generic => Kind::LoadGlobal,
            AddressSpace::Shared => Kind::LoadShared,
            AddressSpace::Local => Kind::Local,
        },
        Memory::Store { space, .. } => match space {
            AddressSpace::Global | AddressSpace::Generic => Kind::StoreGlobal,
            AddressSpace::Shared => Kind::StoreShared,
            AddressSpace::Local => Kind::Local,
        },
    }
}

//! `mov`, packing and unpacking, and conversions between address spaces.

use crate::exec::registers::{LANES, Registers};
use crate::memory::window::{self, Window};
use crate::program::decoder::{AnyRow, Decoder, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug)]
pub(crate) enum Move {
    Narrow {
        d: Row,
        a: Row,
    },
    Wide {
        d: Row,
        a: Row,
    },
    /// Several parts into one register, the first lowest.
    Join {
        d: AnyRow,
        parts: Vec<AnyRow>,
        bits: u32,
    },
    /// One register into several parts, the first lowest.
    Split {
        parts: Vec<AnyRow>,
        a: AnyRow,
        bits: u32,
    },
    /// Adds (or takes away) where a window starts in the generic address space.
    ToGeneric {
        window: Window,
        d: AnyRow,
        a: AnyRow,
    },
    FromGeneric {
        window: Window,
        d: AnyRow,
        a: AnyRow,
    },
    IsInSpace {
        space: Option<Window>,
        p: Row,
        a: AnyRow,
    },
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Move>> {
    Ok(Some(match opcode.base {
        "mov" => return mov(decoder, opcode, operands).map(Some),
        "cvta" => {
            let to_space = opcode.take("to");
            let space = opcode.require(SPACES)?;
            let ty = opcode.require(&[("u64", Type::U64), ("u32", Type::U32)])?;
            let [d, a] = decoder.operands(opcode, operands)?;
            let a = decoder.source_any(opcode, ty, a)?;
            let d = decoder.destination_any(opcode, ty, d)?;
            match (space, d, a) {
                // Global addresses are generic addresses.
                (None, AnyRow::Wide(d), AnyRow::Wide(a)) => Move::Wide { d, a },
                (Some(window), d, a) if to_space => Move::FromGeneric { window, d, a },
                (Some(window), d, a) => Move::ToGeneric { window, d, a },
                _ => return opcode.unsupported("a global address has 64 bits"),
            }
        }
        "isspacep" => {
            let space = opcode.require(SPACES)?;
            let [p, a] = decoder.operands(opcode, operands)?;
            let a = decoder.source_any(opcode, Type::U64, a)?;
            Move::IsInSpace { space, p: decoder.predicate_destination(opcode, p)?, a }
        }
        _ => return Ok(None),
    }))
}

const SPACES: &[(&str, Option<Window>)] = &[
    ("global", None),
    ("const", None),
    ("param", None),
    ("shared", Some(Window::Shared)),
    ("shared::cta", Some(Window::Shared)),
    ("local", Some(Window::Local)),
];

fn mov(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Move> {
    let ty = opcode.ty()?;
    let [d, a] = decoder.operands(opcode, operands)?;
    let part_type = |count: usize| match (ty.bytes(), count) {
        (8, 2) => Some(Type::B32),
        (8, 4) | (4, 2) => Some(Type::B16),
        (4, 4) | (2, 2) => Some(Type::B8),
        _ => None,
    };
    match (d, a) {
        (Operand::Vector(parts), a) => {
            let Some(part) = part_type(parts.len()) else {
                return opcode.unsupported("splits into parts of a size that does not exist");
            };
            let a = decoder.source_any(opcode, ty, a)?;
            let parts = parts
                .iter()
                .map(|operand| decoder.destination_any(opcode, part, operand))
                .collect::<Result<_>>()?;
            Ok(Move::Split { parts, a, bits: 8 * part.bytes() as u32 })
        }
        (d, Operand::Vector(parts)) => {
            let Some(part) = part_type(parts.len()) else {
                return opcode.unsupported("joins parts of a size that does not exist");
            };
            let parts = parts
                .iter()
                .map(|operand| decoder.source_any(opcode, part, operand))
                .collect::<Result<_>>()?;
            Ok(Move::Join {
                d: decoder.destination_any(opcode, ty, d)?,
                parts,
                bits: 8 * part.bytes() as u32,
            })
        }
        (d, a) if ty.bytes() == 8 => {
            let a = decoder.source64(opcode, a)?;
            Ok(Move::Wide { d: decoder.destination64(opcode, d)?, a })
        }
        (d, a) => {
            let a = decoder.source32(opcode, a)?;
            Ok(Move::Narrow { d: decoder.destination32(opcode, d)?, a })
        }
    }
}

pub(crate) fn execute(op: &Move, registers: &mut Registers, mask: u32) {
    match op {
        &Move::Narrow { d, a } => {
            let values = registers.narrow[a as usize];
            registers.write::<u32>(mask, d, &values);
        }
        &Move::Wide { d, a } => {
            let values = registers.wide[a as usize];
            registers.write::<u64>(mask, d, &values);
        }
        Move::Join { d, parts, bits } => {
            let mut out = [0; LANES];
            for (i, part) in parts.iter().enumerate() {
                let values = registers.read_any(*part);
                for (out, value) in out.iter_mut().zip(values) {
                    *out |= (value & ((1 << bits) - 1)) << (i as u32 * bits);
                }
            }
            registers.write_any(mask, *d, &out);
        }
        Move::Split { parts, a, bits } => {
            let values = registers.read_any(*a);
            for (i, part) in parts.iter().enumerate() {
                let out = values.map(|value| value >> (i as u32 * bits) & ((1 << bits) - 1));
                registers.write_any(mask, *part, &out);
            }
        }
        Move::ToGeneric { window, d, a } => {
            let out = registers.read_any(*a).map(|address| address.wrapping_add(window::base(*window)));
            registers.write_any(mask, *d, &out);
        }
        Move::FromGeneric { window, d, a } => {
            let out = registers.read_any(*a).map(|address| address.wrapping_sub(window::base(*window)));
            registers.write_any(mask, *d, &out);
        }
        Move::IsInSpace { space, p, a } => {
            let values = registers.read_any(*a);
            let bits = (0..LANES).fold(0, |bits, lane| {
                bits | u32::from(window::of(values[lane]).map(|(window, _)| window) == *space) << lane
            });
            registers.set_predicate(mask, *p, bits);
        }
    }
}

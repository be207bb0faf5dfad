//! What the lanes of a warp do together: shuffles, votes, matches, reductions.

use crate::diagnostic::{LaneFault, Violation};
use crate::exec::registers::{LANES, Registers};
use crate::program::decoder::{AnyRow, Decoder, Predicate, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduction {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
}

/// An operation that waits for every lane that its mask names.
#[derive(Debug)]
pub(crate) enum WarpOp {
    Shuffle {
        mode: ShuffleMode,
        d: Row,
        p: Option<Row>,
        a: Row,
        b: Row,
        c: Row,
    },
    Vote {
        mode: VoteMode,
        p: Row,
        a: Predicate,
    },
    Ballot {
        d: Row,
        a: Predicate,
    },
    MatchAny {
        d: Row,
        a: AnyRow,
    },
    MatchAll {
        d: Row,
        p: Option<Row>,
        a: AnyRow,
    },
    Reduce {
        op: Reduction,
        signed: bool,
        d: Row,
        a: Row,
    },
    Elect {
        d: Row,
        p: Row,
    },
    /// `bar.warp.sync`: orders memory among the lanes.
    Synchronize,
}

/// An operation and the row with its member mask.
pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<(WarpOp, Row)>> {
    let base = opcode.base;
    match base {
        "shfl" | "vote" | "match" | "redux" | "elect" => {}
        "bar" if opcode.take("warp") => {
            opcode.require(&[("sync", ())])?;
            let [mask] = decoder.operands(opcode, operands)?;
            return Ok(Some((WarpOp::Synchronize, decoder.source32(opcode, mask)?)));
        }
        _ => return Ok(None),
    }
    if !opcode.take("sync") {
        return opcode.unsupported("exists with `.sync` only since sm_70");
    }
    let op = match (base, operands) {
        ("shfl", [d, a, b, c, _]) => {
            let mode = opcode.require(&[
                ("up", ShuffleMode::Up),
                ("down", ShuffleMode::Down),
                ("bfly", ShuffleMode::Butterfly),
                ("idx", ShuffleMode::Index),
            ])?;
            opcode.require(&[("b32", ())])?;
            let mut source = |operand| decoder.source32(opcode, operand);
            let (a, b, c) = (source(a)?, source(b)?, source(c)?);
            let (d, p) = decoder.split_pair(d);
            let p = optional_predicate(decoder, opcode, p)?;
            WarpOp::Shuffle { mode, d: decoder.destination32(opcode, d)?, p, a, b, c }
        }
        ("vote", [d, a, _]) => {
            let a = decoder.predicate(opcode, a)?;
            if opcode.take("ballot") {
                opcode.require(&[("b32", ())])?;
                WarpOp::Ballot { d: decoder.destination32(opcode, d)?, a }
            } else {
                let mode = opcode.require(&[
                    ("all", VoteMode::All),
                    ("any", VoteMode::Any),
                    ("uni", VoteMode::Uniform),
                ])?;
                opcode.require(&[("pred", ())])?;
                WarpOp::Vote { mode, p: decoder.predicate_destination(opcode, d)?, a }
            }
        }
        ("match", [d, a, _]) => {
            let all = opcode.require(&[("all", true), ("any", false)])?;
            let ty = opcode.require(&[("b32", Type::B32), ("b64", Type::B64)])?;
            let a = decoder.source_any(opcode, ty, a)?;
            let (d, p) = decoder.split_pair(d);
            let p = optional_predicate(decoder, opcode, p)?;
            let d = decoder.destination32(opcode, d)?;
            if all { WarpOp::MatchAll { d, p, a } } else { WarpOp::MatchAny { d, a } }
        }
        ("redux", [d, a, _]) => {
            let op = opcode.require(&[
                ("add", Reduction::Add),
                ("min", Reduction::Min),
                ("max", Reduction::Max),
                ("and", Reduction::And),
                ("or", Reduction::Or),
                ("xor", Reduction::Xor),
            ])?;
            let signed = opcode.require(&[("s32", true), ("u32", false), ("b32", false)])?;
            let a = decoder.source32(opcode, a)?;
            WarpOp::Reduce { op, signed, d: decoder.destination32(opcode, d)?, a }
        }
        ("elect", [d, _]) => {
            let (d, p) = decoder.split_pair(d);
            let d = decoder.destination32(opcode, d)?;
            WarpOp::Elect { d, p: decoder.predicate_destination(opcode, p)? }
        }
        _ => return opcode.unsupported("has the wrong number of operands"),
    };
    let Some(mask) = operands.last() else { return Ok(None) };
    Ok(Some((op, decoder.source32(opcode, mask)?)))
}

fn optional_predicate(decoder: &mut Decoder, opcode: &Opcode, p: &Operand) -> Result<Option<Row>> {
    match p {
        Operand::Sink => Ok(None),
        p => decoder.predicate_destination(opcode, p).map(Some),
    }
}

/// Runs an operation for the lanes that its mask names, all of which are here.
pub(crate) fn execute(
    op: &WarpOp,
    registers: &mut Registers,
    members: u32,
) -> std::result::Result<(), LaneFault> {
    match *op {
        WarpOp::Synchronize => {}
        WarpOp::Shuffle { mode, d, p, a, b, c } => {
            return shuffle(registers, members, mode, (d, p), (a, b, c));
        }
        WarpOp::Vote { mode, p, a } => {
            let bits = registers.predicate(a) & members;
            let holds = match mode {
                VoteMode::All => bits == members,
                VoteMode::Any => bits != 0,
                VoteMode::Uniform => bits == members || bits == 0,
            };
            registers.set_predicate(members, p, if holds { u32::MAX } else { 0 });
        }
        WarpOp::Ballot { d, a } => {
            let bits = registers.predicate(a) & members;
            registers.write::<u32>(members, d, &[bits; LANES]);
        }
        WarpOp::MatchAny { d, a } => {
            let values = registers.read_any(a);
            let equal = |lane: usize| {
                (0..LANES).fold(0, |bits, other| bits | u32::from(values[other] == values[lane]) << other)
            };
            let out = std::array::from_fn(|lane| equal(lane) & members);
            registers.write::<u32>(members, d, &out);
        }
        WarpOp::MatchAll { d, p, a } => {
            let values = registers.read_any(a);
            let mut lanes = (0..LANES).filter(|lane| members >> lane & 1 != 0).map(|lane| values[lane]);
            let first = lanes.next();
            let same = lanes.all(|value| Some(value) == first);
            registers.write::<u32>(members, d, &[if same { members } else { 0 }; LANES]);
            if let Some(p) = p {
                registers.set_predicate(members, p, if same { u32::MAX } else { 0 });
            }
        }
        WarpOp::Reduce { op, signed, d, a } => {
            let values = registers.narrow[a as usize];
            let result = (0..LANES)
                .filter(|lane| members >> lane & 1 != 0)
                .map(|lane| values[lane])
                .reduce(|a, b| reduce(op, signed, a, b))
                .unwrap_or(0);
            registers.write::<u32>(members, d, &[result; LANES]);
        }
        WarpOp::Elect { d, p } => {
            let leader = members.trailing_zeros();
            registers.write::<u32>(members, d, &[leader; LANES]);
            registers.set_predicate(members, p, 1 << leader);
        }
    }
    Ok(())
}

fn reduce(op: Reduction, signed: bool, a: u32, b: u32) -> u32 {
    match op {
        Reduction::Add => a.wrapping_add(b),
        Reduction::And => a & b,
        Reduction::Or => a | b,
        Reduction::Xor => a ^ b,
        Reduction::Min if signed => (a as i32).min(b as i32) as u32,
        Reduction::Max if signed => (a as i32).max(b as i32) as u32,
        Reduction::Min => a.min(b),
        Reduction::Max => a.max(b),
    }
}

fn shuffle(
    registers: &mut Registers,
    members: u32,
    mode: ShuffleMode,
    (d, p): (Row, Option<Row>),
    (a, b, c): (Row, Row, Row),
) -> std::result::Result<(), LaneFault> {
    let [a, b, c] = [a, b, c].map(|row| registers.narrow[row as usize]);
    let (mut out, mut inside) = (a, 0);
    for lane in (0..LANES).filter(|lane| members >> lane & 1 != 0) {
        let me = lane as u32;
        // `c` holds the clamp in its low bits and the mask of a segment's lanes above them.
        let (clamp, segment) = (c[lane] & 31, c[lane] >> 8 & 31);
        let first = me & segment;
        let last = first | clamp & !segment;
        let by = b[lane] & 31;
        let (source, in_range) = match mode {
            ShuffleMode::Up => (me.wrapping_sub(by), me as i32 - by as i32 >= last as i32),
            ShuffleMode::Down => (me + by, me + by <= last),
            ShuffleMode::Butterfly => (me ^ by, me ^ by <= last),
            ShuffleMode::Index => {
                let source = first | by & !segment;
                (source, source <= last)
            }
        };
        let source = if in_range { source } else { me };
        if members >> source & 1 == 0 {
            let message = format!("reads lane {source}, which the mask {members:#010x} does not name");
            return Err(LaneFault::new(lane, Violation::Operand(message)));
        }
        out[lane] = a[source as usize];
        inside |= u32::from(in_range) << lane;
    }
    registers.write::<u32>(members, d, &out);
    if let Some(p) = p {
        registers.set_predicate(members, p, inside);
    }
    Ok(())
}

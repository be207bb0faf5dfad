//! Branches, exits and barriers: what decides which lanes execute what next. The executor of a warp
//! acts on these itself.

use crate::program::decoder::{Decoder, Predicate, Row};
use crate::program::opcode::Opcode;
use crate::ptx::Result;
use crate::ptx::tree::{Instruction, Operand};

#[derive(Debug)]
pub(crate) enum Control {
    Branch(usize),
    /// `brx.idx`: the lane's value picks the target.
    BranchTable {
        index: Row,
        targets: Box<[usize]>,
    },
    Exit,
    Trap,
    Barrier(Barrier),
    /// Lets other warps of the block run.
    Pause,
}

#[derive(Debug)]
pub(crate) struct Barrier {
    pub(crate) id: Row,
    /// How many threads take part; None for all of the block.
    pub(crate) count: Option<Row>,
    /// All lanes of a warp execute it together.
    pub(crate) aligned: bool,
    /// `bar.arrive`: counted, but does not wait.
    pub(crate) arrive_only: bool,
    pub(crate) reduction: Option<BarrierReduction>,
}

/// `bar.red`: combines a predicate of all threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BarrierReduction {
    pub(crate) source: Predicate,
    pub(crate) result: BarrierResult,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum BarrierResult {
    Count(Row),
    And(Row),
    Or(Row),
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    instruction: &Instruction,
) -> Result<Option<Control>> {
    let operands = instruction.operands.as_slice();
    Ok(Some(match opcode.base {
        "bra" => {
            opcode.take("uni");
            match operands {
                [Operand::Symbol(name, 0)] => Control::Branch(target(decoder, opcode, instruction, name)?),
                _ => return opcode.unsupported("needs a label"),
            }
        }
        "brx" => {
            opcode.take("uni");
            opcode.require(&[("idx", ())])?;
            let [index, Operand::Symbol(table, 0)] = operands else {
                return opcode.unsupported("needs an index and the name of a table");
            };
            let tables = &decoder.entry.branch_tables;
            let Some((_, names)) = tables.iter().find(|(name, _)| name == table) else {
                return opcode.unsupported(format!("there is no table `{table}`"));
            };
            let targets =
                names.iter().map(|name| target(decoder, opcode, instruction, name)).collect::<Result<_>>()?;
            Control::BranchTable { index: decoder.source32(opcode, index)?, targets }
        }
        "ret" | "exit" => {
            opcode.take("uni");
            Control::Exit
        }
        "trap" => Control::Trap,
        "nanosleep" => {
            opcode.require(&[("u32", ())])?;
            Control::Pause
        }
        "bar" | "barrier" => return barrier(decoder, opcode, operands).map(Some),
        _ => return Ok(None),
    }))
}

fn target(decoder: &Decoder, opcode: &Opcode, instruction: &Instruction, name: &str) -> Result<usize> {
    match decoder.entry.label(name, instruction.scope) {
        Some(target) => Ok(target),
        None => opcode.unsupported(format!("there is no label `{name}`")),
    }
}

fn barrier(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Control> {
    if opcode.take("cluster") {
        return opcode.unsupported("clusters are not supported");
    }
    opcode.take("cta");
    let aligned = opcode.take("aligned") || opcode.base == "bar";
    let arrive_only = opcode.take("arrive");
    let red = opcode.take("red");
    if !arrive_only && !red {
        opcode.require(&[("sync", ())])?;
    }
    let result = if red { Some(opcode.require(&[("popc", 0), ("and", 1), ("or", 2)])?) } else { None };
    let (reduction, operands) = match (result, operands) {
        (None, operands) => (None, operands),
        (Some(kind), [d, rest @ .., source]) => {
            opcode.ignore(&["u32", "pred"]);
            let source = decoder.predicate(opcode, source)?;
            let result = match kind {
                0 => BarrierResult::Count(decoder.destination32(opcode, d)?),
                1 => BarrierResult::And(decoder.predicate_destination(opcode, d)?),
                _ => BarrierResult::Or(decoder.predicate_destination(opcode, d)?),
            };
            (Some(BarrierReduction { source, result }), rest)
        }
        _ => return opcode.unsupported("has the wrong number of operands"),
    };
    let (id, count) = match operands {
        [id] if !arrive_only => (id, None),
        [id, count] => (id, Some(count)),
        _ => return opcode.unsupported("has the wrong number of operands"),
    };
    let id = decoder.source32(opcode, id)?;
    let count = count.map(|count| decoder.source32(opcode, count)).transpose()?;
    Ok(Control::Barrier(Barrier { id, count, aligned, arrive_only, reduction }))
}

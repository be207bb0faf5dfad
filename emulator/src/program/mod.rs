//! The decoded form of a kernel: what an executing warp walks through.

pub(crate) mod decoder;
pub(crate) mod opcode;
pub(crate) mod target;

use std::collections::HashMap;
use std::sync::Arc;

use crate::counters::Kind;
use crate::isa::{self, Op};
use crate::memory::window;
use crate::ptx::tree::{Entry, Operand, StateSpace, Variable};
use crate::ptx::{PtxError, Result};
use decoder::{ALWAYS, Decoder, Layout, Predicate, Symbol};
use opcode::Opcode;
use target::Target;

#[derive(Debug)]
pub(crate) struct Instruction {
    pub(crate) op: Op,
    pub(crate) guard: Predicate,
    pub(crate) kind: Kind,
    pub(crate) line: u32,
}

/// A kernel, ready to run: decoded once per module load, shared by every warp of every launch.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// The text of the module, to quote from in diagnostics.
    pub(crate) source: Arc<str>,
    pub(crate) code: Vec<Instruction>,
    pub(crate) layout: Layout,
    /// The sizes and offsets of the parameters, in order.
    pub(crate) parameters: Vec<(usize, usize)>,
    pub(crate) parameter_bytes: usize,
    pub(crate) static_shared: u32,
    pub(crate) local_bytes: u32,
    pub(crate) required_block: Option<[u32; 3]>,
    pub(crate) max_threads: Option<u32>,
    /// log2 of the narrowest access to shared memory: the grain of its shadow.
    pub(crate) shared_grain: u32,
    /// Blocks that meet in global atomics run one after another: their order is part of the result.
    pub(crate) one_by_one: bool,
}

impl Program {
    /// The words of a line of the PTX.
    pub(crate) fn quote(&self, line: u32) -> String {
        let text = self.source.lines().nth(line.saturating_sub(1) as usize).unwrap_or("");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Decodes one entry. `globals` holds the addresses of the module's variables in device memory, and
/// `shared` the module's variables in shared memory.
pub(crate) fn decode(
    source: &Arc<str>,
    entry: &Entry,
    target: Target,
    globals: &HashMap<&str, u64>,
    shared: &[&Variable],
) -> Result<Program> {
    let mut symbols: HashMap<&str, Symbol> =
        globals.iter().map(|(&name, &address)| (name, Symbol::Global(address))).collect();
    let (mut static_shared, mut local_bytes, mut dynamic_shared) = (0, 0, 1);
    let own = |space| entry.variables.iter().filter(move |variable| variable.space == space);
    let uses = |name: &str| {
        let mentions = |operand: &Operand| operand.mentions(name);
        entry.instructions.iter().any(|instruction| instruction.operands.iter().any(mentions))
    };
    let shared: Vec<&Variable> = shared
        .iter()
        .copied()
        .filter(|variable| uses(variable.name))
        .chain(own(StateSpace::Shared))
        .collect();
    for variable in &shared {
        if variable.bytes.is_some() {
            let offset = place(variable, &mut static_shared)?;
            symbols.insert(variable.name, Symbol::Window(window::SHARED_OFFSET + offset));
        } else {
            dynamic_shared = dynamic_shared.max(variable.align as u32);
        }
    }
    // Every `.extern .shared` array starts where the static ones end.
    let dynamic_start = static_shared.next_multiple_of(dynamic_shared);
    for variable in shared.iter().filter(|variable| variable.bytes.is_none()) {
        symbols.insert(variable.name, Symbol::Window(window::SHARED_OFFSET + dynamic_start));
    }
    for variable in own(StateSpace::Local) {
        let offset = place(variable, &mut local_bytes)?;
        symbols.insert(variable.name, Symbol::Window(window::LOCAL_OFFSET + offset));
    }
    if let Some(variable) = own(StateSpace::Global).chain(own(StateSpace::Const)).next() {
        return Err(PtxError::new(variable.line, "declare global and constant variables outside the entry"));
    }
    for parameter in &entry.parameters {
        let symbol = Symbol::Parameter { offset: parameter.offset, bytes: parameter.bytes };
        symbols.insert(parameter.name, symbol);
    }

    let mut decoder = Decoder::new(entry, target, symbols)?;
    let mut code = Vec::with_capacity(entry.instructions.len() + 1);
    for instruction in &entry.instructions {
        let opcode = Opcode::new(instruction.line, instruction.opcode);
        let guard = match instruction.guard {
            Some((register, negated)) => {
                let operand =
                    if negated { Operand::NotRegister(register) } else { Operand::Register(register) };
                decoder.predicate(&opcode, &operand)?
            }
            None => ALWAYS,
        };
        let line = instruction.line;
        let (op, kind) = isa::decode(&mut decoder, opcode, instruction)?;
        code.push(Instruction { op, guard, kind, line });
    }
    // A body may end without `ret`.
    let line = entry.instructions.last().map_or(entry.line, |instruction| instruction.line);
    code.push(Instruction { op: Op::exit(), guard: ALWAYS, kind: Kind::Control, line });

    let shared_grain = code.iter().filter_map(|instruction| instruction.op.shared_grain()).min().unwrap_or(2);
    let one_by_one = code.iter().any(|instruction| instruction.op.is_global_atomic());
    Ok(Program {
        name: entry.name.to_string(),
        source: Arc::clone(source),
        code,
        layout: decoder.layout,
        parameters: entry.parameters.iter().map(|parameter| (parameter.offset, parameter.bytes)).collect(),
        parameter_bytes: entry.parameters.last().map_or(0, |last| last.offset + last.bytes),
        static_shared: dynamic_start,
        local_bytes,
        required_block: entry.required_block,
        max_threads: entry.max_threads,
        shared_grain,
        one_by_one,
    })
}

/// Puts a variable behind the ones before it; returns its offset.
fn place(variable: &Variable, end: &mut u32) -> Result<u32> {
    let align = u32::try_from(variable.align).unwrap_or(1).max(1);
    let offset = end.checked_next_multiple_of(align);
    let bytes = variable.bytes.and_then(|bytes| u32::try_from(bytes).ok());
    match offset.zip(bytes).and_then(|(offset, bytes)| Some((offset, offset.checked_add(bytes)?))) {
        Some((offset, next)) if next < 1 << 24 => {
            *end = next;
            Ok(offset)
        }
        _ => Err(PtxError::new(variable.line, format!("variable `{}` is too large", variable.name))),
    }
}

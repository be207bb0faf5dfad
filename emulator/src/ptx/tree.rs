//! The syntax tree of a PTX module: names still text, opcodes still unsplit.

/// A `.version 8.0` pair.
pub(crate) type Version = (u32, u32);

#[derive(Debug, Default)]
pub(crate) struct Module<'a> {
    pub(crate) version: Version,
    pub(crate) target: &'a str,
    pub(crate) target_line: u32,
    pub(crate) variables: Vec<Variable<'a>>,
    pub(crate) entries: Vec<Entry<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateSpace {
    Global,
    Const,
    Shared,
    Local,
}

/// A variable of a state space: its bytes, and the addresses to put into them.
#[derive(Debug)]
pub(crate) struct Variable<'a> {
    pub(crate) line: u32,
    pub(crate) name: &'a str,
    pub(crate) space: StateSpace,
    pub(crate) align: u64,
    /// None for `.extern .shared x[]`: as large as the launch says.
    pub(crate) bytes: Option<u64>,
    pub(crate) init: Vec<u8>,
    /// Offset in `init` and the name whose address belongs there.
    pub(crate) relocations: Vec<(usize, &'a str, u64)>,
}

#[derive(Debug)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) line: u32,
    pub(crate) name: &'a str,
    pub(crate) parameters: Vec<Parameter<'a>>,
    /// `.reqntid`: the one block shape that this kernel accepts.
    pub(crate) required_block: Option<[u32; 3]>,
    /// The product of `.maxntid`.
    pub(crate) max_threads: Option<u32>,
    pub(crate) registers: Vec<RegisterKind>,
    pub(crate) variables: Vec<Variable<'a>>,
    pub(crate) instructions: Vec<Instruction<'a>>,
    pub(crate) labels: Vec<Label<'a>>,
    pub(crate) branch_tables: Vec<(&'a str, Vec<&'a str>)>,
    /// The parent of each `{ }` scope; scope 0 is the body and its own parent.
    pub(crate) scopes: Vec<usize>,
}

impl Entry<'_> {
    /// The instruction that a label names, as seen from a scope.
    pub(crate) fn label(&self, name: &str, mut scope: usize) -> Option<usize> {
        loop {
            let found = self.labels.iter().find(|label| label.name == name && label.scope == scope);
            match found {
                Some(label) => return Some(label.instruction),
                None if scope == 0 => return None,
                None => scope = self.scopes[scope],
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Label<'a> {
    pub(crate) name: &'a str,
    pub(crate) scope: usize,
    /// The instruction that follows.
    pub(crate) instruction: usize,
}

/// How wide a declared register is. 8- and 16-bit ones live in a 32-bit slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegisterKind {
    Predicate,
    Bits16,
    Bits32,
    Bits64,
}

/// Index into [`Entry::registers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RegisterId(pub(crate) u32);

#[derive(Debug)]
pub(crate) struct Instruction<'a> {
    pub(crate) line: u32,
    pub(crate) scope: usize,
    /// `@%p` or `@!%p`: the register and whether it is negated.
    pub(crate) guard: Option<(RegisterId, bool)>,
    pub(crate) opcode: &'a str,
    pub(crate) operands: Vec<Operand<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand<'a> {
    Register(RegisterId),
    /// `!%p1`
    NotRegister(RegisterId),
    /// `%p1|%p2`, `%r1|%p1`
    Pair(Box<Operand<'a>>, Box<Operand<'a>>),
    /// The bits of an integer, sign-extended to 64.
    Integer(u64),
    Single(u32),
    Double(u64),
    /// `%tid.x`, `%laneid`
    Special(&'a str),
    /// A variable, parameter or label, plus a displacement.
    Symbol(&'a str, i64),
    /// `[base + displacement]`
    Address(Box<Operand<'a>>, i64),
    Vector(Vec<Operand<'a>>),
    /// `_`: the value is not wanted.
    Sink,
}

impl Operand<'_> {
    pub(crate) fn mentions(&self, name: &str) -> bool {
        match self {
            Operand::Symbol(symbol, _) => *symbol == name,
            Operand::Address(base, _) => base.mentions(name),
            Operand::Vector(parts) => parts.iter().any(|part| part.mentions(name)),
            Operand::Pair(first, second) => first.mentions(name) || second.mentions(name),
            _ => false,
        }
    }
}

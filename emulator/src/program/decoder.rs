//! From names to rows of the register file. Immediate operands, addresses of variables and special
//! registers get rows of their own, so that an executing instruction only ever reads rows.

use std::collections::HashMap;

use super::opcode::{Opcode, Type};
use super::target::Target;
use crate::ptx::tree::{Entry, Operand, RegisterId, RegisterKind};
use crate::ptx::{PtxError, Result};

/// A row of the 32-bit or the 64-bit register file, or a predicate: 32 lanes each.
pub(crate) type Row = u16;

/// A predicate source, maybe negated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predicate {
    pub(crate) row: Row,
    /// All ones if negated.
    pub(crate) flip: u32,
}

/// The predicate that always holds.
pub(crate) const TRUE: Row = 0;
/// The carry flag of `add.cc` and its kin.
pub(crate) const CARRY: Row = 1;
pub(crate) const ALWAYS: Predicate = Predicate { row: TRUE, flip: 0 };

/// A row of either width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnyRow {
    Narrow(Row),
    Wide(Row),
}

/// What a name outside the register file stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Symbol {
    /// An address in device memory.
    Global(u64),
    /// An address in the shared or local window.
    Window(u32),
    Parameter {
        offset: usize,
        bytes: usize,
    },
}

/// A special register whose value is fixed for a warp's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Thread(usize),
    BlockDim(usize),
    Block(usize),
    GridDim(usize),
    Lane,
    Warp,
    WarpCount,
    LaneMask(LaneMask),
    DynamicSharedBytes,
    TotalSharedBytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LaneMask {
    Equal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

const NO_DESTINATION: &str = "the destination is not a declared register";

#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) narrow: usize,
    pub(crate) wide: usize,
    pub(crate) predicates: usize,
    pub(crate) narrow_constants: Vec<(Row, u32)>,
    pub(crate) wide_constants: Vec<(Row, u64)>,
    pub(crate) specials: Vec<(Row, Special)>,
}

pub(crate) struct Decoder<'a> {
    pub(crate) entry: &'a Entry<'a>,
    pub(crate) target: Target,
    pub(crate) layout: Layout,
    symbols: HashMap<&'a str, Symbol>,
    registers: Vec<Row>,
    narrow_constants: HashMap<u32, Row>,
    wide_constants: HashMap<u64, Row>,
    specials: HashMap<Special, Row>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(
        entry: &'a Entry<'a>,
        target: Target,
        symbols: HashMap<&'a str, Symbol>,
    ) -> Result<Self> {
        let mut layout = Layout { predicates: 2, ..Layout::default() };
        let mut registers = Vec::with_capacity(entry.registers.len());
        for kind in &entry.registers {
            let count = match kind {
                RegisterKind::Predicate => &mut layout.predicates,
                RegisterKind::Bits16 | RegisterKind::Bits32 => &mut layout.narrow,
                RegisterKind::Bits64 => &mut layout.wide,
            };
            registers.push(row(entry, *count)?);
            *count += 1;
        }
        Ok(Self {
            entry,
            target,
            layout,
            symbols,
            registers,
            narrow_constants: HashMap::new(),
            wide_constants: HashMap::new(),
            specials: HashMap::new(),
        })
    }

    fn kind(&self, register: RegisterId) -> RegisterKind {
        self.entry.registers[register.0 as usize]
    }

    fn row_of(&self, register: RegisterId) -> Row {
        self.registers[register.0 as usize]
    }

    pub(crate) fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    fn new_narrow(&mut self) -> Result<Row> {
        self.layout.narrow += 1;
        row(self.entry, self.layout.narrow - 1)
    }

    fn new_wide(&mut self) -> Result<Row> {
        self.layout.wide += 1;
        row(self.entry, self.layout.wide - 1)
    }

    pub(crate) fn constant32(&mut self, value: u32) -> Result<Row> {
        if let Some(&row) = self.narrow_constants.get(&value) {
            return Ok(row);
        }
        let row = self.new_narrow()?;
        self.narrow_constants.insert(value, row);
        self.layout.narrow_constants.push((row, value));
        Ok(row)
    }

    pub(crate) fn constant64(&mut self, value: u64) -> Result<Row> {
        if let Some(&row) = self.wide_constants.get(&value) {
            return Ok(row);
        }
        let row = self.new_wide()?;
        self.wide_constants.insert(value, row);
        self.layout.wide_constants.push((row, value));
        Ok(row)
    }

    fn special(&mut self, opcode: &Opcode, name: &str) -> Result<Row> {
        let special = match special_register(name) {
            Some(special) => special,
            None => return opcode.unsupported(format!("`{name}` is no register that is known here")),
        };
        if let Some(&row) = self.specials.get(&special) {
            return Ok(row);
        }
        let row = self.new_narrow()?;
        self.specials.insert(special, row);
        self.layout.specials.push((row, special));
        Ok(row)
    }

    /// A source of up to 32 bits.
    pub(crate) fn source32(&mut self, opcode: &Opcode, operand: &Operand) -> Result<Row> {
        match operand {
            Operand::Register(register) => match self.kind(*register) {
                RegisterKind::Bits16 | RegisterKind::Bits32 => Ok(self.row_of(*register)),
                _ => opcode.unsupported("expects a register of at most 32 bits"),
            },
            Operand::Integer(value) => self.constant32(*value as u32),
            Operand::Single(bits) => self.constant32(*bits),
            Operand::Double(bits) => self.constant32((f64::from_bits(*bits) as f32).to_bits()),
            Operand::Special(name) => self.special(opcode, name),
            Operand::Symbol(name, displacement) => match self.symbol(name) {
                Some(Symbol::Window(address)) => self.constant32(address.wrapping_add(*displacement as u32)),
                _ => opcode.unsupported(format!("`{name}` has no 32-bit address")),
            },
            _ => opcode.unsupported("an operand has the wrong form"),
        }
    }

    /// A source of 64 bits.
    pub(crate) fn source64(&mut self, opcode: &Opcode, operand: &Operand) -> Result<Row> {
        match operand {
            Operand::Register(register) => match self.kind(*register) {
                RegisterKind::Bits64 => Ok(self.row_of(*register)),
                _ => opcode.unsupported("expects a 64-bit register"),
            },
            Operand::Integer(value) => self.constant64(*value),
            Operand::Double(bits) => self.constant64(*bits),
            Operand::Single(bits) => self.constant64(f64::from(f32::from_bits(*bits)).to_bits()),
            Operand::Symbol(name, displacement) => match self.symbol(name) {
                Some(Symbol::Global(address)) => self.constant64(address.wrapping_add(*displacement as u64)),
                Some(Symbol::Window(address)) => {
                    self.constant64(u64::from(address).wrapping_add(*displacement as u64))
                }
                _ => opcode.unsupported(format!("`{name}` has no address")),
            },
            _ => opcode.unsupported("an operand has the wrong form"),
        }
    }

    /// A source as wide as the type says.
    pub(crate) fn source(&mut self, opcode: &Opcode, ty: Type, operand: &Operand) -> Result<Row> {
        if ty.bytes() == 8 { self.source64(opcode, operand) } else { self.source32(opcode, operand) }
    }

    /// A source whose register decides the width: for `ld`, `st` and `cvt`, which accept wider ones.
    pub(crate) fn source_any(&mut self, opcode: &Opcode, ty: Type, operand: &Operand) -> Result<AnyRow> {
        if let Operand::Register(register) = operand {
            return self.any_register(opcode, *register, ty);
        }
        if ty.bytes() == 8 {
            self.source64(opcode, operand).map(AnyRow::Wide)
        } else {
            self.source32(opcode, operand).map(AnyRow::Narrow)
        }
    }

    fn any_register(&self, opcode: &Opcode, register: RegisterId, ty: Type) -> Result<AnyRow> {
        match (self.kind(register), ty.bytes()) {
            (RegisterKind::Bits64, _) => Ok(AnyRow::Wide(self.row_of(register))),
            (RegisterKind::Bits32, 0..=4) | (RegisterKind::Bits16, 0..=2) => {
                Ok(AnyRow::Narrow(self.row_of(register)))
            }
            _ => opcode.unsupported("a register is too narrow or of the wrong kind"),
        }
    }

    pub(crate) fn destination32(&mut self, opcode: &Opcode, operand: &Operand) -> Result<Row> {
        match operand {
            Operand::Register(_) => self.source32(opcode, operand),
            Operand::Sink => self.new_narrow(),
            _ => opcode.unsupported(NO_DESTINATION),
        }
    }

    pub(crate) fn destination64(&mut self, opcode: &Opcode, operand: &Operand) -> Result<Row> {
        match operand {
            Operand::Register(_) => self.source64(opcode, operand),
            Operand::Sink => self.new_wide(),
            _ => opcode.unsupported(NO_DESTINATION),
        }
    }

    pub(crate) fn destination(&mut self, opcode: &Opcode, ty: Type, operand: &Operand) -> Result<Row> {
        if ty.bytes() == 8 {
            self.destination64(opcode, operand)
        } else {
            self.destination32(opcode, operand)
        }
    }

    pub(crate) fn destination_any(&mut self, opcode: &Opcode, ty: Type, operand: &Operand) -> Result<AnyRow> {
        match operand {
            Operand::Register(register) => self.any_register(opcode, *register, ty),
            Operand::Sink if ty.bytes() == 8 => self.new_wide().map(AnyRow::Wide),
            Operand::Sink => self.new_narrow().map(AnyRow::Narrow),
            _ => opcode.unsupported(NO_DESTINATION),
        }
    }

    pub(crate) fn predicate(&mut self, opcode: &Opcode, operand: &Operand) -> Result<Predicate> {
        let (register, flip) = match operand {
            Operand::Register(register) => (*register, 0),
            Operand::NotRegister(register) => (*register, u32::MAX),
            Operand::Integer(value) => {
                return Ok(Predicate { row: TRUE, flip: if *value == 0 { u32::MAX } else { 0 } });
            }
            _ => return opcode.unsupported("expects a predicate"),
        };
        match self.kind(register) {
            RegisterKind::Predicate => Ok(Predicate { row: self.row_of(register), flip }),
            _ => opcode.unsupported("expects a predicate register"),
        }
    }

    pub(crate) fn predicate_destination(&mut self, opcode: &Opcode, operand: &Operand) -> Result<Row> {
        match operand {
            Operand::Sink => {
                self.layout.predicates += 1;
                row(self.entry, self.layout.predicates - 1)
            }
            Operand::Register(_) => self.predicate(opcode, operand).map(|predicate| predicate.row),
            _ => opcode.unsupported("the destination is not a predicate register"),
        }
    }

    /// `d|p` or just `d`; a missing second part goes nowhere.
    pub(crate) fn split_pair<'o>(&self, operand: &'o Operand<'o>) -> (&'o Operand<'o>, &'o Operand<'o>) {
        match operand {
            Operand::Pair(first, second) => (first, second),
            single => (single, &Operand::Sink),
        }
    }

    pub(crate) fn is_predicate(&self, operand: &Operand) -> bool {
        matches!(operand, Operand::Register(register) | Operand::NotRegister(register)
            if self.kind(*register) == RegisterKind::Predicate)
    }

    /// Checks how many operands an instruction has.
    pub(crate) fn operands<'o, const N: usize>(
        &self,
        opcode: &Opcode,
        operands: &'o [Operand<'o>],
    ) -> Result<&'o [Operand<'o>; N]> {
        match operands.try_into() {
            Ok(operands) => Ok(operands),
            Err(_) => opcode.unsupported(format!("has {} operands, expected {N}", operands.len())),
        }
    }
}

fn row(entry: &Entry, index: usize) -> Result<Row> {
    Row::try_from(index).map_err(|_| {
        PtxError::new(entry.line, format!("entry `{}` needs more than 65535 registers", entry.name))
    })
}

fn special_register(name: &str) -> Option<Special> {
    let (base, axis) = match name.rsplit_once('.') {
        Some((base, "x")) => (base, 0),
        Some((base, "y")) => (base, 1),
        Some((base, "z")) => (base, 2),
        Some(_) => return None,
        None => {
            return Some(match name {
                "%laneid" => Special::Lane,
                "%warpid" => Special::Warp,
                "%nwarpid" => Special::WarpCount,
                "%lanemask_eq" => Special::LaneMask(LaneMask::Equal),
                "%lanemask_lt" => Special::LaneMask(LaneMask::Less),
                "%lanemask_le" => Special::LaneMask(LaneMask::LessEqual),
                "%lanemask_gt" => Special::LaneMask(LaneMask::Greater),
                "%lanemask_ge" => Special::LaneMask(LaneMask::GreaterEqual),
                "%dynamic_smem_size" => Special::DynamicSharedBytes,
                "%total_smem_size" => Special::TotalSharedBytes,
                _ => return None,
            });
        }
    };
    Some(match base {
        "%tid" => Special::Thread(axis),
        "%ntid" => Special::BlockDim(axis),
        "%ctaid" => Special::Block(axis),
        "%nctaid" => Special::GridDim(axis),
        _ => return None,
    })
}

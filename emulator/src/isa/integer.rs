//! Integer arithmetic and logic: everything that means the same for each width, written once over
//! [`Int`].

use super::int::Int;
use crate::exec::registers::Registers;
use crate::program::decoder::{CARRY, Decoder, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

/// The six integer types; `.b` types count as unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntType {
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    LogicalNot,
    Neg,
    Abs,
    CountOnes,
    LeadingZeros,
    FindHighest,
    ShiftAmount,
    Reverse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    AddSaturating,
    Sub,
    SubSaturating,
    MulLow,
    MulHigh,
    Div,
    Rem,
    Min,
    Max,
    And,
    Or,
    Xor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ternary {
    MadLow,
    MadHigh,
    MadHighSaturating,
    AbsoluteDifference,
}

/// `add.cc`, `addc`, `sub.cc`, `subc`: with carry in, carry out, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CarryChain {
    subtract: bool,
    carry_in: bool,
    carry_out: bool,
}

#[derive(Debug)]
pub(crate) enum Integer {
    Unary {
        op: Unary,
        ty: IntType,
        d: Row,
        a: Row,
    },
    Binary {
        op: Binary,
        ty: IntType,
        d: Row,
        ab: (Row, Row),
    },
    Ternary {
        op: Ternary,
        ty: IntType,
        d: Row,
        abc: (Row, Row, Row),
    },
    /// The product of two values, twice as wide, plus a third (for `mul` a constant zero).
    Widening {
        ty: IntType,
        d: Row,
        abc: (Row, Row, Row),
    },
    ShiftLeft {
        ty: IntType,
        d: Row,
        ab: (Row, Row),
    },
    ShiftRight {
        ty: IntType,
        d: Row,
        ab: (Row, Row),
    },
    Carry {
        op: CarryChain,
        wide: bool,
        d: Row,
        ab: (Row, Row),
    },
    /// `add`, `min` and `max` on two packed halves.
    Packed {
        op: Binary,
        signed: bool,
        d: Row,
        ab: (Row, Row),
    },
}

pub(crate) fn int_type(opcode: &Opcode, ty: Type) -> Result<IntType> {
    Ok(match ty {
        Type::U16 | Type::B16 => IntType::U16,
        Type::S16 => IntType::S16,
        Type::U32 | Type::B32 => IntType::U32,
        Type::S32 => IntType::S32,
        Type::U64 | Type::B64 => IntType::U64,
        Type::S64 => IntType::S64,
        _ => return opcode.unsupported("needs an integer type"),
    })
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Integer>> {
    let unary = match opcode.base {
        "not" => Some(Unary::Not),
        "cnot" => Some(Unary::LogicalNot),
        "neg" => Some(Unary::Neg),
        "abs" => Some(Unary::Abs),
        "popc" => Some(Unary::CountOnes),
        "clz" => Some(Unary::LeadingZeros),
        "bfind" => Some(if opcode.take("shiftamt") { Unary::ShiftAmount } else { Unary::FindHighest }),
        "brev" => Some(Unary::Reverse),
        _ => None,
    };
    if let Some(op) = unary {
        let [d, a] = decoder.operands(opcode, operands)?;
        let ty = opcode.ty()?;
        let a = decoder.source(opcode, ty, a)?;
        // The counts are 32-bit numbers, whatever they count in.
        let counts =
            matches!(op, Unary::CountOnes | Unary::LeadingZeros | Unary::FindHighest | Unary::ShiftAmount);
        let d = decoder.destination(opcode, if counts { Type::U32 } else { ty }, d)?;
        return Ok(Some(Integer::Unary { op, ty: int_type(opcode, ty)?, d, a }));
    }
    let base = opcode.base;
    let binary = match base {
        "add" | "sub" | "addc" | "subc" if base.ends_with('c') || opcode.take("cc") => {
            return carry(decoder, opcode, operands).map(Some);
        }
        "add" if opcode.take("sat") => Binary::AddSaturating,
        "sub" if opcode.take("sat") => Binary::SubSaturating,
        "add" => Binary::Add,
        "sub" => Binary::Sub,
        "div" => Binary::Div,
        "rem" => Binary::Rem,
        "min" => Binary::Min,
        "max" => Binary::Max,
        "and" => Binary::And,
        "or" => Binary::Or,
        "xor" => Binary::Xor,
        "mul" | "mad" => return multiply(decoder, opcode, operands).map(Some),
        "mul24" | "mad24" if opcode.take("lo") => return multiply24(decoder, opcode, operands).map(Some),
        "sad" => {
            let [d, a, b, c] = decoder.operands(opcode, operands)?;
            return ternary(decoder, opcode, Ternary::AbsoluteDifference, [d, a, b, c]).map(Some);
        }
        "shl" | "shr" => {
            let [d, a, b] = decoder.operands(opcode, operands)?;
            let ty = opcode.ty()?;
            let ab = (decoder.source(opcode, ty, a)?, decoder.source32(opcode, b)?);
            let d = decoder.destination(opcode, ty, d)?;
            let ty = int_type(opcode, ty)?;
            return Ok(Some(if opcode.base == "shl" {
                Integer::ShiftLeft { ty, d, ab }
            } else {
                Integer::ShiftRight { ty, d, ab }
            }));
        }
        _ => return Ok(None),
    };
    let [d, a, b] = decoder.operands(opcode, operands)?;
    if let Some(signed) = opcode.take_any(&[("u16x2", false), ("s16x2", true)]) {
        let ab = (decoder.source32(opcode, a)?, decoder.source32(opcode, b)?);
        let d = decoder.destination32(opcode, d)?;
        return match binary {
            Binary::Add | Binary::Min | Binary::Max => {
                Ok(Some(Integer::Packed { op: binary, signed, d, ab }))
            }
            _ => opcode.unsupported("does not exist for packed halves"),
        };
    }
    let ty = opcode.ty()?;
    let ab = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
    let d = decoder.destination(opcode, ty, d)?;
    Ok(Some(Integer::Binary { op: binary, ty: int_type(opcode, ty)?, d, ab }))
}

fn carry(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Integer> {
    let [d, a, b] = decoder.operands(opcode, operands)?;
    let carry_in = opcode.base.ends_with('c');
    let carry_out = !carry_in || opcode.take("cc");
    let op = CarryChain { subtract: opcode.base.starts_with("sub"), carry_in, carry_out };
    let ty = opcode.ty()?;
    let wide = match int_type(opcode, ty)? {
        IntType::U32 | IntType::S32 => false,
        IntType::U64 | IntType::S64 => true,
        _ => return opcode.unsupported("carries exist for 32 and 64 bits"),
    };
    let ab = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
    Ok(Integer::Carry { op, wide, d: decoder.destination(opcode, ty, d)?, ab })
}

fn multiply(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Integer> {
    let part = opcode.require(&[("lo", 0), ("hi", 1), ("wide", 2)])?;
    if part == 2 {
        let ty = opcode.ty()?;
        let double = match ty {
            Type::U16 => Type::U32,
            Type::S16 => Type::S32,
            Type::U32 => Type::U64,
            Type::S32 => Type::S64,
            _ => return opcode.unsupported("a wide product is of 16 or 32 bits"),
        };
        let (d, a, b, c) = match operands {
            [d, a, b] if opcode.base == "mul" => (d, a, b, &Operand::Integer(0)),
            [d, a, b, c] if opcode.base == "mad" => (d, a, b, c),
            _ => return opcode.unsupported("has the wrong number of operands"),
        };
        let (a, b) = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
        let abc = (a, b, decoder.source(opcode, double, c)?);
        let d = decoder.destination(opcode, double, d)?;
        return Ok(Integer::Widening { ty: int_type(opcode, ty)?, d, abc });
    }
    if opcode.base == "mad" {
        let [d, a, b, c] = decoder.operands(opcode, operands)?;
        let op = match (part, opcode.take("sat")) {
            (0, false) => Ternary::MadLow,
            (1, false) => Ternary::MadHigh,
            (1, true) => Ternary::MadHighSaturating,
            _ => return opcode.unsupported("`.sat` belongs to `mad.hi.s32`"),
        };
        return ternary(decoder, opcode, op, [d, a, b, c]);
    }
    let [d, a, b] = decoder.operands(opcode, operands)?;
    let ty = opcode.ty()?;
    let ab = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
    let d = decoder.destination(opcode, ty, d)?;
    let op = if part == 0 { Binary::MulLow } else { Binary::MulHigh };
    Ok(Integer::Binary { op, ty: int_type(opcode, ty)?, d, ab })
}

/// The low 32 bits of a 24-bit product are those of the full one when the operands fit in 24 bits,
/// which is the instruction's own condition.
fn multiply24(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Integer> {
    match operands {
        [d, a, b] if opcode.base == "mul24" => {
            let ty = opcode.ty()?;
            let ab = (decoder.source32(opcode, a)?, decoder.source32(opcode, b)?);
            let d = decoder.destination32(opcode, d)?;
            Ok(Integer::Binary { op: Binary::MulLow, ty: int_type(opcode, ty)?, d, ab })
        }
        [d, a, b, c] if opcode.base == "mad24" => ternary(decoder, opcode, Ternary::MadLow, [d, a, b, c]),
        _ => opcode.unsupported("has the wrong number of operands"),
    }
}

fn ternary(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    op: Ternary,
    [d, a, b, c]: [&Operand; 4],
) -> Result<Integer> {
    let ty = opcode.ty()?;
    let mut source = |operand| decoder.source(opcode, ty, operand);
    let abc = (source(a)?, source(b)?, source(c)?);
    let d = decoder.destination(opcode, ty, d)?;
    Ok(Integer::Ternary { op, ty: int_type(opcode, ty)?, d, abc })
}

/// Runs a function over the type that a value names.
macro_rules! with_type {
    ($ty:expr, $function:ident($($argument:expr),*)) => {
        match $ty {
            IntType::U16 => $function::<u16>($($argument),*),
            IntType::S16 => $function::<i16>($($argument),*),
            IntType::U32 => $function::<u32>($($argument),*),
            IntType::S32 => $function::<i32>($($argument),*),
            IntType::U64 => $function::<u64>($($argument),*),
            IntType::S64 => $function::<i64>($($argument),*),
        }
    };
}
pub(crate) use with_type;

pub(crate) fn execute(op: &Integer, registers: &mut Registers, mask: u32) {
    match *op {
        Integer::Unary { op, ty, d, a } => with_type!(ty, unary(registers, mask, op, d, a)),
        Integer::Binary { op, ty, d, ab } => with_type!(ty, binary(registers, mask, op, d, ab)),
        Integer::Ternary { op, ty, d, abc } => with_type!(ty, ternary_lanes(registers, mask, op, d, abc)),
        Integer::Widening { ty, d, abc } => match ty {
            IntType::U16 => registers
                .map3(mask, d, abc, |a: u16, b: u16, c: u32| (u32::from(a) * u32::from(b)).wrapping_add(c)),
            IntType::S16 => registers
                .map3(mask, d, abc, |a: i16, b: i16, c: i32| (i32::from(a) * i32::from(b)).wrapping_add(c)),
            IntType::U32 => registers
                .map3(mask, d, abc, |a: u32, b: u32, c: u64| (u64::from(a) * u64::from(b)).wrapping_add(c)),
            _ => registers
                .map3(mask, d, abc, |a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c)),
        },
        Integer::ShiftLeft { ty, d, ab } => with_type!(ty, shift_left(registers, mask, d, ab)),
        Integer::ShiftRight { ty, d, ab } => with_type!(ty, shift_right(registers, mask, d, ab)),
        Integer::Carry { op, wide: false, d, ab } => {
            carry_lanes::<u32>(registers, mask, op, d, ab, u32::overflowing_add, u32::overflowing_sub);
        }
        Integer::Carry { op, wide: true, d, ab } => {
            carry_lanes::<u64>(registers, mask, op, d, ab, u64::overflowing_add, u64::overflowing_sub);
        }
        Integer::Packed { op, signed, d, ab } => registers.map2(mask, d, ab, |a: u32, b: u32| {
            let half = |a: u16, b: u16| match (op, signed) {
                (Binary::Add, _) => a.wrapping_add(b),
                (Binary::Min, false) => a.min(b),
                (Binary::Min, true) => (a as i16).min(b as i16) as u16,
                (_, false) => a.max(b),
                (_, true) => (a as i16).max(b as i16) as u16,
            };
            u32::from(half(a as u16, b as u16)) | u32::from(half((a >> 16) as u16, (b >> 16) as u16)) << 16
        }),
    }
}

fn unary<T: Int>(registers: &mut Registers, mask: u32, op: Unary, d: Row, a: Row) {
    match op {
        Unary::Not => registers.map1(mask, d, a, T::not),
        Unary::LogicalNot => registers.map1(mask, d, a, |a: T| T::from_bool(a == T::default())),
        Unary::Neg => registers.map1(mask, d, a, T::negate),
        Unary::Abs => registers.map1(mask, d, a, T::absolute),
        Unary::CountOnes => registers.map1(mask, d, a, T::ones),
        Unary::LeadingZeros => registers.map1(mask, d, a, T::zeros),
        Unary::FindHighest => registers.map1(mask, d, a, T::highest),
        Unary::ShiftAmount => registers.map1(mask, d, a, |a: T| match a.highest() {
            u32::MAX => u32::MAX,
            highest => T::BITS - 1 - highest,
        }),
        Unary::Reverse => registers.map1(mask, d, a, T::reversed),
    }
}

fn binary<T: Int>(registers: &mut Registers, mask: u32, op: Binary, d: Row, ab: (Row, Row)) {
    match op {
        Binary::Add => registers.map2(mask, d, ab, T::wrapping_add),
        Binary::AddSaturating => registers.map2(mask, d, ab, T::saturating_add),
        Binary::Sub => registers.map2(mask, d, ab, T::wrapping_sub),
        Binary::SubSaturating => registers.map2(mask, d, ab, T::saturating_sub),
        Binary::MulLow => registers.map2(mask, d, ab, T::wrapping_mul),
        Binary::MulHigh => registers.map2(mask, d, ab, T::high),
        Binary::Div => registers.map2(mask, d, ab, T::divide),
        Binary::Rem => registers.map2(mask, d, ab, T::remainder),
        Binary::Min => registers.map2(mask, d, ab, |a: T, b: T| a.min(b)),
        Binary::Max => registers.map2(mask, d, ab, |a: T, b: T| a.max(b)),
        Binary::And => registers.map2(mask, d, ab, T::and),
        Binary::Or => registers.map2(mask, d, ab, T::or),
        Binary::Xor => registers.map2(mask, d, ab, T::xor),
    }
}

fn ternary_lanes<T: Int>(registers: &mut Registers, mask: u32, op: Ternary, d: Row, abc: (Row, Row, Row)) {
    match op {
        Ternary::MadLow => {
            registers.map3(mask, d, abc, |a: T, b: T, c: T| a.wrapping_mul(b).wrapping_add(c));
        }
        Ternary::MadHigh => registers.map3(mask, d, abc, |a: T, b: T, c: T| a.high(b).wrapping_add(c)),
        Ternary::MadHighSaturating => {
            registers.map3(mask, d, abc, |a: T, b: T, c: T| a.high(b).saturating_add(c));
        }
        Ternary::AbsoluteDifference => registers.map3(mask, d, abc, |a: T, b: T, c: T| {
            let difference = if a < b { b.wrapping_sub(a) } else { a.wrapping_sub(b) };
            difference.wrapping_add(c)
        }),
    }
}

fn shift_left<T: Int>(registers: &mut Registers, mask: u32, d: Row, ab: (Row, Row)) {
    registers.map2(mask, d, ab, |a: T, amount: u32| a.left(amount));
}

/// Arithmetic for signed types; an amount beyond the width leaves only the sign.
fn shift_right<T: Int>(registers: &mut Registers, mask: u32, d: Row, ab: (Row, Row)) {
    registers.map2(mask, d, ab, |a: T, amount: u32| {
        let shifted = a.right(amount);
        if amount >= T::BITS && a > T::default() { T::default() } else { shifted }
    });
}

fn carry_lanes<T: Int>(
    registers: &mut Registers,
    mask: u32,
    op: CarryChain,
    d: Row,
    (a, b): (Row, Row),
    add: fn(T, T) -> (T, bool),
    sub: fn(T, T) -> (T, bool),
) {
    let step = if op.subtract { sub } else { add };
    let carry = registers.predicates[CARRY as usize];
    let mut out = *T::row(registers, d);
    let mut carries = 0;
    for (lane, out) in out.iter_mut().enumerate() {
        let (a, b) = (T::from_bits(T::row(registers, a)[lane]), T::from_bits(T::row(registers, b)[lane]));
        let (value, first) = step(a, b);
        let (value, second) = step(value, T::from_bool(op.carry_in && carry >> lane & 1 != 0));
        *out = value.into_bits();
        carries |= u32::from(first || second) << lane;
    }
    registers.write::<T>(mask, d, &out);
    if op.carry_out {
        registers.set_predicate(mask, CARRY, carries);
    }
}

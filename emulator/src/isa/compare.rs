//! Comparison, selection and logic on predicates.

use super::integer::{IntType, int_type, with_type};
use super::rounding::{BF16, F16};
use crate::exec::registers::{LANES, Lane, Registers};
use crate::program::decoder::{ALWAYS, Decoder, Predicate, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// Neither is NaN.
    Number,
    Nan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    comparison: Comparison,
    /// For floats: true if either is NaN.
    unordered: bool,
    flush: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

const LOGIC: &[(&str, Logic)] = &[("and", Logic::And), ("or", Logic::Or), ("xor", Logic::Xor)];

impl Logic {
    fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            Logic::And => a & b,
            Logic::Or => a | b,
            Logic::Xor => a ^ b,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Compare {
    /// `p` gets the test combined with `c`, `q` its complement combined with `c`.
    SetPredicate {
        test: Test,
        ty: Type,
        p: Row,
        q: Option<Row>,
        ab: (Row, Row),
        with: (Logic, Predicate),
    },
    /// All ones (or 1.0) where the test holds.
    Set {
        test: Test,
        ty: Type,
        one: u32,
        d: Row,
        ab: (Row, Row),
        with: (Logic, Predicate),
    },
    Select {
        wide: bool,
        d: Row,
        ab: (Row, Row),
        condition: Predicate,
    },
    /// `a` where `c >= 0`.
    SelectBySign {
        wide: bool,
        float: bool,
        d: Row,
        abc: (Row, Row, Row),
    },
    Logic {
        op: Logic,
        d: Row,
        a: Predicate,
        b: Predicate,
    },
    /// Whether a float is finite, infinite, and so on.
    Classify {
        class: Class,
        wide: bool,
        p: Row,
        a: Row,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Compare>> {
    let base = opcode.base;
    Ok(Some(match base {
        "setp" | "set" => return set(decoder, opcode, operands).map(Some),
        "selp" => {
            let ty = opcode.ty()?;
            let [d, a, b, c] = decoder.operands(opcode, operands)?;
            let ab = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
            let condition = decoder.predicate(opcode, c)?;
            Compare::Select { wide: ty.bytes() == 8, d: decoder.destination(opcode, ty, d)?, ab, condition }
        }
        "slct" => {
            opcode.take("ftz");
            let (ty, by) = (opcode.ty()?, opcode.ty()?);
            let [d, a, b, c] = decoder.operands(opcode, operands)?;
            let (a, b) = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
            let abc = (a, b, decoder.source32(opcode, c)?);
            let d = decoder.destination(opcode, ty, d)?;
            Compare::SelectBySign { wide: ty.bytes() == 8, float: by == Type::F32, d, abc }
        }
        "and" | "or" | "xor" if opcode.take("pred") => {
            let op = match opcode.base {
                "and" => Logic::And,
                "or" => Logic::Or,
                _ => Logic::Xor,
            };
            let [d, a, b] = decoder.operands(opcode, operands)?;
            let (a, b) = (decoder.predicate(opcode, a)?, decoder.predicate(opcode, b)?);
            Compare::Logic { op, d: decoder.predicate_destination(opcode, d)?, a, b }
        }
        "not" | "mov" if opcode.take("pred") => {
            let [d, a] = decoder.operands(opcode, operands)?;
            let mut a = decoder.predicate(opcode, a)?;
            if opcode.base == "not" {
                a.flip = !a.flip;
            }
            let d = decoder.predicate_destination(opcode, d)?;
            Compare::Logic { op: Logic::And, d, a, b: ALWAYS }
        }
        "testp" => {
            let class = opcode.require(&[
                ("finite", Class::Finite),
                ("infinite", Class::Infinite),
                ("number", Class::Number),
                ("notanumber", Class::NotANumber),
                ("normal", Class::Normal),
                ("subnormal", Class::Subnormal),
            ])?;
            let ty = opcode.require(&[("f32", Type::F32), ("f64", Type::F64)])?;
            let [p, a] = decoder.operands(opcode, operands)?;
            let a = decoder.source(opcode, ty, a)?;
            let p = decoder.predicate_destination(opcode, p)?;
            Compare::Classify { class, wide: ty == Type::F64, p, a }
        }
        _ => return Ok(None),
    }))
}

const COMPARISONS: &[(&str, (Comparison, bool))] = &[
    ("eq", (Comparison::Equal, false)),
    ("ne", (Comparison::NotEqual, false)),
    ("lt", (Comparison::Less, false)),
    ("le", (Comparison::LessEqual, false)),
    ("gt", (Comparison::Greater, false)),
    ("ge", (Comparison::GreaterEqual, false)),
    ("lo", (Comparison::Less, false)),
    ("ls", (Comparison::LessEqual, false)),
    ("hi", (Comparison::Greater, false)),
    ("hs", (Comparison::GreaterEqual, false)),
    ("equ", (Comparison::Equal, true)),
    ("neu", (Comparison::NotEqual, true)),
    ("ltu", (Comparison::Less, true)),
    ("leu", (Comparison::LessEqual, true)),
    ("gtu", (Comparison::Greater, true)),
    ("geu", (Comparison::GreaterEqual, true)),
    ("num", (Comparison::Number, false)),
    ("nan", (Comparison::Nan, true)),
];

fn set(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Compare> {
    let (comparison, unordered) = opcode.require(COMPARISONS)?;
    let logic = opcode.take_any(LOGIC);
    let test = Test { comparison, unordered, flush: opcode.take("ftz") };
    let (d, a, b, c) = match (operands, logic) {
        ([d, a, b], None) => (d, a, b, None),
        ([d, a, b, c], Some(_)) => (d, a, b, Some(c)),
        _ => return opcode.unsupported("has the wrong number of operands"),
    };
    let with = match c {
        Some(c) => (logic.unwrap_or(Logic::And), decoder.predicate(opcode, c)?),
        None => (Logic::And, ALWAYS),
    };
    let to = if opcode.base == "set" {
        Some(opcode.require(&[("u32", u32::MAX), ("s32", u32::MAX), ("f32", 1f32.to_bits())])?)
    } else {
        None
    };
    let ty = opcode.ty()?;
    if matches!(ty, Type::F16x2 | Type::BF16x2) || ty.bytes() == 1 {
        return opcode.unsupported("compares values of 16, 32 or 64 bits, one at a time");
    }
    let ab = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
    if let Some(one) = to {
        return Ok(Compare::Set { test, ty, one, d: decoder.destination32(opcode, d)?, ab, with });
    }
    let (p, q) = decoder.split_pair(d);
    let p = decoder.predicate_destination(opcode, p)?;
    let q = match q {
        Operand::Sink => None,
        q => Some(decoder.predicate_destination(opcode, q)?),
    };
    Ok(Compare::SetPredicate { test, ty, p, q, ab, with })
}

pub(crate) fn execute(op: &Compare, registers: &mut Registers, mask: u32) {
    match *op {
        Compare::SetPredicate { test, ty, p, q, ab, with } => {
            let holds = run_test(registers, test, ty, ab);
            let c = registers.predicate(with.1);
            registers.set_predicate(mask, p, with.0.apply(holds, c));
            if let Some(q) = q {
                registers.set_predicate(mask, q, with.0.apply(!holds, c));
            }
        }
        Compare::Set { test, ty, one, d, ab, with } => {
            let holds = with.0.apply(run_test(registers, test, ty, ab), registers.predicate(with.1));
            let values = std::array::from_fn(|lane| if holds >> lane & 1 != 0 { one } else { 0 });
            registers.write::<u32>(mask, d, &values);
        }
        Compare::Select { wide: false, d, ab, condition } => {
            select::<u32>(registers, mask, d, ab, condition);
        }
        Compare::Select { wide: true, d, ab, condition } => select::<u64>(registers, mask, d, ab, condition),
        Compare::SelectBySign { wide, float, d, abc: (a, b, c) } => {
            let positive = |bits: u32| {
                if float { f32::from_bits(bits) >= 0.0 } else { bits as i32 >= 0 }
            };
            if wide {
                registers.map3(mask, d, (a, b, c), |a: u64, b: u64, c| if positive(c) { a } else { b });
            } else {
                registers.map3(mask, d, (a, b, c), |a: u32, b: u32, c| if positive(c) { a } else { b });
            }
        }
        Compare::Logic { op, d, a, b } => {
            let bits = op.apply(registers.predicate(a), registers.predicate(b));
            registers.set_predicate(mask, d, bits);
        }
        Compare::Classify { class, wide, p, a } => {
            let bits = if wide {
                registers.test2::<f64>(a, a, |a, _| classify(class, a.classify()))
            } else {
                registers.test2::<f32>(a, a, |a, _| classify(class, a.classify()))
            };
            registers.set_predicate(mask, p, bits);
        }
    }
}

fn classify(class: Class, found: std::num::FpCategory) -> bool {
    use std::num::FpCategory;
    match class {
        Class::Finite => !matches!(found, FpCategory::Nan | FpCategory::Infinite),
        Class::Infinite => found == FpCategory::Infinite,
        Class::Number => found != FpCategory::Nan,
        Class::NotANumber => found == FpCategory::Nan,
        Class::Normal => found == FpCategory::Normal,
        Class::Subnormal => found == FpCategory::Subnormal,
    }
}

fn select<T: Lane>(registers: &mut Registers, mask: u32, d: Row, (a, b): (Row, Row), condition: Predicate) {
    let chosen = registers.predicate(condition);
    let (a, mut out) = (T::row(registers, a), *T::row(registers, b));
    for lane in 0..LANES {
        if chosen >> lane & 1 != 0 {
            out[lane] = a[lane];
        }
    }
    registers.write::<T>(mask, d, &out);
}

fn run_test(registers: &Registers, test: Test, ty: Type, (a, b): (Row, Row)) -> u32 {
    if ty.is_integer() {
        // `int_type` cannot fail here: the decoder has refused bytes.
        let ty = int_type(&Opcode::new(0, "setp"), ty).unwrap_or(IntType::U32);
        return with_type!(ty, ordered(registers, test, a, b));
    }
    match ty {
        Type::F64 => floats(registers, test, a, b, |bits: f64| bits),
        Type::F32 if test.flush => {
            floats(
                registers,
                test,
                a,
                b,
                |value: f32| {
                    if value.is_subnormal() { 0.0 } else { f64::from(value) }
                },
            )
        }
        Type::F32 => floats(registers, test, a, b, |value: f32| f64::from(value)),
        Type::F16 => floats(registers, test, a, b, |bits: u16| F16.to_f64(bits.into())),
        _ => floats(registers, test, a, b, |bits: u16| BF16.to_f64(bits.into())),
    }
}

fn ordered<T: Lane + PartialOrd>(registers: &Registers, test: Test, a: Row, b: Row) -> u32 {
    match test.comparison {
        Comparison::Equal => registers.test2(a, b, |a: T, b: T| a == b),
        Comparison::NotEqual => registers.test2(a, b, |a: T, b: T| a != b),
        Comparison::Less => registers.test2(a, b, |a: T, b: T| a < b),
        Comparison::LessEqual => registers.test2(a, b, |a: T, b: T| a <= b),
        Comparison::Greater => registers.test2(a, b, |a: T, b: T| a > b),
        Comparison::GreaterEqual => registers.test2(a, b, |a: T, b: T| a >= b),
        Comparison::Number => u32::MAX,
        Comparison::Nan => 0,
    }
}

fn floats<T: Lane>(registers: &Registers, test: Test, a: Row, b: Row, value: impl Fn(T) -> f64) -> u32 {
    registers.test2(a, b, |a: T, b: T| {
        let (a, b) = (value(a), value(b));
        if a.is_nan() || b.is_nan() {
            return test.unordered;
        }
        match test.comparison {
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b,
            Comparison::Less => a < b,
            Comparison::LessEqual => a <= b,
            Comparison::Greater => a > b,
            Comparison::GreaterEqual => a >= b,
            Comparison::Number => true,
            Comparison::Nan => false,
        }
    })
}

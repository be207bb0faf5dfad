//! Floating-point arithmetic. The common case, f32 and f64 rounded to nearest, runs on the machine's
//! own arithmetic; every other format, rounding or flush goes through [`rounding`], lane by lane.
//!
//! The `.approx` functions are computed exactly and rounded to nearest: hardware may differ in the last
//! bits, within the bounds of the ISA document.

use super::rounding::{self, BF16, F16, F32, Format, ROUNDINGS, Rounding};
use crate::exec::registers::Registers;
use crate::program::decoder::{Decoder, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatOp {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Min,
    Max,
    Abs,
    Neg,
    Reciprocal,
    SquareRoot,
    ReciprocalRoot,
    Sin,
    Cos,
    Log2,
    Exp2,
    Tanh,
    CopySign,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Float {
    op: FloatOp,
    ty: Type,
    /// The format of all inputs but the last, where that of an f32 operation is another one.
    narrow: Option<Format>,
    mode: Mode,
    d: Row,
    abc: (Row, Row, Row),
}

#[derive(Debug, Clone, Copy)]
struct Mode {
    rounding: Rounding,
    /// Subnormal inputs and results become zero.
    flush: bool,
    /// The result is clamped to 0..=1; NaN becomes 0.
    saturate: bool,
    /// Negative results and NaN become 0.
    relu: bool,
    /// `min` and `max` return NaN if either input is NaN.
    keep_nan: bool,
}

impl Mode {
    fn is_plain(self) -> bool {
        self.rounding == Rounding::Nearest && !self.flush && !self.saturate && !self.relu
    }
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Float>> {
    let (op, inputs) = match opcode.base {
        "add" => (FloatOp::Add, 2),
        "sub" => (FloatOp::Sub, 2),
        "mul" => (FloatOp::Mul, 2),
        "fma" | "mad" => (FloatOp::Fma, 3),
        "div" => (FloatOp::Div, 2),
        "min" => (FloatOp::Min, 2),
        "max" => (FloatOp::Max, 2),
        "abs" => (FloatOp::Abs, 1),
        "neg" => (FloatOp::Neg, 1),
        "rcp" => (FloatOp::Reciprocal, 1),
        "sqrt" => (FloatOp::SquareRoot, 1),
        "rsqrt" => (FloatOp::ReciprocalRoot, 1),
        "sin" => (FloatOp::Sin, 1),
        "cos" => (FloatOp::Cos, 1),
        "lg2" => (FloatOp::Log2, 1),
        "ex2" => (FloatOp::Exp2, 1),
        "tanh" => (FloatOp::Tanh, 1),
        "copysign" => (FloatOp::CopySign, 2),
        _ => return Ok(None),
    };
    opcode.ignore(&["approx", "full"]);
    let mode = Mode {
        rounding: opcode.take_any(ROUNDINGS).unwrap_or(Rounding::Nearest),
        flush: opcode.take("ftz"),
        saturate: opcode.take("sat"),
        relu: opcode.take("relu"),
        keep_nan: opcode.take("NaN"),
    };
    let ty = opcode.ty()?;
    match ty {
        Type::F64 if !mode.is_plain() => {
            return opcode.unsupported("f64 is supported in round-to-nearest only");
        }
        Type::F32x2 if !matches!(op, FloatOp::Add | FloatOp::Sub | FloatOp::Mul | FloatOp::Fma) => {
            return opcode.unsupported("pairs of f32 are added, subtracted and multiplied only");
        }
        Type::F32 | Type::F32x2 | Type::F64 | Type::F16 | Type::F16x2 | Type::BF16 | Type::BF16x2 => {}
        _ => return opcode.unsupported("needs a floating-point type"),
    }
    let narrow = match (op, ty, opcode.peek_type()) {
        (FloatOp::Add | FloatOp::Sub | FloatOp::Fma, Type::F32, Some(narrow)) => {
            opcode.ty()?;
            Some((narrow, if narrow == Type::BF16 { BF16 } else { F16 }))
        }
        _ => None,
    };
    if narrow.is_some_and(|(narrow, _)| !matches!(narrow, Type::F16 | Type::BF16)) {
        return opcode.unsupported("inputs of f32 operations are f32, f16 or bf16");
    }
    if operands.len() != inputs + 1 {
        return opcode.unsupported(format!("has {} operands, expected {}", operands.len(), inputs + 1));
    }
    let mut rows = [0; 3];
    for (i, (row, operand)) in rows.iter_mut().zip(&operands[1..]).enumerate() {
        let ty = narrow.filter(|_| i + 1 < inputs).map_or(ty, |(narrow, _)| narrow);
        *row = decoder.source(opcode, ty, operand)?;
    }
    for unused in inputs..3 {
        rows[unused] = rows[0];
    }
    // `copysign d, a, b` takes the sign of a.
    if op == FloatOp::CopySign {
        rows.swap(0, 1);
    }
    let d = decoder.destination(opcode, ty, &operands[0])?;
    let narrow = narrow.map(|(_, format)| format);
    Ok(Some(Float { op, ty, narrow, mode, d, abc: (rows[0], rows[1], rows[2]) }))
}

pub(crate) fn execute(float: &Float, registers: &mut Registers, mask: u32) {
    let Float { op, ty, narrow, mode, d, abc } = *float;
    if let Some(format) = narrow {
        let widened = |bits: u16| F32.round(format.to_f64(bits.into()), Rounding::Nearest);
        return match op {
            FloatOp::Fma => registers.map3(mask, d, abc, |a: u16, b: u16, c: u32| {
                lane(F32, op, mode, [widened(a), widened(b), c])
            }),
            _ => registers
                .map2(mask, d, (abc.0, abc.1), |a: u16, b: u32| lane(F32, op, mode, [widened(a), b, 0])),
        };
    }
    match ty {
        Type::F32 if mode.is_plain() => single(registers, mask, op, mode, d, abc),
        Type::F64 => double(registers, mask, op, mode, d, abc),
        Type::F32 => registers.map3(mask, d, abc, |a, b, c| lane(F32, op, mode, [a, b, c])),
        Type::F32x2 => registers.map3(mask, d, abc, |a, b, c| pair(op, mode, [a, b, c])),
        Type::F16 => registers
            .map3(mask, d, abc, |a: u16, b: u16, c: u16| lane(F16, op, mode, [a, b, c].map(u32::from))),
        Type::BF16 => registers
            .map3(mask, d, abc, |a: u16, b: u16, c: u16| lane(BF16, op, mode, [a, b, c].map(u32::from))),
        Type::F16x2 => registers.map3(mask, d, abc, |a, b, c| halves(F16, op, mode, [a, b, c])),
        _ => registers.map3(mask, d, abc, |a, b, c| halves(BF16, op, mode, [a, b, c])),
    }
}

/// Two `f32`, the first in the low half.
fn pair(op: FloatOp, mode: Mode, inputs: [u64; 3]) -> u64 {
    let low = lane(F32, op, mode, inputs.map(|bits| bits as u32));
    let high = lane(F32, op, mode, inputs.map(|bits| (bits >> 32) as u32));
    u64::from(low) | u64::from(high) << 32
}

fn halves(format: Format, op: FloatOp, mode: Mode, inputs: [u32; 3]) -> u32 {
    let low = lane(format, op, mode, inputs.map(|bits| bits & 0xffff));
    let high = lane(format, op, mode, inputs.map(|bits| bits >> 16));
    low | high << 16
}

/// f32 in round-to-nearest.
fn single(registers: &mut Registers, mask: u32, op: FloatOp, mode: Mode, d: Row, (a, b, c): (Row, Row, Row)) {
    match op {
        FloatOp::Add => registers.map2(mask, d, (a, b), |a: f32, b: f32| a + b),
        FloatOp::Sub => registers.map2(mask, d, (a, b), |a: f32, b: f32| a - b),
        FloatOp::Mul => registers.map2(mask, d, (a, b), |a: f32, b: f32| a * b),
        FloatOp::Div => registers.map2(mask, d, (a, b), |a: f32, b: f32| a / b),
        FloatOp::Fma => registers.map3(mask, d, (a, b, c), f32::mul_add),
        FloatOp::Abs => registers.map1(mask, d, a, |a: u32| a & 0x7fff_ffff),
        FloatOp::Neg => registers.map1(mask, d, a, |a: u32| a ^ 0x8000_0000),
        _ => registers.map3(mask, d, (a, b, c), |a, b, c| lane(F32, op, mode, [a, b, c])),
    }
}

fn double(registers: &mut Registers, mask: u32, op: FloatOp, mode: Mode, d: Row, abc: (Row, Row, Row)) {
    registers.map3(mask, d, abc, |a: f64, b: f64, c: f64| match op {
        FloatOp::Add => a + b,
        FloatOp::Sub => a - b,
        FloatOp::Mul => a * b,
        FloatOp::Fma => a.mul_add(b, c),
        FloatOp::Div => a / b,
        _ => other(op, mode, a, b),
    });
}

/// One value of any format up to 32 bits.
fn lane(format: Format, op: FloatOp, mode: Mode, inputs: [u32; 3]) -> u32 {
    let sign_bit = if format == F32 { 0x8000_0000 } else { 0x8000 };
    match op {
        FloatOp::Neg if !mode.flush => return inputs[0] ^ sign_bit,
        FloatOp::Abs if !mode.flush => return inputs[0] & !sign_bit,
        _ => {}
    }
    let flush = |bits: u32| if mode.flush { flush_subnormal(format, bits) } else { bits };
    let [a, b, c] = inputs.map(|bits| format.to_f64(flush(bits)));
    let value = match op {
        FloatOp::Add => rounding::add(a, b),
        FloatOp::Sub => rounding::add(a, -b),
        FloatOp::Mul => a * b,
        FloatOp::Fma => rounding::fma(a, b, c),
        FloatOp::Div => rounding::div(a, b),
        FloatOp::Reciprocal => rounding::div(1.0, a),
        FloatOp::SquareRoot => rounding::sqrt(a),
        _ => other(op, mode, a, b),
    };
    let value = match mode {
        Mode { saturate: true, .. } if value.is_nan() => 0.0,
        Mode { saturate: true, .. } => value.clamp(0.0, 1.0),
        Mode { relu: true, .. } if !value.is_nan() && value <= 0.0 => 0.0,
        _ => value,
    };
    flush(format.round(value, mode.rounding))
}

fn flush_subnormal(format: Format, bits: u32) -> u32 {
    let (sign, smallest_normal) = match format {
        F32 => (0x8000_0000, 0x80_0000),
        F16 => (0x8000, 0x400),
        _ => (0x8000, 0x80),
    };
    if bits & !sign < smallest_normal { bits & sign } else { bits }
}

/// The functions whose f64 result needs no care before it is rounded.
fn other(op: FloatOp, mode: Mode, a: f64, b: f64) -> f64 {
    match op {
        FloatOp::Min => smaller(a, b, mode.keep_nan),
        FloatOp::Max => -smaller(-a, -b, mode.keep_nan),
        FloatOp::Abs => a.abs(),
        FloatOp::Neg => -a,
        FloatOp::Reciprocal => 1.0 / a,
        FloatOp::SquareRoot => a.sqrt(),
        FloatOp::ReciprocalRoot => 1.0 / a.sqrt(),
        FloatOp::Sin => a.sin(),
        FloatOp::Cos => a.cos(),
        FloatOp::Log2 => a.log2(),
        FloatOp::Exp2 => a.exp2(),
        FloatOp::Tanh => a.tanh(),
        FloatOp::CopySign => a.copysign(b),
        FloatOp::Add | FloatOp::Sub | FloatOp::Mul | FloatOp::Fma | FloatOp::Div => f64::NAN,
    }
}

/// The minimum with -0 below +0; a NaN loses against a number unless it is to be kept.
fn smaller(a: f64, b: f64, keep_nan: bool) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => f64::NAN,
        (true, false) => {
            if keep_nan {
                a
            } else {
                b
            }
        }
        (false, true) => {
            if keep_nan {
                b
            } else {
                a
            }
        }
        _ if a == b => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        _ => {
            if a < b {
                a
            } else {
                b
            }
        }
    }
}

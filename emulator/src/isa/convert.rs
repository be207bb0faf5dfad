//! `cvt`: between integers and floating-point formats, through one exact intermediate value.

use super::rounding::{self, BF16, E4M3, E5M2, F16, F32, Format, ROUNDINGS, Rounding};
use crate::exec::registers::{LANES, Registers};
use crate::program::decoder::{AnyRow, Decoder, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

/// How a value is rounded: to the destination's precision, or first to an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Precision(Rounding),
    Integer(Rounding),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    round: Round,
    flush: bool,
    saturate: bool,
    relu: bool,
}

#[derive(Debug)]
pub(crate) enum Convert {
    Scalar {
        to: Type,
        from: Type,
        mode: Mode,
        d: AnyRow,
        a: AnyRow,
    },
    /// Two f32 into the halves of a packed register: `a` above `b`.
    Pack {
        format: Format,
        width: u32,
        mode: Mode,
        d: Row,
        ab: (Row, Row),
    },
    /// Two packed 16-bit floats into two bytes, or back.
    PackedPair {
        from: Format,
        from_width: u32,
        to: Format,
        to_width: u32,
        mode: Mode,
        d: Row,
        a: Row,
    },
    /// `cvt.pack.sat`: two clamped integers, and for 8 bits the low half of `c` shifted up.
    PackIntegers {
        to: Type,
        signed: bool,
        d: Row,
        abc: (Row, Row, Row),
    },
}

const INTEGER_ROUNDINGS: &[(&str, Rounding)] =
    &[("rni", Rounding::Nearest), ("rzi", Rounding::Zero), ("rmi", Rounding::Down), ("rpi", Rounding::Up)];

fn format_of(ty: Type) -> Option<(Format, u32)> {
    Some(match ty {
        Type::F16 | Type::F16x2 => (F16, 16),
        Type::BF16 | Type::BF16x2 => (BF16, 16),
        Type::F32 => (F32, 32),
        Type::E4M3 | Type::E4M3x2 => (E4M3, 8),
        Type::E5M2 | Type::E5M2x2 => (E5M2, 8),
        _ => return None,
    })
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Convert>> {
    if opcode.base != "cvt" {
        return Ok(None);
    }
    if opcode.take("pack") {
        return pack_integers(decoder, opcode, operands).map(Some);
    }
    let round = match opcode.take_any(INTEGER_ROUNDINGS) {
        Some(rounding) => Round::Integer(rounding),
        None => Round::Precision(opcode.take_any(ROUNDINGS).unwrap_or(Rounding::Nearest)),
    };
    let mode =
        Mode { round, flush: opcode.take("ftz"), saturate: opcode.take("sat"), relu: opcode.take("relu") };
    // Formats without infinities saturate by themselves; for the others it is another instruction.
    let satfinite = opcode.take("satfinite");
    let (to, from) = (opcode.ty()?, opcode.ty()?);
    let eight_bit = matches!(to, Type::E4M3x2 | Type::E5M2x2);
    if satfinite != eight_bit {
        return opcode.unsupported("`.satfinite` belongs to the 8-bit formats, which require it");
    }
    match (to, from) {
        (Type::F16x2 | Type::BF16x2 | Type::E4M3x2 | Type::E5M2x2, Type::F32) => {
            let [d, a, b] = decoder.operands(opcode, operands)?;
            let ab = (decoder.source32(opcode, a)?, decoder.source32(opcode, b)?);
            let Some((format, width)) = format_of(to) else { return Ok(None) };
            Ok(Some(Convert::Pack { format, width, mode, d: decoder.destination32(opcode, d)?, ab }))
        }
        (Type::E4M3x2 | Type::E5M2x2, Type::F16x2) | (Type::F16x2, Type::E4M3x2 | Type::E5M2x2) => {
            let [d, a] = decoder.operands(opcode, operands)?;
            let (a, d) = (decoder.source32(opcode, a)?, decoder.destination32(opcode, d)?);
            let (Some((to, to_width)), Some((from, from_width))) = (format_of(to), format_of(from)) else {
                return Ok(None);
            };
            Ok(Some(Convert::PackedPair { from, from_width, to, to_width, mode, d, a }))
        }
        _ => {
            let scalar =
                |ty: Type| ty.is_integer() || matches!(ty, Type::F16 | Type::BF16 | Type::F32 | Type::F64);
            if !(scalar(to) || to == Type::TF32) || !scalar(from) {
                return opcode.unsupported("converts between types that are not supported here");
            }
            if to == Type::F64 && mode.round != Round::Precision(Rounding::Nearest) && from.is_integer() {
                return opcode.unsupported("f64 is supported in round-to-nearest only");
            }
            if to.is_integer() && !from.is_integer() && matches!(mode.round, Round::Precision(_)) {
                return opcode.unsupported("needs an integer rounding such as `.rzi`");
            }
            let [d, a] = decoder.operands(opcode, operands)?;
            let a = decoder.source_any(opcode, from, a)?;
            let d = decoder.destination_any(opcode, to, d)?;
            Ok(Some(Convert::Scalar { to, from, mode, d, a }))
        }
    }
}

fn pack_integers(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Convert> {
    if !opcode.take("sat") {
        return opcode.unsupported("exists with `.sat` only");
    }
    let to = opcode.require(&[("u16", Type::U16), ("s16", Type::S16), ("u8", Type::U8), ("s8", Type::S8)])?;
    let signed = opcode.require(&[("s32", true), ("u32", false)])?;
    opcode.take("b32");
    let (d, a, b, c) = match operands {
        [d, a, b] if to.bytes() == 2 => (d, a, b, &Operand::Integer(0)),
        [d, a, b, c] if to.bytes() == 1 => (d, a, b, c),
        _ => return opcode.unsupported("has the wrong number of operands"),
    };
    let mut source = |operand| decoder.source32(opcode, operand);
    let abc = (source(a)?, source(b)?, source(c)?);
    Ok(Convert::PackIntegers { to, signed, d: decoder.destination32(opcode, d)?, abc })
}

pub(crate) fn execute(op: &Convert, registers: &mut Registers, mask: u32) {
    match *op {
        Convert::Scalar { to, from, mode, d: AnyRow::Narrow(d), a: AnyRow::Narrow(a) }
            if let Some(()) = fast(registers, mask, to, from, mode, d, a) => {}
        Convert::Scalar { to, from, mode, d, a } => {
            let source = registers.read_any(a);
            let widen = destination_extends(to, d);
            let mut out = [0; LANES];
            for lane in 0..LANES {
                if mask >> lane & 1 != 0 {
                    out[lane] = widen(scalar(to, from, mode, source[lane]));
                }
            }
            registers.write_any(mask, d, &out);
        }
        Convert::Pack { format, width, mode, d, ab } => {
            registers.map2(mask, d, ab, |a: u32, b: u32| {
                let part = |bits| from_float(format, mode, flushed(mode.flush, bits));
                part(a) << width | part(b)
            });
        }
        Convert::PackedPair { from, from_width, to, to_width, mode, d, a } => {
            registers.map1(mask, d, a, |a: u32| {
                let field = (1 << from_width) - 1;
                let part = |bits: u32| from_float(to, mode, from.to_f64(bits & field));
                part(a) | part(a >> from_width) << to_width
            });
        }
        Convert::PackIntegers { to, signed, d, abc } => {
            registers.map3(mask, d, abc, |a: u32, b: u32, c: u32| {
                let part = |value: u32| {
                    let value = if signed { i128::from(value as i32) } else { i128::from(value) };
                    clamp(to, value) as u32 & ((1u64 << (8 * to.bytes())) - 1) as u32
                };
                let bits = 8 * to.bytes() as u32;
                // The third operand's lower half moves above the two new bytes.
                let above = if bits == 8 { c << 16 } else { 0 };
                above | part(a) << bits | part(b)
            });
        }
    }
}

/// The conversions that kernels are full of, as plain loops; None if this is not one of them.
fn fast(
    registers: &mut Registers,
    mask: u32,
    to: Type,
    from: Type,
    mode: Mode,
    d: Row,
    a: Row,
) -> Option<()> {
    if mode.flush || mode.saturate || mode.relu {
        return None;
    }
    match (to, from, mode.round) {
        (Type::U32 | Type::S32, Type::U16 | Type::B16, _) => {
            registers.map1(mask, d, a, |a: u16| u32::from(a))
        }
        (Type::U32 | Type::S32, Type::U8 | Type::B8, _) => registers.map1(mask, d, a, |a: u32| a & 0xff),
        (Type::U32 | Type::S32, Type::S16, _) => registers.map1(mask, d, a, |a: i16| i32::from(a)),
        (Type::U32 | Type::S32, Type::S8, _) => registers.map1(mask, d, a, |a: u32| i32::from(a as i8)),
        (Type::U16 | Type::S16, Type::U32 | Type::S32, _) => registers.map1(mask, d, a, |a: u32| a & 0xffff),
        (Type::F32, Type::S32, Round::Precision(Rounding::Nearest)) => {
            registers.map1(mask, d, a, |a: i32| a as f32);
        }
        (Type::F32, Type::U32, Round::Precision(Rounding::Nearest)) => {
            registers.map1(mask, d, a, |a: u32| a as f32);
        }
        (Type::F32, Type::F16, Round::Precision(_)) => {
            registers.map1(mask, d, a, |a: u16| F16.to_f64(a.into()) as f32);
        }
        (Type::F32, Type::BF16, Round::Precision(_)) => {
            registers.map1(mask, d, a, |a: u16| f32::from_bits(u32::from(a) << 16));
        }
        _ => return None,
    }
    Some(())
}

/// A value on its way: every source type fits one of the two exactly.
#[derive(Clone, Copy)]
enum Value {
    Integer(i128),
    Float(f64),
}

fn scalar(to: Type, from: Type, mode: Mode, bits: u64) -> u64 {
    let value = read(from, mode.flush, bits);
    match (to, value) {
        (_, Value::Integer(value)) if to.is_integer() => {
            if mode.saturate {
                clamp(to, value) as u64
            } else {
                value as u64
            }
        }
        (_, Value::Float(value)) if to.is_integer() => to_integer(to, from, mode, value),
        (Type::F64, Value::Integer(value)) => (value as f64).to_bits(),
        (Type::F64, Value::Float(value)) => adjusted(mode, value).to_bits(),
        (Type::TF32, Value::Float(value)) => match mode.round {
            Round::Precision(rounding) | Round::Integer(rounding) => {
                u64::from(rounding::round_tf32(if mode.relu { value.max(0.0) } else { value }, rounding))
            }
        },
        (_, value) => {
            let format = format_of(to).map_or(F32, |(format, _)| format);
            let value = match value {
                Value::Integer(value) => rounding::from_integer(value),
                Value::Float(value) => value,
            };
            let bits = from_float(format, mode, value);
            let flush = mode.flush && to == Type::F32;
            u64::from(if flush && bits & 0x7fff_ffff < 0x80_0000 { bits & 0x8000_0000 } else { bits })
        }
    }
}

fn flushed(flush: bool, bits: u32) -> f64 {
    let subnormal = bits & 0x7fff_ffff < 0x80_0000;
    F32.to_f64(if flush && subnormal { bits & 0x8000_0000 } else { bits })
}

fn read(from: Type, flush: bool, bits: u64) -> Value {
    match from {
        Type::U8 | Type::B8 => Value::Integer((bits as u8).into()),
        Type::S8 => Value::Integer((bits as i8).into()),
        Type::U16 | Type::B16 => Value::Integer((bits as u16).into()),
        Type::S16 => Value::Integer((bits as i16).into()),
        Type::U32 | Type::B32 => Value::Integer((bits as u32).into()),
        Type::S32 => Value::Integer((bits as i32).into()),
        Type::S64 => Value::Integer((bits as i64).into()),
        Type::F64 => Value::Float(f64::from_bits(bits)),
        Type::F32 => Value::Float(flushed(flush, bits as u32)),
        Type::F16 => Value::Float(F16.to_f64(bits as u32 & 0xffff)),
        Type::BF16 => Value::Float(BF16.to_f64(bits as u32 & 0xffff)),
        _ => Value::Integer(bits.into()),
    }
}

fn limits(ty: Type) -> (i128, i128) {
    let bits = 8 * ty.bytes() as u32;
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

fn clamp(ty: Type, value: i128) -> i128 {
    let (low, high) = limits(ty);
    value.clamp(low, high)
}

fn round_to_integer(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::NearestAway => value.round(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}

/// Out of range clamps. NaN gives 0, or the top bit alone where 64 bits are involved.
fn to_integer(to: Type, from: Type, mode: Mode, value: f64) -> u64 {
    if value.is_nan() {
        let wide = from == Type::F64 || to.bytes() == 8;
        return if wide { 1 << (8 * to.bytes() - 1) } else { 0 };
    }
    let rounding = match mode.round {
        Round::Integer(rounding) | Round::Precision(rounding) => rounding,
    };
    clamp(to, round_to_integer(value, rounding) as i128) as u64
}

/// What `.rni`, `.sat` and `.relu` do to a floating-point result before it is rounded.
fn adjusted(mode: Mode, value: f64) -> f64 {
    let value = match mode.round {
        Round::Integer(rounding) => round_to_integer(value, rounding),
        Round::Precision(_) => value,
    };
    match (mode.saturate, mode.relu) {
        (true, _) if value.is_nan() => 0.0,
        (true, _) => value.clamp(0.0, 1.0),
        (_, true) if value <= 0.0 => 0.0,
        _ => value,
    }
}

fn from_float(format: Format, mode: Mode, value: f64) -> u32 {
    let rounding = match mode.round {
        Round::Precision(rounding) => rounding,
        Round::Integer(_) => Rounding::Nearest,
    };
    format.round(adjusted(mode, value), rounding)
}

/// A narrow result is extended to its register by its sign.
fn destination_extends(to: Type, row: AnyRow) -> impl Fn(u64) -> u64 {
    let register_bits = match row {
        AnyRow::Narrow(_) => 32,
        AnyRow::Wide(_) => 64,
    };
    let bits = 8 * to.bytes() as u32;
    let signed = to.is_signed();
    move |value| {
        if bits >= register_bits {
            return value;
        }
        let shift = 64 - bits;
        if signed { ((value << shift) as i64 >> shift) as u64 } else { value << shift >> shift }
    }
}

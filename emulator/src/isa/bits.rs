//! Bit fields, permutations and the integer dot products.

use crate::exec::registers::Registers;
use crate::program::decoder::{Decoder, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Funnel {
    LeftWrap,
    LeftClamp,
    RightWrap,
    RightClamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PermuteMode {
    Index,
    Forward4,
    Backward4,
    Replicate8,
    ClampLeft,
    ClampRight,
    Replicate16,
}

#[derive(Debug)]
pub(crate) enum Bits {
    Funnel {
        mode: Funnel,
        d: Row,
        abc: (Row, Row, Row),
    },
    Extract {
        ty: Type,
        d: Row,
        abc: (Row, Row, Row),
    },
    Insert {
        wide: bool,
        d: Row,
        a: Row,
        bcd: (Row, Row, Row),
    },
    Mask {
        wrap: bool,
        d: Row,
        ab: (Row, Row),
    },
    Permute {
        mode: PermuteMode,
        d: Row,
        abc: (Row, Row, Row),
    },
    /// Any function of three bits: bit `4a + 2b + c` of the table.
    Lookup {
        table: u8,
        d: Row,
        abc: (Row, Row, Row),
    },
    Dot4 {
        signed: (bool, bool),
        d: Row,
        abc: (Row, Row, Row),
    },
    Dot2 {
        signed: (bool, bool),
        high: bool,
        d: Row,
        abc: (Row, Row, Row),
    },
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Bits>> {
    let bits = match opcode.base {
        "shf" => {
            let left = opcode.require(&[("l", true), ("r", false)])?;
            let wrap = opcode.require(&[("wrap", true), ("clamp", false)])?;
            let mode = match (left, wrap) {
                (true, true) => Funnel::LeftWrap,
                (true, false) => Funnel::LeftClamp,
                (false, true) => Funnel::RightWrap,
                (false, false) => Funnel::RightClamp,
            };
            opcode.require(&[("b32", ())])?;
            let (d, abc) = three(decoder, opcode, operands)?;
            Bits::Funnel { mode, d, abc }
        }
        "bfe" => {
            let ty = opcode.ty()?;
            if !matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64) {
                return opcode.unsupported("extracts from u32, s32, u64 or s64");
            }
            let [d, a, b, c] = decoder.operands(opcode, operands)?;
            let a = decoder.source(opcode, ty, a)?;
            let abc = (a, decoder.source32(opcode, b)?, decoder.source32(opcode, c)?);
            Bits::Extract { ty, d: decoder.destination(opcode, ty, d)?, abc }
        }
        "bfi" => {
            let ty = opcode.require(&[("b32", Type::B32), ("b64", Type::B64)])?;
            let [f, a, b, c, d] = decoder.operands(opcode, operands)?;
            let (a, b) = (decoder.source(opcode, ty, a)?, decoder.source(opcode, ty, b)?);
            let bcd = (b, decoder.source32(opcode, c)?, decoder.source32(opcode, d)?);
            Bits::Insert { wide: ty == Type::B64, d: decoder.destination(opcode, ty, f)?, a, bcd }
        }
        "bmsk" => {
            let wrap = opcode.require(&[("wrap", true), ("clamp", false)])?;
            opcode.require(&[("b32", ())])?;
            let [d, a, b] = decoder.operands(opcode, operands)?;
            let ab = (decoder.source32(opcode, a)?, decoder.source32(opcode, b)?);
            Bits::Mask { wrap, d: decoder.destination32(opcode, d)?, ab }
        }
        "prmt" => {
            opcode.require(&[("b32", ())])?;
            let mode = opcode.take_any(&[
                ("f4e", PermuteMode::Forward4),
                ("b4e", PermuteMode::Backward4),
                ("rc8", PermuteMode::Replicate8),
                ("ecl", PermuteMode::ClampLeft),
                ("ecr", PermuteMode::ClampRight),
                ("rc16", PermuteMode::Replicate16),
            ]);
            let (d, abc) = three(decoder, opcode, operands)?;
            Bits::Permute { mode: mode.unwrap_or(PermuteMode::Index), d, abc }
        }
        "lop3" => {
            opcode.require(&[("b32", ())])?;
            let [d, a, b, c, table] = decoder.operands(opcode, operands)?;
            let Operand::Integer(table) = table else {
                return opcode.unsupported("needs its table as an immediate");
            };
            let mut source = |operand| decoder.source32(opcode, operand);
            let abc = (source(a)?, source(b)?, source(c)?);
            Bits::Lookup { table: *table as u8, d: decoder.destination32(opcode, d)?, abc }
        }
        "dp4a" | "dp2a" => {
            let half = if opcode.base == "dp2a" {
                Some(opcode.require(&[("lo", false), ("hi", true)])?)
            } else {
                None
            };
            let sign = [("s32", true), ("u32", false)];
            let signed = (opcode.require(&sign)?, opcode.require(&sign)?);
            let (d, abc) = three(decoder, opcode, operands)?;
            match half {
                None => Bits::Dot4 { signed, d, abc },
                Some(high) => Bits::Dot2 { signed, high, d, abc },
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(bits))
}

fn three(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<(Row, (Row, Row, Row))> {
    let [d, a, b, c] = decoder.operands(opcode, operands)?;
    let mut source = |operand| decoder.source32(opcode, operand);
    let abc = (source(a)?, source(b)?, source(c)?);
    Ok((decoder.destination32(opcode, d)?, abc))
}

pub(crate) fn execute(op: &Bits, registers: &mut Registers, mask: u32) {
    match *op {
        Bits::Funnel { mode, d, abc } => match mode {
            Funnel::LeftWrap => registers.map3(mask, d, abc, |a, b, c: u32| funnel_left(a, b, c & 31)),
            Funnel::LeftClamp => registers.map3(mask, d, abc, |a, b, c: u32| funnel_left(a, b, c.min(32))),
            Funnel::RightWrap => registers.map3(mask, d, abc, |a, b, c: u32| funnel_right(a, b, c & 31)),
            Funnel::RightClamp => registers.map3(mask, d, abc, |a, b, c: u32| funnel_right(a, b, c.min(32))),
        },
        Bits::Extract { ty, d, abc } => match ty {
            Type::U32 => registers.map3(mask, d, abc, |a: u32, at: u32, length: u32| {
                extract(a.into(), at, length, 32, false) as u32
            }),
            Type::S32 => registers.map3(mask, d, abc, |a: u32, at: u32, length: u32| {
                extract(a as i32 as u64, at, length, 32, true) as u32
            }),
            Type::U64 => {
                registers.map3(mask, d, abc, |a: u64, at, length| extract(a, at, length, 64, false));
            }
            _ => registers.map3(mask, d, abc, |a: u64, at, length| extract(a, at, length, 64, true)),
        },
        Bits::Insert { wide: false, d, a, bcd: (b, at, length) } => {
            let a = registers.narrow[a as usize];
            let mut out = a;
            for (lane, out) in out.iter_mut().enumerate() {
                let [b, at, length] = [b, at, length].map(|row| registers.narrow[row as usize][lane]);
                *out = insert(a[lane].into(), b.into(), at, length, 32) as u32;
            }
            registers.write::<u32>(mask, d, &out);
        }
        Bits::Insert { wide: true, d, a, bcd: (b, at, length) } => {
            let a = registers.wide[a as usize];
            let mut out = a;
            for (lane, out) in out.iter_mut().enumerate() {
                let [at, length] = [at, length].map(|row| registers.narrow[row as usize][lane]);
                *out = insert(a[lane], registers.wide[b as usize][lane], at, length, 64);
            }
            registers.write::<u64>(mask, d, &out);
        }
        Bits::Mask { wrap, d, ab } => registers.map2(mask, d, ab, |at: u32, length: u32| {
            let (at, length) = if wrap { (at & 31, length & 31) } else { (at.min(32), length.min(32)) };
            (field(length) << at) as u32
        }),
        Bits::Permute { mode: PermuteMode::Index, d, abc } => registers.map3(mask, d, abc, permute),
        Bits::Permute { mode, d, abc } => {
            registers.map3(mask, d, abc, |a, b, c| permute(a, b, selector(mode, c)));
        }
        Bits::Lookup { table, d, abc } => registers.map3(mask, d, abc, |a, b, c| lookup(table, a, b, c)),
        Bits::Dot4 { signed: (true, true), d, abc } => {
            registers.map3(mask, d, abc, |a: u32, b: u32, c: u32| {
                let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
                (0..4).fold(c, |sum, i| {
                    sum.wrapping_add((i32::from(a[i] as i8) * i32::from(b[i] as i8)) as u32)
                })
            });
        }
        Bits::Dot4 { signed, d, abc } => registers.map3(mask, d, abc, |a: u32, b: u32, c: u32| {
            let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
            (0..4).fold(c, |sum, i| {
                sum.wrapping_add((extend8(a[i], signed.0) * extend8(b[i], signed.1)) as u32)
            })
        }),
        Bits::Dot2 { signed, high, d, abc } => registers.map3(mask, d, abc, |a: u32, b: u32, c: u32| {
            let b = b.to_le_bytes();
            (0..2).fold(c, |sum, i| {
                let half = (a >> (16 * i)) as u16;
                let x = if signed.0 { i64::from(half as i16) } else { i64::from(half) };
                let y = i64::from(extend8(b[i + 2 * usize::from(high)], signed.1));
                sum.wrapping_add((x * y) as u32)
            })
        }),
    }
}

fn extend8(byte: u8, signed: bool) -> i32 {
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}

/// `length` ones, for a length up to 64.
fn field(length: u32) -> u64 {
    if length >= 64 { u64::MAX } else { (1 << length) - 1 }
}

/// The upper half of `b:a` shifted left.
fn funnel_left(a: u32, b: u32, amount: u32) -> u32 {
    let both = u64::from(b) << 32 | u64::from(a);
    (both << amount >> 32) as u32
}

/// The lower half of `b:a` shifted right.
fn funnel_right(a: u32, b: u32, amount: u32) -> u32 {
    let both = u64::from(b) << 32 | u64::from(a);
    (both >> amount) as u32
}

/// `a` is sign-extended to 64 bits if signed. Bits beyond the top are copies of the sign, which is the
/// top bit of the field or, if the field reaches further, of the value.
fn extract(a: u64, at: u32, length: u32, bits: u32, signed: bool) -> u64 {
    let (at, length) = (at & 0xff, length & 0xff);
    if length == 0 {
        return 0;
    }
    let sign_at = (at + length - 1).min(bits - 1);
    let sign = if signed && a >> sign_at & 1 != 0 { u64::MAX } else { 0 };
    let value = if at >= bits { 0 } else { a & field(bits) };
    let kept = (bits.saturating_sub(at)).min(length);
    let low = if at >= 64 { 0 } else { value >> at } & field(kept);
    low | sign & !field(kept)
}

fn insert(a: u64, b: u64, at: u32, length: u32, bits: u32) -> u64 {
    let (at, length) = (at & 0xff, length & 0xff);
    if at >= bits {
        return b;
    }
    let mask = field(length.min(bits - at)) << at;
    b & !mask | a << at & mask
}

/// Each nibble of `c` picks a byte of `b:a`; its top bit asks for the byte's sign instead.
fn permute(a: u32, b: u32, c: u32) -> u32 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    let pick = |i: u32| {
        let nibble = c >> (4 * i) & 15;
        let byte = bytes[(nibble & 7) as usize];
        if nibble & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte }
    };
    u32::from_le_bytes([pick(0), pick(1), pick(2), pick(3)])
}

/// The nibbles that a special mode of `prmt` stands for.
fn selector(mode: PermuteMode, c: u32) -> u32 {
    let c = c & 3;
    let nibbles = |pick: fn(u32, u32) -> u32| (0..4).fold(0, |all, i| all | pick(c, i) << (4 * i));
    match mode {
        PermuteMode::Index => c,
        PermuteMode::Forward4 => nibbles(|c, i| c + i),
        PermuteMode::Backward4 => nibbles(|c, i| c.wrapping_sub(i) & 7),
        PermuteMode::Replicate8 => nibbles(|c, _| c),
        PermuteMode::ClampLeft => nibbles(|c, i| c.max(i)),
        PermuteMode::ClampRight => nibbles(|c, i| c.min(i)),
        PermuteMode::Replicate16 => nibbles(|c, i| (c & 1) * 2 + (i & 1)),
    }
}

fn lookup(table: u8, a: u32, b: u32, c: u32) -> u32 {
    let mut out = 0;
    for index in 0..8u8 {
        let bit = |source: u32, at: u8| if index >> at & 1 != 0 { source } else { !source };
        let chosen = 0u32.wrapping_sub(u32::from(table >> index & 1));
        out |= bit(a, 2) & bit(b, 1) & bit(c, 0) & chosen;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_tables_are_functions_of_the_three_patterns() {
        // The documented way to make a table: apply the function to 0xF0, 0xCC and 0xAA.
        let (a, b, c) = (0x1234_5678, 0x9abc_def0, 0x0f1e_2d3c);
        for (table, wanted) in [
            (0xf0 & 0xcc & 0xaa, a & b & c),
            (0xf0 ^ 0xcc ^ 0xaa, a ^ b ^ c),
            ((0xf0 & 0xcc) | 0xaa, (a & b) | c),
            ((!0xf0 & 0xcc) ^ 0xaa, (!a & b) ^ c),
        ] {
            assert_eq!(lookup(table as u8, a, b, c), wanted, "{table:#x}");
        }
    }

    #[test]
    fn fields_follow_the_isa_document() {
        assert_eq!(extract(0xabcd_ef12, 8, 8, 32, false), 0xef);
        assert_eq!(extract(0xabcd_ef12u32 as i32 as u64, 8, 8, 32, true) as i32, 0xefu8 as i8 as i32);
        // The field runs past the top: the sign is that of the value.
        assert_eq!(extract(0x8000_0000u32 as i32 as u64, 28, 16, 32, true) as i32, -8);
        assert_eq!(extract(0x8000_0000, 28, 16, 32, false), 8);
        assert_eq!(extract(0xffff_ffff, 40, 4, 32, false), 0);
        assert_eq!(extract(0x8000_0000u32 as i32 as u64, 40, 4, 32, true) as i32, -1);
        assert_eq!(extract(5, 0, 0, 32, true), 0);
        assert_eq!(extract(u64::MAX, 0, 64, 64, false), u64::MAX);
        assert_eq!(insert(0xff, 0, 4, 4, 32), 0xf0);
        assert_eq!(insert(0xff, 0x1234_5678, 28, 16, 32) as u32, 0xf234_5678);
        assert_eq!(insert(0xff, 7, 32, 4, 32), 7);
        assert_eq!(insert(u64::MAX, 0, 60, 10, 64), 0xf << 60);
    }

    #[test]
    fn permutations_follow_the_isa_document() {
        let (a, b) = (0x8382_8180, 0x0706_0504);
        assert_eq!(permute(a, b, 0x7654), b);
        assert_eq!(permute(a, b, 0x0246), 0x8082_0406);
        assert_eq!(permute(a, b, 0x8c8c), 0xff00_ff00);
        let special = |mode, c| permute(0x0302_0100, 0x0706_0504, selector(mode, c));
        // The tables of the document, most significant byte first.
        assert_eq!(special(PermuteMode::Forward4, 1), 0x0403_0201);
        assert_eq!(special(PermuteMode::Forward4, 3), 0x0605_0403);
        assert_eq!(special(PermuteMode::Backward4, 0), 0x0506_0700);
        assert_eq!(special(PermuteMode::Backward4, 2), 0x0700_0102);
        assert_eq!(special(PermuteMode::Replicate8, 2), 0x0202_0202);
        assert_eq!(special(PermuteMode::ClampLeft, 1), 0x0302_0101);
        assert_eq!(special(PermuteMode::ClampRight, 2), 0x0202_0100);
        assert_eq!(special(PermuteMode::Replicate16, 3), 0x0302_0302);
    }

    #[test]
    fn funnels_take_the_right_half() {
        assert_eq!(funnel_left(0x8000_0001, 0x0000_0001, 4), 0x18);
        assert_eq!(funnel_right(0x8000_0001, 0x0000_0003, 1), 0xc000_0000);
        assert_eq!(funnel_left(7, 9, 32), 7);
        assert_eq!(funnel_right(7, 9, 32), 9);
    }
}

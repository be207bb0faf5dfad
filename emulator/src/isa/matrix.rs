//! `mma.sync`, and `ldmatrix` and `stmatrix`, which move its fragments.
//!
//! Every fragment layout follows one rule. Lane `l` belongs to group `l / 4` and is number `l % 4` in
//! it. A register holds `e` neighbouring elements along k (`e` = 32 bits / element bits):
//! - A, register r: row `group + 8 (r % 2)`, columns from `e (number + 4 (r / 2))`; with 8 rows, r
//!   counts only the columns;
//! - B, register r: column `group`, rows from `e (number + 4 r)`;
//! - C and D, element i: row `group + 8 (i / 2)`, column `2 number + i % 2`.
//!
//! Integers are exact. Floats: exact products, summed in f64 along k, the accumulator added last, and
//! one rounding to the type of D; hardware keeps fewer bits, in an order that is not documented.

use super::memory::{Address, AddressSpace, for_lanes};
use super::rounding::{BF16, E4M3, E5M2, F16, F32, Rounding};
use crate::diagnostic::{Access, LaneFault};
use crate::exec::environment::Environment;
use crate::exec::registers::{LANES, Registers};
use crate::memory::shared::Thread;
use crate::program::decoder::{Decoder, Row};
use crate::program::opcode::{Opcode, Type};
use crate::ptx::Result;
use crate::ptx::tree::Operand;

const COLUMNS: usize = 8;

#[derive(Debug)]
pub(crate) enum Matrix {
    /// Rows of 16 bytes, addressed by lanes 0 to 8 `count` - 1.
    Load {
        transposed: bool,
        d: Box<[Row]>,
        address: Address,
    },
    Store {
        transposed: bool,
        a: Box<[Row]>,
        address: Address,
    },
    Multiply(Box<Multiply>),
}

#[derive(Debug)]
pub(crate) struct Multiply {
    rows: usize,
    depth: usize,
    a_type: Element,
    b_type: Element,
    accumulator: Accumulator,
    d: Box<[Row]>,
    a: Box<[Row]>,
    b: Box<[Row]>,
    c: Box<[Row]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accumulator {
    S32 {
        saturate: bool,
    },
    /// Whether D and C are f32; the others are f16.
    Float {
        d: bool,
        c: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Signed(u32),
    Unsigned(u32),
    F16,
    BF16,
    TF32,
    E4M3,
    E5M2,
}

const ELEMENTS: &[(&str, Element)] = &[
    ("s8", Element::Signed(8)),
    ("u8", Element::Unsigned(8)),
    ("s4", Element::Signed(4)),
    ("u4", Element::Unsigned(4)),
    ("f16", Element::F16),
    ("bf16", Element::BF16),
    ("tf32", Element::TF32),
    ("e4m3", Element::E4M3),
    ("e5m2", Element::E5M2),
];

impl Element {
    fn bits(self) -> u32 {
        match self {
            Element::Signed(bits) | Element::Unsigned(bits) => bits,
            Element::F16 | Element::BF16 => 16,
            Element::TF32 => 32,
            Element::E4M3 | Element::E5M2 => 8,
        }
    }

    fn is_integer(self) -> bool {
        matches!(self, Element::Signed(_) | Element::Unsigned(_))
    }

    /// The value of the element at an index of a register. Integers of these widths are exact in f64.
    fn value(self, register: u32, index: usize) -> f64 {
        let bits = self.bits();
        let field = (u64::from(register) >> (bits as usize * index) & ((1 << bits) - 1)) as u32;
        match self {
            Element::Signed(bits) => f64::from((field << (32 - bits)) as i32 >> (32 - bits)),
            Element::Unsigned(_) => f64::from(field),
            Element::F16 => F16.to_f64(field),
            Element::BF16 => BF16.to_f64(field),
            // The hardware does not look at the lowest 13 bits.
            Element::TF32 => F32.to_f64(field & !0x1fff),
            Element::E4M3 => E4M3.to_f64(field),
            Element::E5M2 => E5M2.to_f64(field),
        }
    }
}

pub(crate) fn decode(
    decoder: &mut Decoder,
    opcode: &mut Opcode,
    operands: &[Operand],
) -> Result<Option<Matrix>> {
    match opcode.base {
        "ldmatrix" | "stmatrix" => move_matrix(decoder, opcode, operands).map(Some),
        "mma" => multiply(decoder, opcode, operands).map(Some),
        "wgmma" | "wmma" | "tcgen05" => opcode.unsupported("is not supported; `mma.sync` is"),
        _ => Ok(None),
    }
}

fn move_matrix(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Matrix> {
    for name in ["sync", "aligned", "m8n8", "b16"] {
        if !opcode.take(name) {
            return opcode.unsupported(format!("needs `.{name}`"));
        }
    }
    let count = opcode.require(&[("x1", 1), ("x2", 2), ("x4", 4)])?;
    let transposed = opcode.take("trans");
    // A generic address would do on a device; kernels say `.shared`.
    opcode.require(&[("shared", ()), ("shared::cta", ())])?;
    let [first, second] = decoder.operands(opcode, operands)?;
    let (registers, address) = if opcode.base == "ldmatrix" { (first, second) } else { (second, first) };
    let address = Address::decode(decoder, opcode, AddressSpace::Shared, address)?;
    let rows = registers_of(decoder, opcode, registers, count, opcode.base == "ldmatrix")?;
    Ok(if opcode.base == "ldmatrix" {
        Matrix::Load { transposed, d: rows, address }
    } else {
        Matrix::Store { transposed, a: rows, address }
    })
}

fn registers_of(
    decoder: &mut Decoder,
    opcode: &Opcode,
    operand: &Operand,
    count: usize,
    destination: bool,
) -> Result<Box<[Row]>> {
    let parts = match operand {
        Operand::Vector(parts) => parts.as_slice(),
        single => std::slice::from_ref(single),
    };
    if parts.len() != count {
        return opcode.unsupported(format!("a fragment has {} registers, expected {count}", parts.len()));
    }
    let row = |part| {
        if destination { decoder.destination32(opcode, part) } else { decoder.source32(opcode, part) }
    };
    parts.iter().map(row).collect()
}

fn multiply(decoder: &mut Decoder, opcode: &mut Opcode, operands: &[Operand]) -> Result<Matrix> {
    for name in ["sync", "aligned", "row", "col"] {
        if !opcode.take(name) {
            return opcode.unsupported(format!("needs `.{name}`"));
        }
    }
    let (rows, depth) = opcode.require(&[
        ("m16n8k4", (16, 4)),
        ("m16n8k8", (16, 8)),
        ("m16n8k16", (16, 16)),
        ("m16n8k32", (16, 32)),
        ("m16n8k64", (16, 64)),
        ("m8n8k16", (8, 16)),
        ("m8n8k32", (8, 32)),
    ])?;
    let saturate = opcode.take("satfinite");
    // The types stand in the order D, A, B, C; f16 may be any of them.
    let accumulators = &[("s32", Type::S32), ("f32", Type::F32), ("f16", Type::F16)];
    let d_type = opcode.require(accumulators)?;
    let (a_type, b_type) = (opcode.require(ELEMENTS)?, opcode.require(ELEMENTS)?);
    let c_type = opcode.require(accumulators)?;
    let accumulator = match (d_type, c_type) {
        (Type::S32, Type::S32) if a_type.is_integer() && b_type.is_integer() => Accumulator::S32 { saturate },
        (Type::F32 | Type::F16, Type::F32 | Type::F16)
            if !a_type.is_integer() && !b_type.is_integer() && !saturate =>
        {
            Accumulator::Float { d: d_type == Type::F32, c: c_type == Type::F32 }
        }
        _ => return opcode.unsupported("combines types that do not go together"),
    };
    if a_type.bits() != b_type.bits() || !shape_exists(rows, depth, a_type) {
        return opcode.unsupported("this shape does not exist for these types");
    }
    let per_register = 32 / a_type.bits() as usize;
    let b_count = depth / (4 * per_register);
    let a_count = b_count * rows / 8;
    let accumulator_count = |ty: Type| rows / 4 / if ty == Type::F16 { 2 } else { 1 };
    let [d, a, b, c] = decoder.operands(opcode, operands)?;
    let multiply = Multiply {
        rows,
        depth,
        a_type,
        b_type,
        accumulator,
        a: registers_of(decoder, opcode, a, a_count, false)?,
        b: registers_of(decoder, opcode, b, b_count, false)?,
        c: registers_of(decoder, opcode, c, accumulator_count(c_type), false)?,
        d: registers_of(decoder, opcode, d, accumulator_count(d_type), true)?,
    };
    Ok(Matrix::Multiply(Box::new(multiply)))
}

fn shape_exists(rows: usize, depth: usize, element: Element) -> bool {
    let depths: &[usize] = match (rows, element.bits()) {
        (16, 32) => &[4, 8],
        (16, 16) => &[8, 16],
        (16, 8) if element.is_integer() => &[16, 32],
        (16, 8) => &[16, 32],
        (16, 4) => &[32, 64],
        (8, 8) if element.is_integer() => &[16],
        (8, 4) => &[32],
        _ => &[],
    };
    depths.contains(&depth)
}

pub(crate) fn execute(
    op: &Matrix,
    registers: &mut Registers,
    env: &mut Environment,
) -> std::result::Result<(), LaneFault> {
    match op {
        Matrix::Load { transposed, d, address } => {
            let addresses = address.lanes(registers);
            move_rows(env, &addresses, d.len(), Access::Read, |env, matrix, row, start| {
                for column in 0..8 {
                    let value = env.shared.load(start + 2 * column, 2) as u32;
                    let (lane, half) = element_place(*transposed, row, column);
                    let register = &mut registers.narrow[d[matrix] as usize][lane];
                    *register = *register & !(0xffff << half) | value << half;
                }
            })
        }
        Matrix::Store { transposed, a, address } => {
            let addresses = address.lanes(registers);
            move_rows(env, &addresses, a.len(), Access::Write, |env, matrix, row, start| {
                for column in 0..8 {
                    let (lane, half) = element_place(*transposed, row, column);
                    let value = registers.narrow[a[matrix] as usize][lane] >> half & 0xffff;
                    env.shared.store(start + 2 * column, 2, value.into());
                }
            })
        }
        Matrix::Multiply(multiply) => {
            multiply.execute(registers);
            Ok(())
        }
    }
}

/// Which lane holds an element of an 8x8 matrix, and by how much it is shifted in its register.
fn element_place(transposed: bool, row: usize, column: usize) -> (usize, u32) {
    let (row, column) = if transposed { (column, row) } else { (row, column) };
    (4 * row + column / 2, 16 * (column as u32 % 2))
}

/// Lane `8 matrix + row` has the address of a row.
fn move_rows(
    env: &mut Environment,
    addresses: &[u64; LANES],
    matrices: usize,
    access: Access,
    mut each: impl FnMut(&mut Environment, usize, usize, usize),
) -> std::result::Result<(), LaneFault> {
    let mask = (1u64 << (8 * matrices)) - 1;
    env.counters.shared_access(mask as u32, addresses, 16);
    for_lanes(mask as u32, |lane| {
        let thread = Thread { warp: env.warp, lane };
        let start = env.shared.access(access, thread, addresses[lane], 16)?;
        each(env, lane / 8, lane % 8, start);
        Ok(())
    })
}

impl Multiply {
    fn execute(&self, registers: &mut Registers) {
        if let (Accumulator::S32 { saturate: false }, 8) = (self.accumulator, self.a_type.bits()) {
            return self.execute_bytes(registers);
        }
        let (a, b) = (self.gather_a(registers), self.gather_b(registers));
        let mut out = vec![[0u32; LANES]; self.d.len()];
        for lane in 0..LANES {
            let (group, number) = (lane / 4, lane % 4);
            for i in 0..self.rows / 4 {
                let (row, column) = (group + 8 * (i / 2), 2 * number + i % 2);
                // f64 holds every sum of integer products here exactly.
                let sum: f64 =
                    (0..self.depth).map(|k| a[row * self.depth + k] * b[k * COLUMNS + column]).sum();
                self.accumulate(registers, &mut out, lane, i, sum);
            }
        }
        for (&row, values) in self.d.iter().zip(&out) {
            registers.narrow[row as usize] = *values;
        }
    }

    /// The same for bytes in 32 bits, which wrap as the sums do: what warpdot's kernels live on.
    fn execute_bytes(&self, registers: &mut Registers) {
        const DEPTH: usize = 32;
        let byte = |element: Element, bits: u32, i: usize| match element {
            Element::Signed(_) => i16::from((bits >> (8 * i)) as i8),
            _ => i16::from((bits >> (8 * i)) as u8),
        };
        let (mut a, mut b) = ([[0i16; DEPTH]; 16], [[0i16; DEPTH]; COLUMNS]);
        for (r, &register) in self.a.iter().enumerate() {
            let (down, right) = if self.rows == 16 { (r % 2, r / 2) } else { (0, r) };
            for (lane, &bits) in registers.narrow[register as usize].iter().enumerate() {
                for i in 0..4 {
                    a[lane / 4 + 8 * down][4 * (lane % 4 + 4 * right) + i] = byte(self.a_type, bits, i);
                }
            }
        }
        for (r, &register) in self.b.iter().enumerate() {
            for (lane, &bits) in registers.narrow[register as usize].iter().enumerate() {
                for i in 0..4 {
                    b[lane / 4][4 * (lane % 4 + 4 * r) + i] = byte(self.b_type, bits, i);
                }
            }
        }
        let mut out = [[0u32; LANES]; 4];
        for (i, (out, &c)) in out.iter_mut().zip(&self.c).enumerate() {
            for (lane, out) in out.iter_mut().enumerate() {
                let (row, column) = (lane / 4 + 8 * (i / 2), 2 * (lane % 4) + i % 2);
                let products = a[row].iter().zip(&b[column]).map(|(a, b)| i32::from(*a) * i32::from(*b));
                *out = registers.narrow[c as usize][lane].wrapping_add(products.sum::<i32>() as u32);
            }
        }
        for (&row, values) in self.d.iter().zip(&out) {
            registers.narrow[row as usize] = *values;
        }
    }

    fn accumulate(&self, registers: &Registers, out: &mut [[u32; LANES]], lane: usize, i: usize, sum: f64) {
        let narrow = |row: Row| registers.narrow[row as usize][lane];
        match self.accumulator {
            Accumulator::S32 { saturate } => {
                let total = sum as i64 + i64::from(narrow(self.c[i]) as i32);
                let kept = if saturate {
                    total.clamp(i32::MIN.into(), i32::MAX.into()) as i32
                } else {
                    total as i32
                };
                out[i][lane] = kept as u32;
            }
            Accumulator::Float { d, c } => {
                let c = if c {
                    F32.to_f64(narrow(self.c[i]))
                } else {
                    F16.to_f64(narrow(self.c[i / 2]) >> (16 * (i % 2)) & 0xffff)
                };
                let total = sum + c;
                if d {
                    out[i][lane] = F32.round(total, Rounding::Nearest);
                } else {
                    out[i / 2][lane] |= F16.round(total, Rounding::Nearest) << (16 * (i % 2));
                }
            }
        }
    }

    fn gather_a(&self, registers: &Registers) -> Vec<f64> {
        let e = 32 / self.a_type.bits() as usize;
        let mut a = vec![0.0; self.rows * self.depth];
        for (r, &register) in self.a.iter().enumerate() {
            let (down, right) = if self.rows == 16 { (r % 2, r / 2) } else { (0, r) };
            for (lane, &bits) in registers.narrow[register as usize].iter().enumerate() {
                let (row, column) = (lane / 4 + 8 * down, e * (lane % 4 + 4 * right));
                for i in 0..e {
                    a[row * self.depth + column + i] = self.a_type.value(bits, i);
                }
            }
        }
        a
    }

    fn gather_b(&self, registers: &Registers) -> Vec<f64> {
        let e = 32 / self.b_type.bits() as usize;
        let mut b = vec![0.0; self.depth * COLUMNS];
        for (r, &register) in self.b.iter().enumerate() {
            for (lane, &bits) in registers.narrow[register as usize].iter().enumerate() {
                let (row, column) = (e * (lane % 4 + 4 * r), lane / 4);
                for i in 0..e {
                    b[(row + i) * COLUMNS + column] = self.b_type.value(bits, i);
                }
            }
        }
        b
    }
}

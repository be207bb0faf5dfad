//! The registers of one warp: flat arrays laid out `[row][lane]`, and the loops over lanes that every
//! arithmetic instruction is made of.

use crate::program::decoder::{AnyRow, CARRY, Predicate, Row, TRUE};

pub(crate) const LANES: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Registers {
    pub(crate) narrow: Vec<[u32; LANES]>,
    pub(crate) wide: Vec<[u64; LANES]>,
    /// One bit a lane.
    pub(crate) predicates: Vec<u32>,
}

/// A type that lives in a register: how its bits sit in a row.
pub(crate) trait Lane: Copy {
    type Bits: Copy + Default;
    fn from_bits(bits: Self::Bits) -> Self;
    fn into_bits(self) -> Self::Bits;
    fn row(registers: &Registers, row: Row) -> &[Self::Bits; LANES];
    fn row_mut(registers: &mut Registers, row: Row) -> &mut [Self::Bits; LANES];
}

macro_rules! lane {
    ($($ty:ty, $bits:ty, $file:ident, $from:expr, $into:expr;)*) => {$(
        impl Lane for $ty {
            type Bits = $bits;
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                let from: fn($bits) -> $ty = $from;
                from(bits)
            }
            #[inline(always)]
            fn into_bits(self) -> $bits {
                let into: fn($ty) -> $bits = $into;
                into(self)
            }
            #[inline(always)]
            fn row(registers: &Registers, row: Row) -> &[$bits; LANES] {
                &registers.$file[row as usize]
            }
            #[inline(always)]
            fn row_mut(registers: &mut Registers, row: Row) -> &mut [$bits; LANES] {
                &mut registers.$file[row as usize]
            }
        }
    )*};
}

lane! {
    u16, u32, narrow, |bits| bits as u16, |value| value.into();
    i16, u32, narrow, |bits| bits as i16, |value| (value as u16).into();
    u32, u32, narrow, |bits| bits, |value| value;
    i32, u32, narrow, |bits| bits as i32, |value| value as u32;
    f32, u32, narrow, f32::from_bits, |value| if value.is_nan() { 0x7fff_ffff } else { value.to_bits() };
    u64, u64, wide, |bits| bits, |value| value;
    i64, u64, wide, |bits| bits as i64, |value| value as u64;
    f64, u64, wide, f64::from_bits, f64::to_bits;
}

impl Registers {
    #[inline(always)]
    pub(crate) fn write<D: Lane>(&mut self, mask: u32, row: Row, values: &[D::Bits; LANES]) {
        let target = D::row_mut(self, row);
        if mask == u32::MAX {
            *target = *values;
        } else {
            for lane in 0..LANES {
                if mask >> lane & 1 != 0 {
                    target[lane] = values[lane];
                }
            }
        }
    }

    #[inline(always)]
    pub(crate) fn map1<A: Lane, D: Lane>(&mut self, mask: u32, d: Row, a: Row, f: impl Fn(A) -> D) {
        let a = A::row(self, a);
        let mut out = [D::Bits::default(); LANES];
        for lane in 0..LANES {
            out[lane] = f(A::from_bits(a[lane])).into_bits();
        }
        self.write::<D>(mask, d, &out);
    }

    #[inline(always)]
    pub(crate) fn map2<A: Lane, B: Lane, D: Lane>(
        &mut self,
        mask: u32,
        d: Row,
        (a, b): (Row, Row),
        f: impl Fn(A, B) -> D,
    ) {
        let (a, b) = (A::row(self, a), B::row(self, b));
        let mut out = [D::Bits::default(); LANES];
        for lane in 0..LANES {
            out[lane] = f(A::from_bits(a[lane]), B::from_bits(b[lane])).into_bits();
        }
        self.write::<D>(mask, d, &out);
    }

    #[inline(always)]
    pub(crate) fn map3<A: Lane, B: Lane, C: Lane, D: Lane>(
        &mut self,
        mask: u32,
        d: Row,
        (a, b, c): (Row, Row, Row),
        f: impl Fn(A, B, C) -> D,
    ) {
        let (a, b, c) = (A::row(self, a), B::row(self, b), C::row(self, c));
        let mut out = [D::Bits::default(); LANES];
        for lane in 0..LANES {
            out[lane] = f(A::from_bits(a[lane]), B::from_bits(b[lane]), C::from_bits(c[lane])).into_bits();
        }
        self.write::<D>(mask, d, &out);
    }

    /// One bit a lane: where `f` holds.
    #[inline(always)]
    pub(crate) fn test2<A: Lane>(&self, a: Row, b: Row, f: impl Fn(A, A) -> bool) -> u32 {
        let (a, b) = (A::row(self, a), A::row(self, b));
        let mut bits = 0;
        for lane in 0..LANES {
            bits |= u32::from(f(A::from_bits(a[lane]), A::from_bits(b[lane]))) << lane;
        }
        bits
    }

    #[inline(always)]
    pub(crate) fn predicate(&self, predicate: Predicate) -> u32 {
        self.predicates[predicate.row as usize] ^ predicate.flip
    }

    #[inline(always)]
    pub(crate) fn set_predicate(&mut self, mask: u32, row: Row, bits: u32) {
        let target = &mut self.predicates[row as usize];
        *target = *target & !mask | bits & mask;
    }

    /// The lanes of a row, zero-extended.
    pub(crate) fn read_any(&self, row: AnyRow) -> [u64; LANES] {
        match row {
            AnyRow::Narrow(row) => self.narrow[row as usize].map(u64::from),
            AnyRow::Wide(row) => self.wide[row as usize],
        }
    }

    /// Writes lanes into a row, cut to its width.
    pub(crate) fn write_any(&mut self, mask: u32, row: AnyRow, values: &[u64; LANES]) {
        match row {
            AnyRow::Narrow(row) => self.write::<u32>(mask, row, &values.map(|value| value as u32)),
            AnyRow::Wide(row) => self.write::<u64>(mask, row, values),
        }
    }

    /// Zeroes every register of a layout and restores the constants.
    pub(crate) fn reset(&mut self, layout: &crate::program::decoder::Layout) {
        self.narrow.clear();
        self.narrow.resize(layout.narrow, [0; LANES]);
        self.wide.clear();
        self.wide.resize(layout.wide, [0; LANES]);
        self.predicates.clear();
        self.predicates.resize(layout.predicates, 0);
        self.predicates[TRUE as usize] = u32::MAX;
        self.predicates[CARRY as usize] = 0;
        for &(row, value) in &layout.narrow_constants {
            self.narrow[row as usize] = [value; LANES];
        }
        for &(row, value) in &layout.wide_constants {
            self.wide[row as usize] = [value; LANES];
        }
    }
}

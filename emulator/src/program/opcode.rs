//! An opcode such as `mad.lo.s32`, split into its base and its modifiers. A decoder takes the
//! modifiers that it knows; one that is left over is an error, so nothing is silently ignored.

use crate::ptx::{PtxError, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    BF16,
    BF16x2,
    TF32,
    F32,
    F32x2,
    F64,
    E4M3,
    E5M2,
    E4M3x2,
    E5M2x2,
}

const TYPES: &[(&str, Type)] = &[
    ("pred", Type::Pred),
    ("b8", Type::B8),
    ("b16", Type::B16),
    ("b32", Type::B32),
    ("b64", Type::B64),
    ("u8", Type::U8),
    ("u16", Type::U16),
    ("u32", Type::U32),
    ("u64", Type::U64),
    ("s8", Type::S8),
    ("s16", Type::S16),
    ("s32", Type::S32),
    ("s64", Type::S64),
    ("f16", Type::F16),
    ("f16x2", Type::F16x2),
    ("bf16", Type::BF16),
    ("bf16x2", Type::BF16x2),
    ("tf32", Type::TF32),
    ("f32", Type::F32),
    ("f32x2", Type::F32x2),
    ("f64", Type::F64),
    ("e4m3", Type::E4M3),
    ("e5m2", Type::E5M2),
    ("e4m3x2", Type::E4M3x2),
    ("e5m2x2", Type::E5M2x2),
];

impl Type {
    pub(crate) fn bytes(self) -> usize {
        use Type::*;
        match self {
            Pred | B8 | U8 | S8 | E4M3 | E5M2 => 1,
            B16 | U16 | S16 | F16 | BF16 | E4M3x2 | E5M2x2 => 2,
            B32 | U32 | S32 | F32 | F16x2 | BF16x2 | TF32 => 4,
            B64 | U64 | S64 | F64 | F32x2 => 8,
        }
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    pub(crate) fn is_integer(self) -> bool {
        use Type::*;
        matches!(self, B8 | B16 | B32 | B64 | U8 | U16 | U32 | U64 | S8 | S16 | S32 | S64)
    }
}

pub(crate) struct Opcode<'a> {
    pub(crate) line: u32,
    pub(crate) text: &'a str,
    pub(crate) base: &'a str,
    modifiers: Vec<&'a str>,
}

impl<'a> Opcode<'a> {
    pub(crate) fn new(line: u32, text: &'a str) -> Self {
        let mut parts = text.split('.');
        let base = parts.next().unwrap_or(text);
        Self { line, text, base, modifiers: parts.collect() }
    }

    /// Takes a modifier; true if it was there.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        let found = self.modifiers.iter().position(|&modifier| modifier == name);
        found.map(|at| self.modifiers.remove(at)).is_some()
    }

    /// Takes the first modifier that the list names.
    pub(crate) fn take_any<T: Copy>(&mut self, known: &[(&str, T)]) -> Option<T> {
        let (at, value) = self.modifiers.iter().enumerate().find_map(|(at, modifier)| {
            known.iter().find(|(name, _)| name == modifier).map(|&(_, value)| (at, value))
        })?;
        self.modifiers.remove(at);
        Some(value)
    }

    /// Takes a modifier that the list names, or says which ones could stand there.
    pub(crate) fn require<T: Copy>(&mut self, known: &[(&str, T)]) -> Result<T> {
        match self.take_any(known) {
            Some(value) => Ok(value),
            None => {
                let names: Vec<_> = known.iter().map(|(name, _)| format!(".{name}")).collect();
                self.unsupported(format!("needs one of {}", names.join(" ")))
            }
        }
    }

    /// Takes the leftmost type.
    pub(crate) fn ty(&mut self) -> Result<Type> {
        match self.take_any(TYPES) {
            Some(ty) => Ok(ty),
            None => self.unsupported("needs a type"),
        }
    }

    /// The leftmost type, left in place.
    pub(crate) fn peek_type(&self) -> Option<Type> {
        self.modifiers
            .iter()
            .find_map(|modifier| TYPES.iter().find(|(name, _)| name == modifier).map(|&(_, ty)| ty))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.modifiers.contains(&name)
    }

    pub(crate) fn ignore(&mut self, names: &[&str]) {
        self.modifiers.retain(|modifier| !names.contains(modifier));
    }

    pub(crate) fn finish(&self) -> Result<()> {
        match self.modifiers.first() {
            None => Ok(()),
            Some(modifier) => self.unsupported(format!("modifier `.{modifier}` is not supported")),
        }
    }

    pub(crate) fn unsupported<T>(&self, why: impl std::fmt::Display) -> Result<T> {
        Err(PtxError::new(self.line, format!("instruction `{}`: {why}", self.text)))
    }
}

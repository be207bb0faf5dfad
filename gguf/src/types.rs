//! ggml's tensor types: what a reader needs to know of them, which is their size.

use std::fmt;
use warpdot_formats::{FloatType, GgmlType};

/// The type of a tensor, by ggml's number; any number can stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorType(u32);

/// The types that are stored in blocks (or are plain numbers) and that warpdot does not multiply:
/// number, name, weights in a block, bytes in a block.
const OTHERS: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (9, "Q8_1", 32, 40),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (13, "Q5_K", 256, 176),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

impl TensorType {
    /// Plain `f32`.
    pub const F32: Self = Self(0);
    /// IEEE half precision.
    pub const F16: Self = Self(1);
    /// The upper half of an `f32`.
    pub const BF16: Self = Self(30);

    /// The type with ggml's number `id`, known or not.
    pub fn from_id(id: u32) -> Self {
        Self(id)
    }

    /// ggml's number.
    pub fn id(self) -> u32 {
        self.0
    }

    /// The block format, if it is one that warpdot multiplies.
    pub fn format(self) -> Option<GgmlType> {
        GgmlType::from_id(self.0)
    }

    /// The type of plain numbers, if it is one.
    pub fn float(self) -> Option<FloatType> {
        FloatType::from_id(self.0)
    }

    /// ggml's name for the type, if it is a known one.
    pub fn name(self) -> Option<&'static str> {
        self.format().map(GgmlType::name).or(self.other().map(|o| o.1))
    }

    /// Weights and bytes in one block, if the type is a known one; plain numbers are blocks of one.
    pub fn block(self) -> Option<(u64, u64)> {
        let format = self.format().map(|f| (f.block_weights() as u64, f.block_bytes() as u64));
        format.or(self.other().map(|o| (o.2, o.3)))
    }

    fn other(self) -> Option<&'static (u32, &'static str, u64, u64)> {
        OTHERS.iter().find(|o| o.0 == self.0)
    }
}

impl From<FloatType> for TensorType {
    fn from(ty: FloatType) -> Self {
        Self(ty.id())
    }
}

impl From<GgmlType> for TensorType {
    fn from(ty: GgmlType) -> Self {
        Self(ty.id())
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("ggml type {}", self.0)),
        }
    }
}

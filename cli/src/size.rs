//! How large tensors are.

use comfy_table::{Cell, CellAlignment};

/// One tensor, or several together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) tensors: u64,
    pub(crate) weights: u64,
    pub(crate) bytes: u64,
}

impl Size {
    /// A tensor of this shape. More weights than can be counted are as many as can be.
    pub(crate) fn of(dims: &[u64], bytes: u64) -> Self {
        let weights = dims.iter().fold(1u64, |product, &dim| product.saturating_mul(dim));
        Self { tensors: 1, weights, bytes }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.tensors += other.tensors;
        self.weights = self.weights.saturating_add(other.weights);
        self.bytes = self.bytes.saturating_add(other.bytes); // tensors may overlap: not bounded by a file
    }

    pub(crate) fn bits_per_weight(&self) -> Option<f64> {
        (self.weights > 0).then(|| self.bytes as f64 * 8.0 / self.weights as f64)
    }

    /// Number of tensors, weights, bytes, bits per weight.
    pub(crate) fn columns(&self) -> [String; 4] {
        [
            self.tensors.to_string(),
            self.weights.to_string(),
            self.bytes.to_string(),
            self.bits_per_weight().map_or("-".into(), |bits| format!("{bits:.3}")),
        ]
    }
}

/// A cell for a number.
pub(crate) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

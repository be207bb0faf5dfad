//! The way of a product to Y: what [`warpdot_formats::epilogue`] defines, with types and operands that are known
//! when the kernel runs, so that there is one kernel for all of them.

use crate::arguments::Ending;
use crate::gpu::global::Matrix;
use warpdot_formats::epilogue::{Activation, Operands};

/// Y and what its elements meet before they are stored.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue {
    y: Matrix,
    bias: Matrix,
    factor: Matrix,
    residual: Matrix,
    scale: f32,
    activation: u32,
    first_row: u32,
}

impl Epilogue {
    /// The end of a product of `rows` x `columns`.
    ///
    /// # Safety
    /// As for [`Matrix::new`], for all four matrices, where those that are read share no memory with Y but elements
    /// of the same row and column. No two threads store the same element.
    #[inline(always)]
    pub unsafe fn new(ending: &Ending, rows: u32, columns: u32) -> Self {
        // SAFETY: the caller's.
        let matrix = |view| unsafe { Matrix::new(view, rows, columns) };
        Self {
            y: matrix(ending.y),
            bias: matrix(ending.bias),
            factor: matrix(ending.factor),
            residual: matrix(ending.residual),
            scale: ending.scale,
            activation: ending.activation,
            first_row: 0,
        }
    }

    /// The same, for products that start at row `row` of Y.
    #[inline(always)]
    pub fn from_row(self, row: u32) -> Self {
        Self { first_row: row, ..self }
    }

    /// Stores `product` as element (`row`, `column`), if Y has one there.
    #[inline(always)]
    pub fn store(&self, row: u32, column: u32, product: f32) {
        let row = self.first_row + row;
        if !self.y.has(row, column) {
            return;
        }
        let or = |matrix: Matrix, none| matrix.get(row, column).unwrap_or(none);
        let operands = Operands {
            scale: self.scale,
            bias: or(self.bias, Operands::NONE.bias),
            activation: Activation::from_id(self.activation),
            factor: or(self.factor, Operands::NONE.factor),
            residual: or(self.residual, Operands::NONE.residual),
        };
        self.y.set(row, column, operands.apply(product));
    }
}

//! The way of a product to Y: what [`warpdot_formats::epilogue`] defines, with types and operands that are known
//! when the kernel runs, so that there is one kernel for all of them.

use crate::arguments::{Ending, WeightRows};
use crate::gpu::global::Matrix;
use crate::gpu::integer::anew;
use crate::gpu::thread;
use warpdot_formats::epilogue::{Activation, Operands};

/// Calls `product` with weights, whether their products are factors, and `sizes`: with the weights that give the
/// factors first, if there are some, and with `w` then.
///
/// A block has to compute the same products each time; what it has stored is there when they are read as factors.
#[inline(always)]
pub fn each_product<const N: usize>(
    w: WeightRows,
    ending: &Ending,
    sizes: [u32; N],
    mut product: impl FnMut(WeightRows, bool, [u32; N]),
) {
    let mut of_up = ending.up.address != 0;
    loop {
        // One call, so that kernels have the code once.
        product(if of_up { ending.up } else { w }, of_up, sizes.map(anew));
        if !of_up {
            return;
        }
        of_up = false;
        thread::sync_threads();
    }
}

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
    of_up: bool,
}

impl Epilogue {
    /// The end of a product of `rows` x `columns`, which are the factors if it is one `of_up`.
    ///
    /// # Safety
    /// As for [`Matrix::new`], for all four matrices, where those that are read share no memory with Y but elements
    /// of the same row and column. No two threads store the same element, unless a barrier is between them.
    #[inline(always)]
    pub unsafe fn new(ending: &Ending, of_up: bool, rows: u32, columns: u32) -> Self {
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
            of_up,
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
        if self.of_up {
            self.factor.set(row, column, product);
            return;
        }
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

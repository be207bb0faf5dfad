//! What happens to products before they are stored, as [`warpdot_formats::epilogue`] defines it.

use rayon::prelude::*;
use warpdot_formats::epilogue::{Activation, Operands};

use crate::bytes::expect_length;
use crate::isa::{IsaVisitor, Lanes, Vectorize};
use crate::tensor::{NumbersMut, Plain, Tensor, TensorMut};
use crate::{Error, Isa};

/// Elements of Y that go through an epilogue together.
const TOGETHER: usize = 64;

/// What products go through on their way to Y:
///
/// ```text
/// y = activation(scale * product + bias) * factor + residual
/// ```
///
/// in `f32` with a fused multiply-add for each of the two pairs, then rounded to the type of Y; see
/// [`formats::epilogue`](warpdot_formats::epilogue). The default does nothing.
///
/// Each tensor has as many columns as Y, and as many rows, or one row that serves all rows of Y. Their types need not
/// be that of Y.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// Multiplies the product.
    pub scale: f32,
    /// Is added to that.
    pub bias: Option<Tensor<'a>>,
    /// What it goes through then.
    pub activation: Activation,
    /// Multiplies the activation: the other half of SwiGLU, for one.
    pub factor: Option<Tensor<'a>>,
    /// Is added to that.
    pub residual: Option<Tensor<'a>>,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Self { scale: 1.0, bias: None, activation: Activation::None, factor: None, residual: None }
    }
}

impl Epilogue<'_> {
    /// Whether it leaves products as they are.
    pub(crate) fn is_nothing(&self) -> bool {
        let tensors = [self.bias, self.factor, self.residual];
        self.scale == 1.0 && self.activation == Activation::None && tensors.iter().all(Option::is_none)
    }

    /// Checks that the tensors suit Y\[m, n\].
    pub(crate) fn check(&self, m: usize, n: usize) -> Result<(), Error> {
        let tensors = [("bias", self.bias), ("factor", self.factor), ("residual", self.residual)];
        for (what, tensor) in tensors {
            let Some(tensor) = tensor else { continue };
            let (rows, columns) = (tensor.rows(), tensor.columns());
            if columns != n || (rows != m && rows != 1) {
                return Err(Error::TensorShape { what, rows, columns, expected: (m, n) });
            }
        }
        Ok(())
    }

    /// Stores Y\[m, n\], what becomes of m rows of n `products`.
    ///
    /// # Errors
    /// If there are not as many products as Y has numbers, or a tensor of the epilogue does not fit.
    pub fn store(&self, isa: Isa, products: &[f32], y: TensorMut) -> Result<(), Error> {
        let (m, n) = (y.rows(), y.columns());
        self.check(m, n)?;
        expect_length("products (rows * columns of y)", m.saturating_mul(n), products.len())?;
        if n > 0 {
            isa.visit(StoreAll { epilogue: self, products, y });
        }
        Ok(())
    }

    /// Writes to `y`, row `row` of Y from column `first` on, what becomes of as many `products`.
    #[inline(always)]
    fn apply<T: Plain>(&self, row: usize, first: usize, products: &[f32], y: &mut [T]) {
        if self.is_nothing() {
            for (y, product) in y.iter_mut().zip(products) {
                *y = T::nearest(*product);
            }
            return;
        }
        let chunks = y.chunks_mut(TOGETHER).zip(products.chunks(TOGETHER));
        for (chunk, (y, products)) in chunks.enumerate() {
            let load = |tensor: &Option<Tensor>, absent: f32| {
                let mut numbers = [absent; TOGETHER];
                if let Some(tensor) = tensor {
                    let row = if tensor.rows() == 1 { 0 } else { row };
                    tensor.load(row, first + chunk * TOGETHER, &mut numbers[..products.len()]);
                }
                numbers
            };
            let none = Operands::NONE;
            let (bias, factor) = (load(&self.bias, none.bias), load(&self.factor, none.factor));
            let residual = load(&self.residual, none.residual);
            for (i, (y, product)) in y.iter_mut().zip(products).enumerate() {
                let operands = Operands {
                    scale: self.scale,
                    bias: bias[i],
                    activation: self.activation,
                    factor: factor[i],
                    residual: residual[i],
                };
                *y = T::nearest(operands.apply(*product));
            }
        }
    }
}

struct StoreAll<'a> {
    epilogue: &'a Epilogue<'a>,
    products: &'a [f32],
    y: TensorMut<'a>,
}

impl IsaVisitor for StoreAll<'_> {
    type Output = ();

    fn visit<I: Lanes>(self, isa: I) {
        let Self { epilogue, products, y } = self;
        let n = y.columns();
        let pieces = |row: usize| std::iter::once(&products[row * n..][..n]);
        Ending { epilogue, at_once: 1, pieces }.store(isa, y);
    }
}

/// Products that wait to be stored: `pieces` of a row, one after the other, at most `at_once` rows to a task.
pub(crate) struct Ending<'a, P> {
    pub(crate) epilogue: &'a Epilogue<'a>,
    pub(crate) at_once: usize,
    pub(crate) pieces: P,
}

impl<'p, P, Pieces> Ending<'_, P>
where
    P: Fn(usize) -> Pieces + Sync,
    Pieces: Iterator<Item = &'p [f32]>,
{
    /// Stores all rows of Y.
    pub(crate) fn store<I: Vectorize>(&self, isa: I, y: TensorMut) {
        let (columns, stride) = (y.columns(), y.stride);
        match y.numbers {
            NumbersMut::F32(y) => self.store_rows(isa, y, columns, stride),
            NumbersMut::F16(y) => self.store_rows(isa, y, columns, stride),
            NumbersMut::Bf16(y) => self.store_rows(isa, y, columns, stride),
        }
    }

    fn store_rows<I: Vectorize, T: Plain>(&self, isa: I, y: &mut [T], columns: usize, stride: usize) {
        let rows = y.par_chunks_mut(stride).with_min_len(self.at_once).enumerate();
        rows.for_each(|(row, y)| {
            let mut first = 0;
            for products in (self.pieces)(row) {
                let y = &mut y[first..columns.min(first + products.len())];
                isa.vectorize(
                    #[inline(always)]
                    || self.epilogue.apply(row, first, &products[..y.len()], y),
                );
                first += y.len();
            }
        });
    }
}

/// Stores the one row of Y, strip by strip.
pub(crate) fn store_row<I: Vectorize>(
    isa: I,
    epilogue: &Epilogue,
    y: TensorMut,
    products: &[f32],
    strip: usize,
) {
    fn strips<I: Vectorize, T: Plain>(
        isa: I,
        epilogue: &Epilogue,
        y: &mut [T],
        products: &[f32],
        strip: usize,
    ) {
        let strips = y.par_chunks_mut(strip).zip(products.par_chunks(strip)).enumerate();
        strips.for_each(|(index, (y, products))| {
            isa.vectorize(
                #[inline(always)]
                || epilogue.apply(0, index * strip, products, y),
            );
        });
    }
    let columns = y.columns();
    match y.numbers {
        NumbersMut::F32(y) => strips(isa, epilogue, &mut y[..columns], products, strip),
        NumbersMut::F16(y) => strips(isa, epilogue, &mut y[..columns], products, strip),
        NumbersMut::Bf16(y) => strips(isa, epilogue, &mut y[..columns], products, strip),
    }
}

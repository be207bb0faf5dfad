//! What happens to products before they are stored, as [`warpdot_formats::epilogue`] defines it.

use warpdot_formats::epilogue::{Activation, Operands};

use crate::bytes::expect_length;
#[cfg(target_arch = "x86_64")]
use crate::columns::Strips;
use crate::isa::{IsaVisitor, Lanes, Vectorize};
use crate::parallel::for_each_chunk;
#[cfg(target_arch = "x86_64")]
use crate::tensor::fetch;
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
        store_rows(isa, epilogue, 1, y, &|row, store| store(&products[row * n..][..n]));
    }
}

/// Takes the products of a row, one piece after the other.
type Store<'a> = &'a mut dyn FnMut(&[f32]);

/// Stores all rows of Y, of which `pieces` hands out the products, at least `at_once` rows to a task. The last piece
/// may go on after the end of the row.
pub(crate) fn store_rows<I: Vectorize>(
    isa: I,
    epilogue: &Epilogue,
    at_once: usize,
    y: TensorMut,
    pieces: &(dyn Fn(usize, Store) + Sync),
) {
    fn rows<I: Vectorize, T: Plain>(
        isa: I,
        epilogue: &Epilogue,
        row: usize,
        y: &mut [T],
        pieces: &(dyn Fn(usize, Store) + Sync),
    ) {
        let mut first = 0;
        pieces(row, &mut |products| {
            let end = y.len().min(first + products.len());
            let y = &mut y[first..end];
            isa.vectorize(
                #[inline(always)]
                || epilogue.apply(row, first, &products[..y.len()], y),
            );
            first = end;
        });
    }
    let (columns, stride) = (y.columns(), y.stride);
    macro_rules! store {
        ($y:ident) => {
            for_each_chunk($y, stride, at_once, &|row, y| {
                rows(isa, epilogue, row, &mut y[..columns], pieces);
            })
        };
    }
    match y.numbers {
        NumbersMut::F32(y) => store!(y),
        NumbersMut::F16(y) => store!(y),
        NumbersMut::Bf16(y) => store!(y),
    }
}

/// Rows between what is stored and what is fetched for it.
#[cfg(target_arch = "x86_64")]
const ROWS_AHEAD: usize = 2;

/// Takes products of a row of a strip: the row, the first of their columns within the strip, and the products, of which
/// those after the end of the row are nothing.
#[cfg(target_arch = "x86_64")]
pub(crate) type StoreInStrip<'a> = &'a mut dyn FnMut(usize, usize, &[f32]);

/// Stores all of Y, strip by strip of `width` columns: `work` has the first column of a strip, one of the `workplaces`,
/// which no other thread has meanwhile, and where to store. There is one task for each workplace.
#[cfg(target_arch = "x86_64")]
pub(crate) fn store_strips<I: Vectorize, W: Send>(
    isa: I,
    epilogue: &Epilogue,
    y: TensorMut,
    width: usize,
    (workplaces, size): (&mut [W], usize),
    work: &(dyn Fn(usize, &mut [W], StoreInStrip) + Sync),
) {
    let (rows, columns, stride) = (y.rows(), y.columns(), y.stride);
    macro_rules! store {
        ($y:ident) => {{
            let strips = Strips::new($y, rows, columns, stride, width);
            for_each_chunk(workplaces, size, 1, &|_, workplace| {
                while let Some(mut strip) = strips.take() {
                    let start = strip.first();
                    work(start, workplace, &mut |row, first, products| {
                        let end = (strip.columns() - first).min(products.len()) + first;
                        if row + ROWS_AHEAD < rows {
                            // What is stored to must be there first.
                            fetch(isa, &strip.row(row + ROWS_AHEAD)[first..end]);
                        }
                        let y = &mut strip.row(row)[first..end];
                        isa.vectorize(
                            #[inline(always)]
                            || epilogue.apply(row, start + first, &products[..y.len()], y),
                        );
                    });
                }
            })
        }};
    }
    match y.numbers {
        NumbersMut::F32(y) => store!(y),
        NumbersMut::F16(y) => store!(y),
        NumbersMut::Bf16(y) => store!(y),
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
    let columns = y.columns();
    macro_rules! store {
        ($y:ident) => {
            for_each_chunk(&mut $y[..columns], strip, 1, &|index, y| {
                let first = index * strip;
                isa.vectorize(
                    #[inline(always)]
                    || epilogue.apply(0, first, &products[first..][..y.len()], y),
                );
            })
        };
    }
    match y.numbers {
        NumbersMut::F32(y) => store!(y),
        NumbersMut::F16(y) => store!(y),
        NumbersMut::Bf16(y) => store!(y),
    }
}

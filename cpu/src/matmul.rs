//! Products of whole matrices, and what they are made of.

use warpdot_formats::{Format, FormatVisitor, GgmlType, Numerics};

use crate::activations::ActivationRun;
use crate::bytes::expect_length;
use crate::epilogue::Epilogue;
use crate::kernel::Registers;
use crate::multiply::Multiply;
use crate::pack::PackedMatrix;
use crate::plan::Plan;
use crate::tensor::{Tensor, TensorMut};
use crate::{Error, Isa, Kernel, Matrix, MatrixRows, gemm};

/// The shape of a product `Y[m,n] = X[m,k] · W[n,k]ᵀ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Rows of X and Y.
    pub m: usize,
    /// Rows of W, columns of Y.
    pub n: usize,
    /// Columns of X and W.
    pub k: usize,
}

impl Problem {
    /// Checks all that concerns the shape alone.
    pub(crate) fn check(self, ty: GgmlType) -> Result<(), Error> {
        let Self { m, n, k } = self;
        for (what, value) in [("m", m), ("n", n), ("k", k)] {
            if value == 0 {
                return Err(Error::ZeroSize { what });
            }
        }
        let block = ty.block_weights();
        if !k.is_multiple_of(block) {
            return Err(Error::PartialBlock { k, ty, block });
        }
        m.checked_mul(n).and_then(|outputs| outputs.checked_mul(k)).ok_or(Error::Overflow { m, n, k })?;
        Ok(())
    }
}

/// Memory that products need besides their operands. It grows to what the largest product so far needed;
/// calls that need no more do not allocate.
#[derive(Debug, Default)]
pub struct Workspace {
    /// What is to be done.
    pub(crate) plan: Plan,
    /// Rows of X, one by one, where tiles gather them.
    pub(crate) rows: Vec<ActivationRun<1>>,
    /// Tiles of a gemv, and its products.
    pub(crate) activations: Vec<ActivationRun<1>>,
    pub(crate) products: Vec<f32>,
    /// Those of a gemm.
    pub(crate) runs: Vec<gemm::Activations>,
    pub(crate) tiles: Vec<gemm::Products>,
    /// Those of tile registers.
    #[cfg(target_arch = "x86_64")]
    pub(crate) activation_tiles: Vec<crate::isa::ActivationTiles>,
    #[cfg(target_arch = "x86_64")]
    pub(crate) product_tiles: Vec<crate::isa::ProductTiles>,
}

impl Workspace {
    /// An empty workspace.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The first `length` elements of `buffer`, which grows where it must.
pub(crate) fn grown<T: Clone>(buffer: &mut Vec<T>, length: usize, zero: T) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, zero);
    }
    &mut buffer[..length]
}

/// Multiplies x, m rows of k activations, by n rows of k `weights`, and writes the m rows of n products to y.
///
/// Activations are rounded to int8, 32 at a time ([`ActivationBlock`](warpdot_formats::ActivationBlock)), or, by
/// [`Numerics::Fast`] alone, they and the weights to `bf16`. Threads come from rayon's current pool; the result
/// does not depend on their number.
///
/// # Errors
/// If a dimension is zero, `k` is not a multiple of the format's block, `m * n * k` overflows, or a slice has
/// the wrong length.
pub fn matmul<F: Format>(
    isa: Isa,
    numerics: Numerics,
    workspace: &mut Workspace,
    problem: Problem,
    weights: &[F],
    x: &[f32],
    y: &mut [f32],
) -> Result<(), Error> {
    Kernel::choose(isa, numerics, problem).matmul(workspace, problem, weights, x, y)
}

/// The dot product of a row of weights and as many activations.
///
/// # Errors
/// As [`matmul`], with m = n = 1 and k the number of weights.
pub fn dot<F: Format>(
    isa: Isa,
    numerics: Numerics,
    workspace: &mut Workspace,
    weights: &[F],
    x: &[f32],
) -> Result<f32, Error> {
    let mut y = [0.0];
    let problem = Problem { m: 1, n: 1, k: weights.len().saturating_mul(F::WEIGHTS) };
    matmul(isa, numerics, workspace, problem, weights, x, &mut y)?;
    Ok(y[0])
}

/// A product Y\[m, n\] = X\[m, k\] · W\[n, k\]ᵀ, and what happens to it before it is stored.
#[derive(Debug)]
pub struct Product<'a> {
    /// X\[m, k\].
    pub x: Tensor<'a>,
    /// Y\[m, n\].
    pub y: TensorMut<'a>,
    /// What products go through.
    pub epilogue: Epilogue<'a>,
}

impl<'a> Product<'a> {
    /// A product with the default epilogue.
    pub fn new(x: Tensor<'a>, y: TensorMut<'a>) -> Self {
        Self { x, y, epilogue: Epilogue::default() }
    }
}

impl Kernel {
    /// Computes a product by this kernel: the bits of [`matmul`], then the epilogue. X in 16 bits is widened, which is
    /// exact. The weights are a [`Matrix`], or some rows of one.
    ///
    /// # Errors
    /// If a dimension is zero, k is not a multiple of the format's block, `m * n * k` overflows, tensors or weights do
    /// not fit each other, or the weights' bytes start at an odd address; or if the instruction set lacks the routine's
    /// registers.
    pub fn compute<'a>(
        self,
        workspace: &mut Workspace,
        weights: impl Into<MatrixRows<'a>>,
        product: Product,
    ) -> Result<(), Error> {
        self.compute_rows(workspace, weights.into(), product)
    }

    fn compute_rows(
        self,
        workspace: &mut Workspace,
        weights: MatrixRows,
        product: Product,
    ) -> Result<(), Error> {
        let (m, n) = (product.x.rows(), weights.rows());
        if m == 0 {
            return Err(Error::ZeroSize { what: "m" });
        }
        if product.y.rows() != m {
            let (rows, columns) = (product.y.rows(), product.y.columns());
            return Err(Error::TensorShape { what: "y", rows, columns, expected: (m, n) });
        }
        let registers = self.registers()?;
        workspace.plan.product(self.routine, m);
        compute(registers, workspace, weights, n, product)
    }

    /// [`matmul`] by this kernel.
    ///
    /// # Errors
    /// As [`matmul`].
    pub fn matmul<F: Format>(
        self,
        workspace: &mut Workspace,
        problem: Problem,
        weights: &[F],
        x: &[f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        problem.check(F::TYPE)?;
        let blocks = problem.n * (problem.k / F::WEIGHTS);
        expect_length("weights (n * k / block)", blocks, weights.len())?;
        // Kernels are compiled here, for all formats, and not by every dependant.
        self.matmul_bytes(F::TYPE, workspace, problem, bytemuck::cast_slice(weights), x, y)
    }

    /// [`matmul`] by this kernel of weights whose format is known only at run time.
    ///
    /// # Errors
    /// As [`matmul`], and if the bytes start at an odd address.
    pub fn matmul_bytes(
        self,
        ty: GgmlType,
        workspace: &mut Workspace,
        problem: Problem,
        weights: &[u8],
        x: &[f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        problem.check(ty)?;
        let Problem { m, n, k } = problem;
        self.compute(workspace, Matrix::Blocks { ty, n, k, bytes: weights }, plain_product(m, n, k, x, y)?)
    }

    /// [`matmul`] by this kernel of packed weights: `m` rows of activations.
    ///
    /// # Errors
    /// If `m` is zero, `m * n * k` overflows, or a slice has the wrong length.
    pub fn matmul_packed(
        self,
        workspace: &mut Workspace,
        m: usize,
        weights: &PackedMatrix,
        x: &[f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        let (n, k) = (weights.rows(), weights.columns());
        Problem { m, n, k }.check(weights.ty())?;
        self.compute(workspace, Matrix::Packed(weights), plain_product(m, n, k, x, y)?)
    }
}

/// The product of slices.
fn plain_product<'a>(
    m: usize,
    n: usize,
    k: usize,
    x: &'a [f32],
    y: &'a mut [f32],
) -> Result<Product<'a>, Error> {
    expect_length("x (m * k)", m * k, x.len())?;
    expect_length("y (m * n)", m * n, y.len())?;
    Ok(Product::new(Tensor::new(x, m, k)?, TensorMut::new(y, m, n)?))
}

/// Computes a product as the workspace's plan says: each row of Y is one of X by n rows of the weights.
pub(crate) fn compute(
    registers: Registers,
    workspace: &mut Workspace,
    weights: MatrixRows,
    n: usize,
    product: Product,
) -> Result<(), Error> {
    let Product { x, y, epilogue } = product;
    let (m, k) = (y.rows(), weights.columns());
    Problem { m, n, k }.check(weights.ty())?;
    weights.check()?;
    for (what, rows, columns, expected) in
        [("x", x.rows(), x.columns(), (x.rows(), k)), ("y", m, y.columns(), (m, n))]
    {
        if columns != expected.1 {
            return Err(Error::TensorShape { what, rows, columns, expected });
        }
    }
    epilogue.check(m, n)?;
    weights.ty().visit(Compute { registers, workspace, weights, n, x, y, epilogue })
}

/// A product whose operands have been checked.
struct Compute<'a> {
    registers: Registers,
    workspace: &'a mut Workspace,
    weights: MatrixRows<'a>,
    n: usize,
    x: Tensor<'a>,
    y: TensorMut<'a>,
    epilogue: Epilogue<'a>,
}

impl FormatVisitor for Compute<'_> {
    type Output = Result<(), Error>;

    fn visit<F: Format>(self) -> Self::Output {
        let Self { registers, workspace, weights, n, x, y, epilogue } = self;
        let multiply = Multiply { workspace, weights: weights.weights::<F>()?, n, x, y, epilogue };
        match registers {
            Registers::Vectors(isa) => isa.visit(multiply),
            #[cfg(target_arch = "x86_64")]
            Registers::Tiles(amx) => multiply.tiles(amx),
        }
        Ok(())
    }
}

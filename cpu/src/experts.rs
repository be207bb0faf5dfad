//! Mixture of experts: rows of activations, each by the weights of an expert of its own.

use warpdot_formats::Numerics;

use crate::bytes::expect_length;
use crate::kernel::Registers;
use crate::matmul::compute;
use crate::{Error, Isa, Kernel, Matrix, Problem, Product, Routine, Workspace};

/// The weights of several experts, W\[experts, n, k\], and who chose which of them.
#[derive(Clone, Copy, Debug)]
pub struct Experts<'a> {
    weights: Matrix<'a>,
    count: usize,
    ids: &'a [u32],
}

impl<'a> Experts<'a> {
    /// Experts whose weights lie one after the other, in as many rows each, as GGUF files have them in one tensor of
    /// three dimensions. There is one of `ids` for each row of Y, the number of its expert.
    ///
    /// # Errors
    /// If `count` is zero or does not divide the rows of the matrix.
    pub fn new(weights: Matrix<'a>, count: usize, ids: &'a [u32]) -> Result<Self, Error> {
        if count == 0 || !weights.rows().is_multiple_of(count) {
            return Err(Error::UnevenExperts { n: weights.rows(), count });
        }
        Ok(Self { weights, count, ids })
    }

    /// Rows of an expert's weights: n.
    pub fn rows(&self) -> usize {
        self.weights.rows() / self.count
    }

    /// Computes Y\[i\] = X\[i / r\] · W\[ids\[i\]\]ᵀ for every row i of Y, and its epilogue. Y has r times as many rows
    /// as X, for a whole number r: with 8 experts for each token, X has a row for each token and r is 8, or X has a row
    /// for each row of Y and r is 1.
    ///
    /// Rows that chose the same expert meet its weights together, and so these are read and decoded once for several
    /// rows, by the kernel that suits their number. Each row of X is quantized once. The bits are those of products of
    /// single rows.
    ///
    /// ```
    /// use warpdot_cpu::{Experts, Isa, Matrix, Numerics, Product, Tensor, TensorMut, Workspace};
    /// use warpdot_formats::{Format, GgmlType, Q8_0};
    ///
    /// // Three experts of one row each: all weights are 1, 2 or 3.
    /// let weights = [1.0, 2.0, 3.0].map(|weight| Q8_0::quantize(&[weight; 32]));
    /// let bytes = bytemuck::cast_slice(&weights);
    /// let matrix = Matrix::Blocks { ty: GgmlType::Q8_0, n: 3, k: 32, bytes };
    /// // Two tokens, and two experts for each.
    /// let experts = Experts::new(matrix, 3, &[2, 0, 1, 2])?;
    /// let (x, mut y) = ([1.0; 64], [0.0; 4]);
    /// let product = Product::new(Tensor::new(&x[..], 2, 32)?, TensorMut::new(&mut y[..], 4, 1)?);
    /// experts.compute(Isa::best(), Numerics::Fast, &mut Workspace::new(), product)?;
    /// assert!(y.iter().zip([96.0, 32.0, 64.0, 96.0]).all(|(y, exact)| (y - exact).abs() < 0.5));
    /// # Ok::<(), warpdot_cpu::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Kernel::compute`]; if there is not one id for each row of Y, or no expert for one of them; or if the rows
    /// of Y are not a multiple of those of X.
    #[doc(alias = "matmul_id")]
    #[doc(alias = "mul_mat_id")]
    pub fn compute(
        self,
        isa: Isa,
        numerics: Numerics,
        workspace: &mut Workspace,
        product: Product,
    ) -> Result<(), Error> {
        let (n, k) = (self.rows(), self.weights.columns());
        self.compute_by(
            isa,
            &|m| Kernel::choose(isa, numerics, Problem { m, n, k }).routine,
            workspace,
            product,
        )
    }

    /// [`compute`](Self::compute) by a certain kernel, however many rows chose an expert. Tile registers are for products
    /// of whole matrices: [`Routine::Tiles`] stands for a gemm here.
    ///
    /// # Errors
    /// As [`compute`](Self::compute), and if the instruction set lacks the routine's registers.
    pub fn compute_with(
        self,
        kernel: Kernel,
        workspace: &mut Workspace,
        product: Product,
    ) -> Result<(), Error> {
        kernel.registers()?;
        self.compute_by(kernel.isa, &|_| kernel.routine, workspace, product)
    }

    fn compute_by(
        self,
        isa: Isa,
        routine: &dyn Fn(usize) -> Routine,
        workspace: &mut Workspace,
        product: Product,
    ) -> Result<(), Error> {
        let Self { weights, count, ids } = self;
        let (x, y, n) = (product.x.rows(), product.y.rows(), self.rows());
        if x == 0 {
            return Err(Error::ZeroSize { what: "m" });
        }
        if y == 0 || !y.is_multiple_of(x) {
            return Err(Error::UnevenRows { x, y });
        }
        expect_length("ids (rows of y)", y, ids.len())?;
        workspace.plan.experts(ids, y / x, (count, n), routine)?;
        compute(Registers::Vectors(isa), workspace, weights.into(), n, product)
    }
}

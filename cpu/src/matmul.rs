//! Products of whole matrices: checks, and the division of the work among threads.

use warpdot_formats::{Format, FormatVisitor, GgmlType, Numerics, RUN};

use crate::activations::{ActivationRun, Weighing};
use crate::bytes::{blocks_of_bytes, expect_length};
use crate::epilogue::{Epilogue, store_row, store_rows};
use crate::isa::{IsaVisitor, Lanes, ROWS};
use crate::pack::{PackedMatrix, Weights};
use crate::parallel::for_each_chunk;
use crate::tensor::{NumbersMut, Tensor, TensorMut};
use crate::{Error, Isa, Kernel, Routine, gemm, gemv};

/// Products below which other threads are not worth waking.
const SMALL: usize = 1 << 18;

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
    activations: Vec<ActivationRun<1>>,
    runs: Vec<gemm::Activations>,
    products: Vec<f32>,
    tiles: Vec<gemm::Products>,
    #[cfg(target_arch = "x86_64")]
    pub(crate) activation_tiles: Vec<crate::isa::ActivationTiles>,
    #[cfg(target_arch = "x86_64")]
    pub(crate) lines: Vec<crate::isa::Line>,
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

/// A matrix W\[n, k\] of weights.
#[derive(Clone, Copy, Debug)]
pub enum Matrix<'a> {
    /// In ggml's blocks.
    Blocks {
        /// The format.
        ty: GgmlType,
        /// Rows.
        n: usize,
        /// Weights in a row.
        k: usize,
        /// The blocks, row after row.
        bytes: &'a [u8],
    },
    /// Packed.
    Packed(&'a PackedMatrix),
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
    /// exact.
    ///
    /// # Errors
    /// If a dimension is zero, k is not a multiple of the format's block, `m * n * k` overflows, tensors or weights do
    /// not fit each other, or the weights' bytes start at an odd address.
    pub fn compute(self, workspace: &mut Workspace, weights: Matrix, product: Product) -> Result<(), Error> {
        let (ty, n, k) = match weights {
            Matrix::Blocks { ty, n, k, .. } => (ty, n, k),
            Matrix::Packed(matrix) => (matrix.ty(), matrix.rows(), matrix.columns()),
        };
        let Product { x, y, epilogue } = product;
        let problem = Problem { m: x.rows(), n, k };
        problem.check(ty)?;
        for (what, rows, columns, expected) in
            [("x", x.rows(), x.columns(), (problem.m, k)), ("y", y.rows(), y.columns(), (problem.m, n))]
        {
            if (rows, columns) != expected {
                return Err(Error::TensorShape { what, rows, columns, expected });
            }
        }
        epilogue.check(problem.m, n)?;
        if let Matrix::Blocks { bytes, .. } = weights {
            let row = k / ty.block_weights() * ty.block_bytes();
            let expected = n.checked_mul(row).ok_or(Error::Overflow { m: problem.m, n, k })?;
            expect_length("weights (bytes of n rows)", expected, bytes.len())?;
        }
        ty.visit(Compute { kernel: self, workspace, problem, weights, x, y, epilogue })
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

/// A product whose operands have been checked.
struct Compute<'a> {
    kernel: Kernel,
    workspace: &'a mut Workspace,
    problem: Problem,
    weights: Matrix<'a>,
    x: Tensor<'a>,
    y: TensorMut<'a>,
    epilogue: Epilogue<'a>,
}

impl FormatVisitor for Compute<'_> {
    type Output = Result<(), Error>;

    fn visit<F: Format>(self) -> Self::Output {
        let Self { kernel: Kernel { isa, routine }, workspace, problem, weights, x, y, epilogue } = self;
        let weights = match weights {
            Matrix::Blocks { bytes, .. } => {
                Weights::of_blocks(blocks_of_bytes::<F>(bytes)?, problem.k / F::WEIGHTS)
            }
            Matrix::Packed(matrix) => matrix.weights(),
        };
        let multiply = Multiply { routine, workspace, problem, weights, x, y, epilogue };
        match (routine, isa) {
            #[cfg(target_arch = "x86_64")]
            (Routine::Tiles, Isa::Amx(amx)) => multiply.tiles(amx),
            (Routine::Tiles, _) => return Err(Error::NoTiles { isa: isa.name() }),
            (Routine::Gemv | Routine::Gemm, _) => isa.visit(multiply),
        }
        Ok(())
    }
}

/// A product of weights of a format.
pub(crate) struct Multiply<'a, F> {
    routine: Routine,
    pub(crate) workspace: &'a mut Workspace,
    pub(crate) problem: Problem,
    pub(crate) weights: Weights<'a, F>,
    pub(crate) x: Tensor<'a>,
    pub(crate) y: TensorMut<'a>,
    pub(crate) epilogue: Epilogue<'a>,
}

impl<F: Format> IsaVisitor for Multiply<'_, F> {
    type Output = ();

    fn visit<I: Lanes>(self, isa: I) {
        match self.routine {
            Routine::Gemv => self.gemv(isa),
            Routine::Gemm | Routine::Tiles => self.gemm(isa),
        }
    }
}

impl<F: Format> Multiply<'_, F> {
    /// Whether other threads are not worth waking.
    pub(crate) fn one_thread(&self) -> bool {
        let Problem { m, n, k } = self.problem;
        m * n * k < SMALL || rayon::current_num_threads() == 1
    }

    /// X is cut into tiles of some rows, W into strips of some groups. Each strip's products with a tile lie
    /// together in memory, so that threads write to slices of their own; with one row of X that may be Y itself.
    fn gemv<I: Lanes>(self, isa: I) {
        let (Problem { m, n, k }, one_thread) = (self.problem, self.one_thread());
        let Self { workspace, weights, x, y, epilogue, .. } = self;
        let (runs, columns) = (k / RUN, m.div_ceil(m.div_ceil(gemv::MAX_COLUMNS)));
        let strip = if one_thread { n.next_multiple_of(ROWS) } else { strip_rows(n) };
        let at_once = if one_thread { m } else { 1 };

        let weighing = Weighing::of::<I, F>();
        let activations = grown(&mut workspace.activations, m * runs, ActivationRun::ZERO);
        for_each_chunk(activations, columns * runs, at_once, &|index, tile| {
            gemv::quantize(isa, weighing, x, index * columns, tile);
        });

        let activations = &*activations;
        let multiply = |products: &mut [f32]| {
            for_each_chunk(products, columns * n, at_once, &|tile, products| {
                let first = tile * columns;
                let columns = products.len() / n;
                let activations = &activations[first * runs..][..columns * runs];
                for_each_chunk(products, columns * strip, 1, &|index, products| {
                    let first = index * strip / ROWS;
                    multiply_strip(isa, &weights, first, activations, columns, products);
                });
            });
        };

        match y {
            TensorMut { numbers: NumbersMut::F32(y), .. } if m == 1 && epilogue.is_nothing() => {
                multiply(&mut y[..n]);
            }
            y => {
                let products = grown(&mut workspace.products, m * n, 0.0);
                multiply(products);
                if m == 1 {
                    return store_row(isa, &epilogue, y, products, strip);
                }
                let products = &*products;
                store_rows(isa, &epilogue, at_once, y, &|row, store| {
                    let first = row / columns * columns;
                    let there = columns.min(m - first);
                    for strip in products[first * n..][..there * n].chunks(there * strip) {
                        let width = strip.len() / there;
                        store(&strip[(row - first) * width..][..width]);
                    }
                });
            }
        }
    }

    /// W is cut into strips of some groups, each of which meets all of X.
    fn gemm<I: Lanes>(self, isa: I) {
        let (Problem { m, n, k }, one_thread) = (self.problem, self.one_thread());
        let Self { workspace, weights, x, y, epilogue, .. } = self;
        let (runs, tiles, groups) = (k / RUN, m.div_ceil(gemm::COLUMNS), n.div_ceil(ROWS));
        let strip = if one_thread { n } else { strip_rows(n) };
        let strip = strip.next_multiple_of(I::VECTORS * ROWS) / ROWS;
        let at_once = if one_thread { m } else { 1 };

        let weighing = Weighing::of::<I, F>();
        let activations = grown(&mut workspace.runs, tiles * runs, gemm::Activations::ZERO);
        for_each_chunk(activations, runs, at_once, &|index, tile| {
            gemm::quantize(isa, weighing, x, index * gemm::COLUMNS, tile);
        });

        let activations = &*activations;
        let products = grown(&mut workspace.tiles, groups * tiles, gemm::NO_PRODUCTS);
        for_each_chunk(products, strip * tiles, 1, &|index, products| {
            let first = index * strip;
            gemm::multiply(isa, weights, first..groups.min(first + strip), activations, products);
        });

        let products = &*products;
        store_rows(isa, &epilogue, at_once, y, &|row, store| {
            gemm::pieces::<I>(products, tiles, row).for_each(store);
        });
    }
}

/// Multiplies the groups from `first` on. `products` has a row for each row of the tile of activations.
fn multiply_strip<I: Lanes, F: Format>(
    isa: I,
    weights: &Weights<F>,
    first: usize,
    activations: &[ActivationRun<1>],
    columns: usize,
    products: &mut [f32],
) {
    let width = products.len() / columns;
    let mut accumulators = gemv::Accumulators::ZERO;
    for (group, row) in (first..).zip((0..width).step_by(ROWS)) {
        let (group, row_blocks) = (weights.group(group), weights.row_blocks());
        let emit = |column: usize, product: &[f32; ROWS]| {
            let product = &product[..ROWS.min(width - row)];
            products[column * width + row..][..product.len()].copy_from_slice(product);
        };
        gemv::multiply(isa, group, row_blocks, activations, columns, &mut accumulators, emit);
    }
}

/// Rows of W in a strip: enough strips to balance the threads' loads, and whole groups, so that no two threads write
/// to the same cache line of an aligned y.
pub(crate) fn strip_rows(n: usize) -> usize {
    const STRIPS_PER_THREAD: usize = 8;
    n.div_ceil(rayon::current_num_threads() * STRIPS_PER_THREAD).next_multiple_of(ROWS)
}

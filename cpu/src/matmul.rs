//! Products of whole matrices: checks, and the division of the work among threads.

use rayon::prelude::*;
use warpdot_formats::{Format, FormatVisitor, GgmlType, Numerics, RUN};

use crate::activations::{ActivationRun, Weighing};
use crate::bytes::{blocks_of_bytes, expect_length};
use crate::isa::{IsaVisitor, Lanes, ROWS};
use crate::pack::{PackedMatrix, Weights};
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
/// Activations are rounded to int8, 32 at a time
/// ([`ActivationBlock`](warpdot_formats::ActivationBlock)). Threads come from rayon's current pool; the result
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

impl Kernel {
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
        let problem = Problem { m, n: weights.rows(), k: weights.columns() };
        problem.check(weights.ty())?;
        expect_length("x (m * k)", m * problem.k, x.len())?;
        expect_length("y (m * n)", m * problem.n, y.len())?;
        weights.ty().visit(MultiplyPacked { kernel: self, workspace, problem, weights, x, y });
        Ok(())
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
        let expected = problem
            .n
            .checked_mul(problem.k / ty.block_weights() * ty.block_bytes())
            .ok_or(Error::Overflow { m: problem.m, n: problem.n, k: problem.k })?;
        expect_length("weights (bytes of n rows)", expected, weights.len())?;
        expect_length("x (m * k)", problem.m * problem.k, x.len())?;
        expect_length("y (m * n)", problem.m * problem.n, y.len())?;
        ty.visit(MultiplyBytes { kernel: self, workspace, problem, weights, x, y })
    }
}

struct MultiplyBytes<'a> {
    kernel: Kernel,
    workspace: &'a mut Workspace,
    problem: Problem,
    weights: &'a [u8],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl FormatVisitor for MultiplyBytes<'_> {
    type Output = Result<(), Error>;

    fn visit<F: Format>(self) -> Self::Output {
        let Self { kernel: Kernel { isa, routine }, workspace, problem, weights, x, y } = self;
        let weights = Weights::of_blocks(blocks_of_bytes::<F>(weights)?, problem.k / F::WEIGHTS);
        isa.visit(Multiply { routine, workspace, problem, weights, x, y });
        Ok(())
    }
}

struct MultiplyPacked<'a> {
    kernel: Kernel,
    workspace: &'a mut Workspace,
    problem: Problem,
    weights: &'a PackedMatrix,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl FormatVisitor for MultiplyPacked<'_> {
    type Output = ();

    fn visit<F: Format>(self) {
        let Self { kernel: Kernel { isa, routine }, workspace, problem, weights, x, y } = self;
        isa.visit(Multiply { routine, workspace, problem, weights: weights.weights::<F>(), x, y });
    }
}

/// A product whose operands have been checked.
struct Multiply<'a, F> {
    routine: Routine,
    workspace: &'a mut Workspace,
    problem: Problem,
    weights: Weights<'a, F>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Format> IsaVisitor for Multiply<'_, F> {
    type Output = ();

    fn visit<I: Lanes>(self, isa: I) {
        match self.routine {
            Routine::Gemv => self.gemv(isa),
            Routine::Gemm => self.gemm(isa),
        }
    }
}

impl<F: Format> Multiply<'_, F> {
    /// Whether other threads are not worth waking.
    fn one_thread(&self) -> bool {
        let Problem { m, n, k } = self.problem;
        m * n * k < SMALL || rayon::current_num_threads() == 1
    }

    /// X is cut into tiles of some rows, W into strips of some groups. Each strip's products with a tile lie
    /// together in memory, so that threads write to slices of their own; with one row of X that is y itself.
    fn gemv<I: Lanes>(self, isa: I) {
        let (Problem { m, n, k }, one_thread) = (self.problem, self.one_thread());
        let (runs, columns) = (k / RUN, m.div_ceil(m.div_ceil(gemv::MAX_COLUMNS)));
        let strip = if one_thread { n.next_multiple_of(ROWS) } else { strip_rows(n) };
        let at_once = if one_thread { m } else { 1 };

        let weighing = Weighing::of::<I, F>();
        let activations = grown(&mut self.workspace.activations, m * runs, ActivationRun::ZERO);
        let tiles = activations.par_chunks_mut(columns * runs).zip(self.x.par_chunks(columns * k));
        tiles.with_min_len(at_once).for_each(|(tile, x)| gemv::quantize(isa, weighing, x, k, tile));

        let (activations, weights) = (&*activations, &self.weights);
        let products = if m == 1 { &mut *self.y } else { grown(&mut self.workspace.products, m * n, 0.0) };
        let tiles = activations.par_chunks(columns * runs).zip(products.par_chunks_mut(columns * n));
        tiles.with_min_len(at_once).for_each(|(activations, products)| {
            let columns = activations.len() / runs;
            products.par_chunks_mut(columns * strip).enumerate().for_each(|(index, products)| {
                let width = products.len() / columns;
                let mut accumulators = gemv::Accumulators::ZERO;
                for first in (0..width).step_by(ROWS) {
                    let group = weights.group((index * strip + first) / ROWS);
                    let emit = |column: usize, product: &[f32; ROWS]| {
                        let product = &product[..ROWS.min(width - first)];
                        products[column * width + first..][..product.len()].copy_from_slice(product);
                    };
                    let row_blocks = weights.row_blocks();
                    gemv::multiply(isa, group, row_blocks, activations, columns, &mut accumulators, emit);
                }
            });
        });

        if m > 1 {
            let products = &self.workspace.products[..m * n];
            let tiles = self.y.par_chunks_mut(columns * n).zip(products.par_chunks(columns * n));
            tiles.for_each(|(y, products)| collect_strips(y, products, n, strip, one_thread));
        }
    }

    /// W is cut into strips of some groups, each of which meets all of X.
    fn gemm<I: Lanes>(self, isa: I) {
        let (Problem { m, n, k }, one_thread) = (self.problem, self.one_thread());
        let (runs, tiles, groups) = (k / RUN, m.div_ceil(gemm::COLUMNS), n.div_ceil(ROWS));
        let strip = if one_thread { n } else { strip_rows(n) };
        let strip = strip.next_multiple_of(I::VECTORS * ROWS) / ROWS;
        let at_once = if one_thread { m } else { 1 };

        let weighing = Weighing::of::<I, F>();
        let activations = grown(&mut self.workspace.runs, tiles * runs, gemm::Activations::ZERO);
        let (x, of_tiles) = (self.x.par_chunks(gemm::COLUMNS * k), activations.par_chunks_mut(runs));
        let quantize = |(x, tile): (&[f32], &mut [_])| gemm::quantize(isa, weighing, x, k, tile);
        x.zip(of_tiles).with_min_len(at_once).for_each(quantize);

        let activations = &*activations;
        let products = grown(&mut self.workspace.tiles, groups * tiles, gemm::NO_PRODUCTS);
        products.par_chunks_mut(strip * tiles).enumerate().for_each(|(index, products)| {
            let first = index * strip;
            gemm::multiply(isa, self.weights, first..groups.min(first + strip), activations, products);
        });

        let products = &*products;
        let rows = self.y.par_chunks_mut(n).with_min_len(at_once).enumerate();
        rows.for_each(|(row, y)| gemm::collect::<I>(products, tiles, row, y));
    }
}

/// Copies products, of which each `strip` columns of y lie together, to the rows of y, n long.
fn collect_strips(y: &mut [f32], products: &[f32], n: usize, strip: usize, one_thread: bool) {
    let m = y.len() / n;
    let rows = y.par_chunks_mut(n).with_min_len(if one_thread { m } else { 1 });
    rows.enumerate().for_each(|(row, y)| {
        for (y, products) in y.chunks_mut(strip).zip(products.chunks(m * strip)) {
            y.copy_from_slice(&products[row * y.len()..][..y.len()]);
        }
    });
}

/// Rows of W in a strip: enough strips to balance the threads' loads, and whole groups, so that no two threads write
/// to the same cache line of an aligned y.
fn strip_rows(n: usize) -> usize {
    const STRIPS_PER_THREAD: usize = 8;
    n.div_ceil(rayon::current_num_threads() * STRIPS_PER_THREAD).next_multiple_of(ROWS)
}

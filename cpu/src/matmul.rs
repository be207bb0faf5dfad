//! Products of whole matrices: checks, and the division of the work among threads.

use std::ops::Range;

use bytemuck::Zeroable;
use rayon::prelude::*;
use warpdot_formats::{Format, FormatVisitor, GgmlType, Numerics, RUN};

use crate::activations::ActivationOctet;
use crate::bytes::{blocks_of_bytes, expect_length};
use crate::gemm::ActivationRun;
use crate::isa::{IsaVisitor, Lanes, OCTET, ROWS, Simd};
use crate::tile::{Accumulators, MAX_COLUMNS, multiply};
use crate::{Error, Isa, Kernel, Routine, gemm};

/// Products below which other threads are not worth waking.
const SMALL: usize = 1 << 18;

/// Rows of weights that a thread takes at once are a multiple of this, so that threads seldom write to the
/// same cache line of y.
const STRIP: usize = 16;

/// How far ahead of their use weights are fetched from memory, in bytes, at least.
const AHEAD: usize = 8192;

/// Rows of weights in a tile of [`Routine::Gemv`].
const GEMV_ROWS: usize = 4;

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
    fn check(self, ty: GgmlType) -> Result<(), Error> {
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

    /// Octets along k, the last one perhaps not full.
    fn octets(self) -> usize {
        self.k.div_ceil(RUN * OCTET)
    }
}

/// Memory that products need besides their operands. It grows to what the largest product so far needed;
/// calls that need no more do not allocate.
#[derive(Debug, Default)]
pub struct Workspace {
    activations: Vec<ActivationOctet>,
    runs: Vec<ActivationRun>,
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
pub(crate) fn grown<T: Zeroable + Clone>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::zeroed());
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
        let Problem { m, n, k } = problem;
        expect_length("weights (n * k / block)", n * (k / F::WEIGHTS), weights.len())?;
        expect_length("x (m * k)", m * k, x.len())?;
        expect_length("y (m * n)", m * n, y.len())?;
        self.isa.visit(Multiply { routine: self.routine, workspace, problem, weights, x, y });
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
        let weights: &[F] = blocks_of_bytes(self.weights)?;
        self.kernel.matmul(self.workspace, self.problem, weights, self.x, self.y)
    }
}

/// A product whose operands have been checked.
struct Multiply<'a, F> {
    routine: Routine,
    workspace: &'a mut Workspace,
    problem: Problem,
    weights: &'a [F],
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

    /// X is cut into tiles of some rows, W into strips of some rows. Each strip's products with a tile lie
    /// together in memory, so that threads write to slices of their own; with one row of X that is y itself.
    fn gemv<I: Lanes>(self, isa: I) {
        let Problem { m, n, k } = self.problem;
        let (octets, row_blocks) = (self.problem.octets(), k / F::WEIGHTS);
        let columns = m.div_ceil(m.div_ceil(MAX_COLUMNS));
        let one_thread = self.one_thread();
        let strip = if one_thread { n } else { strip_rows(n) };

        let activations = grown(&mut self.workspace.activations, m * octets);
        let tiles = activations.par_chunks_mut(columns * octets).with_min_len(if one_thread { m } else { 1 });
        tiles.zip(self.x.par_chunks(columns * k)).for_each(|(tile, x)| quantize_tile(isa, tile, x, k));

        let products: &mut [f32] = if m == 1 { self.y } else { grown(&mut self.workspace.products, m * n) };
        let tiles = activations.par_chunks(columns * octets).zip(products.par_chunks_mut(columns * n));
        tiles.with_min_len(if one_thread { m } else { 1 }).for_each(|(activations, products)| {
            let columns = activations.len() / octets;
            let strips =
                products.par_chunks_mut(columns * strip).zip(self.weights.par_chunks(strip * row_blocks));
            strips.for_each(|(products, weights)| {
                let strip = Strip { weights, row_blocks, activations, columns };
                multiply_strip::<I, F>(isa, &strip, products);
            });
        });

        if m > 1 {
            let products = &self.workspace.products[..m * n];
            let tiles = self.y.par_chunks_mut(columns * n).zip(products.par_chunks(columns * n));
            tiles.for_each(|(y, products)| collect_strips(y, products, n, strip, one_thread));
        }
    }

    /// W is cut into strips of some rows, each of which meets all of X.
    fn gemm<I: Lanes>(self, isa: I) {
        let Problem { m, n, k } = self.problem;
        let row_blocks = k / F::WEIGHTS;
        let one_thread = self.one_thread();
        let strip = if one_thread { n } else { strip_rows(n) };
        let strip = strip.next_multiple_of(I::VECTORS * ROWS);
        let (runs, tiles) = (k / RUN, m.div_ceil(gemm::COLUMNS));
        let at_once = if one_thread { m } else { 1 };

        let activations = grown(&mut self.workspace.runs, tiles * runs);
        let (x, of_tiles) = (self.x.par_chunks(gemm::COLUMNS * k), activations.par_chunks_mut(runs));
        x.zip(of_tiles).with_min_len(at_once).for_each(|(x, tile)| gemm::quantize(isa, x, k, tile));

        let activations = &*activations;
        let products = grown(&mut self.workspace.tiles, n.div_ceil(ROWS) * tiles);
        let weights = self.weights.par_chunks(strip * row_blocks);
        weights.zip(products.par_chunks_mut(strip / ROWS * tiles)).for_each(|(weights, products)| {
            gemm::multiply(isa, weights, row_blocks, activations, products);
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

/// Rows of W in a strip: enough strips to balance the threads' loads.
fn strip_rows(n: usize) -> usize {
    const STRIPS_PER_THREAD: usize = 8;
    n.div_ceil(rayon::current_num_threads() * STRIPS_PER_THREAD).next_multiple_of(STRIP)
}

/// How far ahead to fetch weights while the rows of a tile are read side by side: to the same place some tiles
/// further on, or within long rows.
fn fetch_ahead(row_bytes: usize, rows: usize) -> usize {
    if row_bytes < 4 * AHEAD { AHEAD.next_multiple_of(rows * row_bytes) } else { AHEAD }
}

/// Quantizes some rows of X to octets, as [`multiply`] wants them.
fn quantize_tile<I: Simd>(isa: I, tile: &mut [ActivationOctet], x: &[f32], k: usize) {
    let columns = x.len() / k;
    isa.vectorize(
        #[inline(always)]
        || {
            for (column, x) in x.chunks_exact(k).enumerate() {
                for (octets, x) in tile.chunks_exact_mut(columns).zip(x.chunks(RUN * OCTET)) {
                    octets[column] = ActivationOctet::quantize(x);
                }
            }
        },
    );
}

/// Some rows of W, and the tile of X that they meet.
struct Strip<'a, F> {
    weights: &'a [F],
    row_blocks: usize,
    activations: &'a [ActivationOctet],
    columns: usize,
}

/// Multiplies a strip. `products` has a row for each row of the tile.
fn multiply_strip<I: Simd, F: Format>(isa: I, strip: &Strip<F>, products: &mut [f32]) {
    isa.vectorize(
        #[inline(always)]
        || {
            let width = products.len() / strip.columns;
            let whole = width / GEMV_ROWS * GEMV_ROWS;
            multiply_rows::<I, F, GEMV_ROWS>(isa, strip, 0..whole, products);
            multiply_rows::<I, F, 1>(isa, strip, whole..width, products);
        },
    );
}

/// Multiplies those of a strip's rows, a multiple of `ROWS` of them.
#[inline(always)]
fn multiply_rows<I: Simd, F: Format, const ROWS: usize>(
    isa: I,
    strip: &Strip<F>,
    rows: Range<usize>,
    products: &mut [f32],
) {
    let &Strip { weights, row_blocks, activations, columns } = strip;
    let width = products.len() / columns;
    let ahead = fetch_ahead(row_blocks * size_of::<F>(), ROWS);
    let mut accumulators = Accumulators::<ROWS>::ZERO;
    for first in rows.step_by(ROWS) {
        let rows = std::array::from_fn(|r| &weights[(first + r) * row_blocks..][..row_blocks]);
        multiply(isa, rows, activations, columns, ahead, &mut accumulators, |column, r, product| {
            products[column * width + first + r] = product;
        });
    }
}

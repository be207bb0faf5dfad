//! The division of a product's work among threads.
//!
//! X is cut into tiles as the [`Plan`](crate::plan::Plan) says, W into strips of some groups of rows. Each strip's
//! products with a tile lie together in memory, so that threads write to slices of their own; then rows of Y are put
//! together of them.

use warpdot_formats::{Format, RUN};

use crate::activations::{ActivationRun, Weighing};
use crate::epilogue::{Epilogue, store_row, store_rows};
use crate::isa::{IsaVisitor, Lanes, ROWS};
use crate::matmul::grown;
use crate::parallel::{for_each_chunk, for_each_piece};
use crate::plan::{Plan, Tile};
use crate::tensor::{NumbersMut, Tensor, TensorMut};
use crate::weights::Weights;
use crate::{Routine, Workspace, gemm, gemv};

/// Products below which other threads are not worth waking.
const SMALL: usize = 1 << 18;

/// A product of weights of a format, whose operands have been checked: each tile of the workspace's plan by `n` rows of
/// the weights.
pub(crate) struct Multiply<'a, F> {
    pub(crate) workspace: &'a mut Workspace,
    pub(crate) weights: Weights<'a, F>,
    pub(crate) n: usize,
    pub(crate) x: Tensor<'a>,
    pub(crate) y: TensorMut<'a>,
    pub(crate) epilogue: Epilogue<'a>,
}

/// What a product's steps have in common.
#[derive(Clone, Copy)]
struct Task<'a, I> {
    isa: I,
    weighing: Weighing,
    plan: &'a Plan,
    /// The quantized rows of X, where tiles gather them.
    rows: &'a [ActivationRun<1>],
    x: Tensor<'a>,
    epilogue: &'a Epilogue<'a>,
    n: usize,
    one_thread: bool,
}

impl<F> Multiply<'_, F> {
    /// Whether other threads are not worth waking.
    pub(crate) fn one_thread(&self) -> bool {
        self.y.rows() * self.n * self.x.columns() < SMALL || rayon::current_num_threads() == 1
    }
}

impl<F: Format> IsaVisitor for Multiply<'_, F> {
    type Output = ();

    fn visit<I: Lanes>(self, isa: I) {
        let one_thread = self.one_thread();
        let Self { workspace, weights, n, x, mut y, epilogue } = self;
        let Workspace { plan, rows, activations, products, runs, tiles, .. } = workspace;
        let weighing = Weighing::of::<I, F>();
        let rows = match plan.gathers() {
            true => grown(rows, x.rows() * (x.columns() / RUN), ActivationRun::ZERO),
            false => &mut [],
        };
        let mut task = Task { isa, weighing, plan: &*plan, rows: &[], x, epilogue: &epilogue, n, one_thread };
        task.quantize_rows(rows);
        task.rows = rows;
        if !plan.tiles(Routine::Gemv).is_empty() {
            task.gemv(&weights, activations, products, y.reborrow());
        }
        if !plan.tiles(Routine::Gemm).is_empty() {
            task.gemm(&weights, runs, tiles, y);
        }
    }
}

impl<I: Lanes> Task<'_, I> {
    /// Runs of a row of X.
    fn runs(&self) -> usize {
        self.x.columns() / RUN
    }

    /// How many of `all` pieces of work a task has at least.
    fn at_once(&self, all: usize) -> usize {
        if self.one_thread { all } else { 1 }
    }

    /// Rows of W in a strip.
    fn strip_rows(&self, tiles: usize) -> usize {
        if self.one_thread { self.n.next_multiple_of(ROWS) } else { strip_rows(self.n, tiles) }
    }

    /// Calls `work` with each tile of a routine and what it has of `data`, `unit` elements for each place of its extent.
    fn for_each_tile<T: Send>(
        &self,
        routine: Routine,
        data: &mut [T],
        unit: usize,
        work: &(dyn Fn(Tile, &mut [T]) + Sync),
    ) {
        let tiles = self.plan.tiles(routine);
        let start = |tile: usize| tiles[tile].start * unit;
        for_each_piece(data, 0..tiles.len(), &start, self.one_thread, &|index, data| {
            work(tiles[index], data)
        });
    }

    /// Quantizes rows of X one by one.
    fn quantize_rows(&self, rows: &mut [ActivationRun<1>]) {
        for_each_chunk(rows, self.runs(), self.at_once(self.x.rows()), &|row, runs| {
            gemv::quantize(self.isa, self.weighing, self.x, row, runs);
        });
    }

    /// Fills the activations of tiles for a gemv.
    fn fill_gemv(&self, activations: &mut [ActivationRun<1>]) {
        self.for_each_tile(Routine::Gemv, activations, self.runs(), &|tile, activations| match self
            .plan
            .gathers()
        {
            true => gemv::gather(self.rows, self.plan.sources(&tile), activations),
            false => gemv::quantize(self.isa, self.weighing, self.x, tile.before, activations),
        });
    }

    /// Fills the activations of tiles for a gemm.
    fn fill_gemm(&self, activations: &mut [gemm::Activations]) {
        let runs = self.runs();
        self.for_each_tile(
            Routine::Gemm,
            activations,
            runs,
            &|tile, activations| match self.plan.gathers() {
                true => gemm::gather(self.rows, self.plan.sources(&tile), activations),
                false => {
                    for_each_chunk(activations, runs, self.at_once(tile.columns), &|some, activations| {
                        let first = tile.before + some * gemm::COLUMNS;
                        gemm::quantize(self.isa, self.weighing, self.x, first, activations);
                    })
                }
            },
        );
    }

    /// With one row of X products may go to Y itself.
    fn gemv<F: Format>(
        &self,
        weights: &Weights<F>,
        activations: &mut Vec<ActivationRun<1>>,
        products: &mut Vec<f32>,
        y: TensorMut,
    ) {
        let (runs, n, columns) = (self.runs(), self.n, self.plan.extent(Routine::Gemv));
        let activations = grown(activations, columns * runs, ActivationRun::ZERO);
        self.fill_gemv(activations);

        let activations = &*activations;
        let strip = self.strip_rows(self.plan.tiles(Routine::Gemv).len());
        let multiply = |products: &mut [f32]| {
            self.for_each_tile(Routine::Gemv, products, n, &|tile, products| {
                let Tile { first_row, columns, start, .. } = tile;
                let activations = &activations[start * runs..][..columns * runs];
                let weights = weights.starting_at(first_row);
                for_each_chunk(products, columns * strip, 1, &|index, products| {
                    let first = index * strip / ROWS;
                    multiply_strip(self.isa, &weights, first, activations, columns, products);
                });
            });
        };
        match y {
            TensorMut { numbers: NumbersMut::F32(y), .. }
                if self.plan.rows() == 1 && self.epilogue.is_nothing() =>
            {
                multiply(&mut y[..n]);
            }
            y => {
                let products = grown(products, columns * n, 0.0);
                multiply(products);
                self.store_gemv(products, strip, y);
            }
        }
    }

    /// Stores the rows of Y that come of a gemv.
    fn store_gemv(&self, products: &[f32], strip: usize, y: TensorMut) {
        if self.plan.rows() == 1 {
            return store_row(self.isa, self.epilogue, y, products, strip);
        }
        store_rows(self.isa, self.epilogue, self.at_once(self.plan.rows()), y, &|row, store| {
            let Some((Tile { columns, start, .. }, column)) = self.plan.place(Routine::Gemv, row) else {
                return;
            };
            for strip in products[start * self.n..][..columns * self.n].chunks(columns * strip) {
                let width = strip.len() / columns;
                store(&strip[column * width..][..width]);
            }
        });
    }

    fn gemm<F: Format>(
        &self,
        weights: &Weights<F>,
        activations: &mut Vec<gemm::Activations>,
        products: &mut Vec<gemm::Products>,
        y: TensorMut,
    ) {
        let (runs, extent, groups) = (self.runs(), self.plan.extent(Routine::Gemm), self.n.div_ceil(ROWS));
        let activations = grown(activations, extent * runs, gemm::Activations::ZERO);
        self.fill_gemm(activations);

        let activations = &*activations;
        let tiles = self.plan.tiles(Routine::Gemm).len();
        let strip = self.strip_rows(tiles).next_multiple_of(I::VECTORS * ROWS) / ROWS;
        let products = grown(products, extent * groups, gemm::NO_PRODUCTS);
        self.for_each_tile(Routine::Gemm, products, groups, &|tile, products| {
            let Tile { first_row, columns, start, .. } = tile;
            let columns = columns.div_ceil(gemm::COLUMNS);
            let activations = &activations[start * runs..][..columns * runs];
            let weights = weights.starting_at(first_row);
            for_each_chunk(products, strip * columns, 1, &|index, products| {
                let first = index * strip;
                let groups = first..groups.min(first + strip);
                gemm::multiply(self.isa, &weights, groups, activations, products);
            });
        });
        self.store_gemm(products, groups, y);
    }

    /// Stores the rows of Y that come of a gemm.
    fn store_gemm(&self, products: &[gemm::Products], groups: usize, y: TensorMut) {
        store_rows(self.isa, self.epilogue, self.at_once(self.plan.rows()), y, &|row, store| {
            let Some((Tile { columns, start, .. }, column)) = self.plan.place(Routine::Gemm, row) else {
                return;
            };
            let tiles = columns.div_ceil(gemm::COLUMNS);
            let products = &products[start * groups..][..tiles * groups];
            gemm::pieces::<I>(products, tiles, column).for_each(store);
        });
    }
}

/// Rows of W in a strip, where n of them meet each of `tiles` tiles: enough strips to balance the threads' loads, and whole
/// groups, so that no two threads write to the same cache line of an aligned y.
pub(crate) fn strip_rows(n: usize, tiles: usize) -> usize {
    const STRIPS_PER_THREAD: usize = 8;
    let strips = rayon::current_num_threads() * STRIPS_PER_THREAD;
    (n * tiles).div_ceil(strips).min(n).next_multiple_of(ROWS)
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
        gemv::multiply(isa, &group, row_blocks, activations, columns, &mut accumulators, emit);
    }
}

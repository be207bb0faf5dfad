//! Are the outputs right? Each is compared with an f64 product of the dequantized weights, and may be off
//! by a bound that is computed for it:
//!
//! ```text
//! bound = sum over blocks of 32 (activation scale / 2 * sum of |w|)     activations were rounded to int8
//!       + 2k * 2^-24 * sum of |w * x|                                   f32 rounding
//! ```
//!
//! where a block's activation scale is a 127th of its largest |x|, in the block or, for libraries that round more
//! activations at once, among these. The reference shares no code with what it
//! checks but the dequantization, which is checked elsewhere against an implementation that is not ours.
//!
//! With [`Numerics::Reproducible`] an output must also have the very bits that the definition gives.

use rand::{SeedableRng, rngs::ChaCha8Rng, seq::index};
use rayon::prelude::*;
use warpdot::{Error, Numerics, QuantizedMatrix};
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, RUN, reproducible};

pub use crate::verdict::{Expected, Verdict, Wrong};

/// Products of more multiplications than this are checked by a sample of outputs that takes about as many.
pub const WHOLE: u128 = 1_000_000_000;
const MAX_SAMPLE: usize = 1 << 20;

/// What was multiplied. `x` has m * k elements.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// W, n rows of k.
    pub weights: &'a QuantizedMatrix,
    /// Rows of X.
    pub m: usize,
    /// X, m rows of k.
    pub x: &'a [f32],
    /// With [`Numerics::Reproducible`], the very bits are checked, too.
    pub numerics: Numerics,
    /// How many activations share a scale when they are rounded, a multiple of 32: [`RUN`] in warpdot.
    pub rounded_together: usize,
    /// More multiplications than this are checked by a sample: [`WHOLE`], or less to take less time.
    pub whole: u128,
}

impl Product<'_> {
    /// Checks the outputs of several devices, m * n each, in one pass over the weights.
    ///
    /// # Errors
    /// None that a caller can cause: the library's for rows that do not exist.
    pub fn check(&self, outputs: &[&[f32]], seed: u64) -> Result<Vec<Verdict>, Error> {
        let n = self.weights.rows();
        let activations = Activations::new(self);
        let row = || Row::new(self, &activations);
        let none = || vec![Verdict::default(); outputs.len()];
        let merge = |mut all: Vec<Verdict>, more: Vec<Verdict>| {
            all.iter_mut().zip(more).for_each(|(all, more)| all.merge(more));
            Ok(all)
        };
        match self.sample(seed) {
            None => (0..n)
                .into_par_iter()
                .map_init(row, |row, column| row.check(column, 0..self.m, outputs))
                .try_reduce(none, merge),
            Some(sample) => sample
                .par_chunk_by(|a, b| a.0 == b.0)
                .map_init(row, |row, group| row.check(group[0].0, group.iter().map(|o| o.1), outputs))
                .try_reduce(none, merge),
        }
    }

    /// The outputs to check, as (column, row) in ascending order, where checking all would take too long.
    fn sample(&self, seed: u64) -> Option<Vec<(usize, usize)>> {
        let (m, n, k) = (self.m, self.weights.rows(), self.weights.columns());
        let count = sample_size(self.whole, m, n, k);
        (count < m * n).then(|| {
            let drawn = index::sample(&mut ChaCha8Rng::seed_from_u64(seed), m * n, count);
            let mut sample: Vec<_> = drawn.into_iter().map(|i| (i % n, i / n)).collect();
            sample.sort_unstable();
            sample
        })
    }
}

/// How many of the m * n outputs are checked.
fn sample_size(whole: u128, m: usize, n: usize, k: usize) -> usize {
    if m as u128 * n as u128 * k as u128 <= whole {
        return m * n;
    }
    ((whole / k as u128) as usize).clamp(1, MAX_SAMPLE).min(m * n)
}

/// What is known about the rows of X before any weight is: k / 32 values each.
struct Activations {
    half_scales: Vec<f64>,
    /// For the bits of [`Numerics::Reproducible`].
    blocks: Option<Vec<ActivationBlock>>,
}

impl Activations {
    fn new(product: &Product<'_>) -> Self {
        let (runs, _) = product.x.as_chunks::<RUN>();
        let largest = |x: &[f32]| x.iter().fold(0.0, |max: f64, &x| max.max(f64::from(x).abs()));
        // Rows may not be whole groups of them.
        let rows = product.x.chunks(product.weights.columns());
        let groups = rows.flat_map(|row| row.chunks(product.rounded_together));
        let half_scales =
            groups.flat_map(|group| std::iter::repeat_n(largest(group) / 127.0 / 2.0, group.len() / RUN));
        Self {
            half_scales: half_scales.collect(),
            blocks: (product.numerics == Numerics::Reproducible)
                .then(|| runs.par_iter().map(ActivationBlock::quantize).collect()),
        }
    }
}

/// A row of W, dequantized: one column of Y.
struct Row<'a> {
    product: &'a Product<'a>,
    activations: &'a Activations,
    weights: Vec<f32>,
    /// The sum of |w| of each block of 32.
    magnitudes: Vec<f64>,
}

impl<'a> Row<'a> {
    fn new(product: &'a Product<'a>, activations: &'a Activations) -> Self {
        let k = product.weights.columns();
        Self { product, activations, weights: vec![0.0; k], magnitudes: vec![0.0; k / RUN] }
    }

    fn check(
        &mut self,
        column: usize,
        rows: impl Iterator<Item = usize>,
        outputs: &[&[f32]],
    ) -> Result<Vec<Verdict>, Error> {
        let matrix = self.product.weights;
        matrix.dequantize_row(column, &mut self.weights)?;
        for (sum, run) in self.magnitudes.iter_mut().zip(self.weights.chunks_exact(RUN)) {
            *sum = run.iter().map(|&w| f64::from(w).abs()).sum();
        }
        let mut verdicts = vec![Verdict::default(); outputs.len()];
        for row in rows {
            let expected = self.expected(row, column);
            for (verdict, y) in verdicts.iter_mut().zip(outputs) {
                verdict.add(row, column, y[row * matrix.rows() + column], expected);
            }
        }
        Ok(verdicts)
    }

    fn expected(&self, row: usize, column: usize) -> Expected {
        let (k, runs) = (self.weights.len(), self.magnitudes.len());
        let x = &self.product.x[row * k..][..k];
        let (value, magnitude) = dot(x, &self.weights);
        let half_scales = &self.activations.half_scales[row * runs..][..runs];
        let int8: f64 = half_scales.iter().zip(&self.magnitudes).map(|(half, sum)| half * sum).sum();
        let float = 2.0 * k as f64 * 2f64.powi(-24) * magnitude;
        let exact = self.activations.blocks.as_ref().map(|blocks| {
            let matrix = self.product.weights;
            let row_bytes = matrix.bytes().len() / matrix.rows();
            let weights = &matrix.bytes()[column * row_bytes..][..row_bytes];
            let activations = &blocks[row * runs..][..runs];
            matrix.ty().visit(ReproducibleDot { weights, activations })
        });
        Expected { value, bound: int8 + float, exact }
    }
}

/// The sums of w * x and of |w * x|, in as many chains as keep an f64 SIMD unit busy.
fn dot(x: &[f32], w: &[f32]) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut values, mut magnitudes) = ([0.0; LANES], [0.0; LANES]);
    let ((x, _), (w, _)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>()); // k is a multiple of 32
    for (x, w) in x.iter().zip(w) {
        for i in 0..LANES {
            let product = f64::from(x[i]) * f64::from(w[i]);
            values[i] += product;
            magnitudes[i] += product.abs();
        }
    }
    (values.iter().sum(), magnitudes.iter().sum())
}

/// The definition of [`Numerics::Reproducible`].
struct ReproducibleDot<'a> {
    weights: &'a [u8],
    activations: &'a [ActivationBlock],
}

impl FormatVisitor for ReproducibleDot<'_> {
    type Output = f32;

    fn visit<F: Format>(self) -> f32 {
        reproducible::dot::<F>(bytemuck::cast_slice(self.weights), self.activations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warpdot::GgmlType;

    const M: usize = 3;
    const N: usize = 5;
    const K: usize = 256;

    fn waves(len: usize, step: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * step).sin()).collect()
    }

    /// A product, and outputs computed in f32 from the dequantized weights and the activations as rounded.
    fn with_outputs<R>(numerics: Numerics, test: impl Fn(&Product<'_>, Vec<f32>) -> R) -> Vec<R> {
        let run = |&ty: &GgmlType| {
            let weights = QuantizedMatrix::quantize(ty, N, K, &waves(N * K, 0.37)).unwrap();
            let x = waves(M * K, 0.11);
            let product =
                Product { weights: &weights, m: M, x: &x, numerics, rounded_together: RUN, whole: WHOLE };
            let blocks: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
            let mut y = vec![0.0; M * N];
            for (i, y) in y.iter_mut().enumerate() {
                let row_bytes = weights.bytes().len() / N;
                let weights = &weights.bytes()[i % N * row_bytes..][..row_bytes];
                let activations = &blocks[i / N * (K / RUN)..][..K / RUN];
                *y = ty.visit(ReproducibleDot { weights, activations });
            }
            test(&product, y)
        };
        GgmlType::ALL.iter().map(run).collect()
    }

    fn verdict(product: &Product<'_>, y: &[f32]) -> Verdict {
        product.check(&[y], 1).unwrap().remove(0)
    }

    #[test]
    fn right_outputs_pass_well_within_the_bound_and_not_by_an_endless_one() {
        with_outputs(Numerics::Reproducible, |product, y| {
            let verdict = verdict(product, &y);
            assert_eq!((verdict.checked, verdict.wrong, &verdict.first), (M * N, 0, &None), "{verdict:?}");
            assert!(verdict.max_ratio > 1e-4 && verdict.max_ratio < 0.9, "{verdict:?}");
        });
    }

    #[test]
    fn the_bound_is_the_stated_formula() {
        with_outputs(Numerics::Fast, |product, y| {
            let mut w = vec![0.0; K];
            product.weights.dequantize_row(2, &mut w).unwrap();
            let x = &product.x[K..2 * K];
            let mut bound = 0.0;
            for b in 0..K / 32 {
                let block = 32 * b..32 * (b + 1);
                let scale = x[block.clone()].iter().fold(0f32, |a, x| a.max(x.abs())) as f64 / 127.0;
                bound += scale / 2.0 * w[block].iter().map(|w| w.abs() as f64).sum::<f64>();
            }
            let products = w.iter().zip(x).map(|(&w, &x)| w as f64 * x as f64);
            bound += 2.0 * K as f64 / 16_777_216.0 * products.clone().map(f64::abs).sum::<f64>();
            let value: f64 = products.sum();

            let at = |y2: f64| {
                let mut y = y.clone();
                y[N + 2] = y2 as f32;
                verdict(product, &y)
            };
            for sign in [-1.0, 1.0] {
                assert_eq!(at(value + sign * bound * 0.999).wrong, 0);
                let wrong = at(value + sign * bound * 1.001);
                assert_eq!(wrong.wrong, 1);
                let first = wrong.first.unwrap();
                assert_eq!((first.row, first.column), (1, 2));
                assert!(
                    (wrong.max_ratio - 1.001).abs() < 1e-4 && (wrong.max_error / bound - 1.001).abs() < 1e-4
                );
            }
        });
    }

    #[test]
    fn an_output_that_is_not_a_number_is_wrong_where_the_product_is_one() {
        with_outputs(Numerics::Fast, |product, y| {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut y = y.clone();
                (y[4], y[7]) = (bad, bad);
                let verdict = verdict(product, &y);
                assert_eq!((verdict.wrong, verdict.max_error), (2, f64::INFINITY), "{verdict:?}");
                assert_eq!(verdict.first.map(|w| (w.row, w.column)), Some((0, 4)));
            }
        });
    }

    #[test]
    fn an_output_that_is_a_number_is_wrong_where_the_product_is_none() {
        with_outputs(Numerics::Fast, |product, mut y| {
            let mut x = product.x.to_vec();
            x[K + 3] = f32::NAN;
            let product = Product { x: &x, ..*product };
            assert_eq!(verdict(&product, &y).wrong, N);
            y[N..2 * N].fill(f32::NAN);
            assert_eq!(verdict(&product, &y).wrong, 0);
        });
    }

    #[test]
    fn activations_that_are_rounded_together_share_the_largest_scale() {
        // A row and a half of those rounded together: the second half row must not see the next row's.
        let (k, group) = (96, 64);
        let weights = QuantizedMatrix::quantize(GgmlType::Q8_0, 1, k, &vec![1.0; k]).unwrap();
        let mut x = vec![0.0; 2 * k];
        (x[0], x[95], x[96]) = (127.0, 254.0, 1270.0);
        let product = Product {
            weights: &weights,
            m: 2,
            x: &x,
            numerics: Numerics::Fast,
            rounded_together: group,
            whole: WHOLE,
        };
        let scales = Activations::new(&product).half_scales;
        assert_eq!(scales, [0.5, 0.5, 1.0, 5.0, 5.0, 0.0]);
        let apart = Activations::new(&Product { rounded_together: RUN, ..product }).half_scales;
        assert_eq!(apart, [0.5, 0.0, 1.0, 5.0, 0.0, 0.0]);
    }

    #[test]
    fn one_bit_is_wrong_in_reproducible_only() {
        with_outputs(Numerics::Reproducible, |product, mut y| {
            y[M * N - 1] = f32::from_bits(y[M * N - 1].to_bits() ^ 1);
            assert_eq!(verdict(product, &y).wrong, 1);
            assert_eq!(verdict(&Product { numerics: Numerics::Fast, ..*product }, &y).wrong, 0);
        });
    }

    #[test]
    fn outputs_of_zero_weights_must_be_zero() {
        let weights = QuantizedMatrix::quantize(GgmlType::Q8_0, 1, 32, &[0.0; 32]).unwrap();
        let product = Product {
            weights: &weights,
            m: 1,
            x: &waves(32, 0.3),
            numerics: Numerics::Fast,
            rounded_together: RUN,
            whole: WHOLE,
        };
        assert_eq!((verdict(&product, &[0.0]).wrong, verdict(&product, &[0.0]).max_ratio), (0, 0.0));
        assert_eq!(verdict(&product, &[1e-30]).wrong, 1);
    }

    #[test]
    fn several_devices_are_told_apart() {
        with_outputs(Numerics::Fast, |product, y| {
            let mut broken = y.clone();
            broken[0] += 1e3;
            let wrong: Vec<_> =
                product.check(&[&y, &broken, &y], 1).unwrap().iter().map(|v| v.wrong).collect();
            assert_eq!(wrong, [0, 1, 0]);
        });
    }

    #[test]
    fn a_large_product_is_sampled_by_seed_without_repetition() {
        assert_eq!(sample_size(WHOLE, 10, 1000, 100_000), 10_000);
        assert_eq!(sample_size(WHOLE, 11, 1000, 100_000), 10_000);
        assert_eq!(sample_size(WHOLE, 1 << 20, 1 << 20, 32), MAX_SAMPLE);
        assert_eq!(sample_size(WHOLE, 1, 1, usize::MAX), 1);

        let (m, n, k, whole) = (60, 100, 256, 1_000_000);
        let weights = QuantizedMatrix::quantize(GgmlType::Q8_0, n, k, &vec![0.0; n * k]).unwrap();
        let product = Product {
            weights: &weights,
            m,
            x: &vec![1.0; m * k],
            numerics: Numerics::Fast,
            rounded_together: RUN,
            whole,
        };
        let sample = product.sample(7).unwrap();
        assert_eq!(sample.len(), whole as usize / k);
        assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(product.sample(7).unwrap(), sample);
        assert_ne!(product.sample(8).unwrap(), sample);

        let mut y = vec![0.0; m * n];
        let (column, row) = sample[sample.len() / 2];
        y[row * n + column] = 1.0;
        let verdict = product.check(&[&y], 7).unwrap().remove(0);
        assert_eq!((verdict.checked, verdict.wrong), (sample.len(), 1));
    }
}

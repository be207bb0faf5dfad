//! AWQ.

use super::columns::Grouping;
use super::groups::{Shape, Weights};
use super::nibbles::{AlongColumns, WordOrder};
use super::{Imported, Scales};
use crate::Error;
use crate::matrix::expect_length;

/// The tensors of a linear layer with n outputs and k inputs that AWQ quantized to 4 bits (its `gemm` layout).
///
/// Weight W\[j, c\] is `scales[g, j] * (qweight[c, j] - qzeros[g, j])`, where g = c / group. A word of `qweight` and
/// `qzeros` holds eight outputs, from the lowest bits on those with the numbers 0 2 4 6 1 3 5 7.
#[derive(Clone, Copy, Debug)]
pub struct Awq<'a> {
    /// Outputs, a multiple of 8.
    pub n: usize,
    /// Inputs, a multiple of 32.
    pub k: usize,
    /// Inputs that share a scale, a multiple of 32; `k` where the configuration says -1.
    pub group: usize,
    /// `[k, n / 8]`.
    pub qweight: &'a [i32],
    /// `[groups, n / 8]`, with ceil(k / group) groups.
    pub qzeros: &'a [i32],
    /// `[groups, n]`.
    pub scales: Scales<'a>,
}

impl Awq<'_> {
    /// The same weights as blocks: Q4_0 if every zero point is 8, else Q5_0.
    ///
    /// # Errors
    /// If a size is zero or not the multiple it should be, a tensor does not have as many elements as its shape
    /// says, or half precision cannot hold a scale.
    pub fn import(&self) -> Result<Imported, Error> {
        let shape = Shape::new(self.n, self.k, self.group)?;
        let Shape { n, k, group } = shape;
        expect_length("qweight (k * n / 8)", k * (n / 8), self.qweight.len())?;
        let order = WordOrder::EvenFirst;
        Weights {
            shape,
            q: AlongColumns { words: self.qweight, n, order },
            zeros: AlongColumns { words: self.qzeros, n, order },
            zero_offset: 0,
            scales: self.scales,
            grouping: Grouping::neighbours(k, group)?,
        }
        .import()
    }
}

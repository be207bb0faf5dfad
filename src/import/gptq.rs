//! GPTQ.

use super::columns::Grouping;
use super::groups::{Shape, Weights};
use super::nibbles::{AlongColumns, AlongRows, WordOrder};
use super::{Imported, Scales};
use crate::Error;
use crate::matrix::expect_length;

/// Which zero points a GPTQ file stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GptqZeros {
    /// One less than the zero point, so that 0 to 15 mean 1 to 16: the classic format, `gptq` or v1.
    #[default]
    MinusOne,
    /// The zero point itself: the format `gptq_v2`.
    Plain,
}

/// The tensors of a linear layer with n outputs and k inputs that GPTQ quantized to 4 bits.
///
/// Weight W\[j, c\] is `scales[g, j] * (qweight[c, j] - zero[g, j])`, where g is column c's group.
#[derive(Clone, Copy, Debug)]
pub struct Gptq<'a> {
    /// Outputs, a multiple of 8.
    pub n: usize,
    /// Inputs, a multiple of 32.
    pub k: usize,
    /// Inputs that share a scale, a multiple of 32; `k` where the configuration says -1.
    pub group: usize,
    /// `[k / 8, n]`: eight inputs of one output to a word, the first one in the lowest bits.
    pub qweight: &'a [i32],
    /// `[groups, n / 8]`, with ceil(k / group) groups: eight outputs to a word, the first one in the lowest bits.
    pub qzeros: &'a [i32],
    /// `[groups, n]`.
    pub scales: Scales<'a>,
    /// `[k]`: the group of each input. Without it, groups are neighbours.
    pub g_idx: Option<&'a [i32]>,
    /// What `qzeros` holds.
    pub zeros: GptqZeros,
}

impl Gptq<'_> {
    /// The same weights as blocks: Q4_0 if every zero point is 8, else Q5_0.
    ///
    /// # Errors
    /// If a size is zero or not the multiple it should be, a tensor does not have as many elements as its shape
    /// says, a group that `g_idx` names is not there or has a number of inputs that is not a multiple of 32, or
    /// half precision cannot hold a scale.
    pub fn import(&self) -> Result<Imported, Error> {
        let shape = Shape::new(self.n, self.k, self.group)?;
        let Shape { n, k, group } = shape;
        expect_length("qweight (k / 8 * n)", k / 8 * n, self.qweight.len())?;
        let grouping = match self.g_idx {
            None => Grouping::neighbours(k, group)?,
            Some(g_idx) => {
                expect_length("g_idx (k)", k, g_idx.len())?;
                Grouping::sorted(g_idx, shape.groups())?
            }
        };
        Weights {
            shape,
            q: AlongRows { words: self.qweight, n },
            zeros: AlongColumns { words: self.qzeros, n, order: WordOrder::Ascending },
            zero_offset: match self.zeros {
                GptqZeros::MinusOne => 1,
                GptqZeros::Plain => 0,
            },
            scales: self.scales,
            grouping,
        }
        .import()
    }
}

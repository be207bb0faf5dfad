//! How much the errors of single weights matter to a quantizer.

/// The importance of each weight of a block: the factor of its squared error.
///
/// There are two, [`Equal`] and [`PerWeight`]; a quantizer that is generic over them is one algorithm, from which
/// the compiler drops the factors where all are 1.
pub trait Importance: Copy + Send + Sync {
    /// Whether all weights matter equally.
    const EQUAL: bool;

    /// The importance of weight `index` of the block: 1 for the most important, more than 0 for all.
    fn of(self, index: usize) -> f32;
}

/// All weights matter equally.
#[derive(Clone, Copy, Debug)]
pub struct Equal;

impl Importance for Equal {
    const EQUAL: bool = true;

    #[inline(always)]
    fn of(self, _index: usize) -> f32 {
        1.0
    }
}

/// Each weight has an importance of its own.
#[derive(Clone, Copy, Debug)]
pub struct PerWeight<'a> {
    values: &'a [f32],
    largest: f32,
}

impl<'a> PerWeight<'a> {
    /// What an importance is at least, relative to the block's largest. Weights of importance zero are still
    /// quantized to something near them, and equally so where a group or block has no others.
    pub const LEAST: f32 = f32::EPSILON * f32::EPSILON * 64.0; // 2^-40

    /// The importance of each weight of a block: finite numbers that are not negative. (Others do no harm to
    /// weights beside them; they count as [`LEAST`](Self::LEAST), and so do all beside infinity.)
    ///
    /// Only their ratios matter, not their magnitude, which may be any.
    #[inline(always)]
    pub fn new(values: &'a [f32]) -> Self {
        let largest =
            values.iter().fold(0.0, |largest, &value| if value > largest { value } else { largest });
        Self { values, largest: if largest > 0.0 { largest } else { 1.0 } }
    }
}

impl Importance for PerWeight<'_> {
    const EQUAL: bool = false;

    #[inline(always)]
    fn of(self, index: usize) -> f32 {
        let share = self.values[index] / self.largest;
        if share > Self::LEAST { share } else { Self::LEAST }
    }
}

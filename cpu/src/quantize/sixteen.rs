//! Quantizers without a search, sixteen blocks at a time.
//!
//! What decides a block's scale, such as an extreme of its weights, is looked for along vectors of weights; only the last
//! step goes across lanes, for all blocks at once, and leaves a block in each lane. There scales and their inverses are
//! computed for sixteen blocks as for one. Codes are along the blocks again.

use warpdot_formats::Format;

use crate::isa::{Quantizing, ROWS};

/// Blocks that are quantized together.
pub(super) const SIXTEEN: usize = ROWS;

/// Weights in a vector.
pub(super) const LANES: usize = ROWS;

/// The weights of sixteen blocks.
pub(super) type Weights = [[f32; LANES]];

/// What follows from the extremes of blocks; a block in each lane, or element.
pub(super) struct Derived<I: Quantizing, H> {
    /// What blocks hold beside codes.
    pub(super) headers: H,
    /// What codes are computed with.
    pub(super) parameters: [I::Numbers; 2],
    /// The blocks that only the definition can tell: a bit for each.
    pub(super) doubtful: u16,
}

/// How codes follow from weights.
pub(super) trait Rule {
    /// Whether the least key counts, too.
    const RANGE: bool;

    /// What sixteen blocks hold beside codes.
    type Headers;

    /// Something of each weight; what [`join`](Self::join) makes of a block's decides.
    fn keys<I: Quantizing>(isa: I, weights: I::Numbers) -> I::Words;

    /// The greater keys, or what else of two is to decide.
    #[inline(always)]
    fn join<I: Quantizing>(isa: I, a: I::Words, b: I::Words) -> I::Words {
        isa.greater(a, b)
    }

    /// What follows from the joined keys of blocks, and the least.
    fn derive<I: Quantizing>(
        isa: I,
        greatest: I::Words,
        least: I::Words,
        weights: &Weights,
    ) -> Derived<I, Self::Headers>;

    /// The codes of weights of a block.
    fn codes<I: Quantizing>(isa: I, weights: I::Numbers, parameters: [I::Numbers; 2]) -> I::Words;
}

/// A format whose quantizer does not search; the bits are those of [`Format::quantize`].
pub(super) trait Unsearched: Format {
    type Rule: Rule;

    /// Block `index` of sixteen, of which `codes` gives vector after vector of codes.
    fn block<I: Quantizing>(
        isa: I,
        headers: &HeadersOf<Self>,
        index: usize,
        codes: impl Fn(usize) -> I::Words,
    ) -> Self;
}

pub(super) type HeadersOf<F> = <<F as Unsearched>::Rule as Rule>::Headers;

/// Quantizes the weights of sixteen blocks. To be inlined into the work given to
/// [`vectorize`](crate::isa::Vectorize::vectorize).
#[inline(always)]
pub(super) fn quantize_sixteen<I: Quantizing, F: Unsearched>(
    isa: I,
    weights: &[f32],
    blocks: &mut [F; SIXTEEN],
) {
    let vectors = F::WEIGHTS / LANES;
    let weights: &Weights = &weights.as_chunks().0[..SIXTEEN * vectors];

    let zero = isa.integers(0);
    let (mut greatest, mut least) = ([zero; SIXTEEN], [zero; SIXTEEN]);
    for block in 0..SIXTEEN {
        prefetch::<I, F>(isa, weights, Phase::Extremes, block);
        let weights = &weights[block * vectors..][..vectors];
        let first = F::Rule::keys(isa, isa.load_numbers(&weights[0]));
        (greatest[block], least[block]) = (first, first);
        for weights in &weights[1..] {
            let keys = F::Rule::keys(isa, isa.load_numbers(weights));
            greatest[block] = F::Rule::join(isa, greatest[block], keys);
            if F::Rule::RANGE {
                least[block] = isa.lesser(least[block], keys);
            }
        }
    }
    let greatest = isa.across(
        greatest,
        #[inline(always)]
        |a, b| F::Rule::join(isa, a, b),
    );
    if F::Rule::RANGE {
        least[0] = isa.across(
            least,
            #[inline(always)]
            |a, b| isa.lesser(a, b),
        );
    }

    let Derived { headers, parameters, doubtful } = F::Rule::derive(isa, greatest, least[0], weights);
    let mut lanes = [[0.0; SIXTEEN]; 2];
    isa.store_numbers(parameters[0], &mut lanes[0]);
    isa.store_numbers(parameters[1], &mut lanes[1]);
    for (index, block) in blocks.iter_mut().enumerate() {
        prefetch::<I, F>(isa, weights, Phase::Codes, index);
        let parameters = [isa.numbers(lanes[0][index]), isa.numbers(lanes[1][index])];
        *block = F::block(
            isa,
            &headers,
            index,
            #[inline(always)]
            |i| F::Rule::codes(isa, isa.load_numbers(&weights[index * vectors + i]), parameters),
        );
    }
    if doubtful != 0 {
        by_definition(weights.as_flattened(), blocks, doubtful);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Extremes,
    Codes,
}

/// Fetches weights that will be quantized later: the loop over the extremes of sixteen blocks is unrolled, and hardware does
/// not see that its loads belong together.
#[inline(always)]
fn prefetch<I: Quantizing, F: Unsearched>(isa: I, weights: &Weights, phase: Phase, block: usize) {
    const LINE: usize = 64;
    /// Bytes between what is used and what is fetched.
    const AHEAD: usize = 8192;
    let lines = size_of::<f32>() * F::WEIGHTS / LINE;
    // Many blocks fetch evenly, few when there is most to compute.
    let (first, lines, ahead) = match phase {
        _ if SIXTEEN * lines * LINE > AHEAD => {
            let block = if phase == Phase::Codes { SIXTEEN + block } else { block };
            (lines / 2 * block, lines / 2, SIXTEEN * lines * LINE)
        }
        Phase::Codes => (lines * block, lines, AHEAD),
        Phase::Extremes => return,
    };
    for line in first..first + lines {
        isa.prefetch(weights.as_ptr().cast::<u8>().wrapping_add(ahead + LINE * line));
    }
}

/// Quantizes those blocks whose bit is set.
#[cold]
#[inline(never)]
fn by_definition<F: Format>(weights: &[f32], blocks: &mut [F; SIXTEEN], which: u16) {
    for (index, (block, weights)) in blocks.iter_mut().zip(weights.chunks_exact(F::WEIGHTS)).enumerate() {
        if which >> index & 1 == 1 {
            *block = F::quantize(weights);
        }
    }
}

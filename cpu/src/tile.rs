//! The algorithm: a tile of a few rows of weights times a few rows of activations, whatever the instruction
//! set and the format.
//!
//! k is walked an octet, eight runs, at a time, in all rows of weights side by side: so many streams keep the
//! CPU's own prefetchers busy. Each octet of weights is unpacked once and meets the octets of all activation
//! rows of the tile: eight exact integer dot products become a vector, the format's scales
//! turn it into run values, and these are added to eight of the 32 chains of
//! [`reproducible`](warpdot_formats::reproducible), octet o to chains 8 (o mod 4) and following.

use warpdot_formats::{Format, RUN, reproducible};

use crate::activations::ActivationOctet;
use crate::isa::{OCTET, Simd, Unpacked, octet_blocks, padded_octet};

/// Activation rows of a tile, at most.
pub(crate) const MAX_COLUMNS: usize = 32;

/// The bytes of a cache line.
const LINE: usize = 64;

/// Vectors of chains.
const VECTORS: usize = reproducible::CHAINS / OCTET;

/// The 32 chains of one output.
type Chains = [[f32; OCTET]; VECTORS];

/// The chains of a tile; kept by the caller so that they are cleared only as far as they are used.
pub(crate) struct Accumulators<const ROWS: usize>([[Chains; ROWS]; MAX_COLUMNS]);

impl<const ROWS: usize> Accumulators<ROWS> {
    pub(crate) const ZERO: Self = Self([[[[0.0; OCTET]; _]; ROWS]; MAX_COLUMNS]);
}

/// Multiplies rows of weights by `columns` rows of activations, which lie octet after octet, each octet with
/// its rows side by side. `emit` receives column, row and product. Weights are prefetched `ahead` bytes ahead.
#[inline(always)]
pub(crate) fn multiply<I: Simd, F: Format, const ROWS: usize>(
    isa: I,
    weights: [&[F]; ROWS],
    activations: &[ActivationOctet],
    columns: usize,
    ahead: usize,
    accumulators: &mut Accumulators<ROWS>,
    mut emit: impl FnMut(usize, usize, f32),
) {
    let accumulators = &mut accumulators.0[..columns];
    accumulators.fill([[[0.0; OCTET]; _]; ROWS]);

    for (o, activations) in activations.chunks_exact(columns).enumerate() {
        for r in 0..ROWS {
            let weights = unpack(isa, weights[r], o, ahead);
            for (activations, accumulators) in activations.iter().zip(accumulators.iter_mut()) {
                accumulate::<I, F>(isa, &weights, activations, &mut accumulators[r][o % VECTORS]);
            }
        }
    }

    for (column, accumulators) in accumulators.iter().enumerate() {
        for (row, chains) in accumulators.iter().enumerate() {
            emit(column, row, reproducible::fold(bytemuck::cast_ref(chains)));
        }
    }
}

/// Unpacks octet `o` of a row, and fetches what lies `ahead` bytes ahead of it.
#[inline(always)]
fn unpack<I: Simd, F: Format>(isa: I, row: &[F], o: usize, ahead: usize) -> Unpacked<I> {
    let blocks = const { octet_blocks::<F>() };
    let padded;
    let octet = match row.get(o * blocks..(o + 1) * blocks) {
        Some(octet) => octet,
        None => {
            padded = padded_octet(&row[o * blocks..]);
            &padded[..blocks]
        }
    };
    let next = octet.as_ptr().cast::<u8>().wrapping_add(ahead);
    for line in 0..size_of_val(octet).div_ceil(LINE) {
        isa.prefetch(next.wrapping_add(line * LINE));
    }
    isa.unpack(octet)
}

/// Adds an octet's run values, times the activations' scales, to eight chains.
#[inline(always)]
fn accumulate<I: Simd, F: Format>(
    isa: I,
    weights: &Unpacked<I>,
    activations: &ActivationOctet,
    chains: &mut [f32; OCTET],
) {
    let values = run_values::<I, F>(isa, weights, activations);
    isa.store(isa.fma(isa.load(&activations.scales), values, isa.load(chains)), chains);
}

/// [`reproducible::run_value`] of eight runs.
#[inline(always)]
fn run_values<I: Simd, F: Format>(isa: I, weights: &Unpacked<I>, activations: &ActivationOctet) -> I::F32 {
    let dots = isa.dots::<F>(&weights.codes, activations);
    let scales = &weights.scales;
    let mut values = isa.mul(scales.scale[0], dots[0]);
    if F::GROUP < RUN {
        values = isa.fma(scales.scale[1], dots[1], values);
    }
    if F::HAS_OFFSET {
        let sums = isa.sums::<F>(activations);
        values = isa.fma(scales.offset[0], sums[0], values);
        if F::GROUP < RUN {
            values = isa.fma(scales.offset[1], sums[1], values);
        }
    }
    values
}

//! What the kernels compute with: random numbers of fixed seeds, among them many at the edges.

use std::collections::BTreeMap;

use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::hex;
use super::kernel::LANES;

/// Rows of as many words each; a thread gets one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) columns: usize,
    #[serde(with = "hex")]
    pub(crate) words: Vec<u32>,
}

impl Table {
    fn new<const N: usize>(warps: usize, mut row: impl FnMut(usize) -> [u32; N]) -> Self {
        Self { columns: N, words: (0..warps * LANES).flat_map(&mut row).collect() }
    }

    pub(crate) fn rows(&self) -> usize {
        self.words.len() / self.columns
    }

    pub(crate) fn row(&self, row: usize) -> &[u32] {
        &self.words[row * self.columns..][..self.columns]
    }
}

/// Warps of the tables for one instruction a thread.
const WARPS: usize = 4;

/// All inputs, by the names that the cases use.
pub(crate) fn tables() -> BTreeMap<String, Table> {
    type Make = fn(&mut StdRng) -> Table;
    let tables: [(&str, Make); _] = [
        ("words", |rng| Table::new(WARPS, |_| [(); 3].map(|()| word(rng)))),
        ("long words", |rng| Table::new(WARPS, |_| [(); 6].map(|()| word(rng)))),
        ("fields", |rng| Table::new(WARPS, |_| field(rng))),
        ("lanes", |rng| Table::new(WARPS, |row| [(); 3].map(|()| alike(rng, row / LANES)))),
        ("singles", |rng| Table::new(WARPS, |_| singles(rng))),
        ("doubles", |rng| Table::new(WARPS, |_| doubles(rng))),
        ("halves", |rng| Table::new(WARPS, |_| packed(rng, half))),
        ("brains", |rng| Table::new(WARPS, |_| packed(rng, brain))),
        ("to be rounded", |rng| Table::new(2 * WARPS, |_| [(); 3].map(|()| near_tie(rng)))),
        ("positive", |rng| Table::new(WARPS, |row| benign(rng, row, 0.0))),
        ("angles", |rng| Table::new(WARPS, |row| angles(rng, row))),
        ("numbers", |rng| Table::new(WARPS, |row| benign(rng, row, 0.5))),
        ("tiles", |rng| Table::new(2, |_| [(); 4].map(|()| rng.next_u32()))),
        ("fragments of bytes", |rng| Table::new(2, |_| [(); 12].map(|()| word(rng)))),
        ("fragments of whole f16", |rng| fragments(rng, 16, whole_half)),
        ("fragments of whole bf16", |rng| fragments(rng, 16, whole_brain)),
        ("fragments of whole tf32", |rng| fragments(rng, 32, |rng| (whole(rng) as f32).to_bits())),
        ("fragments of whole e4m3", |rng| fragments(rng, 8, |rng| WHOLE_E4M3[rng.random_range(0..15)])),
        ("fragments of f16", |rng| fragments(rng, 16, |rng| half_bits(fraction(rng)))),
        ("fragments of bf16", |rng| fragments(rng, 16, |rng| brain_bits(fraction(rng)))),
        ("fragments of tf32", |rng| fragments(rng, 32, |rng| fraction(rng).to_bits())),
        ("fragments of e4m3", |rng| fragments(rng, 8, |rng| rng.random_range(0x30..0x40) | sign(rng) >> 8)),
        ("fragments with specials", |rng| fragments(rng, 16, special_half)),
    ];
    (0..)
        .zip(tables)
        .map(|(seed, (name, make))| (name.to_string(), make(&mut StdRng::seed_from_u64(seed))))
        .collect()
}

fn pick<T: Copy>(rng: &mut StdRng, values: &[T]) -> T {
    values[rng.random_range(0..values.len())]
}

/// The sign of a 16-bit float.
fn sign(rng: &mut StdRng) -> u32 {
    pick(rng, &[0, 0x8000])
}

fn word(rng: &mut StdRng) -> u32 {
    const EDGES: [u32; 12] =
        [0, 1, 2, 31, 32, 33, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    match rng.random_range(0..10) {
        0..4 => pick(rng, &EDGES),
        4 => rng.random_range(0..256),
        5 => !rng.random_range(0..256),
        _ => rng.next_u32(),
    }
}

/// Two words with anything, and then positions, lengths and lanes.
fn field(rng: &mut StdRng) -> [u32; 6] {
    let mut place = || match rng.random_range(0..8) {
        0 => rng.next_u32(),
        1 => pick(rng, &[0, 31, 32, 63, 64, 255, 256]),
        _ => rng.random_range(0..40),
    };
    let places = [(); 4].map(|()| place());
    [word(rng), word(rng), places[0], places[1], places[2], places[3]]
}

/// For what a warp finds out together: all lanes are equal and negative, some are equal and none is negative, they
/// differ by a bit, or have nothing in common.
fn alike(rng: &mut StdRng, warp: usize) -> u32 {
    const BASE: u32 = 0x9e37_79b9;
    match warp {
        0 => BASE,
        1 => pick(rng, &[BASE >> 1, BASE >> 2, BASE >> 3]),
        2 => BASE ^ 1 << rng.random_range(0..32),
        _ => rng.next_u32(),
    }
}

const SPECIALS: [u32; 14] = [
    0,
    1,
    0x0040_0000,
    0x007f_ffff,
    0x0080_0000,
    0x3f7f_ffff,
    0x3f80_0000,
    0x3f80_0001,
    0x4b00_0001,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7f80_0001,
    0x7fc0_0000,
    0x7fc1_2345,
];

fn special(rng: &mut StdRng) -> u32 {
    pick(rng, &SPECIALS) | pick(rng, &[0, 1 << 31])
}

/// Random bits with an exponent from a range, in the powers of two.
fn single(rng: &mut StdRng, exponents: std::ops::Range<i32>) -> u32 {
    let exponent = (rng.random_range(exponents) + 127) as u32;
    rng.next_u32() & 0x807f_ffff | exponent << 23
}

/// Three floats that have to do with each other: of like size, equal but perhaps for a bit, at the edges, or such
/// that results leave the range at one of its ends.
fn singles(rng: &mut StdRng) -> [u32; 3] {
    match rng.random_range(0..10) {
        0..3 => [(); 3].map(|()| single(rng, -12..13)),
        3 => [(); 3].map(|()| special(rng)),
        4 => [special(rng), single(rng, -3..4), special(rng)],
        5 => [single(rng, -80..-60), single(rng, -75..-55), single(rng, -126..-120) & 0x80ff_ffff],
        6 => [single(rng, 60..68), single(rng, 60..68), single(rng, 120..128)],
        7 => [(); 3].map(|()| rng.next_u32()),
        _ => {
            let value = if rng.random() { special(rng) } else { single(rng, -12..13) };
            [(); 3].map(|()| value ^ pick(rng, &[0, 0, 1, 1 << 31]))
        }
    }
}

fn doubles(rng: &mut StdRng) -> [u32; 6] {
    let mut row = [0; 6];
    for pair in row.chunks_mut(2) {
        let value = match rng.random_range(0..6) {
            0 => u64::from(special(rng)) << 32,
            1 => f64::from(f32::from_bits(special(rng))).to_bits(),
            // Halfway between two f32, or next to it.
            2 => {
                (f64::from(f32::from_bits(single(rng, -140 + 14..100))).to_bits() | 1 << 28)
                    + rng.random_range(0..2)
            }
            3 => rng.next_u64(),
            _ => (rng.next_u64() & !(0x7ff << 52)) | rng.random_range(1003..1063) << 52,
        };
        (pair[0], pair[1]) = (value as u32, (value >> 32) as u32);
    }
    row
}

fn half_bits(value: f32) -> u32 {
    f16::from_f32(value).to_bits().into()
}

fn brain_bits(value: f32) -> u32 {
    bf16::from_f32(value).to_bits().into()
}

fn half(rng: &mut StdRng) -> u32 {
    const EDGES: [u32; 10] = [0, 1, 0x200, 0x3ff, 0x400, 0x3c00, 0x7bff, 0x7c00, 0x7c01, 0x7e00];
    match rng.random_range(0..8) {
        0 | 1 => pick(rng, &EDGES) | sign(rng),
        2 | 3 => rng.next_u32() & 0xffff,
        4 => rng.random_range(0x0..0x1800) | sign(rng),
        _ => rng.random_range(0x3000..0x4800) | sign(rng),
    }
}

fn brain(rng: &mut StdRng) -> u32 {
    match rng.random_range(0..8) {
        0 | 1 => special(rng) >> 16,
        2 | 3 => rng.next_u32() & 0xffff,
        4 => single(rng, -70..-58) >> 16,
        _ => single(rng, -5..6) >> 16,
    }
}

fn packed(rng: &mut StdRng, mut value: impl FnMut(&mut StdRng) -> u32) -> [u32; 3] {
    let mut row = [(); 3].map(|()| value(rng) | value(rng) << 16);
    if rng.random_bool(0.1) {
        row[1] = row[0];
    }
    row
}

/// Floats halfway between two values of a narrower format or two integers, and their neighbours.
fn near_tie(rng: &mut StdRng) -> u32 {
    let exact = match rng.random_range(0..9) {
        0 => f16::from_bits(half(rng) as u16).to_f32().to_bits() | 0x1000,
        1 => f16::from_bits(half(rng) as u16).to_f32().to_bits(),
        2 => brain(rng) << 16 | 0x8000,
        3 => single(rng, -10..10) & 0xffff_e000 | 0x1000,
        // e4m3 and e5m2, with three and two bits of mantissa.
        4 => single(rng, -12..10) & 0xfff0_0000 | 0x0008_0000,
        5 => single(rng, -20..17) & 0xffe0_0000 | 0x0010_0000,
        6 => (rng.random_range(-300..300) as f32 * 0.5).to_bits(),
        7 => {
            let power = pick(rng, &[7, 8, 15, 16, 31, 32, 63, 64]);
            (2f32.powi(power) - 0.5 * f32::from(rng.random_range(0..3u8))).to_bits()
                | pick(rng, &[0, 1 << 31])
        }
        _ => return special(rng),
    };
    exact.wrapping_add(pick(rng, &[0, 0, 0, 1, u32::MAX]))
}

/// What approximate functions say about their edges holds for these.
const EDGES: [f32; 6] = [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

/// Numbers of usual size, some of them negative.
fn benign(rng: &mut StdRng, row: usize, negative: f64) -> [u32; 3] {
    if let Some(edge) = EDGES.get(row) {
        return [edge.to_bits(), 1f32.to_bits(), 1f32.to_bits()];
    }
    [(); 3].map(|()| single(rng, -20..20) & 0x7fff_ffff | u32::from(rng.random_bool(negative)) << 31)
}

fn angles(rng: &mut StdRng, row: usize) -> [u32; 3] {
    use std::f32::consts::PI;
    if let Some(edge) = EDGES.get(row) {
        return [edge.to_bits(); 3];
    }
    [(); 3].map(|()| rng.random_range(-PI..PI).to_bits())
}

fn whole(rng: &mut StdRng) -> i32 {
    rng.random_range(-7..8)
}

fn whole_half(rng: &mut StdRng) -> u32 {
    half_bits(whole(rng) as f32)
}

fn whole_brain(rng: &mut StdRng) -> u32 {
    brain_bits(whole(rng) as f32)
}

/// -7 to 7 in e4m3: exponents have a bias of 7, mantissas three bits.
const WHOLE_E4M3: [u32; 15] =
    [0x00, 0x38, 0x40, 0x44, 0x48, 0x4a, 0x4c, 0x4e, 0xb8, 0xc0, 0xc4, 0xc8, 0xca, 0xcc, 0xce];

fn special_half(rng: &mut StdRng) -> u32 {
    if rng.random_bool(0.02) { pick(rng, &[0x7c00, 0xfc00, 0x7e00, 0x8000]) } else { whole_half(rng) }
}

/// From 1/8 to 2, and negative.
fn fraction(rng: &mut StdRng) -> f32 {
    f32::from_bits(single(rng, -3..1))
}

/// Six words of A and B, four of C in f32, two of C in f16. C is of whole numbers.
fn fragments(rng: &mut StdRng, bits: u32, mut element: impl FnMut(&mut StdRng) -> u32) -> Table {
    Table::new(2, |_| {
        let mut row = [0; 12];
        for word in &mut row[..6] {
            *word = (0..32 / bits).fold(0, |word, i| word | element(rng) << (bits * i));
        }
        row[6..10].iter_mut().for_each(|word| *word = (whole(rng) as f32).to_bits());
        row[10..].iter_mut().for_each(|word| *word = whole_half(rng) | whole_half(rng) << 16);
        row
    })
}

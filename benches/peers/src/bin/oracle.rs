//! Holds our dequantization of every format to ggml's, bit for bit, on any bytes: random ones, and those that make
//! scales infinite, NaN, subnormal or zero. NaN need only be NaN. Fails if a weight differs.
//!
//! ```sh
//! cd benches/peers && CC=clang CXX=clang++ cargo run --release --features ggml --bin oracle
//! ```

use std::process::ExitCode;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use warpdot_formats::GgmlType;
use warpdot_peers::blocks::{self, Blocks};
use warpdot_peers::ggml;

const SEED: u64 = 1;
/// Blocks of each kind of bytes.
const BLOCKS: usize = 1 << 14;
/// Half-precision zeros, subnormals, the least and largest normal numbers, infinities and NaN.
const HALVES: [u16; 18] = [
    0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x0400, 0x8400, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x7c00,
    0xfc00, 0x7c01, 0x7e00, 0xffff, 0x7fff,
];
const BYTES: [u8; 10] = [0x00, 0x01, 0x0f, 0x7e, 0x7f, 0x80, 0x81, 0xf0, 0xfe, 0xff];

/// Fills a block with bytes of some kind.
type Fill = fn(&mut StdRng, usize, &mut [u8]);

const KINDS: [(&str, Fill); 4] = [
    ("random bytes", |rng, _, block| rng.fill_bytes(block)),
    ("random bytes, extreme half-words", |rng, _, block| {
        rng.fill_bytes(block);
        for half in block.chunks_exact_mut(2) {
            if rng.random_ratio(1, 4) {
                half.copy_from_slice(&HALVES[rng.random_range(0..HALVES.len())].to_le_bytes());
            }
        }
    }),
    ("random bytes, extreme bytes", |rng, _, block| {
        rng.fill_bytes(block);
        for byte in block {
            if rng.random_ratio(1, 3) {
                *byte = BYTES[rng.random_range(0..BYTES.len())];
            }
        }
    }),
    ("one byte, again and again", |_, index, block| block.fill(index as u8)),
];

fn main() -> ExitCode {
    println!("ggml {}, seed {SEED}, {} blocks of each format", ggml::version(), KINDS.len() * BLOCKS);
    let mut failed = false;
    for &ty in GgmlType::ALL {
        if !ggml::has(ty) {
            println!("{ty:<8} is not in this ggml");
            failed = true;
            continue;
        }
        let (mut wrong, mut nan) = (0usize, 0usize);
        for (kind, fill) in KINDS {
            let mut rng = StdRng::seed_from_u64(SEED);
            let weights = BLOCKS * ty.block_weights();
            let mut bytes = Blocks::new(ty, weights);
            for (i, block) in bytes.bytes_mut().chunks_exact_mut(ty.block_bytes()).enumerate() {
                fill(&mut rng, i, block);
            }
            let (mut ours, mut theirs) = (vec![0.0f32; weights], vec![0.0f32; weights]);
            blocks::dequantize(ty, bytes.bytes(), &mut ours);
            ggml::dequantize(ty, bytes.bytes(), &mut theirs);
            for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                nan += usize::from(theirs.is_nan());
                if ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan() {
                    continue;
                }
                wrong += 1;
                if wrong <= 5 {
                    let block = i / ty.block_weights();
                    println!(
                        "{ty}, {kind}: weight {} is {ours:e}, ggml's is {theirs:e}, of block {:02x?}",
                        i % ty.block_weights(),
                        &bytes.bytes()[block * ty.block_bytes()..][..ty.block_bytes()]
                    );
                }
            }
        }
        let all = KINDS.len() * BLOCKS * ty.block_weights();
        println!("{ty:<8} {all} weights, {nan} of them NaN: {wrong} differ");
        failed |= wrong > 0;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

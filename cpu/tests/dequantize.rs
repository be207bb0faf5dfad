//! Whole matrices as numbers, for every format, instruction set, length and number of threads.

mod common;

use common::random_blocks;
use half::f16;
use warpdot_cpu::{Error, Isa, dequantize, dequantize_bytes};
use warpdot_formats::{Format, FormatVisitor, GgmlType, Q4_0};

struct EveryLength;

impl FormatVisitor for EveryLength {
    type Output = ();

    fn visit<F: Format>(self) {
        // No octet, every tail of one, and more than one thread takes at once.
        let lengths = (0..=17).chain([(1 << 16) / F::WEIGHTS + 3]);
        let blocks = random_blocks::<F>(1, (1 << 16) / F::WEIGHTS + 3);
        let mut expected = vec![0.0; blocks.len() * F::WEIGHTS];
        for (block, out) in blocks.iter().zip(expected.chunks_exact_mut(F::WEIGHTS)) {
            block.dequantize(out);
        }
        for blocks in lengths.map(|length| &blocks[..length]) {
            let expected = &expected[..blocks.len() * F::WEIGHTS];
            for isa in Isa::available() {
                let (mut out, mut halves) = (vec![1.0; expected.len()], vec![f16::ONE; expected.len()]);
                dequantize(isa, blocks, &mut out).expect("matching lengths");
                dequantize_bytes(isa, F::TYPE, bytemuck::cast_slice(blocks), &mut halves)
                    .expect("whole blocks");
                for ((&found, half), &expected) in out.iter().zip(halves).zip(expected) {
                    assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan());
                    let expected = f16::from_f32(expected);
                    assert!(half.to_bits() == expected.to_bits() || half.is_nan() && expected.is_nan());
                }
            }
        }
    }
}

#[test]
fn weights_are_the_defined_ones() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
    pool.install(|| GgmlType::ALL.iter().for_each(|ty| ty.visit(EveryLength)));
}

#[test]
fn past_the_caches() {
    let blocks: Vec<Q4_0> = random_blocks(2, 3000);
    let many: Vec<Q4_0> = blocks.iter().copied().cycle().take((1 << 24) / 4 / 32 + 1).collect();
    let mut expected = vec![0.0; 32 * blocks.len()];
    blocks.iter().zip(expected.chunks_exact_mut(32)).for_each(|(block, out)| block.dequantize(out));
    let mut out = vec![0.0; 32 * many.len()];
    dequantize(Isa::best(), &many, &mut out).expect("matching lengths");
    for out in out.chunks(expected.len()) {
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(out.iter().zip(&expected).all(same));
    }
}

#[test]
fn lengths_and_addresses_are_checked() {
    let isa = Isa::best();
    let bytes = [0u16; 20];
    let bytes: &[u8] = bytemuck::cast_slice(&bytes);
    let message = |bytes: &[u8], length: usize| {
        let mut out = vec![0.0f32; length];
        dequantize_bytes(isa, GgmlType::Q4_0, bytes, &mut out).expect_err("bad input").to_string()
    };
    assert_eq!(
        message(&bytes[..36], 63),
        "out (weights of the blocks) has 63 elements where 64 were expected"
    );
    assert_eq!(
        message(&bytes[..37], 64),
        "weights (whole blocks of bytes) has 37 elements where 36 were expected"
    );
    assert!(message(&bytes[1..37], 64).ends_with("blocks of Q4_0 need an even one"));
    assert_eq!(
        dequantize::<Q4_0, f32>(isa, &[], &mut [0.0]),
        Err(Error::Length { what: "out (weights of the blocks)", expected: 0, found: 1 })
    );
}

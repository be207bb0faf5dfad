//! Quantization, bit-equal on every instruction set and in parallel.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_cpu::{Error, Isa, quantize_blocks, quantize_bytes};
use warpdot_formats::{Format, FormatVisitor, GgmlType, Q4K, Q8_0};

/// Numbers of both signs and many magnitudes, some of them zero.
fn numbers(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1f32..1.0).powi(3) * f32::from(rng.random_range(0..4u8))).collect()
}

struct SameBitsEverywhere;

impl FormatVisitor for SameBitsEverywhere {
    type Output = ();

    fn visit<F: Format>(self) {
        let mut rng = StdRng::seed_from_u64(12);
        let (rows, columns) = (9, 512);
        let weights = numbers(&mut rng, rows * columns);
        let importance: Vec<f32> = numbers(&mut rng, columns).iter().map(|x| x.abs()).collect();
        let blocks = |row: &[f32]| row.chunks(F::WEIGHTS).map(F::quantize).collect::<Vec<_>>();
        let weighted = |row: &[f32]| {
            let blocks = row.chunks(F::WEIGHTS).zip(importance.chunks(F::WEIGHTS));
            blocks.map(|(weights, importance)| F::quantize_weighted(weights, importance)).collect::<Vec<_>>()
        };
        let expected: Vec<F> = weights.chunks(columns).flat_map(blocks).collect();
        let expected_weighted: Vec<F> = weights.chunks(columns).flat_map(weighted).collect();
        for isa in Isa::available() {
            let mut found = vec![F::zeroed(); expected.len()];
            quantize_blocks(isa, &weights, None, &mut found).expect("good lengths");
            let same = bytemuck::cast_slice::<_, u8>(&found) == bytemuck::cast_slice::<_, u8>(&expected);
            assert!(same, "{} on {}", F::NAME, isa.name());
            let bytes = bytemuck::cast_slice_mut(&mut found);
            quantize_bytes(isa, F::TYPE, &weights, Some(&importance), bytes).expect("good lengths");
            assert!(
                *bytes == *bytemuck::cast_slice::<_, u8>(&expected_weighted),
                "{} on {}",
                F::NAME,
                isa.name()
            );
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_blocks() {
    for ty in GgmlType::ALL {
        ty.visit(SameBitsEverywhere);
    }
}

#[test]
fn lengths_are_checked() {
    let isa = Isa::best();
    let mut blocks = [Q4K::quantize(&[0.0; 256]); 2];
    let mut quantize = |weights, importance: Option<&[f32]>| {
        quantize_blocks(isa, &vec![1.0; weights], importance, &mut blocks)
            .map_err(|error| error.to_string())
            .expect_err("a wrong length")
    };
    assert_eq!(
        quantize(511, None),
        "weights (blocks times the weights in a block) has 511 elements where 512 were expected"
    );
    for (length, whole) in [(0, 256), (255, 256), (300, 512)] {
        assert_eq!(
            quantize(512, Some(&vec![1.0; length])),
            format!("importance (whole blocks) has {length} elements where {whole} were expected")
        );
    }
    assert_eq!(
        quantize(512, Some(&[1.0; 768])),
        "weights (whole rows) has 512 elements where 768 were expected"
    );

    let mut bytes = [0u16; 35];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut bytes);
    let result = quantize_bytes(isa, GgmlType::Q8_0, &[1.0; 64], None, &mut bytes[..67]);
    assert_eq!(result, Err(Error::Length { what: "bytes (of the blocks)", expected: 68, found: 67 }));
    let address = bytes[1..].as_ptr().addr();
    let result = quantize_bytes(isa, Q8_0::TYPE, &[1.0; 64], None, &mut bytes[1..69]);
    assert_eq!(result, Err(Error::Misaligned { address, ty: GgmlType::Q8_0 }));
}

//! Codes and scales of every format and instruction set against the definition.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_formats::{FormatVisitor, GgmlType, RUN, code_bytes};

use super::*;
use crate::Isa;
use crate::isa::{HALF, SimdVisitor, octet_blocks, streaming};

/// Compares an octet.
struct Octet<'a, F>(&'a [F]);

impl<F: Format> SimdVisitor for Octet<'_, F> {
    type Output = ();

    fn visit<I: Simd>(self, isa: I) {
        let (codes, scale, offset) = isa.vectorize(
            #[inline(always)]
            || {
                let unpacked = isa.unpack(self.0);
                let codes: [[f32; RUN]; OCTET] = std::array::from_fn(|run| {
                    let mut codes = [[0.0; HALF]; 2];
                    for (numbers, codes) in isa.numbers::<F>(&unpacked.codes, run).into_iter().zip(&mut codes)
                    {
                        streaming(isa, false, |stores| stores.put(numbers, codes));
                    }
                    bytemuck::cast(codes)
                });
                let Scales { scale, offset } = unpacked.scales;
                (codes, scale.map(|v| isa.lanes(v)), offset.map(|v| isa.lanes(v)))
            },
        );
        for (run, codes) in codes.iter().enumerate() {
            let (block, within) = run_of(self.0, run);
            let what = format!("{} run {run} of {:02x?}", F::NAME, bytemuck::cast_slice::<F, u8>(self.0));
            assert_eq!(*codes, code_bytes(&block.codes(within)).map(f32::from), "codes of {what}");
            let expected = block.scales(within);
            for group in 0..RUN / F::GROUP {
                for (found, expected, name) in [
                    (scale[group][run], expected.scale[group], "scale"),
                    (offset[group][run], expected.offset[group], "offset"),
                ] {
                    let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                    assert!(same, "{name} {group} is {found:e}, not {expected:e}: {what}");
                }
            }
        }
    }
}

/// Octets of random bytes, of equal bytes, and of bytes that are mostly zeros or ones: scales of every kind among
/// them, infinite, NaN and subnormal.
struct Octets;

impl FormatVisitor for Octets {
    type Output = ();

    fn visit<F: Format>(self) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut blocks = vec![F::zeroed(); octet_blocks::<F>()];
        for case in 0..3 * 256 {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut blocks);
            match case % 3 {
                0 => rng.fill(bytes),
                1 => bytes.fill((case / 3) as u8),
                _ => bytes.fill_with(|| match rng.random_range(0..8) {
                    0 => rng.random(),
                    other => {
                        if (other + case / 3) % 2 == 0 {
                            0x00
                        } else {
                            0xff
                        }
                    }
                }),
            }
            for isa in Isa::available() {
                isa.convert(Octet(&blocks));
            }
        }
    }
}

#[test]
fn codes_and_scales_are_the_defined_ones() {
    for ty in GgmlType::ALL {
        ty.visit(Octets);
    }
}

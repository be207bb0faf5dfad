//! Properties that hold for every format.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_formats::{ActivationBlock, Format, FormatVisitor, GgmlType, One, RUN, code_bytes, reproducible};

/// Gaussian numbers of unit variance, by Box and Muller.
fn gaussian(rng: &mut StdRng, count: usize) -> Vec<f32> {
    let mut number = || {
        let (radius, turn) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
    };
    (0..count).map(|_| number()).collect()
}

struct BlocksSurviveTheirOwnQuantization;

impl FormatVisitor for BlocksSurviveTheirOwnQuantization {
    type Output = ();

    /// Quantizing the weights of a block again finds them once more, up to a fraction of what was lost the first
    /// time: every code sits where it is read from.
    fn visit<F: Format>(self) {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut weights, mut again) = (vec![0.0; F::WEIGHTS], vec![0.0; F::WEIGHTS]);
        let (mut lost, mut lost_again) = (0.0, 0.0);
        let squares = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        for _ in 0..50 {
            let original = gaussian(&mut rng, F::WEIGHTS);
            F::quantize(&original).dequantize(&mut weights);
            F::quantize(&weights).dequantize(&mut again);
            lost += squares(&original, &weights);
            lost_again += squares(&weights, &again);
        }
        assert!(lost_again < 0.1 * lost, "{}: {lost_again} of {lost}", F::NAME);
    }
}

#[test]
fn blocks_survive_their_own_quantization() {
    for ty in GgmlType::ALL {
        ty.visit(BlocksSurviveTheirOwnQuantization);
    }
}

struct RelativeError;

impl FormatVisitor for RelativeError {
    type Output = f64;

    /// The root mean square error of quantized Gaussian weights of unit variance.
    fn visit<F: Format>(self) -> f64 {
        let weights = gaussian(&mut StdRng::seed_from_u64(4), 256 * 200);
        let mut out = vec![0.0; F::WEIGHTS];
        let squares = weights.chunks_exact(F::WEIGHTS).map(|weights| {
            F::quantize(weights).dequantize(&mut out);
            out.iter().zip(weights).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        });
        (squares.sum::<f64>() / weights.len() as f64).sqrt()
    }
}

/// The root mean square errors of ggml's own quantizers on 256,000 Gaussian weights of unit variance: of
/// its plain ones where ours give the same bits, else with all importance weights equal, which is better.
const GGML: [(GgmlType, f64); 25] = {
    use GgmlType::*;
    [
        (Q4_0, 0.086145),
        (Q4_1, 0.078344),
        (Q5_0, 0.042854),
        (Q5_1, 0.037970),
        (Q8_0, 0.005366),
        (Q2K, 0.268568),
        (Q3K, 0.144721),
        (Q4K, 0.070934),
        (Q5K, 0.035451),
        (Q6K, 0.017342),
        (Iq1S, 0.486370),
        (Iq1M, 0.452172),
        (Iq2Xxs, 0.344374),
        (Iq2Xs, 0.299970),
        (Iq2S, 0.249098),
        (Iq3Xxs, 0.182213),
        (Iq3S, 0.137476),
        (Iq4Nl, 0.075075),
        (Iq4Xs, 0.075758),
        (Tq1_0, 0.809085),
        (Tq2_0, 0.809085),
        (Q1_0, 0.600778),
        (Q2_0, 0.719883),
        (Mxfp4, 0.115052),
        (Nvfp4, 0.095237),
    ]
};

#[test]
fn quantization_loses_no_more_than_that_of_ggml() {
    for &ty in GgmlType::ALL {
        let (_, bound) = GGML.iter().find(|(of, _)| *of == ty).expect("every format is in the table");
        let error = ty.visit(RelativeError);
        assert!(error < 1.01 * bound, "{ty}: {error} is above ggml's {bound}");
    }
}

/// The formats that take no heed of importance.
const HEEDLESS: [GgmlType; 4] = [GgmlType::Q8_0, GgmlType::Tq1_0, GgmlType::Tq2_0, GgmlType::Mxfp4];

struct ImportanceHelps;

impl FormatVisitor for ImportanceHelps {
    /// Weighted squared errors: with importance that is unlike, a little unlike, and nearly all on a few weights.
    type Output = [[f64; 2]; 3];

    fn visit<F: Format>(self) -> Self::Output {
        let mut rng = StdRng::seed_from_u64(9);
        let weights = gaussian(&mut rng, 256 * 40);
        let normal = gaussian(&mut rng, weights.len());
        let mut out = vec![0.0; F::WEIGHTS];
        [1.5, 0.1, 6.0].map(|spread| {
            let mut errors = [0.0; 2];
            for (weights, normal) in weights.chunks_exact(F::WEIGHTS).zip(normal.chunks_exact(F::WEIGHTS)) {
                let importance: Vec<f32> = normal.iter().map(|x| (spread * x).exp()).collect();
                let blocks = [F::quantize(weights), F::quantize_weighted(weights, &importance)];
                for (error, block) in errors.iter_mut().zip(blocks) {
                    block.dequantize(&mut out);
                    let terms = out.iter().zip(weights).zip(&importance);
                    *error += terms.map(|((a, b), q)| f64::from(*q) * f64::from(a - b).powi(2)).sum::<f64>();
                }
            }
            errors
        })
    }
}

#[test]
fn weighted_errors_are_smaller_where_importance_is_heeded() {
    for &ty in GgmlType::ALL {
        let [unlike, alike, spiky] = ty.visit(ImportanceHelps).map(|[plain, weighted]| weighted / plain);
        if HEEDLESS.contains(&ty) {
            assert_eq!([unlike, alike, spiky], [1.0; 3], "{ty}");
        } else {
            // One scale for 128 weights of the same magnitude leaves little to choose.
            let clearly = if ty == GgmlType::Q1_0 { 0.97 } else { 0.8 };
            assert!(unlike < clearly && alike < 1.0 && spiky < unlike, "{ty}: {unlike} {alike} {spiky}");
        }
    }
}

struct OnlyRatiosOfImportanceMatter;

impl FormatVisitor for OnlyRatiosOfImportanceMatter {
    type Output = ();

    /// Equal importance gives the blocks that none gives, except where these are ggml's own; any magnitude
    /// of it, zero included, gives the same; and what matters least stays within reason.
    fn visit<F: Format>(self) {
        const UNSEARCHED: [GgmlType; 4] = [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q5_0, GgmlType::Q5_1];
        let mut rng = StdRng::seed_from_u64(10);
        let mut out = vec![0.0; F::WEIGHTS];
        let largest = |weights: &[f32]| weights.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
        for _ in 0..20 {
            let weights = gaussian(&mut rng, F::WEIGHTS);
            let bytes = |block: F| bytemuck::bytes_of(&block).to_vec();
            let weighted = |importance: &[f32]| F::quantize_weighted(&weights, importance);
            let equal = bytes(weighted(&vec![1.0; F::WEIGHTS]));
            if !UNSEARCHED.contains(&F::TYPE) {
                assert_eq!(equal, bytes(F::quantize(&weights)), "{}", F::NAME);
            }
            for value in [0.0, 1e-45, 1e-30, 2.0, 1e30, f32::MAX] {
                assert_eq!(equal, bytes(weighted(&vec![value; F::WEIGHTS])), "{}: {value:e}", F::NAME);
            }

            let single = rng.random_range(0..F::WEIGHTS);
            let half = |i: usize| if i % 64 < 32 { 0.0 } else { 1e30 };
            let shapes: [&dyn Fn(usize) -> f32; 4] = [
                &|i| if i == single { f32::MAX } else { 0.0 },
                &|i| if i == single { 0.0 } else { 1e-45 },
                &|i| if i == single { 1.0 } else { 1e-20 },
                &half,
            ];
            for shape in shapes {
                weighted(&(0..F::WEIGHTS).map(shape).collect::<Vec<_>>()).dequantize(&mut out);
                assert!(largest(&out) <= 2.0 * largest(&weights), "{}: {out:?}", F::NAME);
            }
        }
    }
}

#[test]
fn only_ratios_of_importance_matter() {
    for ty in GgmlType::ALL {
        ty.visit(OnlyRatiosOfImportanceMatter);
    }
}

struct SaturatesWhereItSays;

impl FormatVisitor for SaturatesWhereItSays {
    type Output = ();

    /// Weights above the limit come back as the limit, which is nearly reached; those below it as they are.
    fn visit<F: Format>(self) {
        let mut out = vec![0.0; F::WEIGHTS];
        let mut largest_of = |weight: f32| {
            F::quantize(&vec![weight; F::WEIGHTS]).dequantize(&mut out);
            out.iter().fold(0.0f32, |largest, &weight| largest.max(weight)) / F::SATURATION
        };
        let (below, above) = (largest_of(0.5 * F::SATURATION), largest_of(4.0 * F::SATURATION));
        assert!((0.4..0.8).contains(&below), "{}: {below}", F::NAME);
        assert!((0.8..=1.0).contains(&above), "{}: {above}", F::NAME);
    }
}

struct Saturation;

impl FormatVisitor for Saturation {
    type Output = f32;

    fn visit<F: Format>(self) -> f32 {
        F::SATURATION
    }
}

struct MakesScalesInfinite;

impl FormatVisitor for MakesScalesInfinite {
    type Output = ();

    fn visit<F: Format>(self) {
        for weight in [1e12, f32::MAX] {
            let scales = F::quantize(&vec![weight; F::WEIGHTS]).scales(0);
            let finite = |numbers: [f32; 2]| numbers.iter().all(|number| number.is_finite());
            assert!(!finite(scales.scale) || !finite(scales.offset), "{}: {scales:?}", F::NAME);
        }
    }
}

#[test]
fn weights_that_are_too_large_are_noticed() {
    for ty in GgmlType::ALL {
        match ty.visit(Saturation) {
            f32::MAX if *ty == GgmlType::Mxfp4 => {} // its scales reach as far as f32
            f32::MAX => ty.visit(MakesScalesInfinite),
            _ => ty.visit(SaturatesWhereItSays),
        }
    }
}

/// The formats that the `gguf` package does not know, read weight by weight.
#[test]
fn newest_formats_are_read_as_ggml_lays_them_out() {
    let mut rng = StdRng::seed_from_u64(8);
    let mut check = |ty: GgmlType, weight: fn(&[u8], usize) -> f32| {
        for _ in 0..200 {
            let bytes: Vec<u8> = (0..ty.block_bytes()).map(|_| rng.random()).collect();
            let scale = half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            for (i, ours) in ty.visit(DequantizedBytes(&bytes)).into_iter().enumerate() {
                let expected = scale * weight(&bytes[2..], i);
                let same = ours.to_bits() == expected.to_bits() || ours.is_nan() && expected.is_nan();
                assert!(same, "{ty}: weight {i} is {ours:e} instead of {expected:e}");
            }
        }
    };
    check(GgmlType::Q1_0, |bits, i| if bits[i / 8] >> (i % 8) & 1 == 1 { 1.0 } else { -1.0 });
    check(GgmlType::Q2_0, |bits, i| f32::from(bits[i / 4] >> (i % 4 * 2) & 3) - 1.0);
}

struct DequantizedBytes<'a>(&'a [u8]);

impl FormatVisitor for DequantizedBytes<'_> {
    type Output = Vec<f32>;

    fn visit<F: Format>(self) -> Vec<f32> {
        let mut weights = vec![0.0; F::WEIGHTS];
        bytemuck::pod_read_unaligned::<F>(self.0).dequantize(&mut weights);
        weights
    }
}

struct DotIsWithinItsBound;

impl FormatVisitor for DotIsWithinItsBound {
    type Output = ();

    fn visit<F: Format>(self) {
        let mut rng = StdRng::seed_from_u64(5);
        let mut weights = vec![0.0; F::WEIGHTS];
        for blocks in [1, 2, 3, 8, 33, 70] {
            let row: Vec<F> = (0..blocks).map(|_| F::quantize(&gaussian(&mut rng, F::WEIGHTS))).collect();
            let x = gaussian(&mut rng, blocks * F::WEIGHTS);
            let activations: Vec<_> = x.as_chunks().0.iter().map(ActivationBlock::quantize).collect();
            let (mut exact, mut bound, mut magnitude) = (0.0, 0.0, 0.0);
            for (b, block) in row.iter().enumerate() {
                block.dequantize(&mut weights);
                for (i, w) in weights.iter().enumerate() {
                    let (w, x) = (f64::from(*w), f64::from(x[b * F::WEIGHTS + i]));
                    exact += w * x;
                    magnitude += (w * x).abs();
                    bound += w.abs() * f64::from(activations[(b * F::WEIGHTS + i) / RUN].scale) / 2.0;
                }
            }
            bound += 2.0 * x.len() as f64 * 2f64.powi(-24) * magnitude;
            let y = f64::from(reproducible::dot(&row, &activations));
            assert!((y - exact).abs() <= bound, "{}: {y} and {exact} differ by more than {bound}", F::NAME);
        }
    }
}

#[test]
fn dot_is_within_its_bound() {
    for ty in GgmlType::ALL {
        ty.visit(DotIsWithinItsBound);
    }
}

struct ExtremesAreQuantized;

impl FormatVisitor for ExtremesAreQuantized {
    type Output = ();

    /// Weights at the edges of what `f32` and half-precision scales hold: never a panic; zeros stay zeros; and
    /// what scales can hold comes back no larger than twice the largest weight.
    fn visit<F: Format>(self) {
        let mut out = vec![0.0; F::WEIGHTS];
        let shapes: [fn(usize) -> f32; 5] = [
            |_| 1.0,
            |_| -1.0,
            |i| if i % 2 == 0 { 1.0 } else { -1.0 },
            |i| if i == 5 { -1.0 } else { 0.0 },
            |i| if i == 7 { 1.0 } else { 1e-4 },
        ];
        for shape in shapes {
            for magnitude in [0.0, 1e-45, 1e-20, 1e-3, 1e3, 1e30, f32::MAX] {
                let weights: Vec<f32> = (0..F::WEIGHTS).map(|i| magnitude * shape(i)).collect();
                F::quantize(&weights).dequantize(&mut out);
                if magnitude <= 1e3 {
                    let largest = out.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
                    let bound = 2.0 * magnitude.max(2f32.powi(-25));
                    assert!(
                        largest <= bound && !out.iter().any(|w| w.is_nan()),
                        "{} {weights:?}: {out:?}",
                        F::NAME
                    );
                }
                if magnitude == 0.0 {
                    assert!(out.iter().all(|weight| *weight == 0.0), "{}: {out:?}", F::NAME);
                }
            }
        }
    }
}

#[test]
fn extremes_are_quantized() {
    for ty in GgmlType::ALL {
        ty.visit(ExtremesAreQuantized);
    }
}

struct AnyBytesAreABlock(Vec<u8>);

impl FormatVisitor for AnyBytesAreABlock {
    type Output = ();

    fn visit<F: Format>(self) {
        let mut block = F::zeroed();
        let size = size_of::<F>();
        bytemuck::bytes_of_mut(&mut block).copy_from_slice(&self.0[..size]);
        let mut weights = vec![0.0; F::WEIGHTS];
        block.dequantize(&mut weights);
        for run in 0..F::RUNS {
            assert_eq!(block.codes(run), block.codes(run + F::RUNS), "runs are counted modulo the block's");
            assert_eq!(reproducible::dots::<F>(&block.codes(run), &[0; RUN]), [0; 2]);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_block(bytes in prop::collection::vec(any::<u8>(), 512)) {
        for ty in GgmlType::ALL {
            ty.visit(AnyBytesAreABlock(bytes.clone()));
        }
    }
}

#[test]
fn chains_are_folded_in_the_documented_order() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut order_matters = false;
    for _ in 0..20 {
        let chains: [f32; 32] = std::array::from_fn(|_| rng.random_range(-1f32..1.0).powi(3));
        let column = |j: usize| ((chains[j] + chains[j + 8]) + chains[j + 16]) + chains[j + 24];
        let mut y = column(0);
        for j in 1..8 {
            y += column(j);
        }
        assert_eq!(reproducible::fold(&chains).to_bits(), y.to_bits());
        order_matters |= y.to_bits() != chains.iter().sum::<f32>().to_bits();
    }
    assert!(order_matters, "the sums are too easy");
}

/// What products by unsigned bytes rest on.
#[test]
fn raw_codes_have_six_bits_or_zero_in_the_middle() {
    struct RawCodes;
    impl FormatVisitor for RawCodes {
        type Output = ();
        fn visit<F: Format>(self) {
            let mut rng = StdRng::seed_from_u64(17);
            for _ in 0..1000 {
                let mut block = F::zeroed();
                rng.fill(bytemuck::bytes_of_mut(&mut block));
                for run in 0..F::RUNS {
                    let raw: [u8; RUN] = bytemuck::cast(F::raw_codes(One(&block), run));
                    for (raw, code) in raw.into_iter().zip(code_bytes(&block.codes(run))) {
                        assert_eq!(i32::from(raw) - i32::from(F::ZERO), i32::from(code), "{}", F::NAME);
                        assert!(F::ZERO == 128 || raw < 64, "{}: raw code {raw}", F::NAME);
                    }
                }
            }
        }
    }
    GgmlType::ALL.iter().for_each(|ty| ty.visit(RawCodes));
}

//! Layouts of other quantizers, against a plain reading of their definitions: one number at a time, and the
//! tensors packed the way their authors' programs pack them.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use warpdot::import::{Awq, Gptq, GptqZeros, Imported, Int8, Scales};
use warpdot::{Device, Error, F16, GgmlType};

/// A layer of 4-bit weights before it is packed.
struct Layer {
    n: usize,
    k: usize,
    group: usize,
    /// `q[c][j]` of column c and row j.
    q: Vec<Vec<u32>>,
    /// `zeros[g][j]`.
    zeros: Vec<Vec<u32>>,
    scales: Vec<Vec<f32>>,
    /// The group of each column.
    group_of: Vec<i32>,
}

impl Layer {
    /// Zero points among `zeros`, and half-precision scales.
    fn random(seed: u64, n: usize, k: usize, group: usize, zeros: std::ops::RangeInclusive<u32>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let groups = k.div_ceil(group);
        let mut table = |rows: usize, range: std::ops::RangeInclusive<u32>| -> Vec<Vec<u32>> {
            (0..rows).map(|_| (0..n).map(|_| rng.random_range(range.clone())).collect()).collect()
        };
        let (q, zeros) = (table(k, 0..=15), table(groups, zeros));
        let bits = table(groups, 0x0001..=0x3c00);
        let half = |bits: &u32| F16(*bits as u16).to_f32();
        Self {
            n,
            k,
            group,
            q,
            zeros,
            scales: bits.iter().map(|row| row.iter().map(half).collect()).collect(),
            group_of: (0..k).map(|c| (c / group) as i32).collect(),
        }
    }

    fn weight(&self, row: usize, column: usize) -> f32 {
        let group = self.group_of[column] as usize;
        let code = self.q[column][row] as f32 - self.zeros[group][row] as f32;
        self.scales[group][row] * code
    }

    fn half_scales(&self) -> Vec<F16> {
        self.scales.concat().into_iter().map(F16::from_f32).collect()
    }

    /// As AutoGPTQ packs: word i of column j collects rows 8i to 8i + 7.
    fn gptq_qweight(&self) -> Vec<i32> {
        let mut words = vec![0u32; self.k / 8 * self.n];
        for c in 0..self.k {
            for j in 0..self.n {
                words[c / 8 * self.n + j] |= self.q[c][j] << (4 * (c % 8));
            }
        }
        words.into_iter().map(|word| word as i32).collect()
    }

    /// Rows of n numbers, eight to a word, with number `order[p]` of them at place p.
    fn pack_rows(rows: &[Vec<u32>], order: [usize; 8]) -> Vec<i32> {
        let pack = |eight: &[u32]| (0..8).fold(0u32, |word, place| word | eight[order[place]] << (4 * place));
        rows.iter().flat_map(|row| row.chunks_exact(8).map(pack)).map(|word| word as i32).collect()
    }

    fn gptq_qzeros(&self, less: u32) -> Vec<i32> {
        let stored: Vec<Vec<u32>> =
            self.zeros.iter().map(|row| row.iter().map(|zero| zero - less).collect()).collect();
        Self::pack_rows(&stored, [0, 1, 2, 3, 4, 5, 6, 7])
    }

    fn import_gptq(&self, zeros: GptqZeros, with_index: bool) -> Result<Imported, Error> {
        Gptq {
            n: self.n,
            k: self.k,
            group: self.group,
            qweight: &self.gptq_qweight(),
            qzeros: &self.gptq_qzeros(u32::from(zeros == GptqZeros::MinusOne)),
            scales: Scales::F16(&self.half_scales()),
            g_idx: with_index.then_some(&self.group_of[..]),
            zeros,
        }
        .import()
    }

    fn import_awq(&self) -> Result<Imported, Error> {
        const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
        Awq {
            n: self.n,
            k: self.k,
            group: self.group,
            qweight: &Self::pack_rows(&self.q, ORDER),
            qzeros: &Self::pack_rows(&self.zeros, ORDER),
            scales: Scales::F16(&self.half_scales()),
        }
        .import()
    }

    /// Every weight, to the last bit, at the place that the order of the columns tells.
    fn check(&self, imported: &Imported, ty: GgmlType) {
        let matrix = &imported.matrix;
        assert_eq!((matrix.ty(), matrix.rows(), matrix.columns()), (ty, self.n, self.k));
        assert_eq!(imported.scale_error, 0.0);
        let mut row = vec![0.0; self.k];
        for j in 0..self.n {
            matrix.dequantize_row(j, &mut row).unwrap();
            for (i, found) in row.iter().enumerate() {
                let column = imported.columns.as_ref().map_or(i, |order| order.as_slice()[i] as usize);
                let expected = self.weight(j, column);
                assert_eq!(*found, expected, "row {j}, column {column} of {} x {}", self.n, self.k);
            }
        }
    }
}

const SHAPES: [(usize, usize, usize); 6] =
    [(8, 32, 32), (72, 256, 32), (136, 256, 64), (64, 512, 128), (16, 96, 96), (200, 160, 64)];

#[test]
fn every_weight_of_gptq_is_exact() {
    for (seed, (n, k, group)) in (0..).zip(SHAPES) {
        for with_index in [false, true] {
            let symmetric = Layer::random(seed, n, k, group, 8..=8);
            let classic = Layer::random(seed, n, k, group, 1..=16);
            let plain = Layer::random(seed, n, k, group, 0..=15);
            for (layer, zeros, ty) in [
                (&symmetric, GptqZeros::MinusOne, GgmlType::Q4_0),
                (&symmetric, GptqZeros::Plain, GgmlType::Q4_0),
                (&classic, GptqZeros::MinusOne, GgmlType::Q5_0),
                (&plain, GptqZeros::Plain, GgmlType::Q5_0),
            ] {
                let imported = layer.import_gptq(zeros, with_index).unwrap();
                assert_eq!(imported.columns, None);
                layer.check(&imported, ty);
            }
        }
    }
}

#[test]
fn every_weight_of_awq_is_exact() {
    for (seed, (n, k, group)) in (0..).zip(SHAPES) {
        let symmetric = Layer::random(seed, n, k, group, 8..=8);
        symmetric.check(&symmetric.import_awq().unwrap(), GgmlType::Q4_0);
        let layer = Layer::random(seed, n, k, group, 0..=15);
        layer.check(&layer.import_awq().unwrap(), GgmlType::Q5_0);
    }
}

#[test]
fn one_other_zero_point_needs_five_bits() {
    let mut layer = Layer::random(7, 24, 64, 32, 8..=8);
    layer.zeros[1][23] = 7;
    layer.check(&layer.import_gptq(GptqZeros::MinusOne, false).unwrap(), GgmlType::Q5_0);
    layer.check(&layer.import_awq().unwrap(), GgmlType::Q5_0);
}

/// Groups whose columns lie anywhere, as act-order leaves them.
fn shuffled(seed: u64, n: usize, k: usize, group: usize, zeros: std::ops::RangeInclusive<u32>) -> Layer {
    let mut layer = Layer::random(seed, n, k, group, zeros);
    layer.group_of.shuffle(&mut StdRng::seed_from_u64(seed));
    layer
}

#[test]
fn act_order_sorts_columns_by_group_and_keeps_their_order_within() {
    for (n, k, group) in [(16, 256, 32), (72, 512, 128), (8, 160, 64)] {
        let layer = shuffled(11, n, k, group, 1..=16);
        let imported = layer.import_gptq(GptqZeros::MinusOne, true).unwrap();
        layer.check(&imported, GgmlType::Q5_0);
        let order = imported.columns.as_ref().expect("shuffled columns").as_slice();
        let keys: Vec<_> = order.iter().map(|c| (layer.group_of[*c as usize], *c)).collect();
        assert!(keys.is_sorted());
        let mut every = order.to_vec();
        every.sort_unstable();
        assert!(every.iter().copied().eq(0..k as u32));
    }
}

#[test]
fn products_with_gathered_activations_are_those_of_the_original() {
    let (m, n, k) = (3, 40, 512);
    let layer = shuffled(12, n, k, 64, 8..=8);
    let imported = layer.import_gptq(GptqZeros::MinusOne, true).unwrap();
    let mut rng = StdRng::seed_from_u64(13);
    let x: Vec<f32> = (0..m * k).map(|_| rng.random_range(-1.0..1.0)).collect();
    let mut sorted = vec![0.0; m * k];
    imported.columns.as_ref().unwrap().gather(&x, &mut sorted).unwrap();
    let mut y = vec![0.0; m * n];
    Device::cpu().upload(&imported.matrix).unwrap().matmul(m, &sorted, &mut y).unwrap();
    for i in 0..m {
        for j in 0..n {
            let x = &x[i * k..][..k];
            let terms = || (0..k).map(|c| f64::from(x[c]) * f64::from(layer.weight(j, c)));
            let magnitudes: f64 = (0..k).map(|c| f64::from(layer.weight(j, c)).abs()).sum();
            // Activations are rounded to 127ths of at most 1; see `DeviceMatrix::matmul_with`.
            let bound = magnitudes / 254.0 + 2e-7 * k as f64 * terms().map(f64::abs).sum::<f64>();
            let (expected, found) = (terms().sum::<f64>(), f64::from(y[i * n + j]));
            assert!((found - expected).abs() <= bound, "y[{i}, {j}] = {found}, not {expected} +- {bound}");
        }
    }
}

#[test]
fn int8_weights_are_exact_and_their_scales_as_good_as_told() {
    let (n, k) = (37, 96);
    let mut rng = StdRng::seed_from_u64(21);
    let weights: Vec<i8> = (0..n * k).map(|_| rng.random()).collect();
    let scales: Vec<f32> = (0..n).map(|_| rng.random_range(-0.1f32..0.1)).collect();
    let half: Vec<F16> = scales.iter().map(|scale| F16::from_f32(*scale)).collect();
    let bf16: Vec<u16> = scales.iter().map(|scale| (scale.to_bits() >> 16) as u16).collect();
    for (scales, exact) in [
        (Scales::F16(&half), half.iter().map(|scale| scale.to_f32()).collect::<Vec<_>>()),
        (Scales::Bf16(&bf16), bf16.iter().map(|bits| f32::from_bits(u32::from(*bits) << 16)).collect()),
        (Scales::F32(&scales), scales.clone()),
    ] {
        let imported = Int8 { n, k, weights: &weights, scales }.import().unwrap();
        assert_eq!((imported.matrix.ty(), imported.columns), (GgmlType::Q8_0, None));
        let (mut row, mut worst) = (vec![0.0; k], 0.0f64);
        for j in 0..n {
            imported.matrix.dequantize_row(j, &mut row).unwrap();
            for (found, code) in row.iter().zip(&weights[j * k..]) {
                let expected = f64::from(exact[j]) * f64::from(*code);
                if expected != 0.0 {
                    // The product itself is rounded to f32, too, where the scale has more than 16 bits.
                    worst = worst.max((f64::from(*found) / expected - 1.0).abs());
                }
            }
        }
        assert!((worst - f64::from(imported.scale_error)).abs() < 1e-7, "{worst} {}", imported.scale_error);
        // bfloat16 numbers have fewer bits, and these are in reach.
        assert_eq!(imported.scale_error == 0.0, !matches!(scales, Scales::F32(_)));
    }
}

fn message(result: Result<Imported, Error>) -> String {
    result.expect_err("bad input").to_string()
}

#[test]
fn scales_are_checked() {
    let int8 =
        |scales: [f32; 2]| Int8 { n: 2, k: 32, weights: &[1; 64], scales: Scales::F32(&scales) }.import();
    assert_eq!(int8([0.0, -0.0]).unwrap().scale_error, 0.0);
    assert!(int8([1.0, 65519.9]).unwrap().scale_error > 0.0);
    assert!(int8([1.0, 1.0 / 3.0]).unwrap().scale_error < 0.0005);
    for (scale, text) in [(65520.0, "6.552e4"), (1e-20, "1e-20"), (f32::from_bits(1), "1e-45")] {
        let found = message(int8([1.0, scale]));
        assert!(found.starts_with(&format!("the scale of row 1, group 0 is {text}: half")), "{found}");
    }
    // Half-way between subnormal numbers, just large enough and not.
    let step = 2f32.powi(-24);
    assert!(int8([1.0, 127.5 * step]).is_ok());
    assert!(matches!(int8([1.0, 126.5 * step]), Err(Error::ScaleOutOfRange { row: 1, group: 0, .. })));
    assert_eq!(
        message(int8([f32::NAN, 1.0])),
        "the scale of row 0, group 0 is NaN: only finite ones can be imported"
    );
    let mut layer = Layer::random(1, 8, 64, 32, 8..=8);
    layer.scales[1][5] = f32::INFINITY;
    assert_eq!(
        message(layer.import_awq()),
        "the scale of row 5, group 1 is inf: only finite ones can be imported"
    );
}

#[test]
fn shapes_are_checked() {
    let scales = [F16(0); 16];
    let gptq = Gptq {
        n: 8,
        k: 64,
        group: 32,
        qweight: &[0; 64],
        qzeros: &[0; 2],
        scales: Scales::F16(&scales),
        g_idx: None,
        zeros: GptqZeros::MinusOne,
    };
    gptq.import().expect("good sizes");
    let awq =
        Awq { n: 8, k: 64, group: 32, qweight: &[0; 64], qzeros: &[0; 2], scales: Scales::F16(&scales) };
    awq.import().expect("good sizes");
    let int8 = Int8 { n: 8, k: 64, weights: &[0; 512], scales: Scales::F16(&scales[..8]) };
    int8.import().expect("good sizes");

    let mut g_idx = [0; 64];
    g_idx[40] = -1;
    for (result, expected) in [
        (Gptq { n: 0, ..gptq }.import(), "n is 0: every dimension of a product must be at least 1"),
        (Gptq { k: 0, ..gptq }.import(), "k is 0: every dimension of a product must be at least 1"),
        (Gptq { group: 0, ..gptq }.import(), "group is 0: every dimension of a product must be at least 1"),
        (Gptq { n: 12, ..gptq }.import(), "n = 12 is not a multiple of 8, the rows that share a word"),
        (Gptq { k: 40, ..gptq }.import(), "k = 40 is not a multiple of 32, the weights in a block of Q5_0"),
        (Gptq { group: 48, ..gptq }.import(), "group 0 has 48 columns, which is not a multiple of 32"),
        (Gptq { k: 96, ..gptq }.import(), "qweight (k / 8 * n) has 64 elements where 96 were expected"),
        (
            Gptq { qzeros: &[0; 3], ..gptq }.import(),
            "qzeros (groups * n / 8) has 3 elements where 2 were expected",
        ),
        (Gptq { group: 64, ..gptq }.import(), "qzeros (groups * n / 8) has 2 elements where 1 were expected"),
        (Gptq { g_idx: Some(&[0; 63]), ..gptq }.import(), "g_idx (k) has 63 elements where 64 were expected"),
        (
            Gptq { g_idx: Some(&g_idx), ..gptq }.import(),
            "g_idx[40] is -1: there are 2 groups, counted from 0",
        ),
        (
            Awq { qweight: &[0; 63], ..awq }.import(),
            "qweight (k * n / 8) has 63 elements where 64 were expected",
        ),
        (
            Awq { scales: Scales::F32(&[0.0; 15]), ..awq }.import(),
            "scales (groups * n) has 15 elements where 16 were expected",
        ),
        (Awq { group: 16, ..awq }.import(), "group 0 has 16 columns, which is not a multiple of 32"),
        (Int8 { k: 63, ..int8 }.import(), "k = 63 is not a multiple of 32, the weights in a block of Q8_0"),
        (Int8 { n: 7, ..int8 }.import(), "weights (n * k) has 512 elements where 448 were expected"),
        (
            Int8 { scales: Scales::Bf16(&[0; 9]), ..int8 }.import(),
            "scales (n) has 9 elements where 8 were expected",
        ),
    ] {
        assert_eq!(message(result), expected);
    }
    assert!(matches!(Int8 { n: usize::MAX / 64, ..int8 }.import(), Err(Error::Overflow { .. })));
}

#[test]
fn group_indices_are_checked() {
    let mut layer = Layer::random(3, 8, 128, 64, 8..=8);
    layer.group_of[5] = 1;
    assert_eq!(
        message(layer.import_gptq(GptqZeros::MinusOne, true)),
        "group 0 has 63 columns, which is not a multiple of 32"
    );
    layer.group_of[5] = 2;
    assert_eq!(
        message(layer.import_gptq(GptqZeros::MinusOne, true)),
        "g_idx[5] is 2: there are 2 groups, counted from 0"
    );
    // Groups need not be of one size.
    layer.group_of = [vec![1; 96], vec![0; 32]].concat();
    let imported = layer.import_gptq(GptqZeros::MinusOne, true).unwrap();
    layer.check(&imported, GgmlType::Q4_0);

    let order = imported.columns.expect("another order");
    let mut out = [0.0; 128];
    assert_eq!(
        order.gather(&[0.0; 130], &mut out).unwrap_err().to_string(),
        "x (m * k) has 130 elements where 256 were expected"
    );
    assert!(order.gather(&[0.0; 256], &mut out).is_err());
}

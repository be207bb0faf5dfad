//! Fragments of `mma` and `ldmatrix`, placed by the tables of the ISA document, against a plain matrix
//! product.

mod common;

use std::ops::Range;

use common::{device, module, run, threads};
use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_host::Launch;

/// Where the document puts element `i` of a lane's A, B and C fragment: row and column.
struct Layout {
    shape: &'static str,
    rows: usize,
    depth: usize,
    /// Elements of a lane.
    counts: [usize; 3],
    a: fn(lane: usize, i: usize) -> (usize, usize),
    b: fn(lane: usize, i: usize) -> (usize, usize),
}

/// C and D: `i / 2` picks the upper or lower eight rows.
fn accumulator(lane: usize, i: usize) -> (usize, usize) {
    (if i < 2 { lane >> 2 } else { (lane >> 2) + 8 }, (lane % 4) * 2 + (i & 1))
}

const HALF_K8: Layout = Layout {
    shape: "m16n8k8",
    rows: 16,
    depth: 8,
    counts: [4, 2, 4],
    a: |lane, i| (if i < 2 { lane >> 2 } else { (lane >> 2) + 8 }, (lane % 4) * 2 + (i & 1)),
    b: |lane, i| ((lane % 4) * 2 + i, lane >> 2),
};
const HALF_K16: Layout = Layout {
    shape: "m16n8k16",
    rows: 16,
    depth: 16,
    counts: [8, 4, 4],
    a: |lane, i| {
        let upper = i < 2 || (4..6).contains(&i);
        let column = (lane % 4) * 2 + (i & 1);
        (if upper { lane >> 2 } else { (lane >> 2) + 8 }, if i < 4 { column } else { column + 8 })
    },
    b: |lane, i| {
        let row = (lane % 4) * 2 + (i & 1);
        (if i < 2 { row } else { row + 8 }, lane >> 2)
    },
};
const BYTE_K16: Layout = Layout {
    shape: "m16n8k16",
    rows: 16,
    depth: 16,
    counts: [8, 4, 4],
    a: |lane, i| (if i < 4 { lane >> 2 } else { (lane >> 2) + 8 }, (lane % 4) * 4 + (i & 3)),
    b: |lane, i| ((lane % 4) * 4 + i, lane >> 2),
};
const BYTE_K32: Layout = Layout {
    shape: "m16n8k32",
    rows: 16,
    depth: 32,
    counts: [16, 8, 4],
    a: |lane, i| {
        let upper = i < 4 || (8..12).contains(&i);
        let column = (lane % 4) * 4 + (i & 3);
        (if upper { lane >> 2 } else { (lane >> 2) + 8 }, if i < 8 { column } else { column + 16 })
    },
    b: |lane, i| {
        let row = (lane % 4) * 4 + (i & 3);
        (if i < 4 { row } else { row + 16 }, lane >> 2)
    },
};
const BYTE_TURING: Layout = Layout {
    shape: "m8n8k16",
    rows: 8,
    depth: 16,
    counts: [4, 4, 2],
    a: |lane, i| (lane >> 2, (lane % 4) * 4 + i),
    b: |lane, i| ((lane % 4) * 4 + i, lane >> 2),
};
const TF32_K8: Layout = Layout {
    shape: "m16n8k8",
    rows: 16,
    depth: 8,
    counts: [4, 2, 4],
    a: |lane, i| {
        let upper = i == 0 || i == 2;
        (if upper { lane >> 2 } else { (lane >> 2) + 8 }, if i < 2 { lane % 4 } else { lane % 4 + 4 })
    },
    b: |lane, i| (if i == 0 { lane % 4 } else { lane % 4 + 4 }, lane >> 2),
};

/// Packs values, as bits of a width, into little-endian words.
fn pack(bits: &[u32], width: usize) -> Vec<u32> {
    let per_word = 32 / width;
    bits.chunks(per_word)
        .map(|chunk| chunk.iter().rev().fold(0, |word, &value| (u64::from(word) << width) as u32 | value))
        .collect()
}

/// Integers that are exact in all types.
const SMALL: Range<i32> = -7..8;

/// Multiplies matrices of integers, encoded by `encode`, and compares with a plain product.
fn check(
    layout: &Layout,
    types: [&str; 4],
    width: usize,
    [of_a, of_b]: [Range<i32>; 2],
    encode: fn(i32) -> u32,
    decode: fn(u32) -> i32,
    encode_c: fn(i32) -> u32,
) {
    let Layout { shape, rows, depth, counts, a: place_a, b: place_b } = *layout;
    let mut rng = StdRng::seed_from_u64(depth as u64);
    let mut matrix =
        |count: usize, of: Range<i32>| (0..count).map(|_| rng.random_range(of.clone())).collect::<Vec<i32>>();
    let (a, b, c) = (matrix(rows * depth, of_a), matrix(depth * 8, of_b), matrix(rows * 8, SMALL));
    let fragment = |lane: usize| {
        let part = |count: usize, value: &dyn Fn(usize) -> u32, width| {
            pack(&(0..count).map(value).collect::<Vec<_>>(), width)
        };
        let element =
            |matrix: &[i32], columns: usize, (row, column): (usize, usize)| matrix[row * columns + column];
        let mut words = part(counts[0], &|i| encode(element(&a, depth, place_a(lane, i))), width);
        words.extend(part(counts[1], &|i| encode(element(&b, 8, place_b(lane, i))), width));
        words.extend(part(counts[2], &|i| encode_c(element(&c, 8, accumulator(lane, i))), 32));
        words
    };
    let words = fragment(0).len();
    let (a_words, b_words) = (counts[0] * width / 32, counts[1] * width / 32);
    let list = |from: usize, count: usize| {
        (from..from + count).map(|i| format!("%f{i}")).collect::<Vec<_>>().join(",")
    };
    let loads: String = (0..words).map(|i| format!("ld.global.b32 %f{i}, [%rd1+{}];\n", 4 * i)).collect();
    let c_list = list(a_words + b_words, counts[2]);
    let stores: String = (0..counts[2])
        .map(|i| format!("st.global.b32 [%rd1+{}], %f{};\n", 4 * i, a_words + b_words + i))
        .collect();
    let ptx = module(
        "sm_90",
        &["u64"],
        &format!(
            ".reg .b64 %rd<4>; .reg .b32 %r<4>; .reg .b32 %f<40>;
            ld.param.u64 %rd1, [p0]; mov.u32 %r1, %laneid; mad.wide.u32 %rd1, %r1, {}, %rd1;
            {loads}
            mma.sync.aligned.{shape}.row.col.{}.{}.{}.{} {{{c_list}}}, {{{}}}, {{{}}}, {{{c_list}}};
            {stores}
            ret;",
            4 * words,
            types[0],
            types[1],
            types[2],
            types[3],
            list(0, a_words),
            list(a_words, b_words),
        ),
    );
    let input: Vec<u32> = (0..32).flat_map(fragment).collect();
    let (_, host) = device(9, 0);
    let output = run(&host.context().unwrap(), &ptx, threads(32), &input).unwrap();
    for lane in 0..32 {
        for i in 0..counts[2] {
            let (row, column) = accumulator(lane, i);
            let dot: i32 = (0..depth).map(|k| a[row * depth + k] * b[k * 8 + column]).sum();
            let wanted = dot + c[row * 8 + column];
            assert_eq!(decode(output[lane * words + i]), wanted, "{shape} {types:?} lane {lane} element {i}");
        }
    }
}

#[test]
fn integer_products() {
    let int = |x: u32| x as i32;
    let byte = |x: i32| u32::from(x as u8);
    for layout in [&BYTE_K16, &BYTE_K32, &BYTE_TURING] {
        for (a, of_a) in [("s8", -128..128), ("u8", 0..256)] {
            for (b, of_b) in [("s8", -128..128), ("u8", 0..256)] {
                check(layout, ["s32", a, b, "s32"], 8, [of_a.clone(), of_b], byte, int, |c| c as u32);
            }
        }
    }
}

#[test]
fn float_products() {
    let float = |x: u32| {
        let value = f32::from_bits(x);
        assert_eq!(value.fract(), 0.0);
        value as i32
    };
    let single = |c: i32| (c as f32).to_bits();
    let half = |x: i32| f16::from_f32(x as f32).to_bits().into();
    let brain = |x: i32| bf16::from_f32(x as f32).to_bits().into();
    for layout in [&HALF_K8, &HALF_K16] {
        check(layout, ["f32", "f16", "f16", "f32"], 16, [SMALL; 2], half, float, single);
        check(layout, ["f32", "bf16", "bf16", "f32"], 16, [SMALL; 2], brain, float, single);
    }
    check(&TF32_K8, ["f32", "tf32", "tf32", "f32"], 32, [SMALL; 2], single, float, single);
    // e4m3: sign, four bits of exponent with bias 7, three of mantissa; -7..8 are exact.
    let e4m3 = |x: i32| {
        let magnitude = x.unsigned_abs();
        if magnitude == 0 {
            return 0;
        }
        let exponent = magnitude.ilog2();
        u32::from(x < 0) << 7 | (exponent + 7) << 3 | (magnitude << 3 >> exponent & 7)
    };
    let mut layout = BYTE_K32;
    layout.shape = "m16n8k32";
    let ptx_8_4 = ["f32", "e4m3", "e4m3", "f32"];
    check(&layout, ptx_8_4, 8, [SMALL; 2], e4m3, float, single);
}

/// Sixteen rows of shared memory hold 8x8 matrices of 0, 1, 2...; each lane stores what it was given.
fn load_matrix(modifiers: &str, count: usize) -> Vec<u32> {
    let registers = (0..count).map(|i| format!("%f{i}")).collect::<Vec<_>>().join(",");
    let stores: String = (0..count).map(|i| format!("st.global.b32 [%rd1+{}], %f{i};\n", 4 * i)).collect();
    let ptx = module(
        "sm_80",
        &["u64"],
        &format!(
            ".reg .b64 %rd<4>; .reg .b32 %r<8>; .reg .b32 %f<4>; .reg .pred %p1;
            ld.param.u64 %rd1, [p0]; mov.u32 %r1, %laneid; mad.wide.u32 %rd1, %r1, 16, %rd1;
            mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 16, %r2;
            // Lane l writes row l of 8 numbers, two to a word: 8l, 8l + 1...
            mul.lo.u32 %r4, %r1, 0x80008; add.u32 %r4, %r4, 0x10000;
            st.shared.b32 [%r3], %r4; add.u32 %r4, %r4, 0x20002;
            st.shared.b32 [%r3+4], %r4; add.u32 %r4, %r4, 0x20002;
            st.shared.b32 [%r3+8], %r4; add.u32 %r4, %r4, 0x20002;
            st.shared.b32 [%r3+12], %r4;
            bar.warp.sync -1;
            ldmatrix.sync.aligned.m8n8.{modifiers}.shared.b16 {{{registers}}}, [%r3];
            {stores}
            ret;"
        ),
    );
    let (_, host) = device(8, 0);
    let launch = Launch { shared_bytes: 512, ..threads(32) };
    run(&host.context().unwrap(), &ptx, launch, &[0; 128]).unwrap()
}

#[test]
fn matrices_are_loaded_as_documented() {
    for (modifiers, count) in [("x1", 1), ("x2", 2), ("x4", 4), ("x4.trans", 4)] {
        let output = load_matrix(modifiers, count);
        for lane in 0..32 {
            for matrix in 0..count {
                // The lane's row is its number / 4, its two columns follow from the rest.
                let (row, column) = (lane / 4, 2 * (lane % 4));
                let element = |row: usize, column: usize| (64 * matrix + 8 * row + column) as u32;
                let wanted = if modifiers.ends_with("trans") {
                    element(column, row) | element(column + 1, row) << 16
                } else {
                    element(row, column) | element(row, column + 1) << 16
                };
                assert_eq!(output[4 * lane + matrix], wanted, "{modifiers} lane {lane} matrix {matrix}");
            }
        }
    }
}

#[test]
fn a_warp_multiplies_as_one() {
    let (emulated, host) = device(9, 0);
    let ptx = module(
        "sm_80",
        &["u64"],
        ".reg .b32 %r<8>; .reg .pred %p1; mov.u32 %r1, %laneid; setp.lt.u32 %p1, %r1, 31;
        mov.u32 %r2, 0; mov.u32 %r3, 0;
        @%p1 mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%r4,%r5}, {%r2}, {%r3}, {%r2,%r3};
        ret;",
    );
    run(&host.context().unwrap(), &ptx, threads(32), &[0]).unwrap_err();
    let report = emulated.last_report().unwrap().to_string();
    assert!(report.contains("only lanes 0x7fffffff reach"), "{report}");
}

#[test]
fn matrices_are_stored_as_they_are_loaded() {
    for modifiers in ["x4", "x4.trans"] {
        let ptx = module(
            "sm_90",
            &["u64"],
            &format!(
                ".reg .b64 %rd<4>; .reg .b32 %r<8>; .reg .b32 %f<8>;
                ld.param.u64 %rd1, [p0]; mov.u32 %r1, %laneid; mad.wide.u32 %rd1, %r1, 16, %rd1;
                mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 16, %r2;
                ld.global.v4.b32 {{%f0,%f1,%f2,%f3}}, [%rd1]; st.shared.v4.b32 [%r3], {{%f0,%f1,%f2,%f3}};
                bar.warp.sync -1;
                ldmatrix.sync.aligned.m8n8.{modifiers}.shared.b16 {{%f0,%f1,%f2,%f3}}, [%r3];
                stmatrix.sync.aligned.m8n8.{modifiers}.shared.b16 [%r3+512], {{%f0,%f1,%f2,%f3}};
                bar.warp.sync -1;
                ld.shared.v4.b32 {{%f4,%f5,%f6,%f7}}, [%r3+512];
                st.global.v4.b32 [%rd1], {{%f4,%f5,%f6,%f7}}; ret;"
            ),
        );
        let (_, host) = device(9, 0);
        let words: Vec<u32> = (0..128u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        let launch = Launch { shared_bytes: 1024, ..threads(32) };
        assert_eq!(run(&host.context().unwrap(), &ptx, launch, &words).unwrap(), words, "{modifiers}");
    }
}

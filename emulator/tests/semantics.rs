//! Instructions against values worked out elsewhere: by Rust's integers, by the `half` crate, by exact
//! arithmetic, or by hand from the ISA document.

mod common;

use common::{device, module};
use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use warpdot_host::Launch;

/// Runs instructions once for each input: three 64-bit words in %rd1 to %rd3 (their low halves in %r1
/// to %r3, and again in %rs1 to %rs3), the result from %rd0.
fn apply(body: &str, inputs: &[[u64; 3]]) -> Vec<u64> {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let ptx = module(
        "sm_90",
        &["u64", "u64", "u32"],
        &format!(
            ".reg .b64 %rd<8>; .reg .b64 %x<8>; .reg .b32 %r<8>; .reg .b16 %rs<8>; .reg .pred %p<4>;
            ld.param.u64 %x0, [p0]; ld.param.u64 %x1, [p1]; ld.param.u32 %r4, [p2];
            mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x;
            mad.lo.u32 %r0, %r0, %r1, %r2;
            setp.ge.u32 %p0, %r0, %r4; @%p0 ret;
            mad.wide.u32 %x0, %r0, 24, %x0; mad.wide.u32 %x1, %r0, 8, %x1;
            ld.global.u64 %rd1, [%x0]; ld.global.u64 %rd2, [%x0+8]; ld.global.u64 %rd3, [%x0+16];
            cvt.u32.u64 %r1, %rd1; cvt.u32.u64 %r2, %rd2; cvt.u32.u64 %r3, %rd3;
            cvt.u16.u32 %rs1, %r1; cvt.u16.u32 %rs2, %r2; cvt.u16.u32 %rs3, %r3;
            mov.u64 %rd0, 0; mov.u32 %r0, 0; mov.u16 %rs0, 0;
            {body}
            st.global.u64 [%x1], %rd0;
            ret;"
        ),
    );
    let function = context.load_module(&ptx).unwrap_or_else(|error| panic!("{error}")).function("kernel");
    let mut source = context.alloc::<u64>(3 * inputs.len()).unwrap();
    source.write(inputs.as_flattened()).unwrap();
    let mut target = context.alloc::<u64>(inputs.len()).unwrap();
    let stream = context.stream().unwrap();
    let count = inputs.len() as u32;
    let launch = Launch { grid: [count.div_ceil(256), 1, 1], block: [256, 1, 1], shared_bytes: 0 };
    let arguments = [(&source).into(), (&mut target).into(), count.into()];
    // SAFETY: the emulator checks every access.
    unsafe { stream.launch(&function.unwrap(), launch, &arguments) }.unwrap();
    stream.synchronize().unwrap_or_else(|_| panic!("{:?}", emulated.last_report()));
    let mut out = vec![0; inputs.len()];
    target.read(&mut out).unwrap();
    out
}

fn apply32(instruction: &str, inputs: &[[u32; 3]]) -> Vec<u32> {
    let wide: Vec<_> = inputs.iter().map(|words| words.map(u64::from)).collect();
    apply(&format!("{instruction} cvt.u64.u32 %rd0, %r0;"), &wide).iter().map(|&word| word as u32).collect()
}

fn check32(instruction: &str, cases: &[([u32; 3], u32)]) {
    let inputs: Vec<_> = cases.iter().map(|case| case.0).collect();
    for (found, (inputs, wanted)) in apply32(instruction, &inputs).into_iter().zip(cases) {
        assert_eq!(found, *wanted, "{instruction} of {inputs:x?}: {found:#x}, expected {wanted:#x}");
    }
}

/// Random words, many of them extreme.
fn words(seed: u64) -> Vec<[u64; 3]> {
    let mut rng = StdRng::seed_from_u64(seed);
    let extremes = [0, 1, 31, 32, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, u64::MAX, 1 << 63, u64::MAX >> 1];
    let mut word = || {
        if rng.random_bool(0.4) { extremes[rng.random_range(0..extremes.len())] } else { rng.next_u64() }
    };
    (0..2000).map(|_| [word(), word(), word()]).collect()
}

/// Compares an instruction with a function of its three operands.
fn compare(instruction: &str, f: impl Fn(u64, u64, u64) -> u64) {
    let inputs = words(instruction.len() as u64);
    for (found, [a, b, c]) in apply(instruction, &inputs).into_iter().zip(inputs) {
        let wanted = f(a, b, c);
        assert_eq!(
            found, wanted,
            "{instruction} of {a:#x}, {b:#x}, {c:#x}: {found:#x}, expected {wanted:#x}"
        );
    }
}

fn compare32(instruction: &str, f: impl Fn(u32, u32, u32) -> u32) {
    compare(&format!("{instruction} cvt.u64.u32 %rd0, %r0;"), |a, b, c| {
        f(a as u32, b as u32, c as u32).into()
    });
}

fn compare16(instruction: &str, f: impl Fn(u16, u16, u16) -> u16) {
    compare(&format!("{instruction} cvt.u64.u16 %rd0, %rs0;"), |a, b, c| {
        f(a as u16, b as u16, c as u16).into()
    });
}

#[test]
fn integer_arithmetic() {
    compare32("add.u32 %r0, %r1, %r2;", |a, b, _| a.wrapping_add(b));
    compare32("sub.s32 %r0, %r1, %r2;", |a, b, _| a.wrapping_sub(b));
    compare32("add.sat.s32 %r0, %r1, %r2;", |a, b, _| (a as i32).saturating_add(b as i32) as u32);
    compare32("sub.sat.s32 %r0, %r1, %r2;", |a, b, _| (a as i32).saturating_sub(b as i32) as u32);
    compare32("mul.lo.s32 %r0, %r1, %r2;", |a, b, _| a.wrapping_mul(b));
    compare32("mul.hi.u32 %r0, %r1, %r2;", |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    compare32("mul.hi.s32 %r0, %r1, %r2;", |a, b, _| ((a as i32 as i64 * b as i32 as i64) >> 32) as u32);
    compare32("mad.lo.u32 %r0, %r1, %r2, %r3;", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    compare("mul.wide.u32 %rd0, %r1, %r2;", |a, b, _| u64::from(a as u32) * u64::from(b as u32));
    compare("mul.wide.s32 %rd0, %r1, %r2;", |a, b, _| (a as i32 as i64 * b as i32 as i64) as u64);
    compare("mad.wide.s32 %rd0, %r1, %r2, %rd3;", |a, b, c| {
        (a as i32 as i64 * b as i32 as i64).wrapping_add(c as i64) as u64
    });
    compare("mul.hi.u64 %rd0, %rd1, %rd2;", |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64);
    compare("mul.hi.s64 %rd0, %rd1, %rd2;", |a, b, _| {
        ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64
    });
    compare32("mul.wide.s16 %r0, %rs1, %rs2;", |a, b, _| (a as i16 as i32 * b as i16 as i32) as u32);
    compare16("mul.lo.u16 %rs0, %rs1, %rs2;", |a, b, _| a.wrapping_mul(b));
    compare32("min.s32 %r0, %r1, %r2;", |a, b, _| (a as i32).min(b as i32) as u32);
    compare32("max.u32 %r0, %r1, %r2;", |a, b, _| a.max(b));
    compare16("max.s16 %rs0, %rs1, %rs2;", |a, b, _| (a as i16).max(b as i16) as u16);
    compare32("abs.s32 %r0, %r1;", |a, _, _| (a as i32).wrapping_abs() as u32);
    compare("neg.s64 %rd0, %rd1;", |a, _, _| a.wrapping_neg());
    compare32("sad.s32 %r0, %r1, %r2, %r3;", |a, b, c| (a as i32).abs_diff(b as i32).wrapping_add(c));
    compare32("div.s32 %r0, %r1, %r2;", |a, b, _| match b as i32 {
        0 => u32::MAX,
        b => (a as i32).wrapping_div(b) as u32,
    });
    compare("rem.u64 %rd0, %rd1, %rd2;", |a, b, _| a.checked_rem(b).unwrap_or(a));
    // 64-bit addition in two halves.
    compare(
        "mov.b64 {%r0, %r1}, %rd1; mov.b64 {%r2, %r3}, %rd2;
        add.cc.u32 %r0, %r0, %r2; addc.u32 %r1, %r1, %r3; mov.b64 %rd0, {%r0, %r1};",
        |a, b, _| a.wrapping_add(b),
    );
    compare(
        "mov.b64 {%r0, %r1}, %rd1; mov.b64 {%r2, %r3}, %rd2;
        sub.cc.u32 %r0, %r0, %r2; subc.u32 %r1, %r1, %r3; mov.b64 %rd0, {%r0, %r1};",
        |a, b, _| a.wrapping_sub(b),
    );
}

#[test]
fn logic_and_shifts() {
    compare32("and.b32 %r0, %r1, %r2;", |a, b, _| a & b);
    compare32("xor.b32 %r0, %r1, %r2;", |a, b, _| a ^ b);
    compare("or.b64 %rd0, %rd1, %rd2;", |a, b, _| a | b);
    compare16("not.b16 %rs0, %rs1;", |a, _, _| !a);
    compare32("cnot.b32 %r0, %r1;", |a, _, _| u32::from(a == 0));
    compare32("shl.b32 %r0, %r1, %r2;", |a, b, _| a.checked_shl(b).unwrap_or(0));
    compare32("shr.u32 %r0, %r1, %r2;", |a, b, _| a.checked_shr(b).unwrap_or(0));
    compare32("shr.s32 %r0, %r1, %r2;", |a, b, _| (a as i32 as i64 >> b.min(63)) as u32);
    compare("shr.s64 %rd0, %rd1, %r2;", |a, b, _| (a as i64 as i128 >> (b as u32).min(127)) as u64);
    compare16("shr.s16 %rs0, %rs1, 5;", |a, _, _| (a as i16 >> 5) as u16);
    compare16("shl.b16 %rs0, %rs1, 16;", |_, _, _| 0);
    compare32("popc.b32 %r0, %r1;", |a, _, _| a.count_ones());
    compare("popc.b64 %r0, %rd1; cvt.u64.u32 %rd0, %r0;", |a, _, _| a.count_ones().into());
    compare("clz.b64 %r0, %rd1; cvt.u64.u32 %rd0, %r0;", |a, _, _| a.leading_zeros().into());
    compare("brev.b64 %rd0, %rd1;", |a, _, _| a.reverse_bits());
    compare32("bfind.u32 %r0, %r1;", |a, _, _| a.checked_ilog2().unwrap_or(u32::MAX));
    compare32("bfind.shiftamt.u32 %r0, %r1;", |a, _, _| if a == 0 { u32::MAX } else { a.leading_zeros() });
    check32(
        "bfind.s32 %r0, %r1;",
        &[([u32::MAX, 0, 0], u32::MAX), ([-5i32 as u32, 0, 0], 2), ([4, 0, 0], 2)],
    );
    compare32("shf.l.wrap.b32 %r0, %r1, %r2, %r3;", |a, b, c| {
        (((u64::from(b) << 32 | u64::from(a)) << (c & 31)) >> 32) as u32
    });
    compare32("shf.r.clamp.b32 %r0, %r1, %r2, %r3;", |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
    });
    compare32("lop3.b32 %r0, %r1, %r2, %r3, 0xe8;", |a, b, c| (a & b) | (a & c) | (b & c));
    check32("bmsk.clamp.b32 %r0, %r1, %r2;", &[([4, 3, 0], 0x70), ([30, 8, 0], 3 << 30), ([0, 40, 0], !0)]);
    check32("bfe.s32 %r0, %r1, 4, 8;", &[([0xf70, 0, 0], 0xfffffff7), ([0x7f0, 0, 0], 0x7f)]);
    check32("bfi.b32 %r0, %r1, %r2, 8, 4;", &[([0xab, 0x12345678, 0], 0x12345b78)]);
    check32("prmt.b32 %r0, %r1, %r2, 0x3715;", &[([0x44332211, 0x88776655, 0], 0x44882266)]);
    compare32("add.u16x2 %r0, %r1, %r2;", |a, b, _| {
        u32::from((a as u16).wrapping_add(b as u16)) | (a >> 16).wrapping_add(b >> 16) << 16
    });
}

#[test]
fn dot_products() {
    let dot = |a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool| {
        let part = |x: u32, i: u32, signed: bool| {
            let byte = (x >> (8 * i)) as u8;
            if signed { i64::from(byte as i8) } else { i64::from(byte) }
        };
        (0..4).fold(i64::from(c), |sum, i| sum + part(a, i, a_signed) * part(b, i, b_signed)) as u32
    };
    compare32("dp4a.s32.s32 %r0, %r1, %r2, %r3;", |a, b, c| dot(a, b, c, true, true));
    compare32("dp4a.u32.u32 %r0, %r1, %r2, %r3;", |a, b, c| dot(a, b, c, false, false));
    compare32("dp4a.u32.s32 %r0, %r1, %r2, %r3;", |a, b, c| dot(a, b, c, false, true));
    compare32("dp4a.s32.u32 %r0, %r1, %r2, %r3;", |a, b, c| dot(a, b, c, true, false));
    // 3 * -1 + -2 * 127 + 10, and with the upper bytes 3 * 2 + -2 * 5 + 10.
    let (a, b) = (0xfffe_0003, 0x0502_7fff);
    check32("dp2a.lo.s32.s32 %r0, %r1, %r2, %r3;", &[([a, b, 10], -247i32 as u32)]);
    check32("dp2a.hi.s32.s32 %r0, %r1, %r2, %r3;", &[([a, b, 10], 6)]);
}

#[test]
fn comparisons_and_selections() {
    for (name, f) in
        [("eq", u32::eq as fn(&u32, &u32) -> bool), ("ne", u32::ne), ("lo", u32::lt), ("hs", u32::ge)]
    {
        let instruction = format!("setp.{name}.u32 %p1, %r1, %r2; selp.u32 %r0, %r3, 7, %p1;");
        compare32(&instruction, |a, b, c| if f(&a, &b) { c } else { 7 });
    }
    compare32("setp.lt.s32 %p1|%p2, %r1, %r2; selp.u32 %r0, 1, 0, %p2;", |a, b, _| {
        u32::from(a as i32 >= b as i32)
    });
    compare("setp.gt.s64 %p1, %rd1, %rd2; selp.b64 %rd0, 1, 0, %p1;", |a, b, _| {
        u64::from(a as i64 > b as i64)
    });
    compare32(
        "setp.gt.u32 %p1, %r2, %r3; setp.lt.or.s32 %p2, %r1, %r2, !%p1; selp.b32 %r0, 1, 0, %p2;",
        |a, b, c| u32::from((a as i32) < b as i32 || b <= c),
    );
    compare32("set.le.u32.u32 %r0, %r1, %r2;", |a, b, _| if a <= b { u32::MAX } else { 0 });
    compare32("slct.u32.s32 %r0, %r1, %r2, %r3;", |a, b, c| if c as i32 >= 0 { a } else { b });
    // NaN is unordered: only the comparisons that say so hold.
    let (one, nan) = (1f32.to_bits(), f32::NAN.to_bits());
    for (name, wanted) in [("lt", 0), ("ltu", 1), ("ne", 0), ("neu", 1), ("num", 0), ("nan", 1), ("eq", 0)] {
        check32(
            &format!("setp.{name}.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;"),
            &[([one, nan, 0], wanted)],
        );
    }
    let subnormal = 1;
    check32("setp.eq.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", &[([subnormal, 0, 0], 0)]);
    check32("setp.eq.ftz.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", &[([subnormal, 0, 0], 1)]);
}

/// Rounds an exact value to f32 in a direction: the nearest one, moved if it lies on the wrong side.
fn directed(exact: f64, mode: &str) -> f32 {
    let nearest = exact as f32;
    let wide = f64::from(nearest);
    match mode {
        "rm" if wide > exact => nearest.next_down(),
        "rp" if wide < exact => nearest.next_up(),
        "rz" if wide.abs() > exact.abs() => {
            if exact > 0.0 {
                nearest.next_down()
            } else {
                nearest.next_up()
            }
        }
        _ => nearest,
    }
}

/// f32s whose sums and products are exact in f64: 20 bits and a narrow range.
fn short_floats(seed: u64) -> Vec<[u32; 3]> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut float = || {
        let mantissa = rng.random_range(-(1 << 20)..1 << 20) as f32;
        (mantissa * 2f32.powi(rng.random_range(-6..6))).to_bits()
    };
    (0..3000).map(|_| [float(), float(), float()]).collect()
}

#[test]
fn single_precision_rounds_in_every_direction() {
    for mode in ["rn", "rz", "rm", "rp"] {
        let inputs = short_floats(9);
        for (name, operands, f) in [
            ("add", "%r1, %r2", (|a, b, _| a + b) as fn(f64, f64, f64) -> f64),
            ("sub", "%r1, %r2", |a, b, _| a - b),
            ("mul", "%r1, %r2", |a, b, _| a * b),
            ("fma", "%r1, %r2, %r3", |a, b, c| a * b + c),
        ] {
            let found = apply32(&format!("{name}.{mode}.f32 %r0, {operands};"), &inputs);
            for (found, inputs) in found.into_iter().zip(&inputs) {
                let [a, b, c] = inputs.map(|bits| f64::from(f32::from_bits(bits)));
                let wanted = directed(f(a, b, c), mode);
                assert_eq!(f32::from_bits(found), wanted, "{name}.{mode} of {a:e} {b:e} {c:e}");
            }
        }
    }
    // Beyond what f64 holds: 1 + 2^-149 is just above 1.
    let (one, least) = (1f32.to_bits(), 1);
    check32("add.rp.f32 %r0, %r1, %r2;", &[([one, least, 0], one + 1)]);
    check32("add.rm.f32 %r0, %r1, %r2;", &[([one, least | 1 << 31, 0], one - 1)]);
    // A product far below everything, and one far above.
    let (tiny, huge) = (f32::MIN_POSITIVE.to_bits(), f32::MAX.to_bits());
    check32("mul.rp.f32 %r0, %r1, %r2;", &[([tiny, tiny, 0], 1), ([huge, huge, 0], 0x7f80_0000)]);
    check32("mul.rz.f32 %r0, %r1, %r2;", &[([tiny, tiny, 0], 0), ([huge, huge, 0], huge)]);
    // 1/3 in each direction, from its known expansion 0x3eaaaaab.
    let three = 3f32.to_bits();
    check32("div.rn.f32 %r0, %r1, %r2;", &[([one, three, 0], 0x3eaa_aaab)]);
    check32("div.rm.f32 %r0, %r1, %r2;", &[([one, three, 0], 0x3eaa_aaaa)]);
    check32("rcp.rz.f32 %r0, %r1;", &[([three | 1 << 31, 0, 0], 0xbeaa_aaaa)]);
    check32("rcp.rm.f32 %r0, %r1;", &[([three | 1 << 31, 0, 0], 0xbeaa_aaab)]);
    // sqrt 2 = 1.41421356237..., between 0x3fb504f3 and 0x3fb504f4.
    let two = 2f32.to_bits();
    check32("sqrt.rm.f32 %r0, %r1;", &[([two, 0, 0], 0x3fb5_04f3)]);
    check32("sqrt.rp.f32 %r0, %r1;", &[([two, 0, 0], 0x3fb5_04f4)]);
}

#[test]
fn single_precision_specials() {
    let nan = f32::NAN.to_bits();
    let (minus_zero, inf) = (1 << 31, f32::INFINITY.to_bits());
    let subnormal = 0x0040_0000;
    let one = 1f32.to_bits();
    // Every NaN that arithmetic makes is this one.
    check32(
        "add.f32 %r0, %r1, %r2;",
        &[([inf, inf | 1 << 31, 0], 0x7fff_ffff), ([nan, one, 0], 0x7fff_ffff)],
    );
    check32(
        "min.f32 %r0, %r1, %r2;",
        &[([nan, one, 0], one), ([minus_zero, 0, 0], minus_zero), ([nan, nan, 0], 0x7fff_ffff)],
    );
    check32("max.f32 %r0, %r1, %r2;", &[([one, nan, 0], one), ([minus_zero, 0, 0], 0)]);
    check32("max.NaN.f32 %r0, %r1, %r2;", &[([one, nan, 0], 0x7fff_ffff)]);
    check32("neg.f32 %r0, %r1;", &[([0, 0, 0], minus_zero)]);
    check32("abs.f32 %r0, %r1;", &[([one | 1 << 31, 0, 0], one)]);
    check32("copysign.f32 %r0, %r1, %r2;", &[([minus_zero, one, 0], one | 1 << 31)]);
    // Subnormals stay, or become zero of their sign.
    check32("add.f32 %r0, %r1, %r2;", &[([subnormal, 0, 0], subnormal)]);
    check32("add.ftz.f32 %r0, %r1, %r2;", &[([subnormal, 0, 0], 0)]);
    check32("mul.ftz.f32 %r0, %r1, %r2;", &[([subnormal | 1 << 31, one, 0], minus_zero)]);
    check32("fma.rn.ftz.f32 %r0, %r1, %r2, %r3;", &[([0x0080_0000, 0.5f32.to_bits(), 0], 0)]);
    check32(
        "add.sat.f32 %r0, %r1, %r2;",
        &[([one, one, 0], one), ([nan, one, 0], 0), ([one | 1 << 31, 0, 0], 0)],
    );
    check32("ex2.approx.f32 %r0, %r1;", &[([3f32.to_bits(), 0, 0], 8f32.to_bits())]);
    check32("lg2.approx.f32 %r0, %r1;", &[([8f32.to_bits(), 0, 0], 3f32.to_bits())]);
    check32("rsqrt.approx.f32 %r0, %r1;", &[([4f32.to_bits(), 0, 0], 0.5f32.to_bits())]);
    check32(
        "testp.subnormal.f32 %p1, %r1; selp.b32 %r0, 1, 0, %p1;",
        &[([subnormal, 0, 0], 1), ([one, 0, 0], 0)],
    );
}

#[test]
fn double_precision() {
    let inputs = words(64);
    for (instruction, f) in [
        ("add.f64 %rd0, %rd1, %rd2;", (|a, b, _| a + b) as fn(f64, f64, f64) -> f64),
        ("div.rn.f64 %rd0, %rd1, %rd2;", |a, b, _| a / b),
        ("fma.rn.f64 %rd0, %rd1, %rd2, %rd3;", f64::mul_add),
    ] {
        for (found, words) in apply(instruction, &inputs).into_iter().zip(&inputs) {
            let [a, b, c] = words.map(f64::from_bits);
            let (found, wanted) = (f64::from_bits(found), f(a, b, c));
            let equal = found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan();
            assert!(equal, "{instruction} of {words:x?}: {found:e}, expected {wanted:e}");
        }
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn half_precision_converts_like_the_half_crate() {
    let all: Vec<[u32; 3]> = (0..=0xffff).map(|bits| [bits, 0, 0]).collect();
    for (found, [bits, ..]) in apply32("cvt.f32.f16 %r0, %rs1;", &all).into_iter().zip(&all) {
        let wanted = f16::from_bits(*bits as u16).to_f32();
        assert!(same(f32::from_bits(found), wanted), "{bits:#x}: {found:#x}");
    }
    for (found, [bits, ..]) in apply32("cvt.f32.bf16 %r0, %rs1;", &all).into_iter().zip(&all) {
        let wanted = bf16::from_bits(*bits as u16).to_f32();
        assert!(same(f32::from_bits(found), wanted), "{bits:#x}: {found:#x}");
    }
}

/// Every value of both 16-bit formats, the points halfway between, their neighbours, and random f32s.
fn around_halves() -> Vec<[u32; 3]> {
    let mut inputs = Vec::new();
    for bits in 0..=0xffffu16 {
        for exact in [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()] {
            let bits = exact.to_bits();
            inputs.extend([bits, bits.wrapping_add(1), bits.wrapping_sub(1), bits | 0x1000, bits | 0x8000]);
            inputs.extend([bits | 0x1001, bits | 0xfff, bits | 0x8001, bits | 0x7fff]);
        }
    }
    let mut rng = StdRng::seed_from_u64(3);
    inputs.extend((0..200_000).map(|_| rng.next_u32()));
    inputs.into_iter().map(|bits| [bits, 0, 0]).collect()
}

#[test]
fn single_precision_narrows_like_the_half_crate() {
    let inputs = around_halves();
    let halves = apply32("cvt.rn.f16.f32 %rs0, %r1; cvt.u32.u16 %r0, %rs0;", &inputs);
    let brains = apply32("cvt.rn.bf16.f32 %rs0, %r1; cvt.u32.u16 %r0, %rs0;", &inputs);
    let cut = apply32("cvt.rz.bf16.f32 %rs0, %r1; cvt.u32.u16 %r0, %rs0;", &inputs);
    for (i, [bits, ..]) in inputs.iter().enumerate() {
        let x = f32::from_bits(*bits);
        if x.is_nan() {
            assert_eq!((halves[i], brains[i], cut[i]), (0x7fff, 0x7fff, 0x7fff), "{bits:#x}");
            continue;
        }
        assert_eq!(halves[i], f16::from_f32(x).to_bits().into(), "f16 of {bits:#x}");
        assert_eq!(brains[i], bf16::from_f32(x).to_bits().into(), "bf16 of {bits:#x}");
        assert_eq!(cut[i], bits >> 16, "bf16 of {bits:#x} towards zero");
    }
}

#[test]
fn half_precision_arithmetic_rounds_once() {
    // Products of f16s have 22 bits: exact in f32, so `half` rounds each of them once.
    let mut rng = StdRng::seed_from_u64(8);
    let inputs: Vec<[u32; 3]> =
        (0..50_000).map(|_| [0; 3].map(|_: u32| u32::from(rng.next_u32() as u16))).collect();
    let product = apply32("mul.rn.f16 %rs0, %rs1, %rs2; cvt.u32.u16 %r0, %rs0;", &inputs);
    let sum = apply32("add.rn.bf16x2 %r0, %r1, %r2;", &inputs);
    for (i, [a, b, _]) in inputs.iter().enumerate() {
        let (x, y) = (f16::from_bits(*a as u16).to_f32(), f16::from_bits(*b as u16).to_f32());
        let wanted = f16::from_f32(x * y);
        let found = f16::from_bits(product[i] as u16);
        assert!(
            found == wanted || found.is_nan() && wanted.is_nan(),
            "{x} * {y}: {found}, expected {wanted}"
        );
        let (x, y) = (bf16::from_bits(*a as u16).to_f64(), bf16::from_bits(*b as u16).to_f64());
        // Sums of bf16s of like size are exact in f64; `half` rounds those once, too.
        if (x.abs().log2() - y.abs().log2()).abs() < 40.0 {
            let wanted = bf16::from_f64(x + y);
            let found = bf16::from_bits(sum[i] as u16);
            assert!(
                found == wanted || found.is_nan() && wanted.is_nan(),
                "{x} + {y}: {found}, expected {wanted}"
            );
        }
    }
    let half = |x: f32| u32::from(f16::from_f32(x).to_bits());
    // 2049 * 1 + 2^-24: one rounding goes up to 2050, two would stay at 2048.
    let inputs = [half(2048.0), half(1.0), half(1.0 + 2f32.powi(-10))];
    check32("fma.rn.f16 %rs0, %rs1, %rs2, %rs3; cvt.u32.u16 %r0, %rs0;", &[(inputs, half(2050.0))]);
    check32(
        "fma.rn.relu.f16 %rs0, %rs1, %rs2, %rs3; cvt.u32.u16 %r0, %rs0;",
        &[([half(-1.0), half(1.0), half(0.5)], 0)],
    );
}

#[test]
fn conversions_between_integers_and_floats() {
    compare("cvt.s64.s8 %rd0, %r1;", |a, _, _| a as i8 as u64);
    compare("cvt.u64.u32 %rd0, %r1;", |a, _, _| a & 0xffff_ffff);
    compare32("cvt.s32.s16 %r0, %rs1;", |a, _, _| a as i16 as u32);
    compare32("cvt.sat.u8.s32 %r0, %r1;", |a, _, _| (a as i32).clamp(0, 255) as u32);
    compare32("cvt.sat.s16.s32 %rs0, %r1; cvt.u32.u16 %r0, %rs0;", |a, _, _| {
        u32::from((a as i32).clamp(-32768, 32767) as u16)
    });
    compare32("cvt.rn.f32.s32 %r0, %r1;", |a, _, _| (a as i32 as f32).to_bits());
    compare("cvt.rn.f32.u64 %r0, %rd1; cvt.u64.u32 %rd0, %r0;", |a, _, _| (a as f32).to_bits().into());
    compare("cvt.rn.f64.s64 %rd0, %rd1;", |a, _, _| (a as i64 as f64).to_bits());
    let float = f32::to_bits;
    let narrow = [
        ([float(2.5), 0, 0], 2),
        ([float(-3.5), 0, 0], -4i32 as u32),
        ([float(1e20), 0, 0], i32::MAX as u32),
    ];
    check32("cvt.rni.s32.f32 %r0, %r1;", &narrow);
    check32(
        "cvt.rzi.s32.f32 %r0, %r1;",
        &[([float(-2.9), 0, 0], -2i32 as u32), ([float(f32::NAN), 0, 0], 0)],
    );
    check32("cvt.rmi.s32.f32 %r0, %r1;", &[([float(-2.1), 0, 0], -3i32 as u32)]);
    check32(
        "cvt.rpi.u32.f32 %r0, %r1;",
        &[([float(2.1), 0, 0], 3), ([float(-7.0), 0, 0], 0), ([float(5e9), 0, 0], u32::MAX)],
    );
    check32(
        "cvt.rni.f32.f32 %r0, %r1;",
        &[([float(2.5), 0, 0], float(2.0)), ([float(-0.4), 0, 0], float(-0.0))],
    );
    check32("cvt.rpi.f32.f32 %r0, %r1;", &[([float(2.1), 0, 0], float(3.0))]);
    check32("cvt.sat.f32.f32 %r0, %r1;", &[([float(1.5), 0, 0], float(1.0)), ([float(f32::NAN), 0, 0], 0)]);
    // 2^24 + 1 needs 25 bits.
    let odd = (1 << 24) + 1;
    check32("cvt.rz.f32.u32 %r0, %r1;", &[([odd, 0, 0], float(16_777_216.0))]);
    check32("cvt.rp.f32.u32 %r0, %r1;", &[([odd, 0, 0], float(16_777_218.0))]);
    // A 64-bit integer one above a tie between two f32s.
    let above_tie = [[(1 << 60) + (1 << 36) + 1, 0, 0]];
    assert_eq!(apply("cvt.rn.f32.u64 %r0, %rd1; cvt.u64.u32 %rd0, %r0;", &above_tie), [0x5d80_0001]);
    assert_eq!(apply("cvt.rzi.s64.f32 %rd0, %r1;", &[[float(f32::NAN).into(), 0, 0]]), [1 << 63]);
    // The first source becomes the upper half.
    check32("cvt.rn.f16x2.f32 %r0, %r1, %r2;", &[([float(1.0), float(-2.0), 0], 0x3c00_c000)]);
    check32("cvt.rn.bf16x2.f32 %r0, %r1, %r2;", &[([float(1.0), float(-2.0), 0], 0x3f80_c000)]);
    check32("cvt.rn.relu.f16x2.f32 %r0, %r1, %r2;", &[([float(1.0), float(-2.0), 0], 0x3c00_0000)]);
    // e4m3: 448 is the largest value, 2^-9 the smallest; e5m2: 57344 and 2^-16.
    let eight = |a: f32, b: f32, wanted| ([float(a), float(b), 0], wanted);
    check32(
        "cvt.rn.satfinite.e4m3x2.f32 %rs0, %r1, %r2; cvt.u32.u16 %r0, %rs0;",
        &[eight(448.0, 1.0, 0x7e38), eight(1e9, -2f32.powi(-9), 0x7e81), eight(f32::NAN, 0.0, 0x7f00)],
    );
    check32(
        "cvt.rn.satfinite.e5m2x2.f32 %rs0, %r1, %r2; cvt.u32.u16 %r0, %rs0;",
        &[eight(57344.0, 1.0, 0x7b3c), eight(1e9, 2f32.powi(-16), 0x7b01)],
    );
    check32("cvt.rn.f16x2.e4m3x2 %r0, %rs1;", &[([0x7e38, 0, 0], 0x5f00_3c00)]);
    // tf32 keeps 10 bits of the mantissa; ties go away from zero.
    check32(
        "cvt.rna.tf32.f32 %r0, %r1;",
        &[([0x3f80_1000, 0, 0], 0x3f80_2000), ([0x3f80_0fff, 0, 0], 0x3f80_0000)],
    );
    check32("cvt.pack.sat.s8.s32.b32 %r0, %r1, %r2, %r3;", &[([200, -200i32 as u32, 0x1234], 0x1234_7f80)]);
}

#[test]
fn moves_take_registers_apart_and_together() {
    compare("mov.b64 {%r1, %r2}, %rd1; mov.b64 %rd0, {%r2, %r1};", |a, _, _| a.rotate_left(32));
    compare32("mov.b32 {%rs1, %rs2}, %r1; mov.b32 %r0, {%rs2, %rs1};", |a, _, _| a.rotate_left(16));
    // A scope has registers of its own.
    compare32("mov.b32 %r0, %r1; { .reg .b32 %r0; mov.b32 %r0, 5; }", |a, _, _| a);
    compare32("mov.b32 %r0, 0f3F800000;", |_, _, _| 0x3f80_0000);
    compare32("mov.b32 %r0, -2;", |_, _, _| -2i32 as u32);
    compare("mov.b64 %rd0, 0d3FF0000000000000;", |_, _, _| 1f64.to_bits());
}

/// Half-precision numbers in f32 arithmetic: as if they had been widened first.
#[test]
fn narrow_inputs_of_single_precision() {
    type Operation = fn(f32, f32, f32) -> f32;
    let operations: [(&str, &str, bool, Operation); 6] = [
        ("add.rn.f32.f16", "%rs1, %r2", false, |a, b, _| a + b),
        ("add.f32.bf16", "%rs1, %r2", true, |a, b, _| a + b),
        ("sub.rn.f32.f16", "%rs1, %r2", false, |a, b, _| a - b),
        ("sub.f32.bf16", "%rs1, %r2", true, |a, b, _| a - b),
        ("fma.rn.f32.f16", "%rs1, %rs2, %r3", false, f32::mul_add),
        ("fma.rn.f32.bf16", "%rs1, %rs2, %r3", true, f32::mul_add),
    ];
    let inputs: Vec<[u32; 3]> = words(17).iter().map(|words| words.map(|word| word as u32)).collect();
    for (name, operands, bfloat, operation) in operations {
        let widen = |word: u32| match bfloat {
            true => bf16::from_bits(word as u16).to_f32(),
            false => f16::from_bits(word as u16).to_f32(),
        };
        let found = apply32(&format!("{name} %r0, {operands};"), &inputs);
        for (found, [a, b, c]) in found.into_iter().zip(&inputs) {
            let b = if operands.contains("%rs2") { widen(*b) } else { f32::from_bits(*b) };
            let wanted = operation(widen(*a), b, f32::from_bits(*c));
            let same = found == wanted.to_bits() || f32::from_bits(found).is_nan() && wanted.is_nan();
            assert!(same, "{name} of {a:x} {b:e} {c:x}: {found:x}, expected {wanted:e}");
        }
    }
}

/// Blackwell's arithmetic on two numbers at once: as if they came one after the other.
#[test]
fn pairs_of_single_precision() {
    type Operation = fn(f32, f32, f32) -> f32;
    let operations: [(&str, &str, Operation); 4] = [
        ("add.rn.f32x2", "%rd1, %rd2", |a, b, _| a + b),
        ("sub.rn.f32x2", "%rd1, %rd2", |a, b, _| a - b),
        ("mul.rn.f32x2", "%rd1, %rd2", |a, b, _| a * b),
        ("fma.rn.f32x2", "%rd1, %rd2, %rd3", f32::mul_add),
    ];
    for (name, operands, operation) in operations {
        let inputs = words(18);
        for (found, words) in apply(&format!("{name} %rd0, {operands};"), &inputs).into_iter().zip(inputs) {
            for shift in [0, 32] {
                let [a, b, c] = words.map(|word| f32::from_bits((word >> shift) as u32));
                let (found, wanted) = (f32::from_bits((found >> shift) as u32), operation(a, b, c));
                let same = found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan();
                assert!(same, "{name} of {a:e} {b:e} {c:e}: {found:e}, expected {wanted:e}");
            }
        }
    }
}

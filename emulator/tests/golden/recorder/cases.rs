//! The list of cases, as opcodes and operands. `{a,b}` in an opcode stands for either.

use super::Kernel;

/// A kernel, the name of its inputs, and how exactly its results are determined.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) kernel: Kernel,
    pub(crate) inputs: &'static str,
    /// None: every bit is.
    pub(crate) tolerance: Option<Tolerance>,
}

/// By how much results in f32 may differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tolerance {
    pub(crate) relative: f64,
    pub(crate) absolute: f64,
}

type Capability = (u32, u32);

const TURING: Capability = (7, 5);
const AMPERE: Capability = (8, 0);
const ADA: Capability = (8, 9);
const HOPPER: Capability = (9, 0);

/// Every case, in the order of the file.
pub(crate) fn cases() -> Vec<Case> {
    let mut list = List(Vec::new());
    list.integers();
    list.fields();
    list.comparisons();
    list.singles();
    list.halves();
    list.narrowing();
    list.converted_integers();
    list.approximations();
    list.warps();
    list.moved_matrices();
    list.integer_products();
    list.float_products();
    list.0
}

struct List(Vec<Case>);

impl List {
    fn integers(&mut self) {
        let binary = "{add,sub}{,.sat}.s32 mul{,24}.lo.{s32,u32} mul.hi.{s32,u32} {div,rem}.{s32,u32}
            {min,max}.{s32,u32} {and,or,xor}.b32 shl.b32 shr.{s32,u32}";
        self.each(TURING, "words", "%o0, %r1, %r2", binary);
        self.each(TURING, "words", "%o0, %r1, %r2, %r3", "mad{,24}.lo.s32 mad.hi{,.sat}.s32 mad.hi.u32");
        self.each(TURING, "words", "%o0, %r1, %r2, %r3", "sad.{s32,u32} dp4a.{s32,u32}.{s32,u32}");
        self.each(TURING, "words", "%o0, %r1, %r2, %r3", "dp2a.{lo,hi}.{s32,u32}.{s32,u32}");
        let unary = "{neg,abs}.s32 {cnot,not,popc,clz,brev}.b32 bfind{,.shiftamt}.{s32,u32}";
        self.each(TURING, "words", "%o0, %r1", unary);
        let short = "{add,sub}.s16 {min,max}.{s16,u16} mul.{lo,hi}.{s16,u16} {div,rem}.{s16,u16}";
        self.each(TURING, "words", "%rs0, %rs1, %rs2", short);
        self.each(TURING, "words", "%rs0, %rs1, %r2", "shl.b16 shr.{s16,u16}");
        self.each(TURING, "words", "%o0, %rs1, %rs2", "mul.wide.{s16,u16}");
        self.each(TURING, "words", "%rd0, %r1, %r2", "mul.wide.{s32,u32}");
        self.each(HOPPER, "words", "%o0, %r1, %r2", "add.{s16x2,u16x2} {min,max}.{s16x2,u16x2}");
        let long = "{add,sub}.s64 mul.lo.s64 mul.hi.{s64,u64} {div,rem,min,max}.{s64,u64}";
        self.each(TURING, "long words", "%rd0, %rd1, %rd2", long);
        self.each(TURING, "long words", "%rd0, %rd1, %r3", "shl.b64 shr.{s64,u64}");
        self.each(TURING, "long words", "%rd0, %r1, %r2, %rd2", "mad.wide.{s32,u32}");
        self.each(TURING, "long words", "%rd0, %rd1, %rd2, %rd3", "mad.lo.s64");
        self.each(TURING, "long words", "%rd0, %rd1", "{neg,abs}.s64 brev.b64");
        self.each(TURING, "long words", "%o0, %rd1", "{popc,clz}.b64 bfind.{s64,u64}");
        for sign in ["add", "sub"] {
            let code = format!("{sign}.cc.u32 %o0, %r1, %r3; {sign}c.u32 %o1, %r2, %r4;");
            self.code(TURING, "long words", 2, code);
        }
    }

    /// What takes words apart: positions and lengths are in the later words of a row.
    fn fields(&mut self) {
        self.each(TURING, "fields", "%o0, %r1, %r2, %r3", "shf.{l,r}.{wrap,clamp}.b32");
        self.each(TURING, "fields", "%o0, %r1, %r2, %r3", "prmt.b32{,.f4e,.b4e,.rc8,.ecl,.ecr,.rc16}");
        // Selectors with sign replication, which small numbers lack.
        self.each(TURING, "words", "%o0, %r1, %r2, %r3", "prmt.b32");
        self.each(TURING, "fields", "%o0, %r1, %r3, %r4", "bfe.{s32,u32}");
        self.each(TURING, "fields", "%rd0, %rd1, %r3, %r4", "bfe.{s64,u64}");
        self.each(TURING, "fields", "%o0, %r1, %r2, %r3, %r4", "bfi.b32");
        self.each(TURING, "fields", "%rd0, %rd1, %rd2, %r3, %r4", "bfi.b64");
        self.each(TURING, "fields", "%o0, %r3, %r4", "bmsk.{clamp,wrap}.b32");
        for table in ["0x96", "0xe8", "0xca", "0x6a", "0x1d", "0x40"] {
            self.each(TURING, "words", &format!("%o0, %r1, %r2, %r3, {table}"), "lop3.b32");
        }
    }

    fn comparisons(&mut self) {
        self.each(TURING, "words", "%p1, %r1, %r2", "setp.{eq,ne,lt,le,gt,ge}.s32 setp.{lo,ls,hi,hs}.u32");
        self.each(TURING, "long words", "%p1, %rd1, %rd2", "setp.{lt,ge}.{s64,u64}");
        let relations = "{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}";
        self.each(TURING, "singles", "%p1, %r1, %r2", &format!("setp.{relations}{{,.ftz}}.f32"));
        self.each(TURING, "halves", "%p1, %rs1, %rs2", &format!("setp.{relations}.f16"));
        self.each(TURING, "words", "%o0, %r1, %r2", "set.lt.u32.s32 set.hs.f32.u32");
        self.each(TURING, "singles", "%o0, %r1, %r2", "set.{lt,geu}.{u32,f32}.f32");
        self.each(TURING, "words", "%o0, %r1, %r2, %r3", "slct.b32.s32");
        self.each(TURING, "singles", "%o0, %r1, %r2, %r3", "slct{,.ftz}.b32.f32");
        let classes = "testp.{finite,infinite,number,notanumber,normal,subnormal}.f32";
        self.each(TURING, "singles", "%p1, %r1", classes);
    }

    fn singles(&mut self) {
        let binary = "{add,sub,mul,div}.{rn,rz,rm,rp}{,.ftz}.f32 {add,sub,mul}.rn{,.ftz}.sat.f32
            {min,max}{,.ftz}.f32 copysign.f32";
        self.each(TURING, "singles", "%o0, %r1, %r2", binary);
        self.each(AMPERE, "singles", "%o0, %r1, %r2", "{min,max}{,.ftz}.NaN.f32");
        let fused = "fma.{rn,rz,rm,rp}{,.ftz}.f32 fma.rn{,.ftz}.sat.f32";
        self.each(TURING, "singles", "%o0, %r1, %r2, %r3", fused);
        let unary = "{rcp,sqrt}.{rn,rz,rm,rp}{,.ftz}.f32 {neg,abs}{,.ftz}.f32";
        self.each(TURING, "singles", "%o0, %r1", unary);
    }

    fn halves(&mut self) {
        let one = "%rs0, %rs1";
        let pair = "%o0, %r1";
        let binary = "{add,sub,mul}.rn{,.ftz}{,.sat}";
        let fused = "fma.rn{,.ftz}{,.sat}";
        for (ty, first) in [("f16", one), ("f16x2", pair)] {
            let (second, third) = operands(first);
            self.each(TURING, "halves", &second, &format!("{binary}.{ty}"));
            self.each(TURING, "halves", &third, &format!("{fused}.{ty}"));
            self.each(TURING, "halves", first, &format!("{{neg,abs}}.{ty}"));
            self.each(AMPERE, "halves", &third, &format!("fma.rn{{,.ftz}}.relu.{ty}"));
            self.each(AMPERE, "halves", &second, &format!("{{min,max}}{{,.ftz}}{{,.NaN}}.{ty}"));
        }
        for (ty, first) in [("bf16", one), ("bf16x2", pair)] {
            let (second, third) = operands(first);
            self.each(AMPERE, "brains", &third, &format!("fma.rn{{,.relu}}.{ty}"));
            self.each(AMPERE, "brains", &second, &format!("{{min,max}}{{,.NaN}}.{ty}"));
            self.each(AMPERE, "brains", first, &format!("{{neg,abs}}.{ty}"));
            self.each(HOPPER, "brains", &second, &format!("{{add,sub,mul}}.rn.{ty}"));
        }
    }

    /// Floats to other floats and to integers.
    fn narrowing(&mut self) {
        let ties = "to be rounded";
        self.each(TURING, ties, "%rs0, %r1", "cvt.{rn,rz,rm,rp}{,.sat}.f16.f32 cvt.{rni,rzi}.{s16,u16}.f32");
        self.each(AMPERE, ties, "%rs0, %r1", "cvt.{rn,rz}{,.relu}.bf16.f32 cvt.{rn,rz}.relu.f16.f32");
        self.each(AMPERE, ties, "%o0, %r1, %r2", "cvt.{rn,rz}{,.relu}.{f16x2,bf16x2}.f32");
        self.each(AMPERE, ties, "%o0, %r1", "cvt.rna.tf32.f32");
        self.each(HOPPER, ties, "%o0, %r1", "cvt.{rn,rz}{,.relu}.tf32.f32");
        let eight = "cvt.rn.satfinite{,.relu}.{e4m3x2,e5m2x2}";
        self.each(ADA, ties, "%rs0, %r1, %r2", &format!("{eight}.f32"));
        self.each(ADA, "halves", "%rs0, %r1", &format!("{eight}.f16x2"));
        self.each(ADA, "halves", "%o0, %rs1", "cvt.rn{,.relu}.f16x2.{e4m3x2,e5m2x2}");
        let whole = "{rni,rzi,rmi,rpi}";
        let integers = format!("cvt.{whole}{{,.ftz}}.{{s32,u32,f32}}.f32 cvt.rni.{{s8,u8}}.f32");
        self.each(TURING, ties, "%o0, %r1", &integers);
        self.each(TURING, ties, "%rd0, %r1", "cvt.{rni,rzi}.{s64,u64}.f32 cvt.f64.f32");
        self.each(TURING, ties, "%o0, %r1", "cvt.sat.f32.f32");
        self.each(
            TURING,
            "halves",
            "%o0, %rs1",
            &format!("cvt{{,.sat}}.f32.f16 cvt.{whole}.{{s32,u32}}.f16"),
        );
        self.each(TURING, "halves", "%rs0, %rs1", &format!("cvt.{whole}.f16.f16"));
        self.each(HOPPER, "brains", "%o0, %rs1", "cvt.f32.bf16");
        self.each(TURING, "doubles", "%o0, %rd1", "cvt.{rn,rz,rm,rp}.f32.f64 cvt.rzi.{s32,u32}.f64");
    }

    /// Integers to floats and to other integers.
    fn converted_integers(&mut self) {
        let modes = "{rn,rz,rm,rp}";
        self.each(TURING, "words", "%o0, %r1", &format!("cvt.{modes}.f32.{{s32,u32}} cvt.rn.f32.{{s8,u8}}"));
        self.each(TURING, "words", "%o0, %rs1", "cvt.rn.f32.{s16,u16} cvt.s32.s16 cvt.u32.u16");
        self.each(TURING, "words", "%rs0, %r1", &format!("cvt.{modes}.f16.{{s32,u32}}"));
        self.each(TURING, "long words", "%o0, %rd1", &format!("cvt.{modes}.f32.{{s64,u64}}"));
        self.each(TURING, "words", "%o0, %r1", "cvt.s32.s8 cvt.u32.u8 cvt.sat.{s8,u8}.{s32,u32}");
        self.each(TURING, "words", "%rs0, %r1", "cvt.u16.u32 cvt.sat.{s16,u16}.{s32,u32}");
        self.each(TURING, "words", "%rd0, %r1", "cvt.s64.s32 cvt.u64.u32 cvt.rn.f64.s32");
        self.each(TURING, "long words", "%o0, %rd1", "cvt.u32.u64 cvt.sat.{s32,u32}.{s64,u64}");
        self.each(TURING, "words", "%o0, %r1, %r2, %r3", "cvt.pack.sat.{s8,u8}.s32.b32");
        self.each(TURING, "words", "%o0, %r1, %r2", "cvt.pack.sat.{s16,u16}.s32");
    }

    /// The bounds are those of the ISA document, rounded up to a power of two.
    fn approximations(&mut self) {
        let relative = |bits: i32| Tolerance { relative: 2f64.powi(-bits), absolute: 0.0 };
        let absolute = |bits: i32| Tolerance { relative: 0.0, absolute: 2f64.powi(-bits) };
        self.near(absolute(20), "angles", "%o0, %r1", "{sin,cos}.approx{,.ftz}.f32");
        self.near(relative(22), "angles", "%o0, %r1", "ex2.approx{,.ftz}.f32");
        self.near(relative(10), "angles", "%o0, %r1", "tanh.approx.f32");
        let logarithm = Tolerance { relative: 2f64.powi(-22), absolute: 2f64.powi(-22) };
        self.near(logarithm, "positive", "%o0, %r1", "lg2.approx{,.ftz}.f32");
        self.near(relative(22), "positive", "%o0, %r1", "{sqrt,rsqrt}.approx{,.ftz}.f32");
        self.near(relative(22), "numbers", "%o0, %r1", "rcp.approx{,.ftz}.f32");
        self.near(relative(22), "numbers", "%o0, %r1, %r2", "div.{approx,full}{,.ftz}.f32");
    }

    fn warps(&mut self) {
        // Clamp to the warp, or to segments of eight lanes.
        for (mode, clamps) in [
            ("up", ["0", "0x1800"]),
            ("down", ["0x1f", "0x181f"]),
            ("bfly", ["0x1f", "0x181f"]),
            ("idx", ["0x1f", "0x181f"]),
        ] {
            for clamp in clamps {
                for by in ["1", "5", "%r3"] {
                    let shuffle = format!("shfl.sync.{mode}.b32 %o0|%p1, %r1, {by}, {clamp}, -1;");
                    self.code(TURING, "fields", 2, format!("{shuffle} selp.u32 %o1, 1, 0, %p1;"));
                }
            }
        }
        let negative = "setp.lt.s32 %p1, %r1, 0;";
        self.code(TURING, "lanes", 1, format!("{negative} vote.sync.ballot.b32 %o0, %p1, -1;"));
        for mode in ["all", "any", "uni"] {
            let vote = format!("vote.sync.{mode}.pred %p2, %p1, -1; selp.u32 %o0, 1, 0, %p2;");
            self.code(TURING, "lanes", 1, format!("{negative} {vote}"));
        }
        self.each(TURING, "lanes", "%o0, %r1, -1", "match.any.sync.b32");
        let all = "match.all.sync.b32 %o0|%p1, %r1, -1; selp.u32 %o1, 1, 0, %p1;";
        self.code(TURING, "lanes", 2, all.to_string());
        let reductions = "redux.sync.{add,min,max}.{s32,u32} redux.sync.{and,or,xor}.b32";
        self.each(AMPERE, "lanes", "%o0, %r1, -1", reductions);
        // Only the lower half of the warp takes part.
        for (since, instruction) in [
            (TURING, "shfl.sync.bfly.b32 %o0, %r1, 5, 0x1f, 0xffff;"),
            (TURING, "match.any.sync.b32 %o0, %r1, 0xffff;"),
            (AMPERE, "redux.sync.add.s32 %o0, %r1, 0xffff;"),
            (TURING, "activemask.b32 %o0;"),
        ] {
            let code = format!("mov.b32 %o0, 0; setp.lt.u32 %p1, %lane, 16; @%p1 {instruction}");
            self.code(since, "lanes", 1, code);
        }
    }

    fn moved_matrices(&mut self) {
        // Each lane has 16 bytes of shared memory.
        let place = "mov.u32 %r5, tile; mad.lo.u32 %r6, %lane, 16, %r5;";
        let fill = "st.shared.v4.b32 [%r6], {%r1, %r2, %r3, %r4}; bar.warp.sync -1;";
        let all = "{%o0, %o1, %o2, %o3}";
        for (count, registers, results) in [("x1", "{%o0}", 1), ("x2", "{%o0, %o1}", 2), ("x4", all, 4)] {
            for transposed in ["", ".trans"] {
                let load =
                    format!("ldmatrix.sync.aligned.m8n8.{count}{transposed}.shared.b16 {registers}, [%r6];");
                self.code(TURING, "tiles", results, format!("{place} {fill} {load}"));
            }
        }
        let read = format!("bar.warp.sync -1; ld.shared.v4.b32 {all}, [%r6];");
        for transposed in ["", ".trans"] {
            let store = format!(
                "stmatrix.sync.aligned.m8n8.x4{transposed}.shared.b16 [%r6], {{%r1, %r2, %r3, %r4}};"
            );
            self.code(HOPPER, "tiles", 4, format!("{place} {store} {read}"));
        }
        // What is not copied becomes zero.
        for bytes in ["16", "12", "4", "0"] {
            let copy = format!("cp.async.cg.shared.global [%r6], [%row], 16, {bytes}; cp.async.wait_all;");
            self.code(AMPERE, "tiles", 4, format!("{place} {copy} {read}"));
        }
    }

    fn integer_products(&mut self) {
        for (since, shape, registers) in
            [(TURING, "m8n8k16", [1, 1, 2]), (AMPERE, "m16n8k16", [2, 1, 4]), (AMPERE, "m16n8k32", [4, 2, 4])]
        {
            for saturate in ["", ".satfinite"] {
                for types in ["s8.s8", "s8.u8", "u8.s8", "u8.u8"] {
                    let opcode = format!("{shape}.row.col{saturate}.s32.{types}.s32");
                    self.product(since, "fragments of bytes", &opcode, registers, None);
                }
            }
        }
    }

    /// Whole numbers come out exactly; of fractions, hardware drops bits below the largest addend's last ones
    /// in an order that is not documented.
    fn float_products(&mut self) {
        let tolerance = |bits: i32| Some(Tolerance { relative: 0.0, absolute: 2f64.powi(-bits) });
        for (since, shape, ty, registers, bits) in [
            (TURING, "m16n8k8", "f16", [2, 1, 4], 14),
            (AMPERE, "m16n8k16", "f16", [4, 2, 4], 14),
            (AMPERE, "m16n8k8", "bf16", [2, 1, 4], 14),
            (AMPERE, "m16n8k16", "bf16", [4, 2, 4], 14),
            (AMPERE, "m16n8k4", "tf32", [2, 1, 4], 14),
            (AMPERE, "m16n8k8", "tf32", [4, 2, 4], 14),
            (ADA, "m16n8k32", "e4m3", [4, 2, 4], 5),
        ] {
            let opcode = format!("{shape}.row.col.f32.{ty}.{ty}.f32");
            let (whole, fractions) = match ty {
                "f16" => ("fragments of whole f16", "fragments of f16"),
                "bf16" => ("fragments of whole bf16", "fragments of bf16"),
                "tf32" => ("fragments of whole tf32", "fragments of tf32"),
                _ => ("fragments of whole e4m3", "fragments of e4m3"),
            };
            self.product(since, whole, &opcode, registers, None);
            self.product(since, fractions, &opcode, registers, tolerance(bits));
            if ty == "f16" {
                self.product(since, "fragments with specials", &opcode, registers, None);
                let opcode = format!("{shape}.row.col.f16.f16.f16.f16");
                self.product(since, whole, &opcode, registers, None);
            }
        }
    }

    /// `mma` with so many registers for A, B and C: A is in the first four words of a row, B in the next two, C
    /// in the last two for f16, and else in the four between.
    fn product(
        &mut self,
        since: Capability,
        inputs: &'static str,
        opcode: &str,
        [a, b, c]: [usize; 3],
        tolerance: Option<Tolerance>,
    ) {
        let (first, c) = if opcode.ends_with(".f16") { (11, c / 2) } else { (7, c) };
        let list = |name: &str, from: usize, count: usize| {
            let registers: Vec<_> = (from..from + count).map(|i| format!("%{name}{i}")).collect();
            format!("{{{}}}", registers.join(", "))
        };
        let (d, a, b) = (list("o", 0, c), list("r", 1, a), list("r", 5, b));
        let code = format!("mma.sync.aligned.{opcode} {d}, {a}, {b}, {};", list("r", first, c));
        self.0.push(Case { kernel: Kernel { code, since, results: c }, inputs, tolerance });
    }

    fn near(&mut self, tolerance: Tolerance, inputs: &'static str, operands: &str, opcodes: &str) {
        let start = self.0.len();
        self.each(TURING, inputs, operands, opcodes);
        self.0[start..].iter_mut().for_each(|case| case.tolerance = Some(tolerance));
    }

    /// One case for each opcode, whose result goes where the first operand says.
    fn each(&mut self, since: Capability, inputs: &'static str, operands: &str, opcodes: &str) {
        let (result, results) = match operands.split(',').next() {
            Some("%rs0") => (" cvt.u32.u16 %o0, %rs0;", 1),
            Some("%rd0") => (" mov.b64 {%o0, %o1}, %rd0;", 2),
            Some("%p1") => (" selp.u32 %o0, 1, 0, %p1;", 1),
            _ => ("", 1),
        };
        for opcode in opcodes.split_whitespace().flat_map(expand) {
            self.code(since, inputs, results, format!("{opcode} {operands};{result}"));
        }
    }

    fn code(&mut self, since: Capability, inputs: &'static str, results: usize, code: String) {
        self.0.push(Case { kernel: Kernel { code, since, results }, inputs, tolerance: None });
    }
}

/// The operands of an instruction with two inputs and with three, from those with one.
fn operands(one: &str) -> (String, String) {
    let next = |number| one.rsplit(' ').next().map(|input| input.replace('1', number)).unwrap_or_default();
    let two = format!("{one}, {}", next("2"));
    let three = format!("{two}, {}", next("3"));
    (two, three)
}

/// All texts that a text with `{a,b}` stands for.
fn expand(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else { return vec![text.to_string()] };
    let Some((alternatives, after)) = rest.split_once('}') else { return vec![text.to_string()] };
    let ends = expand(after);
    alternatives
        .split(',')
        .flat_map(|alternative| ends.iter().map(move |end| format!("{before}{alternative}{end}")))
        .collect()
}

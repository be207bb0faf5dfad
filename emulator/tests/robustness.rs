//! Broken PTX is refused with a line, or runs: it never ends the program.

mod common;

use common::{device, module, threads};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot::ptx;
use warpdot_host::{Error, Launch};

/// Kernels by hand, of which a mutant runs quickly.
fn seeds() -> Vec<String> {
    let prologue = ".reg .b32 %r<16>; .reg .b64 %rd<4>; .reg .pred %p<8>; .reg .b16 %rs<4>;
        ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mad.wide.u32 %rd2, %r1, 4, %rd1;
        mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 4, %r2;";
    [
        "st.shared.u32 [%r3], %r1; bar.sync 0; xor.b32 %r4, %r1, 32; mad.lo.u32 %r4, %r4, 4, %r2;
        ld.shared.u32 %r5, [%r4]; st.global.u32 [%rd2], %r5; ret;",
        "LOOP: setp.ge.u32 %p1, %r5, %r1; @%p1 bra DONE; add.u32 %r5, %r5, 1; bra LOOP; DONE:
        shfl.sync.bfly.b32 %r6|%p2, %r5, 1, 31, -1; @!%p2 bra END; st.global.u32 [%rd2], %r6; END: ret;",
        "cp.async.ca.shared.global [%r3], [%rd2], 4; cp.async.commit_group; cp.async.wait_group 0;
        ld.shared.u16 %rs1, [%r3]; cvt.f32.f16 %r4, %rs1; fma.rn.f32 %r4, %r4, %r4, %r4;
        atom.global.add.u32 %r5, [%rd1], 1; vote.sync.any.pred %p1, %p2, -1; dp4a.s32.s32 %r4, %r4, %r5, %r6;
        prmt.b32 %r4, %r4, %r5, 0x7531; lop3.b32 %r4, %r4, %r5, %r6, 0x96; bfe.u32 %r4, %r4, 4, 8;
        st.global.u32 [%rd2], %r4; ret;",
        "{ .reg .b32 %q<4>; mov.b64 {%q1,%q2}, %rd1; mov.b64 %rd3, {%q1,%q2}; } .local .align 4 .b8 x[16];
        mov.u32 %r4, x; st.local.u32 [%r4+4], %r1; ld.local.u32 %r5, [%r4+4]; div.u32 %r5, %r5, %r6;
        shf.l.wrap.b32 %r5, %r5, %r5, %r6; T: .branchtargets A, B; and.b32 %r7, %r1, 1; brx.idx %r7, T;
        A: barrier.sync 1; bra END; B: barrier.sync 1; END: ret;",
    ]
    .map(|body| {
        module("sm_80", &["u64"], &format!("{prologue}\n{}", body.replace("; ", ";\n")))
            .replace(".visible", ".global .align 4 .u32 table[4] = {1, 2, 3, 0x4};\n.visible")
    })
    .to_vec()
}

/// Changes a text in one to three places: bytes, words or lines, dropped, doubled, swapped or replaced.
fn mutate(text: &str, rng: &mut StdRng) -> String {
    let mut text = text.to_owned();
    for _ in 0..rng.random_range(1..4) {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = rng.random_range(0..lines.len());
        match rng.random_range(0..7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[rng.random_range(0..lines.len())].clone()),
            2 => {
                let other = rng.random_range(0..lines.len());
                lines.swap(at, other);
            }
            3 if !lines[at].is_empty() => {
                let byte = rng.random_range(0..lines[at].len());
                let with = b"0189%$.,;:[]{}()<>@!-+_|x= \"/*ABfr"[rng.random_range(0..34)] as char;
                lines[at].replace_range(byte..byte + 1, &with.to_string());
            }
            4 if !lines[at].is_empty() => {
                let byte = rng.random_range(0..lines[at].len());
                lines[at].truncate(byte);
            }
            _ => {
                // One word for another, or for an extreme number.
                let numbers = ["0", "1", "31", "32", "65536", "4294967295", "18446744073709551615", "-1"];
                let words: Vec<String> = lines[at].split(' ').map(str::to_owned).collect();
                let word = rng.random_range(0..words.len());
                let mut words = words;
                words[word] = match rng.random_range(0..2) {
                    0 => numbers[rng.random_range(0..numbers.len())].to_owned(),
                    _ => words[rng.random_range(0..words.len())].clone(),
                };
                lines[at] = words.join(" ");
            }
        }
        text = lines.join("\n");
        if text.is_empty() {
            return text;
        }
    }
    text
}

#[test]
fn mutants_of_kernels_are_refused_or_run() {
    let mut rng = StdRng::seed_from_u64(11);
    let (mut refused, mut failed, mut fine) = (0, 0, 0);
    let mut spec = warpdot_emulator::DeviceSpec::new(8, 0).unwrap();
    spec.max_block_instructions = 1 << 14;
    spec.memory = 1 << 24;
    let (_, host) = common::device_with(spec);
    for seed in seeds() {
        for _ in 0..2500 {
            let context = host.context().unwrap();
            let text = mutate(&seed, &mut rng);
            let result = (|| {
                let function = context.load_module(&text)?.function("kernel")?;
                let mut buffer = context.alloc::<u32>(64)?;
                buffer.write(&[3; 64])?;
                let stream = context.stream()?;
                let launch = Launch { shared_bytes: 256, ..threads(64) };
                // A mutant may have more parameters than the seed.
                let arguments = [0; 16].map(|_: u8| warpdot_host::Argument::pointer(buffer.as_raw()));
                // SAFETY: the emulator checks every access, and no parameter is larger than eight bytes
                // (no mutation makes an array of one).
                unsafe { stream.launch(&function, launch, &arguments) }?;
                stream.synchronize()?;
                let mut out = [0; 64];
                buffer.read(&mut out)
            })();
            match result {
                Err(Error::LoadModule { log, .. }) => {
                    assert!(log.starts_with("line "), "{log}\n{text}");
                    refused += 1;
                }
                Err(_) => failed += 1,
                Ok(()) => fine += 1,
            }
        }
    }
    println!("{refused} refused, {failed} failed, {fine} ran");
    assert!(refused > 1000 && failed > 100 && fine > 1000, "{refused} refused, {failed} failed, {fine} ran");
}

#[test]
fn mutants_of_compiled_modules_are_refused_or_load() {
    let mut rng = StdRng::seed_from_u64(12);
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let text = ptx::find("sm_90a", "quantize").unwrap().text();
    for _ in 0..300 {
        drop(context.load_module(&mutate(&text, &mut rng)));
    }
    assert!(!emulated.reports().is_empty());
    assert_eq!(emulated.holdings().modules, 0);
}

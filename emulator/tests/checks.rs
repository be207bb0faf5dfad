//! Every check, triggered by a kernel that is broken on purpose, and silent on its correct twin.

mod common;

use common::{device, module, run, threads};
use warpdot_emulator::{Access, DeviceSpec, Diagnostic, LaunchError, Report, Space, Violation};
use warpdot_host::Launch;

/// Every lane's index in %r1, the address of its word of `p0` in %rd1.
const PROLOGUE: &str = "
    .reg .b32 %r<16>; .reg .b64 %rd<8>; .reg .pred %p<4>;
    ld.param.u64 %rd2, [p0];
    mov.u32 %r1, %tid.x;
    mad.wide.u32 %rd1, %r1, 4, %rd2;
";

/// Runs a body on 64 words (all ones) with so many threads; the diagnostic, or the words.
fn outcome(body: &str, count: u32) -> Result<Vec<u32>, Box<Diagnostic>> {
    let (emulated, host) = device(9, 0);
    let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE}{body}\nret;"));
    let launch = Launch { shared_bytes: 1024, ..threads(count) };
    match (run(&host.context().unwrap(), &ptx, launch, &[1; 64]), emulated.last_report()) {
        (Ok(words), None) => Ok(words),
        (Err(_), Some(Report::Kernel(diagnostic))) => Err(Box::new(diagnostic)),
        other => panic!("{other:?}\n{ptx}"),
    }
}

fn diagnostic(body: &str, count: u32) -> Diagnostic {
    *outcome(body, count).expect_err("the kernel is broken")
}

fn violation(body: &str, count: u32) -> Violation {
    diagnostic(body, count).violation
}

const SHARED: &str = "mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 4, %r2;";

#[test]
fn global_accesses_stay_in_their_allocation() {
    outcome("ld.global.u32 %r4, [%rd1];", 64).unwrap();
    let found = diagnostic("ld.global.u32 %r4, [%rd1+8];", 64);
    assert_eq!((found.line, found.block, found.thread), (12, [0, 0, 0], [62, 0, 0]));
    assert_eq!(found.instruction, "ld.global.u32 %r4, [%rd1+8];");
    let Violation::OutOfBounds { space, access, bytes, nearest, .. } = found.violation else {
        panic!("{found}");
    };
    assert_eq!((space, access, bytes), (Space::Global, Access::Read, 4));
    assert_eq!(&nearest[..41], "0 bytes past an allocation of 256 bytes a");
    let found = violation("st.global.u32 [%rd1+-4], %r1;", 1);
    assert!(matches!(found, Violation::OutOfBounds { access: Access::Write, .. }), "{found}");
    // The last word is inside, the vector that starts there is not.
    let found = violation("ld.global.v4.u32 {%r4,%r5,%r6,%r7}, [%rd2+256];", 1);
    assert!(matches!(found, Violation::OutOfBounds { bytes: 16, .. }), "{found}");
    let found = violation("mov.u64 %rd3, 0; ld.global.u32 %r4, [%rd3];", 1);
    assert!(matches!(found, Violation::OutOfBounds { address: 0, .. }), "{found}");
}

#[test]
fn accesses_are_aligned_to_their_size() {
    outcome("ld.global.v2.u32 {%r4,%r5}, [%rd2+8];", 1).unwrap();
    let found = violation("ld.global.v2.u32 {%r4,%r5}, [%rd2+4];", 1);
    assert!(matches!(found, Violation::Misaligned { space: Space::Global, bytes: 8, .. }), "{found}");
    let found = violation(&format!("{SHARED} st.shared.u32 [%r3+2], %r1;"), 1);
    assert!(matches!(found, Violation::Misaligned { space: Space::Shared, .. }), "{found}");
    let found = violation(".local .b8 mine[8]; mov.u32 %r2, mine; st.local.u32 [%r2+1], %r1;", 1);
    assert!(matches!(found, Violation::Misaligned { space: Space::Local, .. }), "{found}");
}

#[test]
fn shared_and_local_memory_have_bounds() {
    outcome(&format!("{SHARED} st.shared.u32 [%r2+1020], %r1;"), 1).unwrap();
    for at in ["[%r2+1024]", "[%r2+-4]", "[0]"] {
        let found = violation(&format!("{SHARED} st.shared.u32 {at}, %r1;"), 1);
        assert!(matches!(found, Violation::OutOfBounds { space: Space::Shared, .. }), "{found}");
    }
    let local = ".local .align 4 .b8 mine[8]; mov.u32 %r2, mine;";
    outcome(&format!("{local} st.local.u32 [%r2+4], %r1;"), 32).unwrap();
    let found = violation(&format!("{local} st.local.u32 [%r2+8], %r1;"), 32);
    assert!(matches!(found, Violation::OutOfBounds { space: Space::Local, .. }), "{found}");
}

#[test]
fn memory_is_written_before_it_is_read() {
    let shared = format!("{SHARED} st.shared.u32 [%r3], %r1;");
    outcome(&format!("{shared} ld.shared.u32 %r4, [%r3];"), 64).unwrap();
    let found = violation(&format!("{shared} ld.shared.v2.u32 {{%r4,%r5}}, [%r2];"), 1);
    assert!(matches!(found, Violation::Uninitialized { space: Space::Shared, bytes: 8, .. }), "{found}");
    let local = ".local .align 4 .b8 mine[8]; mov.u32 %r2, mine; st.local.u16 [%r2], %r1;";
    outcome(&format!("{local} ld.local.u16 %r4, [%r2];"), 1).unwrap();
    let found = violation(&format!("{local} ld.local.u32 %r4, [%r2];"), 1);
    assert!(matches!(found, Violation::Uninitialized { space: Space::Local, .. }), "{found}");

    // Device memory: of 64 words, the host writes none.
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE} ld.global.u32 %r4, [%rd1]; ret;"));
    let function = context.load_module(&ptx).unwrap().function("kernel").unwrap();
    let buffer = context.alloc::<u32>(64).unwrap();
    let stream = context.stream().unwrap();
    // SAFETY: the emulator checks every access.
    unsafe { stream.launch(&function, threads(1), &[(&buffer).into()]) }.unwrap();
    assert!(stream.synchronize().is_err());
    let report = emulated.last_report().unwrap();
    assert!(report.to_string().contains("nothing has written"), "{report}");
}

#[test]
fn memory_that_was_freed_is_gone() {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE} st.global.u32 [%rd1], %r1; ret;"));
    let function = context.load_module(&ptx).unwrap().function("kernel").unwrap();
    let address = context.alloc::<u32>(64).unwrap().as_raw();
    let stream = context.stream().unwrap();
    // SAFETY: the emulator checks every access.
    unsafe { stream.launch(&function, threads(1), &[warpdot_host::Argument::pointer(address)]) }.unwrap();
    assert!(stream.synchronize().is_err());
    assert!(emulated.last_report().unwrap().to_string().contains("out of bounds"));
}

#[test]
fn constants_are_not_written() {
    let (emulated, host) = device(9, 0);
    let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE} mov.u64 %rd3, table; BODY ret;"));
    let ptx = ptx.replace(".visible", ".const .align 4 .b32 table[2] = {7, 9};\n.visible");
    let context = host.context().unwrap();
    let load = ptx.replace("BODY", "ld.const.u32 %r4, [%rd3+4]; st.global.u32 [%rd1], %r4;");
    assert_eq!(run(&context, &load, threads(1), &[0]).unwrap(), [9]);
    let store = ptx.replace("BODY", "st.global.u32 [%rd3], %r1;");
    run(&context, &store, threads(1), &[0]).unwrap_err();
    let report = emulated.last_report().unwrap();
    assert!(
        matches!(&report, Report::Kernel(found) if matches!(found.violation, Violation::ReadOnly { .. }))
    );
}

/// Each thread writes its word and reads that of another lane or warp.
fn exchange(between: &str, other: u32) -> String {
    format!(
        "{SHARED} st.shared.u32 [%r3], %r1; {between}
        xor.b32 %r4, %r1, {other}; mad.lo.u32 %r4, %r4, 4, %r2; ld.shared.u32 %r5, [%r4];
        st.global.u32 [%rd1], %r5;"
    )
}

#[test]
fn threads_that_share_memory_meet_at_barriers() {
    let words = outcome(&exchange("bar.sync 0;", 32), 64).unwrap();
    assert!(words.iter().zip(0..).all(|(&word, i)| word == i ^ 32));
    outcome(&exchange("bar.warp.sync 0xffffffff;", 1), 64).unwrap();
    // Within a warp too: nothing but `bar.warp.sync` orders its lanes.
    let found = violation(&exchange("", 1), 32);
    assert!(matches!(found, Violation::Race { access: Access::Read, earlier: Access::Write, .. }), "{found}");
    // The first warp reads before the second has written; a barrier of a warp does not order two.
    let found = violation(&exchange("bar.warp.sync 0xffffffff;", 32), 64);
    assert!(matches!(found, Violation::Uninitialized { .. }), "{found}");
    let zero_first = format!("{SHARED} st.shared.u32 [%r3], %r1; bar.sync 0; {}", exchange("", 32));
    let zero_first = zero_first.replacen(SHARED, "", 2);
    let found = violation(&format!("{SHARED}{zero_first}"), 64);
    assert!(matches!(found, Violation::Race { .. }), "{found}");
    assert!(found.to_string().contains("of warp"), "{found}");
}

#[test]
fn a_write_waits_for_the_readers() {
    // Everyone reads word 0, then thread 40 overwrites it.
    let body = |between: &str| {
        format!(
            "{SHARED} setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [%r2], 5; bar.sync 0;
            ld.shared.u32 %r5, [%r2]; {between}
            setp.eq.u32 %p2, %r1, 40; @%p2 st.shared.u32 [%r2], 6;"
        )
    };
    outcome(&body("bar.sync 0;"), 64).unwrap();
    let found = violation(&body(""), 64);
    assert!(matches!(found, Violation::Race { access: Access::Write, earlier: Access::Read, .. }), "{found}");
}

#[test]
fn two_lanes_do_not_write_one_word_at_once() {
    let found = violation(&format!("{SHARED} st.shared.u32 [%r2], %r1;"), 32);
    assert!(matches!(found, Violation::Race { earlier: Access::Write, .. }), "{found}");
    // Neighbouring halves of a word are two places.
    outcome(&format!("{SHARED} mad.lo.u32 %r4, %r1, 2, %r2; st.shared.u16 [%r4], %r1;"), 32).unwrap();
    // Atomics may meet; a plain access beside them may not.
    let atomic = format!(
        "{SHARED} setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [%r2], 0; bar.sync 0;
        atom.shared.add.u32 %r4, [%r2], 1;"
    );
    outcome(&format!("{atomic} bar.sync 0; ld.shared.u32 %r5, [%r2];"), 64).unwrap();
    let found = violation(&format!("{atomic} ld.shared.u32 %r5, [%r2];"), 64);
    assert!(matches!(found, Violation::Race { earlier: Access::Atomic, .. }), "{found}");
}

#[test]
fn named_barriers_order_those_who_take_part() {
    // Warp 0 writes and arrives, warp 1 waits and reads; nobody else is involved.
    let body = |arrive: &str, wait: &str| {
        format!(
            "{SHARED} setp.lt.u32 %p1, %r1, 32; @%p1 bra PRODUCE;
            {wait} sub.u32 %r4, %r3, 128; ld.shared.u32 %r5, [%r4]; st.global.u32 [%rd1], %r5; bra END;
            PRODUCE: st.shared.u32 [%r3], %r1; {arrive}
            END:"
        )
    };
    let words = outcome(&body("bar.arrive 3, 64;", "bar.sync 3, 64;"), 64).unwrap();
    assert!(words[32..].iter().zip(0..).all(|(&word, i)| word == i));
    let found = violation(&body("bar.arrive 2, 64;", "bar.sync 3, 64;"), 64);
    assert_eq!(found, Violation::Barrier { barrier: 3, arrived: 32, expected: 64 });
}

#[test]
fn every_thread_reaches_a_barrier() {
    outcome("bar.sync 0;", 64).unwrap();
    // The second warp leaves before the barrier.
    let found = diagnostic("setp.ge.u32 %p1, %r1, 32; @%p1 ret; bar.sync 0;", 64);
    assert_eq!(found.violation, Violation::Barrier { barrier: 0, arrived: 32, expected: 64 });
    // A part of a warp comes to a barrier that a warp executes as one.
    let found = violation("setp.ge.u32 %p1, %r1, 8; @%p1 bra OUT; bar.sync 0; OUT:", 32);
    assert!(
        matches!(found, Violation::Barrier { arrived: 8, .. } | Violation::DivergedBarrier { .. }),
        "{found}"
    );
    // Both sides of a branch have their barrier: fine only where it may be diverged.
    let sides = "setp.ge.u32 %p1, %r1, 8; @%p1 bra OTHER; BAR bra OUT; OTHER: BAR OUT:";
    outcome(&sides.replace("BAR", "barrier.sync 0;"), 32).unwrap();
    let found = violation(&sides.replace("BAR", "bar.sync 0;"), 32);
    assert_eq!(found, Violation::DivergedBarrier { arrived: 0xff, alive: u32::MAX });
    let found = violation("bar.sync 16;", 32);
    assert!(matches!(found, Violation::Operand(_)), "{found}");
}

#[test]
fn every_named_lane_reaches_a_collective() {
    let shuffle = "shfl.sync.bfly.b32 %r4, %r1, 1, 31, MASK;";
    outcome(&shuffle.replace("MASK", "-1"), 32).unwrap();
    let upper_leaves = format!("setp.ge.u32 %p1, %r1, 16; @%p1 ret; {shuffle}");
    outcome(&upper_leaves.replace("MASK", "0xffff"), 32).unwrap();
    let found = violation(&upper_leaves.replace("MASK", "-1"), 32);
    assert_eq!(found, Violation::Collective { named: u32::MAX, arrived: 0xffff });
    // A block of 16 threads has no lanes 16 to 31.
    let found = violation(&shuffle.replace("MASK", "-1"), 16);
    assert_eq!(found, Violation::Collective { named: u32::MAX, arrived: 0xffff });
    let found = violation(&shuffle.replace("MASK", "0xffff"), 32);
    assert_eq!(found, Violation::NotNamed { named: 0xffff });
    // Reading from a lane that is not named.
    let found =
        violation("setp.ge.u32 %p1, %r1, 16; @%p1 ret; shfl.sync.idx.b32 %r4, %r1, 20, 31, 0xffff;", 32);
    assert!(matches!(found, Violation::Operand(_)), "{found}");
    // Lanes that part and come to the same instruction by different ways do meet.
    outcome(
        &format!("setp.ge.u32 %p1, %r1, 16; @%p1 bra B; add.u32 %r5, %r1, 1; B: {shuffle}")
            .replace("MASK", "-1"),
        32,
    )
    .unwrap();
    let found = violation("setp.ge.u32 %p1, %r1, 16; @%p1 ret; vote.sync.any.pred %p2, %p1, -1;", 32);
    assert!(matches!(found, Violation::Collective { .. }), "{found}");
}

#[test]
fn asynchronous_copies_are_waited_for() {
    let body = |wait: &str| {
        format!(
            "{SHARED} cp.async.ca.shared.global [%r3], [%rd1], 4; cp.async.commit_group;
            {wait} ld.shared.u32 %r4, [%r3];"
        )
    };
    outcome(&body("cp.async.wait_group 0;"), 64).unwrap();
    outcome(&body("cp.async.wait_all;"), 64).unwrap();
    for wait in ["", "cp.async.wait_group 1;", "bar.sync 0;"] {
        let found = violation(&body(wait), 64);
        assert!(matches!(found, Violation::PendingCopy { access: Access::Read, .. }), "{wait}: {found}");
    }
    // The wait is the thread's own: another thread's copy still needs a barrier.
    let other = "xor.b32 %r5, %r1, 32; mad.lo.u32 %r3, %r5, 4, %r2;";
    let found = violation(&body(&format!("cp.async.wait_all; {other}")), 64);
    assert!(matches!(found, Violation::Uninitialized { .. } | Violation::PendingCopy { .. }), "{found}");
    outcome(&body(&format!("cp.async.wait_all; bar.sync 0; {other}")), 64).unwrap();
    // Overwriting what is being filled.
    let found = violation(&body("st.shared.u32 [%r3], 1;"), 64);
    assert!(matches!(found, Violation::PendingCopy { access: Access::Write, .. }), "{found}");
}

#[test]
fn traps_and_endless_loops_end() {
    assert_eq!(violation("setp.eq.u32 %p1, %r1, 5; @%p1 trap;", 32), Violation::Trap);
    let mut spec = DeviceSpec::new(9, 0).unwrap();
    spec.max_block_instructions = 1 << 18;
    let (emulated, host) = common::device_with(spec);
    let ptx = module("sm_80", &["u64"], "AGAIN: bra AGAIN;");
    let error = run(&host.context().unwrap(), &ptx, threads(32), &[0]).unwrap_err();
    assert!(error.to_string().contains("LAUNCH_TIMEOUT"), "{error}");
    assert!(emulated.last_report().unwrap().to_string().contains("was stopped"));
}

#[test]
fn launches_respect_the_limits_of_the_device() {
    let (emulated, host) = device(7, 5);
    let context = host.context().unwrap();
    let plain = module("sm_75", &["u64"], "ret;");
    let static_shared =
        module("sm_75", &["u64"], ".shared .b8 x[1024]; .reg .b32 %r<2>; mov.u32 %r1, x; ret;");
    let bounded = plain.replace("\n{", "\n.maxntid 64\n{");
    let required = plain.replace("\n{", "\n.reqntid 64\n{");
    let launch = |grid, block, shared_bytes| Launch { grid, block, shared_bytes };
    let good = [
        (&plain, launch([1, 1, 1], [1024, 1, 1], 48 << 10)),
        (&static_shared, launch([2, 1, 1], [8, 8, 16], 47 << 10)),
        (&bounded, launch([1, 2, 2], [64, 1, 1], 0)),
        (&required, launch([1, 1, 1], [64, 1, 1], 0)),
    ];
    for (ptx, launch) in good {
        run(&context, ptx, launch, &[0]).unwrap();
    }
    assert_eq!(emulated.last_report(), None);
    let bad = [
        (&plain, launch([1, 1, 1], [1025, 1, 1], 0)),
        (&plain, launch([1, 1, 1], [32, 33, 1], 0)),
        (&plain, launch([1, 1, 1], [1, 1, 65], 0)),
        (&plain, launch([1, 1, 1], [0, 1, 1], 0)),
        (&plain, launch([0, 1, 1], [1, 1, 1], 0)),
        (&plain, launch([1, 65_536, 1], [1, 1, 1], 0)),
        (&bounded, launch([1, 1, 1], [65, 1, 1], 0)),
        (&required, launch([1, 1, 1], [32, 1, 1], 0)),
        (&plain, launch([1, 1, 1], [32, 1, 1], (48 << 10) + 1)),
        (&static_shared, launch([1, 1, 1], [32, 1, 1], 48 << 10)),
        (&plain, launch([1, 1, 1], [32, 1, 1], 65 << 10)),
    ];
    for (at, (ptx, launch)) in bad.into_iter().enumerate() {
        let error = run(&context, ptx, launch, &[0]).unwrap_err();
        assert!(error.to_string().contains("CUDA_ERROR_INVALID_VALUE"), "{launch:?}: {error}");
        let reports = emulated.reports();
        assert_eq!(reports.len(), at + 1);
        let Report::Launch(found) = &reports[at] else { panic!("{reports:?}") };
        assert_eq!(matches!(found, LaunchError::SharedMemory { .. }), at >= 8, "{found}");
    }
    // Refused launches leave the context alone.
    run(&context, &plain, threads(1), &[0]).unwrap();
}

#[test]
fn what_is_not_supported_is_named() {
    let (_, host) = device(9, 0);
    let context = host.context().unwrap();
    let cases = [
        ("sm_80", "wgmma.fence.sync.aligned;", "line 8: instruction `wgmma.fence.sync.aligned`"),
        ("sm_80", "ld.global.u32.bogus %r1, [%rd1];", "line 8: instruction `ld.global.u32.bogus`: modifier"),
        ("sm_80", "mov.u32 %r9, 1;", "line 8: instruction `mov.u32`: the destination is not"),
        ("sm_80", "add.u64 %rd1, %r1, 1;", "line 8: instruction `add.u64`: expects a 64-bit register"),
        ("sm_80", "call f, (%r1);", "line 8: expected"),
        ("sm_80", "call f;", "line 8: instruction `call`"),
        ("sm_80", "bra NOWHERE;", "there is no label `NOWHERE`"),
        ("sm_75", "cp.async.wait_all;", "needs sm_80, the target is sm_75"),
        ("sm_120", "", "`sm_120` does not run on a device of capability 9.0"),
        ("sm_89a", "", "`sm_89a` does not run"),
        ("gpu", "", "`gpu` is no target"),
    ];
    for (target, body, message) in cases {
        let declarations = ".reg .b32 %r<2>; .reg .b64 %rd<2>;";
        let ptx = module(target, &["u64"], &format!("{declarations}\n{body}"));
        let error = context.load_module(&ptx).err().unwrap_or_else(|| panic!("{body} loads")).to_string();
        assert!(error.contains(message), "{body}: {error}");
    }
    let newer = module("sm_80", &[], "ret;").replace("8.4", "9.9");
    let error = context.load_module(&newer).expect_err("newer than the driver").to_string();
    assert!(error.contains("CUDA_ERROR_UNSUPPORTED_PTX_VERSION"), "{error}");
}

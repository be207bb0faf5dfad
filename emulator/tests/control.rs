//! Control flow: lanes that part and meet again, and what they do together.

mod common;

use common::{device, module, run, threads};
use rayon::prelude::*;
use warpdot_emulator::Kind;
use warpdot_host::Launch;

const PROLOGUE: &str = ".reg .b32 %r<16>; .reg .b64 %rd<4>; .reg .pred %p<8>;
    ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mad.wide.u32 %rd1, %r1, 4, %rd1;
    mov.u32 %r0, 0;";

/// What every thread leaves in %r0.
fn outcome(body: &str, launch: Launch) -> Vec<u32> {
    let (emulated, host) = device(9, 0);
    let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE}\n{body}\nst.global.u32 [%rd1], %r0; ret;"));
    let count = launch.block.iter().product::<u32>() as usize;
    run(&host.context().unwrap(), &ptx, launch, &vec![0; count])
        .unwrap_or_else(|error| panic!("{error}: {:?}", emulated.last_report()))
}

#[track_caller]
fn check(body: &str, count: u32, wanted: impl Fn(u32) -> u32) {
    let found = outcome(body, Launch { shared_bytes: 1024, ..threads(count) });
    assert!(found.iter().zip(0..).all(|(&word, i)| word == wanted(i)), "{body}\n{found:?}");
}

#[test]
fn loops_end_lane_by_lane() {
    let body = "LOOP: setp.ge.u32 %p1, %r2, %r1; @%p1 bra DONE;
        add.u32 %r2, %r2, 1; add.u32 %r0, %r0, %r2; bra LOOP; DONE:";
    check(body, 64, |i| i * (i + 1) / 2);
    // A loop inside a loop, left early by some.
    let body = "OUTER: setp.ge.u32 %p1, %r2, 5; @%p1 bra END; mov.u32 %r3, 0;
        INNER: setp.ge.u32 %p2, %r3, %r1; @%p2 bra NEXT;
        add.u32 %r0, %r0, 1; add.u32 %r3, %r3, 1; setp.gt.u32 %p3, %r0, 40; @%p3 bra END; bra INNER;
        NEXT: add.u32 %r2, %r2, 1; bra OUTER; END:";
    check(body, 33, |i| (5 * i).min(41));
}

#[test]
fn branches_meet_again_in_any_layout_of_the_code() {
    // The code of the taken side lies before the branch.
    let body = "bra START;
        ODD: add.u32 %r0, %r0, 100; bra JOIN;
        START: and.b32 %r2, %r1, 1; setp.ne.u32 %p1, %r2, 0; @%p1 bra ODD; add.u32 %r0, %r0, 7;
        JOIN: shfl.sync.bfly.b32 %r3, %r0, 1, 31, -1; add.u32 %r0, %r0, %r3;";
    check(body, 32, |_| 107);
    // The place where they meet lies before both.
    let body = "bra START;
        JOIN: shfl.sync.bfly.b32 %r3, %r0, 1, 31, -1; add.u32 %r0, %r0, %r3; bra END;
        START: and.b32 %r2, %r1, 1; setp.ne.u32 %p1, %r2, 0; @%p1 bra ODD; mov.u32 %r0, 7; bra JOIN;
        ODD: mov.u32 %r0, 100; bra JOIN; END:";
    check(body, 32, |_| 107);
}

#[test]
fn tables_branch_lane_by_lane() {
    let body = "T: .branchtargets A, B, C; and.b32 %r2, %r1, 3; min.u32 %r2, %r2, 2; brx.idx %r2, T;
        A: mov.u32 %r0, 10; bra END; B: mov.u32 %r0, 20; bra END; C: mov.u32 %r0, 30; END:";
    check(body, 32, |i| [10, 20, 30, 30][i as usize % 4]);
}

#[test]
fn labels_belong_to_their_scope() {
    let skip = "{ .reg .pred %q; setp.gt.u32 %q, %r1, LIMIT; @%q bra SKIP; add.u32 %r0, %r0, 1; SKIP: }";
    let body = skip.replace("LIMIT", "4") + &skip.replace("LIMIT", "9");
    check(&body, 32, |i| u32::from(i <= 4) + u32::from(i <= 9));
}

#[test]
fn shuffles_and_votes() {
    check("shfl.sync.up.b32 %r0|%p1, %r1, 3, 0, -1; selp.b32 %r0, %r0, 99, %p1;", 32, |i| {
        i.checked_sub(3).unwrap_or(99)
    });
    check("shfl.sync.down.b32 %r0|%p1, %r1, 3, 31, -1; selp.b32 %r0, %r0, 99, %p1;", 32, |i| {
        if i < 29 { i + 3 } else { 99 }
    });
    check("shfl.sync.bfly.b32 %r0, %r1, 5, 31, -1;", 32, |i| i ^ 5);
    // Segments of eight lanes: lane 2 of each.
    check("shfl.sync.idx.b32 %r0, %r1, 2, 0x181f, -1;", 32, |i| i & !7 | 2);
    check("setp.gt.u32 %p1, %r1, 20; vote.sync.ballot.b32 %r0, %p1, -1;", 32, |_| 0xffe0_0000);
    check("setp.gt.u32 %p1, %r1, 20; vote.sync.any.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;", 32, |_| 1);
    check("setp.gt.u32 %p1, %r1, 20; vote.sync.all.pred %p2, !%p1, -1; selp.b32 %r0, 1, 0, %p2;", 32, |_| 0);
    check("shr.u32 %r2, %r1, 3; match.any.sync.b32 %r0, %r2, -1;", 32, |i| 0xff << (i & !7));
    check("match.all.sync.b32 %r0|%p1, 5, -1;", 32, |_| u32::MAX);
    check("redux.sync.add.s32 %r0, %r1, -1;", 32, |_| 31 * 16);
    check("redux.sync.max.u32 %r0, %r1, -1;", 32, |_| 31);
    check("setp.lt.u32 %p1, %r1, 5; @%p1 bra A; bra B; A: activemask.b32 %r0; B:", 32, |i| {
        if i < 5 { 0x1f } else { 0 }
    });
    // Two groups of a warp at one instruction, each with its mask.
    check(
        "setp.lt.u32 %p1, %r1, 16; selp.b32 %r2, 0xffff, 0xffff0000, %p1;
        redux.sync.min.u32 %r0, %r1, %r2;",
        32,
        |i| i & 16,
    );
}

#[test]
fn barriers_reduce() {
    let vote = "setp.lt.u32 %p1, %r1, 40;";
    check(&format!("{vote} bar.red.popc.u32 %r0, 0, %p1;"), 64, |_| 40);
    check(&format!("{vote} bar.red.and.pred %p2, 0, %p1; selp.b32 %r0, 1, 0, %p2;"), 64, |_| 0);
    check(&format!("{vote} bar.red.or.pred %p2, 0, %p1; selp.b32 %r0, 1, 0, %p2;"), 64, |_| 1);
}

#[test]
fn threads_know_where_they_are() {
    let (emulated, host) = device(9, 0);
    // Each thread of a 2 x 3 x 2 grid of 4 x 2 x 3 blocks writes its linear number.
    let linear = |index: &str, size: &str| {
        format!(
            "mov.u32 %r2, {index}.z; mov.u32 %r3, {size}.y; mov.u32 %r4, {index}.y; mad.lo.u32 %r2, %r2, %r3, %r4;
            mov.u32 %r3, {size}.x; mov.u32 %r4, {index}.x; mad.lo.u32 %r2, %r2, %r3, %r4;"
        )
    };
    let body = format!(
        ".reg .b32 %r<8>; .reg .b64 %rd<2>; ld.param.u64 %rd1, [p0];
        {} mov.u32 %r5, %r2; {} mad.lo.u32 %r5, %r5, 24, %r2;
        mad.wide.u32 %rd1, %r5, 4, %rd1; st.global.u32 [%rd1], %r5; ret;",
        linear("%ctaid", "%nctaid"),
        linear("%tid", "%ntid"),
    );
    let launch = Launch { grid: [2, 3, 2], block: [4, 2, 3], shared_bytes: 0 };
    let found = run(&host.context().unwrap(), &module("sm_80", &["u64"], &body), launch, &[0; 288]).unwrap();
    assert!(found.iter().zip(0..).all(|(&word, i)| word == i), "{found:?}");
    assert_eq!(emulated.counters()[0].1.blocks, 12);
}

#[test]
fn atomics_of_all_blocks_add_up() {
    let (_, host) = device(9, 0);
    let body = ".reg .b32 %r<4>; .reg .b64 %rd<2>; ld.param.u64 %rd1, [p0];
        atom.global.add.u32 %r1, [%rd1], 3; red.global.max.u32 [%rd1+4], %r1;
        atom.global.cas.b32 %r2, [%rd1+8], 5, 6; ret;";
    let launch = Launch { grid: [10, 1, 1], block: [50, 1, 1], shared_bytes: 0 };
    let found = run(&host.context().unwrap(), &module("sm_80", &["u64"], body), launch, &[0, 0, 5]).unwrap();
    assert_eq!(found, [1500, 1497, 6]);
}

#[test]
fn asynchronous_copies_fill_with_zeros() {
    let (_, host) = device(9, 0);
    let body = ".reg .b32 %r<8>; .reg .b64 %rd<2>; ld.param.u64 %rd1, [p0]; mov.u32 %r1, smem;
        cp.async.cg.shared.global [%r1], [%rd1], 16, 8; cp.async.commit_group; cp.async.wait_group 0;
        ld.shared.v4.b32 {%r2,%r3,%r4,%r5}, [%r1]; st.global.v4.b32 [%rd1], {%r2,%r3,%r4,%r5}; ret;";
    let launch = Launch { shared_bytes: 16, ..threads(1) };
    let found = run(&host.context().unwrap(), &module("sm_80", &["u64"], body), launch, &[1, 2, 3, 4]);
    assert_eq!(found.unwrap(), [1, 2, 0, 0]);
}

#[test]
fn counters_count_threads_sectors_and_conflicts() {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let counted = |body: &str, count: u32| {
        emulated.reset_counters();
        let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE} ld.param.u64 %rd2, [p0]; {body} ret;"));
        run(&context, &ptx, Launch { shared_bytes: 8192, ..threads(count) }, &[7; 1024]).unwrap();
        emulated.counters()[0].1.clone()
    };
    let coalesced = counted("ld.global.u32 %r2, [%rd1];", 32);
    assert_eq!((coalesced.global_accesses, coalesced.global_bytes, coalesced.global_sectors), (1, 128, 4));
    assert_eq!(coalesced.of(Kind::LoadGlobal), 32);
    // Every lane 32 bytes further: a sector each.
    let strided = counted("mad.wide.u32 %rd1, %r1, 32, %rd2; ld.global.u32 %r2, [%rd1];", 32);
    assert_eq!(strided.global_sectors, 32);
    // Backwards, and all the same word.
    let reversed =
        counted("sub.u32 %r3, 31, %r1; mad.wide.u32 %rd1, %r3, 4, %rd2; ld.global.u32 %r2, [%rd1];", 32);
    assert_eq!(reversed.global_sectors, 4);
    assert_eq!(counted("ld.global.u32 %r2, [%rd2];", 32).global_sectors, 1);
    // To and fro between two words.
    let swinging = "and.b32 %r3, %r1, 1; mad.wide.u32 %rd1, %r3, 64, %rd2; ld.global.u32 %r2, [%rd1];";
    assert_eq!(counted(swinging, 32).global_sectors, 2);
    let stored = |stride: u32| {
        format!("mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, {stride}, %r2; st.shared.u32 [%r3], 1;")
    };
    assert_eq!(counted(&stored(4), 32).bank_conflicts, 0);
    assert_eq!(counted(&stored(8), 32).bank_conflicts, 1);
    assert_eq!(counted(&stored(128), 32).bank_conflicts, 31);
    assert_eq!(counted(&stored(132), 32).bank_conflicts, 0);
    let vectors = |stride: u32| {
        format!("mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, {stride}, %r2; st.shared.v4.u32 [%r3], {{1,2,3,4}};")
    };
    assert_eq!(counted(&vectors(16), 32).bank_conflicts, 0);
    assert_eq!(counted(&vectors(128), 32).bank_conflicts, 28);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    // Block 0 takes its time, so that another thread comes to block 100 before anyone fails in 77.
    let body = format!(
        "{PROLOGUE} mov.u32 %r2, %ctaid.x;
        LOOP: setp.ne.u32 %p1, %r2, 0; @%p1 bra GO; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 100000;
        @%p1 bra LOOP;
        GO: setp.eq.u32 %p1, %r2, 77; @%p1 trap; setp.eq.u32 %p1, %r2, 100; @%p1 trap; ret;"
    );
    let ptx = module("sm_80", &["u64"], &body);
    let run_with = |threads: usize| {
        let (emulated, host) = device(9, 0);
        warpdot_emulator::set_threads(threads);
        let launch = Launch { grid: [200, 1, 1], block: [64, 1, 1], shared_bytes: 0 };
        run(&host.context().unwrap(), &ptx, launch, &[0; 64]).unwrap_err();
        emulated.last_report().unwrap()
    };
    let found: Vec<_> = [1, 2, 4, 4, 4, 0].into_iter().map(run_with).collect();
    assert!(found.iter().all(|report| *report == found[0]), "{found:#?}");
    assert!(found[0].to_string().contains("block (77,0,0)"), "{}", found[0]);
}

#[test]
fn launches_from_workers_that_hold_a_lock_end() {
    let (_, host) = device(9, 0);
    let context = host.context().unwrap();
    let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE} st.global.u32 [%rd1], 5; ret;"));
    let launch = Launch { grid: [16, 1, 1], block: [32, 1, 1], shared_bytes: 0 };
    let lock = std::sync::Mutex::new(());
    // A worker that took up another of these tasks while it waits for its launch would wait for itself.
    (0..64).into_par_iter().for_each(|_| {
        let _held = lock.lock().unwrap();
        assert_eq!(run(&context, &ptx, launch, &[0; 32]).unwrap(), [5; 32]);
    });
}

#[test]
fn generic_addresses_reach_every_memory() {
    let body =
        "mov.u32 %r2, smem; mad.lo.u32 %r2, %r1, 8, %r2; cvt.u64.u32 %rd2, %r2; cvta.shared.u64 %rd2, %rd2;
        st.u32 [%rd2], %r1; ld.shared.u32 %r3, [%r2];
        .local .align 4 .b8 mine[8]; mov.u64 %rd3, mine; cvta.local.u64 %rd3, %rd3; st.u32 [%rd3+4], %r3;
        mov.u32 %r4, mine; ld.local.u32 %r5, [%r4+4];
        setp.gt.u32 %p1, %r1, 9; selp.b64 %rd2, %rd3, %rd2, %p1; selp.u32 %r6, 4, 0, %p1;
        cvt.u64.u32 %rd3, %r6; add.u64 %rd2, %rd2, %rd3; ld.u32 %r0, [%rd2];
        isspacep.shared %p2, %rd2; @%p2 add.u32 %r0, %r0, 100; add.u32 %r0, %r0, %r5;
        isspacep.global %p3, %rd1; @!%p3 trap; st.u32 [%rd1], 3; ld.u32 %r7, [%rd1]; add.u32 %r0, %r0, %r7;";
    check(body, 32, |i| 2 * i + 3 + if i > 9 { 0 } else { 100 });
}

#[test]
fn tables_of_a_module_hold_their_values_and_addresses() {
    let (_, host) = device(9, 0);
    let body = "ld.global.u64 %rd2, [links+8]; ld.u16 %r2, [%rd2+2]; ld.const.f32 %r3, [pi];         ld.global.b8 %r4, [bytes+5]; mov.u64 %rd3, bytes; ld.global.s8 %r5, [%rd3];
        st.global.v4.u32 [%rd1], {%r2, %r3, %r4, %r5}; ret;";
    let ptx = module("sm_80", &["u64"], &format!("{PROLOGUE}\n{body}")).replace(
        ".visible",
        ".global .align 2 .u16 shorts[3] = {7, 0x1234, 9};
        .global .align 8 .u64 links[2] = {bytes, generic(shorts)};
        .const .align 4 .f32 pi = 0f40490FDB;
        .global .align 1 .b8 bytes[8] = {-2, 3};
        .visible",
    );
    let found = run(&host.context().unwrap(), &ptx, threads(1), &[9; 4]).unwrap();
    assert_eq!(found, [0x1234, 0x4049_0fdb, 0, -2i32 as u32]);
}

//! Every failure at every kind of driver call: through the host crate, and through the library above it.

mod common;

use std::time::{Duration, Instant};

use common::{device, module, threads};
use warpdot::{GgmlType, QuantizedMatrix};
use warpdot_emulator::{Call, EmulatedDevice, Failure, Fault, Holdings};
use warpdot_host::{Context, Device, Error};

/// Uses every part of the host crate once: adds 1 to 256 words on the device.
fn session(context: &Context) -> Result<Duration, Error> {
    let body = ".reg .b32 %r<4>; .reg .b64 %rd<2>; ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x;
        mad.wide.u32 %rd1, %r1, 4, %rd1; ld.global.u32 %r2, [%rd1]; add.u32 %r2, %r2, 1;
        st.global.u32 [%rd1], %r2; ret;";
    let function = context.load_module(&module("sm_80", &["u64"], body))?.function("kernel")?;
    let stream = context.stream()?;
    let (start, end) = (context.event()?, context.event()?);
    let mut buffer = context.alloc::<u32>(256)?;
    buffer.write(&[41; 256])?;
    start.record(&stream)?;
    // SAFETY: the kernel takes one pointer to as many words as there are threads.
    unsafe { stream.launch(&function, threads(256), &[(&mut buffer).into()]) }?;
    end.record(&stream)?;
    stream.synchronize()?;
    let mut out = [0; 256];
    buffer.read(&mut out)?;
    assert_eq!(out, [42; 256]);
    end.elapsed_since(&start)
}

/// What an idle device holds.
fn nothing() -> Holdings {
    Holdings::default()
}

/// The calls that `session` makes; more than one of a kind fail one after the other.
const CALLS: &[(Call, u64)] = &[
    (Call::LoadModule, 1),
    (Call::GetFunction, 1),
    (Call::Allocate, 1),
    (Call::CopyToDevice, 1),
    (Call::CopyToHost, 1),
    (Call::Launch, 1),
    (Call::CreateStream, 1),
    (Call::CreateEvent, 2),
    (Call::RecordEvent, 2),
    (Call::Synchronize, 1),
    (Call::ElapsedTime, 1),
];

fn calls() -> impl Iterator<Item = (Call, u64)> {
    CALLS.iter().flat_map(|&(call, count)| (1..=count).map(move |nth| (call, nth)))
}

#[test]
fn every_call_of_a_session_can_run_out() {
    for (call, nth) in calls() {
        for (failure, name) in [
            (Failure::OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"),
            (Failure::OutOfResources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"),
            (Failure::JitRejection, "CUDA_ERROR_INVALID_PTX"),
        ] {
            let (emulated, host) = device(9, 0);
            let context = host.context().unwrap();
            emulated.inject(Fault::new(call, nth, failure));
            let error = session(&context).expect_err("the call failed");
            assert_eq!(
                error.driver().map(|driver| driver.name.as_ref()),
                Some(name),
                "{call:?} {nth}: {error}"
            );
            // Nothing is lost by it, and the next try succeeds.
            assert_eq!(emulated.clear_faults(), 0, "{call:?} {nth} was not reached");
            session(&context).unwrap();
            drop(context);
            assert_eq!(emulated.holdings(), nothing(), "{call:?} {nth} {failure:?}");
        }
    }
}

#[test]
fn a_context_that_breaks_stays_broken_and_returns_everything() {
    for (call, nth) in calls() {
        let (emulated, host) = device(9, 0);
        let context = host.context().unwrap();
        emulated.inject(Fault::new(call, nth, Failure::Sticky));
        for _ in 0..2 {
            let error = session(&context).expect_err("the context is dead");
            assert_eq!(*error.driver().unwrap().name, *"CUDA_ERROR_ILLEGAL_ADDRESS", "{call:?} {nth}");
        }
        drop(context);
        assert_eq!(emulated.holdings(), nothing(), "{call:?} {nth}");
        // A new context of the same device is another one.
        session(&host.context().unwrap()).unwrap();
    }
}

#[test]
fn late_errors_arrive_with_the_next_call_that_waits() {
    for (call, nth) in calls() {
        let (emulated, host) = device(9, 0);
        let context = host.context().unwrap();
        emulated.inject(Fault::new(call, nth, Failure::Late));
        let error = session(&context).expect_err("it arrives");
        assert_eq!(*error.driver().unwrap().name, *"CUDA_ERROR_LAUNCH_FAILED", "{call:?} {nth}");
        session(&context).expect_err("and stays");
        drop(context);
        assert_eq!(emulated.holdings(), nothing(), "{call:?} {nth}");
    }
}

#[test]
fn a_late_launch_error_is_not_the_launch_s() {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let trap = context.load_module(&module("sm_80", &[], "trap;")).unwrap().function("kernel").unwrap();
    let stream = context.stream().unwrap();
    // SAFETY: the kernel takes no arguments.
    unsafe { stream.launch(&trap, threads(1), &[]) }.unwrap();
    assert!(emulated.last_report().is_some());
    let error = stream.synchronize().unwrap_err();
    assert_eq!(error.driver().unwrap().call, "cuStreamSynchronize");
}

#[test]
fn a_context_can_fail_to_come_into_being() {
    let (emulated, host) = device(9, 0);
    emulated.inject(Fault::new(Call::CreateContext, 1, Failure::OutOfMemory));
    let error = host.context().expect_err("no context");
    assert_eq!(*error.driver().unwrap().name, *"CUDA_ERROR_OUT_OF_MEMORY");
    assert_eq!(emulated.holdings(), nothing());
    session(&host.context().unwrap()).unwrap();
}

#[test]
fn a_slow_device_is_waited_for() {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let delay = Duration::from_millis(80);
    emulated.inject(Fault::new(Call::Launch, 1, Failure::Slow(delay)));
    let start = Instant::now();
    let measured = session(&context).unwrap();
    // Sleeping is never shorter than asked for, so this cannot fail on a slow machine.
    assert!(start.elapsed() >= delay && measured >= delay, "{measured:?}");
}

#[test]
fn memory_runs_out_where_the_device_ends() {
    let mut spec = warpdot_emulator::DeviceSpec::new(8, 6).unwrap();
    spec.memory = 1 << 20;
    let (emulated, host) = common::device_with(spec);
    let context = host.context().unwrap();
    let half = context.alloc::<u8>(1 << 19).unwrap();
    let error = context.alloc::<u8>((1 << 19) + 1).expect_err("too much");
    assert_eq!(*error.driver().unwrap().name, *"CUDA_ERROR_OUT_OF_MEMORY");
    let rest = context.alloc::<u8>(1 << 19).unwrap();
    assert_eq!((emulated.holdings().allocations, emulated.holdings().allocated_bytes), (2, 1 << 20));
    drop((half, rest));
    context.alloc::<u8>(1 << 20).unwrap();
}

/// A product through the library; what it holds is returned by then.
fn product(emulated: &EmulatedDevice) -> Result<Vec<f32>, warpdot::Error> {
    let device = warpdot::Device::cuda(emulated.ordinal())?;
    let weights: Vec<f32> = (0..3 * 64).map(|i| (i % 7) as f32 - 3.0).collect();
    let matrix = QuantizedMatrix::quantize(GgmlType::Q8_0, 3, 64, &weights)?;
    let uploaded = device.upload(&matrix)?;
    let x: Vec<f32> = (0..64).map(|i| (i % 5) as f32).collect();
    let mut y = vec![0.0; 3];
    uploaded.matmul(1, &x, &mut y)?;
    // Again, as a caller would that retries: a broken context must stay broken.
    let mut again = vec![0.0; 3];
    uploaded.matmul(1, &x, &mut again)?;
    assert_eq!(y, again);
    Ok(y)
}

#[test]
fn the_library_survives_every_failure_of_every_call() {
    let (emulated, _) = device(9, 0);
    let wanted = product(&emulated).unwrap();
    for call in Call::ALL {
        for failure in [
            Failure::OutOfMemory,
            Failure::OutOfResources,
            Failure::JitRejection,
            Failure::Sticky,
            Failure::Late,
            Failure::Slow(Duration::from_millis(1)),
        ] {
            for nth in 1.. {
                let (emulated, _) = device(9, 0);
                emulated.inject(Fault::new(call, nth, failure));
                let result = product(&emulated);
                let happened = emulated.clear_faults() == 0;
                let harmless = !happened || matches!(failure, Failure::Slow(_));
                match result {
                    Ok(y) => assert!(
                        y == wanted && (harmless || may_be_lost(call, failure)),
                        "{failure:?} of {call:?} {nth} went unnoticed"
                    ),
                    Err(warpdot::Error::Cuda(_)) => assert!(!harmless, "{failure:?} of {call:?} {nth}"),
                    Err(other) => panic!("{failure:?} of {call:?} {nth}: {other}"),
                }
                assert_eq!(emulated.holdings(), nothing(), "{failure:?} of {call:?} {nth}");
                assert_eq!(product(&emulated).unwrap(), wanted, "after {failure:?} of {call:?} {nth}");
                if !happened {
                    break;
                }
            }
        }
    }
}

/// Failures with no one left to tell: while memory is returned, and those that come after the last wait.
fn may_be_lost(call: Call, failure: Failure) -> bool {
    call == Call::Free || failure == Failure::Late
}

#[test]
fn several_devices_live_side_by_side() {
    let (first, first_host) = device(7, 5);
    let (second, second_host) = device(12, 0);
    let contexts = [first_host.context().unwrap(), second_host.context().unwrap()];
    second.inject(Fault::new(Call::Launch, 1, Failure::Sticky));
    // sm_80 code runs on the younger device only, and only there is a fault.
    assert!(session(&contexts[0]).unwrap_err().to_string().contains("does not run on a device"));
    session(&contexts[1]).unwrap_err();
    assert_eq!(first.reports().len(), 1);
    assert_eq!(second.reports().len(), 0);
    let named = |host: &Device| host.compute_capability().unwrap().to_string();
    assert_eq!((named(&first_host), named(&second_host)), ("7.5".into(), "12.0".into()));
}

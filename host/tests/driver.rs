//! Every public call of the crate, over a small driver of ours: what it does, and what it does when the driver
//! fails.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod fake;

use std::time::Duration;

use warpdot_host::{
    Argument, Buffer, ComputeCapability, Context, Device, DriverVersion, Error, Event, Function, Launch,
    Memory, Module, Stream, driver, driver_version,
};

const PTX: &str = ".version 7.8 .target sm_90 .visible .entry axpy() { ret; }";
const SHAPE: Launch = {
    let [grid_y, grid_z, x, y, z, shared_bytes] = fake::SHAPE;
    Launch { grid: [2, grid_y, grid_z], block: [x, y, z], shared_bytes }
};
const X: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

/// Uses every public call once.
fn scenario() -> Result<(Vec<f32>, Duration), Error> {
    assert_eq!(driver_version()?, DriverVersion { major: 12, minor: 9 });
    let devices = Device::all()?;
    assert_eq!(devices.iter().map(Device::index).collect::<Vec<_>>(), [0, 1]);
    let device = Device::get(1)?;
    assert_eq!(device, devices[1]);
    assert_eq!(device.name()?, "Fake 71");
    assert_eq!(device.compute_capability()?, ComputeCapability { major: 9, minor: 0 });
    assert_eq!(device.memory()?, 71 << 30);
    assert_eq!(device.multiprocessors()?, 132);

    // Whatever the stream works on comes before it, and so outlives its work also when a call fails.
    let (before, mut second) = ([10f32; 4], [0f32; 4]);
    let context = device.context()?;
    assert_eq!(context.device(), device);
    assert_eq!(context.memory()?, Memory { free: 3 << 20, total: 4 << 20 });
    let axpy = context.load_module(PTX)?.function("axpy")?;
    assert_eq!(axpy.name(), "axpy");
    let mut x = context.alloc::<f32>(4)?;
    let mut y = context.alloc::<f32>(4)?;
    let stream = context.stream()?;
    let (start, end) = (context.event()?, context.event()?);
    assert_eq!((x.len(), y.len()), (4, 4));
    drop(context);

    x.write(&X)?;
    // SAFETY: the slice and the buffers outlive the stream; the kernel adds 2x to y, and then -x.
    unsafe {
        y.write_async(&stream, &before)?;
        start.record(&stream)?;
        stream.launch(&axpy, SHAPE, &[(&x).into(), (&mut y).into(), 2f32.into(), 4u32.into()])?;
        let factor = Argument::value(&-1f32);
        axpy.launch_on(stream.as_raw(), SHAPE, &[(&x).into(), (&mut y).into(), factor, 4u32.into()])?;
    }
    end.record(&stream)?;
    end.synchronize()?;
    let elapsed = end.elapsed_since(&start)?;

    let mut first = [0f32; 4];
    y.read(&mut first)?;
    // SAFETY: the slice outlives the stream.
    unsafe { y.read_async(&stream, &mut second)? };
    stream.synchronize()?;
    assert_eq!(first, second);
    Ok((first.to_vec(), elapsed))
}

#[test]
fn everything_works_and_everything_is_given_back() {
    let _guard = fake::start();
    let (y, elapsed) = scenario().unwrap();
    assert_eq!(y, [11.0, 12.0, 13.0, 14.0]);
    assert_eq!(elapsed, Duration::from_micros(1500));
    assert_eq!(fake::stack(), [fake::CALLERS_CONTEXT]);
    let state = fake::state();
    assert_eq!(state.leaks(), [""; 0]);
    assert_eq!(state.launches, 2);
    let beside = ["cuGetErrorName", "cuGetErrorString", "cuParamSetf", "cuTexRefSetMipmapLevelClamp"];
    for name in driver::FUNCTIONS.iter().filter(|name| fake::lookup(name).is_some() && !beside.contains(name))
    {
        assert!(state.calls.contains(name), "{name} was not called");
    }
}

#[test]
fn every_failure_is_an_error_with_the_drivers_name_and_leaks_nothing() {
    let _guard = fake::start();
    scenario().unwrap();
    let calls = fake::state().calls.clone();
    assert!(calls.len() > 60, "{calls:?}");
    for (index, &call) in calls.iter().enumerate() {
        for &(code, name) in fake::CODES {
            let case = format!("call {index}, {call}, answers {code}");
            *fake::state() = fake::empty();
            fake::state().fault = Some((index, code));
            let outcome = scenario();
            assert_eq!(fake::stack(), [fake::CALLERS_CONTEXT], "{case}");
            let leaks = fake::state().leaks();
            match outcome {
                Err(error) => {
                    let source = error.driver().unwrap_or_else(|| panic!("{case}: {error}"));
                    assert_eq!((source.call, source.code), (call, code), "{case}");
                    let name = name.map_or("an error without a name", |name| name.to_str().unwrap());
                    assert_eq!(&*source.name, name, "{case}");
                    assert!(error.to_string().contains(name), "{case}: {error}");
                    assert_eq!(leaks, [""; 0], "{case}");
                }
                // Dropping has nobody to tell.
                Ok(_) => {
                    let given_back = match call {
                        "cuCtxPushCurrent_v2" => calls[index + 1],
                        "cuCtxPopCurrent_v2" => calls[index - 1],
                        _ => call,
                    };
                    let dropping = ["Free", "Destroy", "Unload", "Release"];
                    assert!(dropping.iter().any(|part| given_back.contains(part)), "{case} passed unnoticed");
                    // What lives in a context that cannot be entered cannot be given back.
                    let lost = usize::from(call == "cuCtxPushCurrent_v2");
                    assert_eq!(leaks.len(), lost, "{case}: {leaks:?}");
                }
            }
        }
    }
}

#[test]
fn what_the_driver_refuses_is_named() {
    let _guard = fake::start();
    let context = Device::get(0).unwrap().context().unwrap();

    let error = context.load_module(".entry other").unwrap_err();
    assert!(matches!(&error, Error::LoadModule { log, .. } if log == "ptxas fatal: no axpy here"), "{error}");
    assert!(
        error.to_string().contains("CUDA_ERROR_INVALID_PTX") && error.to_string().contains("no axpy here")
    );

    let error = context.load_module(PTX).unwrap().function("gemm").unwrap_err();
    assert!(matches!(&error, Error::NoSuchFunction { name, .. } if name == "gemm"), "{error}");
    assert!(error.to_string().contains("CUDA_ERROR_NOT_FOUND"));

    let error = context.alloc::<f32>(1 << 20).unwrap_err();
    assert!(matches!(error, Error::Allocate { bytes, .. } if bytes == 4 << 20), "{error}");
    assert!(error.to_string().contains("CUDA_ERROR_OUT_OF_MEMORY"));

    let axpy = context.load_module(PTX).unwrap().function("axpy").unwrap();
    let shape = Launch { grid: [0, 3, 4], ..SHAPE };
    // SAFETY: the fake driver refuses the shape.
    let error = unsafe { context.stream().unwrap().launch(&axpy, shape, &[]) }.unwrap_err();
    assert!(
        matches!(&error, Error::Launch { function, shape: s, .. } if **function == *"axpy" && *s == shape)
    );
    assert!(
        error.to_string().contains("[0, 3, 4]") && error.to_string().contains("CUDA_ERROR_INVALID_VALUE")
    );

    let (earlier, later) = (context.event().unwrap(), context.event().unwrap());
    let error = later.elapsed_since(&earlier).unwrap_err();
    assert_eq!(&*error.driver().unwrap().name, "CUDA_ERROR_NOT_READY");
}

#[test]
fn what_needs_no_driver_to_refuse_is_refused_before_it() {
    let _guard = fake::start();
    assert_eq!(Device::get(2).unwrap_err(), Error::NoSuchDevice { index: 2, count: 2 });
    assert_eq!(Device::get(usize::MAX).unwrap_err(), Error::NoSuchDevice { index: usize::MAX, count: 2 });
    let context = Device::get(0).unwrap().context().unwrap();
    let other = Device::get(1).unwrap().context().unwrap();
    let (stream, foreign) = (context.stream().unwrap(), other.stream().unwrap());
    let axpy = context.load_module(PTX).unwrap().function("axpy").unwrap();
    let mut buffer = context.alloc::<f32>(4).unwrap();
    let event = context.event().unwrap();
    let calls = fake::state().calls.len();

    assert_eq!(context.alloc::<f32>(0).unwrap_err(), Error::EmptyBuffer { len: 0, element_bytes: 4 });
    assert_eq!(context.alloc::<[f32; 0]>(3).unwrap_err(), Error::EmptyBuffer { len: 3, element_bytes: 0 });
    let len = usize::MAX / 2;
    assert_eq!(context.alloc::<f32>(len).unwrap_err(), Error::BufferTooLarge { len, element_bytes: 4 });
    assert_eq!(buffer.write(&[0.0; 5]).unwrap_err(), Error::Length { device: 16, host: 20 });
    assert_eq!(buffer.read(&mut [0.0; 3]).unwrap_err(), Error::Length { device: 16, host: 12 });
    let zero = Error::ZeroByte { what: "the PTX", position: 1 };
    assert_eq!(context.load_module(".\0.").unwrap_err(), zero);
    // SAFETY: none of it reaches the driver.
    unsafe {
        assert_eq!(
            buffer.write_async(&stream, &[0.0; 5]).unwrap_err(),
            Error::Length { device: 16, host: 20 }
        );
        assert_eq!(buffer.read_async(&stream, &mut []).unwrap_err(), Error::Length { device: 16, host: 0 });
        assert_eq!(buffer.write_async(&foreign, &X).unwrap_err(), Error::ForeignContext);
        assert_eq!(buffer.read_async(&foreign, &mut [0.0; 4]).unwrap_err(), Error::ForeignContext);
        assert_eq!(foreign.launch(&axpy, SHAPE, &[]).unwrap_err(), Error::ForeignContext);
    }
    assert_eq!(event.record(&foreign).unwrap_err(), Error::ForeignContext);
    assert_eq!(fake::state().calls.len(), calls, "the driver was asked");

    let earlier = context.event().unwrap();
    event.record(&stream).unwrap();
    earlier.record(&stream).unwrap();
    assert_eq!(event.elapsed_since(&earlier).unwrap_err(), Error::EventOrder { milliseconds: 1.5 });
    assert_eq!(event.elapsed_since(&other.event().unwrap()).unwrap_err(), Error::ForeignContext,);
}

#[test]
fn a_device_retained_twice_is_one_context() {
    let _guard = fake::start();
    fake::set_stack(&[]);
    let device = Device::get(0).unwrap();
    let (a, b) = (device.context().unwrap(), device.context().unwrap());
    assert_eq!(a.as_raw(), b.as_raw());
    let (mut buffer, stream) = (a.alloc::<f32>(4).unwrap(), b.stream().unwrap());
    // SAFETY: the slice is static, and the stream done before the buffer is dropped.
    unsafe { buffer.write_async(&stream, &X) }.unwrap();
    stream.synchronize().unwrap();
    assert_eq!(fake::state().retained, [2, 0]);
    drop((a, b, buffer, stream));
    assert_eq!(fake::state().leaks(), [""; 0]);
    assert_eq!(fake::stack(), [0; 0]);
}

#[test]
fn handles_work_from_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<(Context, Module, Function, Stream, Event, Buffer<f32>, Device, Error)>();

    let _guard = fake::start();
    let context = Device::get(0).unwrap().context().unwrap();
    let mut buffer = context.alloc::<f32>(4).unwrap();
    buffer.write(&X).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut host = [0f32; 4];
                buffer.read(&mut host).unwrap();
                assert_eq!(host, X);
                assert_eq!(fake::stack(), [0; 0]);
            });
        }
    });
    std::thread::spawn(move || drop((buffer, context))).join().unwrap();
    assert_eq!(fake::state().leaks(), [""; 0]);
}

#[test]
fn cust_itself_runs_on_the_installed_driver() {
    let _guard = fake::start();
    cust::init(cust::CudaFlags::empty()).unwrap();
    assert_eq!(cust::device::Device::num_devices(), Ok(2));
    // Floating-point arguments, each function called for the first time.
    // SAFETY: the fake driver compares the arguments, and follows no pointer.
    unsafe {
        let handle = std::ptr::without_provenance_mut;
        assert_eq!(cust::sys::cuParamSetf(handle(11), 12, 13.5) as u32, 0);
        let texture = std::ptr::without_provenance_mut(21);
        assert_eq!(cust::sys::cuTexRefSetMipmapLevelClamp(texture, 22.5, -23.5) as u32, 0);
        assert_eq!(cust::sys::cuProfilerStart() as u32, 801, "the fake driver lacks it");
    }
}

#[test]
fn a_second_driver_is_refused() {
    let _guard = fake::start();
    // SAFETY: no function is handed out.
    assert_eq!(unsafe { driver::install(|_| None) }, Err(Error::DriverInUse));
}

//! Launches captured from a stream: nothing runs meanwhile, and everything whenever the graph does, in order.

mod common;

use common::{device, module, threads};
use warpdot_emulator::{Call, Failure, Fault, Holdings};
use warpdot_host::{Argument, Buffer, Context, Error, Function, Stream};

/// Multiplies a word by 3 and adds the argument: the order of two of them tells.
fn kernel(context: &Context) -> Function {
    let body = ".reg .b32 %r<4>; .reg .b64 %rd<2>; ld.param.u64 %rd1, [p0]; ld.param.u32 %r1, [p1];
        ld.global.u32 %r2, [%rd1]; mad.lo.u32 %r2, %r2, 3, %r1; st.global.u32 [%rd1], %r2; ret;";
    context.load_module(&module("sm_80", &["u64", "u32"], body)).unwrap().function("kernel").unwrap()
}

fn launch(stream: &Stream, kernel: &Function, word: &Buffer<u32>, plus: u32) -> Result<(), Error> {
    // SAFETY: these are the kernel's arguments, and the emulator checks every access.
    unsafe { stream.launch(kernel, threads(1), &[Argument::from(word), plus.into()]) }
}

fn read(stream: &Stream, word: &Buffer<u32>) -> u32 {
    stream.synchronize().unwrap();
    let mut out = [0];
    word.read(&mut out).unwrap();
    out[0]
}

fn name(error: &Error) -> &str {
    &error.driver().expect("the driver's error").name
}

#[test]
fn what_was_captured_runs_with_each_launch_of_the_graph() {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let (stream, other) = (context.stream().unwrap(), context.stream().unwrap());
    let kernel = kernel(&context);
    let mut word = context.alloc::<u32>(1).unwrap();
    word.write(&[1]).unwrap();
    let graph = stream
        .capture(|| {
            launch(&stream, &kernel, &word, 1)?;
            // Other streams go on.
            launch(&other, &kernel, &word, 0)?;
            launch(&stream, &kernel, &word, 2)
        })
        .unwrap();
    assert_eq!(read(&other, &word), 3, "the other stream's launch alone");
    emulated.reset_counters();
    for expected in [(3 * 3 + 1) * 3 + 2, (32 * 3 + 1) * 3 + 2] {
        // SAFETY: the kernel and the word are still there.
        unsafe { graph.launch(&other) }.unwrap();
        assert_eq!(read(&other, &word), expected);
    }
    assert_eq!(emulated.counters()[0].1.launches, 4);
    launch(&stream, &kernel, &word, 0).unwrap();
    assert_eq!(read(&stream, &word), 293 * 3, "the stream runs its work again");

    assert_eq!(emulated.holdings().graphs, 1, "the graph itself was destroyed, what it became was not");
    drop((graph, stream, other, kernel, word, context));
    assert_eq!(emulated.holdings(), Holdings::default());
}

#[test]
fn what_is_no_launch_ends_a_capture() {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let stream = context.stream().unwrap();
    let kernel = kernel(&context);
    let event = context.event().unwrap();
    let mut word = context.alloc::<u32>(1).unwrap();
    word.write(&[7]).unwrap();
    let unsupported = [
        stream.capture(|| stream.synchronize()),
        stream.capture(|| event.record(&stream)),
        // SAFETY: nothing is copied.
        stream.capture(|| unsafe { word.write_async(&stream, &[1]) }),
    ];
    for error in unsupported {
        assert_eq!(name(&error.unwrap_err()), "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED");
    }
    let swallowed = stream.capture(|| {
        assert!(stream.synchronize().is_err());
        let refused = launch(&stream, &kernel, &word, 1).unwrap_err();
        assert_eq!(name(&refused), "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED");
        Ok::<_, Error>(())
    });
    assert_eq!(name(&swallowed.unwrap_err()), "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED");
    let nested = stream.capture(|| stream.capture(|| Ok::<_, Error>(())).map(|_| ()));
    assert_eq!(name(&nested.unwrap_err()), "CUDA_ERROR_ILLEGAL_STATE");
    assert_eq!(read(&stream, &word), 7);
    assert_eq!(emulated.holdings().graphs, 0);

    // SAFETY: a graph of nothing.
    unsafe { stream.capture(|| Ok::<_, Error>(())).unwrap().launch(&stream) }.unwrap();
    assert_eq!(read(&stream, &word), 7);
}

/// A graph fails as a launch does, and its kernels as those of launches do.
#[test]
fn graphs_fail() {
    let (emulated, host) = device(9, 0);
    let context = host.context().unwrap();
    let stream = context.stream().unwrap();
    let kernel = kernel(&context);
    let word = context.alloc::<u32>(1).unwrap();
    let graph = stream.capture(|| launch(&stream, &kernel, &word, 1)).unwrap();
    emulated.inject(Fault::new(Call::Launch, 1, Failure::OutOfResources));
    // SAFETY: the kernel and the word are still there.
    let error = unsafe { graph.launch(&stream) }.unwrap_err();
    assert_eq!(name(&error), "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES");

    let address = word.as_raw();
    drop(word);
    // SAFETY: the emulator notices that the memory is gone.
    unsafe { graph.launch(&stream) }.unwrap();
    assert_eq!(name(&stream.synchronize().unwrap_err()), "CUDA_ERROR_ILLEGAL_ADDRESS");
    let report = emulated.last_report().expect("a report").to_string();
    assert!(report.contains(&format!("{address:#x}")), "{report}");
}

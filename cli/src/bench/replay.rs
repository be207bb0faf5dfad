//! Work on a GPU, many calls in a graph that is launched as one: by the device's clock, without the time that it takes
//! to launch kernels one by one.

#[cfg(feature = "cuda")]
pub(crate) use with_gpus::Replay;
#[cfg(not(feature = "cuda"))]
pub(crate) use without_gpus::Replay;

#[cfg(feature = "cuda")]
mod with_gpus {
    use std::time::Duration;
    use warpdot::{
        Device, DeviceMatrix, Error, FloatType, Options,
        cuda::{Buffer, Event, Graph, Product, Stream, Tensor, Workspace},
    };

    /// A graph of calls that go round copies of some weights.
    pub(crate) struct Replay<'a> {
        graph: Graph,
        /// Calls in the graph.
        calls: usize,
        clock: Clock,
        memory: Memory,
        /// What the graph reads.
        _weights: &'a [DeviceMatrix],
    }

    struct Clock {
        stream: Stream,
        start: Event,
        end: Event,
    }

    /// What the graph works in, besides the weights. Reading weights has no X.
    struct Memory {
        _x: Option<Buffer<f32>>,
        _scratch: Buffer<u8>,
        y: Option<Buffer<f32>>,
    }

    impl<'a> Replay<'a> {
        /// Products as the library queues them for engines, activations to be quantized included, each of them with all
        /// `m` rows of `x`, and at least so many of them as `least` says; nothing on a CPU.
        pub(crate) fn products(
            device: &Device,
            weights: &'a [DeviceMatrix],
            least: usize,
            options: &Options,
            (m, x): (usize, &[f32]),
        ) -> Result<Option<Self>, Error> {
            if device.id() == "cpu" {
                return Ok(None);
            }
            let context = device.cuda_context()?;
            let (n, k) = (weights[0].rows(), weights[0].columns());
            let mut x_buffer = context.alloc::<f32>(m * k)?;
            x_buffer.write(x)?;
            let y = context.alloc::<f32>(m * n)?;
            let scratch = context.alloc::<u8>(weights[0].workspace_bytes(m)?)?;
            let product = Product {
                options: options.clone(),
                ..Product::new(
                    Tensor::new(x_buffer.as_raw(), FloatType::F32, m, k),
                    Tensor::new(y.as_raw(), FloatType::F32, m, n),
                    workspace(&scratch),
                )
            };
            let memory = Memory { _x: Some(x_buffer), _scratch: scratch, y: Some(y) };
            Self::capture(device, weights, least, memory, |stream, weights| {
                // SAFETY: the graph's memory and weights are those of its `Replay`, whose stream alone runs it.
                unsafe { weights.enqueue(stream.as_raw(), &product) }
            })
            .map(Some)
        }

        /// Reading the same weights, and nothing else; nothing on a CPU.
        pub(crate) fn reads(
            device: &Device,
            weights: &'a [DeviceMatrix],
            least: usize,
        ) -> Result<Option<Self>, Error> {
            if device.id() == "cpu" {
                return Ok(None);
            }
            let reader = device.reader()?;
            let scratch = device.cuda_context()?.alloc::<u8>(reader.workspace_bytes(&weights[0])?)?;
            let workspace = workspace(&scratch);
            let memory = Memory { _x: None, _scratch: scratch, y: None };
            Self::capture(device, weights, least, memory, |stream, weights| {
                // SAFETY: as above.
                unsafe { reader.enqueue(stream.as_raw(), weights, workspace) }
            })
            .map(Some)
        }

        fn capture(
            device: &Device,
            weights: &'a [DeviceMatrix],
            least: usize,
            memory: Memory,
            queue: impl Fn(&Stream, &DeviceMatrix) -> Result<(), Error>,
        ) -> Result<Self, Error> {
            let context = device.cuda_context()?;
            let clock = Clock { stream: context.stream()?, start: context.event()?, end: context.event()? };
            let calls = least.next_multiple_of(weights.len());
            let graph = clock.stream.capture(|| {
                weights.iter().cycle().take(calls).try_for_each(|weights| queue(&clock.stream, weights))
            })?;
            Ok(Self { graph, calls, clock, memory, _weights: weights })
        }

        /// The time of so many calls: of whole graphs, at least as many, in proportion.
        pub(crate) fn time(&mut self, calls: usize) -> Result<Duration, Error> {
            let Clock { stream, start, end } = &self.clock;
            let launches = calls.div_ceil(self.calls);
            let queued = (|| {
                start.record(stream)?;
                for _ in 0..launches {
                    // SAFETY: whatever the graph uses is here, and nobody else uses what it writes; the stream is waited
                    // for below, whatever comes of this.
                    unsafe { self.graph.launch(stream) }?;
                }
                end.record(stream)
            })();
            let done = stream.synchronize();
            queued?;
            done?;
            Ok(end.elapsed_since(start)?.mul_f64(calls as f64 / (launches * self.calls) as f64))
        }

        /// Writes to Y on the device, or reads it.
        pub(crate) fn set_outputs(&mut self, y: &[f32]) -> Result<(), Error> {
            Ok(self.memory.y.as_mut().map_or(Ok(()), |buffer| buffer.write(y))?)
        }

        /// Y, of the last call.
        pub(crate) fn outputs(&self, y: &mut [f32]) -> Result<(), Error> {
            Ok(self.memory.y.as_ref().map_or(Ok(()), |buffer| buffer.read(y))?)
        }
    }

    fn workspace(memory: &Buffer<u8>) -> Workspace {
        Workspace { pointer: memory.as_raw(), bytes: memory.len() }
    }
}

#[cfg(not(feature = "cuda"))]
mod without_gpus {
    use std::{convert::Infallible, marker::PhantomData, time::Duration};
    use warpdot::{Device, DeviceMatrix, Error, Options};

    /// There are none: every device is a CPU.
    pub(crate) struct Replay<'a>(Infallible, PhantomData<&'a ()>);

    impl<'a> Replay<'a> {
        pub(crate) fn products(
            _: &Device,
            _: &'a [DeviceMatrix],
            _: usize,
            _: &Options,
            _: (usize, &[f32]),
        ) -> Result<Option<Self>, Error> {
            Ok(None)
        }

        pub(crate) fn reads(_: &Device, _: &'a [DeviceMatrix], _: usize) -> Result<Option<Self>, Error> {
            Ok(None)
        }

        pub(crate) fn time(&mut self, _: usize) -> Result<Duration, Error> {
            match self.0 {}
        }

        pub(crate) fn set_outputs(&mut self, _: &[f32]) -> Result<(), Error> {
            match self.0 {}
        }

        pub(crate) fn outputs(&self, _: &mut [f32]) -> Result<(), Error> {
            match self.0 {}
        }
    }
}

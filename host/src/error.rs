use crate::Launch;

/// What can go wrong between the host and the driver.
///
/// The driver reports the failure of work that runs asynchronously from whichever call comes next: any error of the
/// kind [`DriverError`] may stem from an earlier launch or copy. After some of them
/// (`CUDA_ERROR_ILLEGAL_ADDRESS`, `CUDA_ERROR_LAUNCH_FAILED` and their like) the context is lost: every later call
/// on it answers the same error, also from other users of the device in this process, until the process ends.
/// Dropping handles stays safe then, and frees what the driver lets go.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The driver's library could not be opened.
    #[error("no CUDA driver: the loader was asked for {library} and said: {reason}")]
    NoDriver {
        /// The file name that was asked for.
        library: &'static str,
        /// The loader's answer.
        reason: String,
    },
    /// A table came too late.
    #[error("a driver can be installed only once, and before the first call of the driver in this process")]
    DriverInUse,
    /// A device index past the end.
    #[error("there is no CUDA device {index}: the driver shows {count}")]
    NoSuchDevice {
        /// The index asked for.
        index: usize,
        /// The number of devices.
        count: usize,
    },
    /// The driver refused a module.
    #[error("the driver does not accept the module: {source}; its log says: {log:?}")]
    LoadModule {
        /// The driver's answer.
        source: DriverError,
        /// What its JIT compiler wrote; may be empty.
        log: String,
    },
    /// The driver did not hand out a module's function.
    #[error("the module has no usable function {name:?}: {source}")]
    NoSuchFunction {
        /// The name asked for.
        name: String,
        /// The driver's answer.
        source: DriverError,
    },
    /// Device memory could not be had.
    #[error("{bytes} bytes of device memory were not granted: {source}")]
    Allocate {
        /// The bytes asked for.
        bytes: usize,
        /// The driver's answer.
        source: DriverError,
    },
    /// A kernel was not launched.
    #[error(
        "kernel {function:?} was not launched with grid {:?}, block {:?} and {} bytes of shared memory: {source}",
        shape.grid, shape.block, shape.shared_bytes
    )]
    Launch {
        /// The kernel.
        function: Box<str>,
        /// The shape it was to be launched with.
        shape: Launch,
        /// The driver's answer.
        source: DriverError,
    },
    /// Any other call of the driver failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A buffer without bytes.
    #[error("a buffer of {len} elements of {element_bytes} bytes is empty; expected at least one byte")]
    EmptyBuffer {
        /// The number of elements.
        len: usize,
        /// The size of one.
        element_bytes: usize,
    },
    /// A buffer larger than any memory.
    #[error("a buffer of {len} elements of {element_bytes} bytes has more bytes than a usize can count")]
    BufferTooLarge {
        /// The number of elements.
        len: usize,
        /// The size of one.
        element_bytes: usize,
    },
    /// A copy between slices of different lengths.
    #[error(
        "a buffer of {device} bytes cannot be copied from or to a slice of {host} bytes; expected as many"
    )]
    Length {
        /// The size of the buffer.
        device: usize,
        /// The size of the slice.
        host: usize,
    },
    /// Text for the driver, which ends at the first zero, has a zero inside.
    #[error("{what} has a zero byte at position {position}; expected text without one")]
    ZeroByte {
        /// Which text.
        what: &'static str,
        /// Where the zero is.
        position: usize,
    },
    /// Two handles that cannot work together.
    #[error("a buffer, function, graph or event was used with a stream or event of another device's context")]
    ForeignContext,
    /// Two events in the wrong order.
    #[error(
        "the event was recorded {milliseconds} ms after the one it was said to precede; expected at most 0"
    )]
    EventOrder {
        /// By how much.
        milliseconds: f32,
    },
}

impl Error {
    /// The driver's answer, if it was the driver that failed.
    pub fn driver(&self) -> Option<&DriverError> {
        match self {
            Self::Driver(source)
            | Self::LoadModule { source, .. }
            | Self::NoSuchFunction { source, .. }
            | Self::Allocate { source, .. }
            | Self::Launch { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A driver function that answered anything but `CUDA_SUCCESS`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} answered {name} ({code}): {description}")]
#[non_exhaustive]
pub struct DriverError {
    /// The function, by the name of its symbol.
    pub call: &'static str,
    /// Its answer, a `CUresult`.
    pub code: u32,
    /// The driver's own name for the code, such as `CUDA_ERROR_OUT_OF_MEMORY`.
    pub name: Box<str>,
    /// The driver's own explanation.
    pub description: Box<str>,
}

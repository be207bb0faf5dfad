use cust::sys;

use crate::driver::{self, Owned};
use crate::{Error, Stream};

/// Work that was captured from a stream, to be queued again and again with a single call. Launched so, kernels follow
/// each other without the time that launching each of them takes.
#[derive(Debug)]
pub struct Graph {
    raw: Owned<sys::CUgraphExec>,
}

impl Stream {
    /// Makes a graph of what `queue` queues on this stream, none of which is done now.
    ///
    /// Meanwhile the stream takes nothing but work, and this thread makes no call that waits, allocates or frees: the
    /// driver refuses such calls, and the capture fails.
    ///
    /// # Errors
    /// What `queue` answers, or the driver, such as `CUDA_ERROR_STREAM_CAPTURE_INVALIDATED` after something that cannot
    /// be captured. The stream works as before in any case.
    pub fn capture<E: From<Error>>(&self, queue: impl FnOnce() -> Result<(), E>) -> Result<Graph, E> {
        driver::begin_capture(&self.raw)?;
        let queued = queue();
        let raw = driver::end_capture(&self.raw);
        queued?;
        Ok(Graph { raw: raw? })
    }
}

impl Graph {
    /// Queues the work on a stream, which need not be the one that it was captured from.
    ///
    /// # Errors
    /// [`Error::ForeignContext`], or what the driver answers.
    ///
    /// # Safety
    /// As for whatever was queued during the capture, as if it were queued now: so the memory and the modules that it
    /// uses still exist, and nothing else uses that memory. Until the stream has passed the work, this graph is not
    /// dropped.
    pub unsafe fn launch(&self, stream: &Stream) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { driver::launch_graph(&self.raw, &stream.raw) }
    }
}

//! Weights read and nothing done with them: how quick products with them could be at best.

use warpdot_host::{Argument, Buffer, CUstream, Launch};
use warpdot_kernels::launch::Family;

use super::Workspace;
use super::kernels::LoadedKernel;
use crate::device::Shape;
use crate::{Device, DeviceMatrix, Error};

/// Reads weights on a GPU, to time that beside products. Made by [`Device::reader`].
#[derive(Debug)]
pub struct Reader {
    kernel: LoadedKernel,
}

impl Device {
    /// Prepares a GPU for reading weights.
    ///
    /// # Errors
    /// [`Error::NotOnGpu`], or if the driver cannot load the kernel.
    pub fn reader(&self) -> Result<Reader, Error> {
        Ok(Reader { kernel: self.gpu()?.loader().load_only(Family::Read, None)? })
    }
}

impl Reader {
    /// How many bytes of device memory reading a matrix needs while it runs: a word for every 2 KiB.
    ///
    /// # Errors
    /// If the matrix is not on a GPU, is a slice, or has 2^36 bytes or more.
    pub fn workspace_bytes(&self, weights: &DeviceMatrix) -> Result<usize, Error> {
        Ok(sums_bytes(self.size(weights.gpu()?.words(weights.rows())?)?))
    }

    /// Queues a kernel that reads all weights of a matrix once, as they are packed (but for up to 12 bytes at their
    /// end), on a stream, and returns without waiting. A launch of that kernel is all that happens: it can be captured
    /// into a CUDA graph.
    ///
    /// The workspace then starts with [`workspace_bytes`](Self::workspace_bytes) of words, whose exclusive or is that of
    /// all words read.
    ///
    /// # Errors
    /// If the matrix is not on a GPU, is a slice, or has 2^36 bytes or more, if the workspace is too small, or if the
    /// driver refuses the launch. The failure of a kernel is reported by whoever waits for the stream.
    ///
    /// # Safety
    /// - `stream` is a stream of the primary context of the device that made this and that has the matrix, or null, its
    ///   default stream. It exists.
    /// - From this call until the stream has passed the kernel (and for a captured one, whenever the graph runs): this
    ///   reader, the matrix and the workspace exist, and nothing else accesses the workspace.
    pub unsafe fn enqueue(
        &self,
        stream: CUstream,
        weights: &DeviceMatrix,
        workspace: Workspace,
    ) -> Result<(), Error> {
        let part = weights.gpu()?;
        let words = part.words(weights.rows())?;
        let size = self.size(words)?;
        let sums = Argument::pointer(workspace.address(sums_bytes(size))?);
        let pieces = Argument::from(pieces(words) as u32); // `size` has checked that they fit
        // SAFETY: the kernel takes these arguments, reads as many pieces of the weights and writes as many sums as the
        // workspace was just checked to hold.
        unsafe { self.kernel.launch(stream, size, &[words.into(), sums, pieces]) }
    }

    fn size(&self, words: &Buffer<u32>) -> Result<Launch, Error> {
        self.kernel.size(Shape { m: 1, n: pieces(words), k: 1 })
    }
}

/// How many whole pieces of 16 bytes there are.
fn pieces(words: &Buffer<u32>) -> usize {
    words.len() / 4
}

/// A word for each warp.
fn sums_bytes(size: Launch) -> usize {
    size.grid[0] as usize * (size.block[0] / 32) as usize * size_of::<u32>()
}

//! Uploading: blocks flow to the device some tiles of rows at a time, and are packed there.

use warpdot_formats::{Format, FormatVisitor, GgmlType};
use warpdot_host::{Argument, Buffer, Stream};
use warpdot_kernels::launch::Family;
use warpdot_kernels::packed::{Packing, TILE_ROWS};

use super::device::Cuda;
use super::kernels::LoadedKernel;
use crate::device::Shape;
use crate::{Error, QuantizedMatrix};

/// Bytes of blocks that are brought to the device at once, unless a tile of rows has more.
const CHUNK_BYTES: usize = 16 << 20;

/// A matrix W\[n, k\] in the memory of a CUDA device, in the layout of [`warpdot_kernels::packed`].
pub(super) struct PackedMatrix(Buffer<u32>);

/// A chunk's place on the device before it is packed, and the stream that does so.
struct Lane {
    stream: Stream,
    blocks: Option<Buffer<u8>>,
}

impl PackedMatrix {
    /// Brings a matrix to the device. Besides its own memory this takes that of two chunks, for as long as it lasts:
    /// while one of them is packed, the other is on its way.
    pub(super) fn upload(cuda: &Cuda, matrix: &QuantizedMatrix) -> Result<Self, Error> {
        let (context, n, k) = (cuda.context(), matrix.rows(), matrix.columns());
        let kernel = cuda.loader().load_only(Family::Pack, Some(matrix.ty()))?;
        let mut packed = context.alloc(packed_words(matrix.ty(), n, k)?)?;

        let row_bytes = matrix.bytes().len() / n;
        let tiles = (CHUNK_BYTES / row_bytes / TILE_ROWS as usize).max(1);
        let chunk_rows = tiles * TILE_ROWS as usize;
        let lane = || Ok::<_, Error>(Lane { stream: context.stream()?, blocks: None });
        let mut lanes = [lane()?, lane()?];
        let queued = matrix.bytes().chunks(chunk_rows * row_bytes).enumerate().try_for_each(|(i, bytes)| {
            let Lane { stream, blocks } = &mut lanes[i % 2];
            if blocks.as_ref().is_some_and(|blocks| blocks.len() != bytes.len()) {
                stream.synchronize()?;
                *blocks = None;
            }
            let blocks = match blocks {
                Some(blocks) => blocks,
                None => blocks.insert(context.alloc(bytes.len())?),
            };
            let chunk = Shape { m: bytes.len() / row_bytes, n, k };
            // SAFETY: the blocks are whole rows of the matrix from a multiple of 32 on, and the packed ones have room
            // for all of them. Both streams are waited for below, whatever comes of this.
            unsafe { pack(&kernel, stream, bytes, blocks, &mut packed, i * chunk_rows, chunk) }
        });
        // Whatever was queued uses the buffers and the matrix: wait for it also when the rest could not be queued.
        let done = lanes.each_ref().map(|lane| lane.stream.synchronize());
        queued?;
        for done in done {
            done?;
        }
        Ok(Self(packed))
    }

    /// What kernels take.
    pub(super) fn words(&self) -> &Buffer<u32> {
        &self.0
    }
}

/// Queues the copy of m rows of blocks to the device, and their packing as those of an n x k matrix from `first` on.
///
/// # Safety
/// `bytes` and `blocks` have m rows, `first` is a multiple of 32 and the m rows end at one or at n, and `packed` has
/// room for n rows. Until the stream is done, none of them is freed or used for anything else.
unsafe fn pack(
    kernel: &LoadedKernel,
    stream: &Stream,
    bytes: &[u8],
    blocks: &mut Buffer<u8>,
    packed: &mut Buffer<u32>,
    first: usize,
    chunk: Shape,
) -> Result<(), Error> {
    let size = kernel.size(chunk)?;
    // SAFETY: the caller's.
    unsafe { blocks.write_async(stream, bytes) }?;
    // `size` has checked those of the matrix, which `first` is below.
    let sizes = [first, chunk.m, chunk.n, chunk.k].map(|size| Argument::from(size as u32));
    let arguments = [(&*blocks).into(), packed.into(), sizes[0], sizes[1], sizes[2], sizes[3]];
    // SAFETY: the kernel takes these arguments, reads m rows of blocks and writes as many of the packed ones; the
    // caller vouches for the memory.
    unsafe { kernel.launch(stream.as_raw(), size, &arguments) }
}

/// The bytes that a matrix takes once it is packed.
pub(crate) fn packed_bytes(matrix: &QuantizedMatrix) -> Result<usize, Error> {
    Ok(packed_words(matrix.ty(), matrix.rows(), matrix.columns())? * size_of::<u32>())
}

/// The words that a packed matrix has.
fn packed_words(ty: GgmlType, n: usize, k: usize) -> Result<usize, Error> {
    struct Words {
        n: u32,
        k: u32,
    }

    impl FormatVisitor for Words {
        type Output = usize;

        fn visit<F: Format>(self) -> usize {
            let packing = Packing::new::<F>(self.n, self.k);
            packing.plane_words() + packing.odd_words()
        }
    }

    // The largest n that can be rounded up to a multiple of four.
    const LARGEST: usize = u32::MAX as usize - 3;
    match [n, k].map(|size| u32::try_from(size).ok().filter(|&size| size as usize <= LARGEST)) {
        [Some(n), Some(k)] => Ok(ty.visit(Words { n, k })),
        _ => Err(Error::TooLarge { kernel: "pack", m: n, n, k }),
    }
}

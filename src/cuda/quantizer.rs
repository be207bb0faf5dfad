//! Plain numbers in device memory to blocks in device memory: a cache of keys or values, row by row.

use warpdot_formats::GgmlType;
use warpdot_host::{Argument, CUdeviceptr, CUstream};
use warpdot_kernels::launch::{Family, KERNELS};

use super::Tensor;
use super::kernels::LoadedKernel;
use super::product::check_ids;
use crate::device::Shape;
use crate::{Device, Error};

/// Rows of blocks in ggml's layout in device memory, one after the other. It owns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRows {
    /// The device address of the first block, a multiple of 2.
    pub pointer: CUdeviceptr,
    /// Rows that there is room for.
    pub rows: usize,
}

/// Quantizes rows on a GPU to one format. Made by [`Device::quantizer`].
#[derive(Debug)]
pub struct Quantizer {
    ty: GgmlType,
    kernel: LoadedKernel,
}

impl Device {
    /// Prepares a GPU for quantizing to a format: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4, Q2_K, Q3_K, Q4_K, Q5_K or Q6_K.
    ///
    /// # Errors
    /// [`Error::NotOnGpu`], [`Error::NoQuantizer`] for other formats, or if the driver cannot load the kernel.
    pub fn quantizer(&self, ty: GgmlType) -> Result<Quantizer, Error> {
        let cuda = self.gpu()?;
        if !Quantizer::types().any(|known| known == ty) {
            return Err(Error::NoQuantizer { ty, known: Quantizer::types().collect() });
        }
        let kernel = cuda.loader().load_only(Family::QuantizeRows, Some(ty))?;
        Ok(Quantizer { ty, kernel })
    }
}

impl Quantizer {
    /// The formats that there are quantizers for.
    pub fn types() -> impl Iterator<Item = GgmlType> {
        KERNELS.iter().filter(|kernel| kernel.family == Family::QuantizeRows).filter_map(|kernel| kernel.ty)
    }

    /// The format.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// Queues the quantization of `x` on a stream, and returns without waiting. A launch of one kernel is all that
    /// happens: it can be captured into a CUDA graph.
    ///
    /// Row i of `x` becomes row i of `out`; or row `ids[i]`, with as many `u32` on the device as `x` has rows: so a
    /// graph can append to a cache whose length it does not know. Rows whose id is not below the rows of `out` are
    /// left out.
    ///
    /// The blocks of finite numbers that the format can hold are, bit for bit, those of
    /// [`QuantizedMatrix::quantize`](crate::QuantizedMatrix::quantize) without importance. Where that would refuse
    /// numbers, nothing is reported: their block is unspecified, and no other is affected.
    ///
    /// # Errors
    /// If `x` does not have whole blocks in its rows or lies at an address that it cannot have; without `ids`, if
    /// `out` has not as many rows; if there are 2^32 blocks or more, or groups (of 16 or 32 weights) where the format's
    /// name ends in K; or if the driver refuses the launch. The failure of a kernel is reported by whoever waits for the
    /// stream.
    ///
    /// # Safety
    /// - `stream` is a stream of the primary context of the device that made this, or null, its default stream. It
    ///   exists.
    /// - `x`, `ids` and all rows of `out` lie in memory that the device can access.
    /// - From this call until the stream has passed the kernel (and for a captured one, whenever the graph runs):
    ///   that memory and this quantizer exist; nothing writes `x` or `ids`, and nothing else accesses the rows of
    ///   `out` that are written.
    /// - `x` and `ids` hold initialized numbers when the stream gets there, and ids below the rows of `out` differ.
    #[doc(alias = "set_rows")]
    pub unsafe fn enqueue(
        &self,
        stream: CUstream,
        x: &Tensor,
        ids: Option<CUdeviceptr>,
        out: &BlockRows,
    ) -> Result<(), Error> {
        let (m, n, k) = (x.rows, out.rows, x.columns);
        let block = self.ty.block_weights();
        if !k.is_multiple_of(block) {
            return Err(Error::PartialBlock { k, ty: self.ty, block });
        }
        match ids {
            Some(ids) => check_ids(ids)?,
            None if m == n => {}
            None => return Err(Error::Length { what: "out (rows of x)", expected: m, found: n }),
        }
        let view = x.view("x", m, k)?;
        if out.pointer == 0 || !out.pointer.is_multiple_of(2) {
            return Err(Error::DeviceAddress { what: "out", address: out.pointer, align: 2 });
        }
        if m == 0 || n == 0 || k == 0 {
            return Ok(());
        }
        let size = self.kernel.size(Shape { m, n, k })?;
        let [m, n, k] = [m, n, k].map(|size| Argument::from(size as u32)); // `size` has checked that they fit
        let (ids, out) = (Argument::pointer(ids.unwrap_or(0)), Argument::pointer(out.pointer));
        // SAFETY: the kernel takes these arguments, reads m x k numbers and, where there is a list, m ids, skips rows
        // that there are not, and writes rows of the n that the caller vouches for.
        unsafe { self.kernel.launch(stream, size, &[Argument::value(&view), ids, out, m, n, k]) }
    }
}

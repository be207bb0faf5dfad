//! Weights that were quantized elsewhere, in other layouts: GPTQ, AWQ, and int8 with a scale per row.
//!
//! Their weights are `scale * (q - zero)` with small integers `q` and `zero`, and that is what ggml's simplest
//! formats hold as well. So these layouts become blocks without being quantized again, and every kernel
//! multiplies by them:
//!
//! | layout | codes `q - zero` | format |
//! | --- | --- | --- |
//! | [`Gptq`], [`Awq`] with every zero point 8 | -8 to 7 | Q4_0 |
//! | [`Gptq`], [`Awq`] with others | -16 to 15 | Q5_0 |
//! | [`Int8`] | -128 to 127 | Q8_0 |
//!
//! The weights are exactly those of the original where its scales are half-precision numbers, as they are with
//! GPTQ and AWQ as a rule. Other scales are rounded to half precision, once: [`Imported::scale_error`] tells how
//! much that was.
//!
//! GPTQ with *act-order* groups columns from all over a row. They are sorted by group, so that each 32 have one
//! scale, and activations have to follow: see [`ColumnOrder`].
//!
//! ```
//! use warpdot::import::{Gptq, GptqZeros, Scales};
//! use warpdot::{Device, F16};
//!
//! let (n, k, group) = (8, 64, 32);
//! let imported = Gptq {
//!     n,
//!     k,
//!     group,
//!     qweight: &[0x9999_9999_u32 as i32; 64 / 8 * 8], // every q is 9,
//!     qzeros: &[0x7777_7777; 2],                      // every zero point 8: the code is 1
//!     scales: Scales::F16(&[F16::from_f32(0.5); 2 * 8]),
//!     g_idx: None,
//!     zeros: GptqZeros::MinusOne,
//! }
//! .import()?;
//! assert_eq!(imported.scale_error, 0.0);
//!
//! let w = Device::cpu().upload(&imported.matrix)?;
//! let (x, mut y) = (vec![1.0; k], vec![0.0; n]);
//! match &imported.columns {
//!     None => w.matmul(1, &x, &mut y)?,
//!     Some(order) => {
//!         let mut sorted = vec![0.0; k];
//!         order.gather(&x, &mut sorted)?;
//!         w.matmul(1, &sorted, &mut y)?;
//!     }
//! }
//! assert!((y[0] - 32.0).abs() < 0.1);
//! # Ok::<(), warpdot::Error>(())
//! ```

mod awq;
mod columns;
mod gptq;
mod groups;
mod int8;
mod nibbles;
mod scales;

pub use awq::Awq;
pub use columns::ColumnOrder;
pub use gptq::{Gptq, GptqZeros};
pub use int8::Int8;
pub use scales::Scales;

use crate::QuantizedMatrix;

/// Weights in a block format, and what else a product by them needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// W\[n, k\].
    pub matrix: QuantizedMatrix,
    /// The order of the matrix's columns, if it is not that of the original: activations are to be
    /// [gathered](ColumnOrder::gather) in it before they are multiplied.
    pub columns: Option<ColumnOrder>,
    /// The largest relative error that a scale suffered by being rounded to half precision; 0 if all weights are
    /// exactly those of the original.
    pub scale_error: f32,
}

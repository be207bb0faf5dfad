//! Operands whose format is known only at run time.

use bytemuck::PodCastError;
use warpdot_formats::Format;

use crate::Error;

pub(crate) fn expect_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// Bytes as the blocks that they are.
pub(crate) fn blocks_of_bytes<F: Format>(bytes: &[u8]) -> Result<&[F], Error> {
    bytemuck::try_cast_slice(bytes).map_err(|error| why_not::<F>(error, bytes))
}

fn why_not<F: Format>(error: PodCastError, bytes: &[u8]) -> Error {
    match error {
        PodCastError::TargetAlignmentGreaterAndInputNotAligned => {
            Error::Misaligned { address: bytes.as_ptr().addr(), ty: F::TYPE }
        }
        _ => Error::Length {
            what: "weights (whole blocks of bytes)",
            expected: bytes.len() / size_of::<F>() * size_of::<F>(),
            found: bytes.len(),
        },
    }
}

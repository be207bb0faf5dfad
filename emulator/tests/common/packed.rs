//! The layout of packed weights, written down a second time: a plain reading of its documentation.

use warpdot::QuantizedMatrix;
use warpdot_formats::{Format, FormatVisitor};

/// The words of a packed matrix, both planes.
pub(crate) fn pack(matrix: &QuantizedMatrix) -> Vec<u32> {
    matrix.ty().visit(Pack(matrix))
}

struct Pack<'a>(&'a QuantizedMatrix);

impl FormatVisitor for Pack<'_> {
    type Output = Vec<u32>;

    fn visit<F: Format>(self) -> Vec<u32> {
        let bytes = self.0.bytes();
        let (n, row_blocks, block_bytes) = (self.0.rows(), self.0.columns() / F::WEIGHTS, size_of::<F>());
        let (words, odd) = (block_bytes / 4, block_bytes % 4);
        let first_word = if F::LAYOUT.odd_start() == 0 { odd } else { 0 };
        let padded = n.next_multiple_of(4);
        let mut planes = vec![0u8; padded * row_blocks * block_bytes];
        let (word_plane, odd_plane) = planes.split_at_mut(padded * row_blocks * words * 4);
        for row in 0..n {
            for block in 0..row_blocks {
                let source = &bytes[(row * row_blocks + block) * block_bytes..][..block_bytes];
                let (tile, sixteen) = (row / 32 * 32, row / 16 * 16);
                let (tile_rows, sixteen_rows) = (32.min(padded - tile), 16.min(padded - sixteen));
                for word in 0..words {
                    let to = tile * row_blocks * words + (block * words + word) * tile_rows + row % 32;
                    word_plane[4 * to..][..4].copy_from_slice(&source[first_word + 4 * word..][..4]);
                }
                let to = sixteen * row_blocks + block * sixteen_rows + row % 16;
                odd_plane[odd * to..][..odd].copy_from_slice(&source[F::LAYOUT.odd_start()..][..odd]);
            }
        }
        planes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }
}

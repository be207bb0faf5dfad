//! Memory for packed weights, in pages as large as the system gives.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::Error;
use crate::isa::{ROWS, RowWords};

/// Lines of packed weights.
///
/// Many of them are mapped, and Linux is asked for huge pages, which it gives to those who ask: with pages of 4 KiB,
/// reading takes up to twice as long, because hardware prefetches stop at their ends and addresses are looked up so
/// often.
pub(crate) enum PackedLines {
    Heap(Vec<RowWords>),
    Mapped(MmapMut),
}

/// Fewer bytes than this, a huge page, are not worth a mapping.
const MAPPED: usize = 1 << 21;

impl PackedLines {
    /// `count` lines of zeros.
    pub(crate) fn zeroed(count: usize) -> Result<Self, Error> {
        let bytes = count.checked_mul(size_of::<RowWords>()).ok_or(Error::Memory { bytes: usize::MAX })?;
        if bytes < MAPPED {
            return Ok(Self::Heap(vec![RowWords([0; ROWS]); count]));
        }
        let map = MmapMut::map_anon(bytes).map_err(|_| Error::Memory { bytes })?;
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage); // just slower without it
        Ok(Self::Mapped(map))
    }
}

impl Deref for PackedLines {
    type Target = [RowWords];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Heap(lines) => lines,
            Self::Mapped(map) => bytemuck::cast_slice(map),
        }
    }
}

impl DerefMut for PackedLines {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Heap(lines) => lines,
            Self::Mapped(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_start_as_zeros_and_keep_what_is_written() {
        for count in [0, 1, MAPPED / size_of::<RowWords>(), 2 * MAPPED / size_of::<RowWords>() + 1] {
            let mut lines = PackedLines::zeroed(count).expect("little memory");
            assert_eq!(lines.len(), count);
            assert!(lines.iter().all(|line| line.0 == [0; ROWS]));
            for (i, line) in lines.iter_mut().enumerate() {
                line.0[i % ROWS] = i as u32;
            }
            assert!(lines.iter().enumerate().all(|(i, line)| line.0.iter().sum::<u32>() == i as u32));
        }
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        let count = (isize::MAX as usize) / size_of::<RowWords>();
        let error = PackedLines::zeroed(count).err().expect("too much");
        assert_eq!(error, Error::Memory { bytes: count * size_of::<RowWords>() });
    }
}

//! Arrays for Python: version 1.0 of [numpy's file format], two dimensions, row-major.
//!
//! [numpy's file format]: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

use crate::error::Error;
use bytemuck::Pod;
use std::{fs, io::Write, path::Path};

/// An element type of an array.
pub(crate) trait Element: Pod {
    /// numpy's name for it. Both this machine and the file are little-endian.
    const DESCR: &'static str;
}

impl Element for f32 {
    const DESCR: &'static str = "<f4";
}

impl Element for u8 {
    const DESCR: &'static str = "|u1";
}

/// The header must end on a multiple of this, as the format asks.
const ALIGNMENT: usize = 64;
const PREFIX: usize = 10;

pub(crate) fn write<T: Element>(path: &Path, [rows, columns]: [usize; 2], data: &[T]) -> Result<(), Error> {
    debug_assert_eq!(rows * columns, data.len());
    let descr = T::DESCR;
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let padding = (PREFIX + header.len() + 1).next_multiple_of(ALIGNMENT) - (PREFIX + header.len() + 1);
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');

    let write = || {
        let mut file = fs::File::create(path)?;
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.write_all(bytemuck::cast_slice(data))
    };
    write().map_err(|source| Error::Write { path: path.to_owned(), source })
}

//! Bounded reading of little-endian fields: every read names the field, so that an error can.

use crate::Error;

/// A position in the header.
///
/// Nothing is allocated on the word of the file alone: strings are borrowed before they are copied, and
/// readers of many things let their vectors grow as the things turn up, whatever [`Cursor::count`] says.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn take(&mut self, what: &'static str, len: u64) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len)).ok_or(Error::Truncated {
            what,
            offset: self.at,
            needed: len,
            available: rest.len(),
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(what, N as u64)?);
        Ok(out)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things that take at least `least` bytes each: refused where the rest of the file
    /// cannot hold them.
    pub(crate) fn count(&mut self, what: &'static str, least: usize) -> Result<usize, Error> {
        let offset = self.at;
        let count = self.u64(what)?;
        self.fits(what, count, offset, least)
    }

    /// As [`Cursor::count`], for a count that was read before, at `offset`.
    pub(crate) fn fits(
        &self,
        what: &'static str,
        count: u64,
        offset: usize,
        least: usize,
    ) -> Result<usize, Error> {
        let most = (self.bytes.len() - self.at) / least;
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(Error::Count { what, count, offset, most }),
        }
    }

    /// A string: its length, then that many bytes of UTF-8.
    pub(crate) fn string(&mut self, what: &'static str) -> Result<String, Error> {
        let len = self.u64(what)?;
        let offset = self.at;
        let text = self.take(what, len)?;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => Err(Error::Utf8 { what, offset, bad: e.valid_up_to() }),
        }
    }
}

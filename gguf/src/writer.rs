//! A file in the making.

use crate::{Error, outline::Planned};
use indexmap::IndexMap;
use std::{
    fs,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file whose tensors are being written, one after the other in the order of its
/// [`Outline`](crate::Outline).
///
/// Until [`Writer::finish`] the file is a temporary one in the folder of its path, which is as before. A writer
/// that is dropped earlier, or that fails, removes it. (A process that is killed cannot: it leaves a file called
/// `.warpdot-*.part` behind.)
#[derive(Debug)]
pub struct Writer {
    /// As given, for errors.
    path: PathBuf,
    /// Where the file will be: behind a symbolic link, if `path` is one.
    target: PathBuf,
    tensors: IndexMap<String, Planned>,
    alignment: u64,
    /// The tensor that is being written.
    index: usize,
    /// How much of it is.
    written: u64,
    /// Gone after an error.
    out: Option<BufWriter<NamedTempFile>>,
}

impl Writer {
    pub(crate) fn create(
        path: &Path,
        header: &[u8],
        tensors: IndexMap<String, Planned>,
        alignment: u32,
    ) -> Result<Self, Error> {
        let error = |source| Error::Write { path: path.to_owned(), source };
        let existing = fs::metadata(path).ok();
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        let target = match existing {
            Some(_) => fs::canonicalize(path).map_err(error)?,
            None => path.to_owned(),
        };
        let file = temporary(folder(&target)).map_err(error)?;
        if let Some(existing) = existing {
            file.as_file().set_permissions(existing.permissions()).map_err(error)?;
        }
        let mut writer = Self {
            path: path.to_owned(),
            target,
            tensors,
            alignment: alignment.into(),
            index: 0,
            written: 0,
            out: Some(BufWriter::new(file)),
        };
        writer.output(|out| out.write_all(header))?;
        writer.pad(header.len() as u64)?;
        writer.pass_complete_tensors()?;
        Ok(writer)
    }

    /// Writes the next bytes of tensor `name`: all of them, or some and the rest in later calls.
    ///
    /// # Errors
    /// If it is not this tensor's turn, it has no room for so many bytes, or the file cannot be written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let room = match self.tensors.get_index(self.index) {
            Some((next, planned)) if next == name => planned.bytes,
            next => {
                let expected = next.map_or("the end".into(), |(next, _)| format!("tensor `{next}`"));
                return Err(Error::TensorOrder { found: name.to_owned(), expected });
            }
        };
        let written = self.written.saturating_add(bytes.len() as u64);
        if written > room {
            return Err(Error::TensorBytes { name: name.to_owned(), found: written, expected: room });
        }
        self.output(|out| out.write_all(bytes))?;
        self.written = written;
        self.pass_complete_tensors()
    }

    /// Puts the complete file in its place, where it replaces whatever was there in one step: a reader finds the
    /// old file or the new one, and so does everybody after a crash. A map of the old file stays what it was.
    ///
    /// # Errors
    /// If a tensor is incomplete, or the file cannot be written.
    pub fn finish(mut self) -> Result<(), Error> {
        if let Some((name, planned)) = self.tensors.get_index(self.index) {
            let (found, expected) = (self.written, planned.bytes);
            return Err(Error::TensorBytes { name: name.clone(), found, expected });
        }
        let out = self.out.take().ok_or_else(|| self.error(failed_before()))?;
        let file = out.into_inner().map_err(|e| self.error(e.into_error()))?;
        file.as_file().sync_all().map_err(|e| self.error(e))?;
        file.persist(&self.target).map_err(|e| self.error(e.error))?;
        sync_folder(folder(&self.target)).map_err(|e| self.error(e))
    }

    /// Goes on to the next tensor that lacks bytes.
    fn pass_complete_tensors(&mut self) -> Result<(), Error> {
        while let Some((_, planned)) = self.tensors.get_index(self.index) {
            let bytes = planned.bytes;
            if self.written < bytes {
                break;
            }
            // ggml reads the padding of the last tensor, too.
            self.pad(bytes)?;
            self.index += 1;
            self.written = 0;
        }
        Ok(())
    }

    /// Fills up what is `len` bytes long to a multiple of the alignment.
    fn pad(&mut self, len: u64) -> Result<(), Error> {
        let padding = len.next_multiple_of(self.alignment) - len;
        self.output(|out| io::copy(&mut io::repeat(0).take(padding), out).map(drop))
    }

    /// Does something to the file; if that fails, the file is removed and nothing can be done to it any more.
    fn output(
        &mut self,
        act: impl FnOnce(&mut BufWriter<NamedTempFile>) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut out = self.out.take().ok_or_else(|| self.error(failed_before()))?;
        match act(&mut out) {
            Ok(()) => {
                self.out = Some(out);
                Ok(())
            }
            Err(source) => {
                drop(out.into_parts());
                Err(self.error(source))
            }
        }
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without this the buffer would be flushed to a file that is about to be removed.
        drop(self.out.take().map(BufWriter::into_parts));
    }
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier write failed")
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A new file with the permissions that any new file would get.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".warpdot-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Makes the new name outlast a crash.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

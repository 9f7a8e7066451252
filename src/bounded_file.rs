//! Reads files that a setting, a flag or the environment names.
//!
//! Anything can stand at such a path: a named pipe without a writer, a device, a file that does not end. A reader that waits for
//! them, or reads them whole, stops or takes all memory. So links are followed, opening does not wait, and only a regular file is
//! read, up to a number of bytes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::str::Utf8Error;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

/// Maximum length of a configuration, a certificate and a private key. Each has a few kilobytes.
#[cfg(feature = "server")]
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// Why a file is not read. The texts follow "cannot read PATH: ".
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it is longer than {max_bytes} bytes")]
    TooLong { max_bytes: u64 },
    #[error("it is not UTF-8")]
    NotUtf8(#[from] Utf8Error),
    #[cfg(feature = "server")]
    #[error("the pipe did not end within {} s", timeout.as_secs())]
    TooSlow { timeout: std::time::Duration },
}

/// A regular file that is open, and not longer than its limit when it was opened.
pub(crate) struct BoundedFile {
    file: File,
    metadata: Metadata,
    max_bytes: u64,
}

impl BoundedFile {
    /// Opens the file that this path leads to.
    pub(crate) fn open(path: &Path, max_bytes: u64) -> Result<Self, ReadError> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ReadError::NotRegular);
        }
        Ok(Self { file, metadata, max_bytes })
    }

    pub(crate) const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Reads the whole file. The buffer is not moved while it fills, so that no part of a secret is left behind.
    pub(crate) fn read(self) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let max_bytes = self.max_bytes;
        let too_long = ReadError::TooLong { max_bytes };
        if self.metadata.len() > max_bytes {
            return Err(too_long);
        }
        // The file may have grown since.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.metadata.len() as usize + 1));
        self.file.take(max_bytes + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max_bytes { Err(too_long) } else { Ok(bytes) }
    }
}

/// Reads the regular file that this path leads to.
#[cfg(feature = "server")]
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    BoundedFile::open(path, max_bytes)?.read()
}

/// Opens without waiting for the writer of a pipe, and without making a terminal the process's own.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(feature = "server")]
pub(crate) mod pipe {
    //! Pipes, for what is read once, as in `sealjar --config <(…)`.

    use std::io::{ErrorKind, Read};
    use std::os::unix::fs::FileTypeExt;
    use std::path::Path;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use zeroize::Zeroizing;

    use super::ReadError;
    use crate::clock::Now;

    /// Whether this path leads to a pipe.
    pub(crate) fn is_pipe(path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
    }

    /// Reads a pipe to its end, which must come within `timeout`.
    pub(crate) fn read(path: &Path, max_bytes: u64, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let mut pipe = super::open(path)?;
        if !pipe.metadata()?.file_type().is_fifo() {
            return Err(ReadError::NotRegular);
        }
        let deadline = Now::read().boot.saturating_add(timeout);
        let mut bytes = Zeroizing::new(Vec::new());
        let mut chunk = Zeroizing::new([0; 4096]);
        loop {
            let left = deadline.saturating_sub(Now::read().boot);
            let left = Timespec::try_from(left).expect("a few seconds fit");
            // A read of a pipe that nobody has opened for writing yet returns 0, as at the end; a poll waits for a writer.
            match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(ReadError::TooSlow { timeout }),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(ReadError::Io(error.into())),
            }
            match pipe.read(chunk.as_mut()) {
                Ok(0) => return Ok(bytes),
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error.into()),
            }
            if bytes.len() as u64 > max_bytes {
                return Err(ReadError::TooLong { max_bytes });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_limit_and_nothing_longer() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        for (length, fits) in [(0, true), (10, true), (11, false), (1 << 40, false)] {
            File::create(&path).and_then(|file| file.set_len(length)).expect("writes");
            let read = BoundedFile::open(&path, 10).and_then(BoundedFile::read);
            match read {
                Ok(bytes) => assert!(fits && bytes.len() as u64 == length),
                Err(error) => assert!(!fits && error.to_string() == "it is longer than 10 bytes", "{error}"),
            }
        }
    }

    #[test]
    fn refuses_a_file_that_grew_since_it_was_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "short").expect("writes");
        let file = BoundedFile::open(&path, 10).expect("opens");
        std::fs::write(&path, "longer than the limit").expect("writes");
        assert!(matches!(file.read(), Err(ReadError::TooLong { max_bytes: 10 })));
    }

    #[test]
    fn refuses_what_is_not_a_regular_file() {
        for path in ["/dev/zero", "/dev/null", "/tmp"] {
            assert!(matches!(BoundedFile::open(Path::new(path), 10), Err(ReadError::NotRegular)), "{path}");
        }
    }
}

//! Bounded reads of files whose path comes from a setting, a flag or the environment.
//!
//! Such a path can lead to a named pipe without a writer, a device, or a file without an end. An unbounded reader would wait
//! forever or use all memory.
//!
//! Invariant: opening does not block, and only a regular file is read, up to a maximum number of bytes. Symbolic links
//! are followed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::str::Utf8Error;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

/// Maximum length of a configuration file, a certificate and a private key. Usually, each has a few kilobytes.
#[cfg(feature = "server")]
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// Reason why a file cannot be read. The messages are written to follow "cannot read PATH: ".
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

/// An open regular file, and the maximum number of bytes to read.
pub(crate) struct BoundedFile {
    file: File,
    metadata: Metadata,
    max_bytes: u64,
}

impl BoundedFile {
    /// Opens the regular file at this path.
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

    /// Reads the whole file. The buffer is allocated with the size of the file and is not reallocated, because a reallocation
    /// would leave an unwiped copy of a secret in memory.
    pub(crate) fn read(self) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let max_bytes = self.max_bytes;
        let too_long = ReadError::TooLong { max_bytes };
        if self.metadata.len() > max_bytes {
            return Err(too_long);
        }
        // The file may have grown since it was opened, so the read is limited too.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.metadata.len() as usize + 1));
        self.file.take(max_bytes + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max_bytes { Err(too_long) } else { Ok(bytes) }
    }
}

/// Reads the regular file at this path.
#[cfg(feature = "server")]
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    BoundedFile::open(path, max_bytes)?.read()
}

/// Opens a file without waiting for the writer of a pipe. A terminal does not become the controlling terminal of the process.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(feature = "server")]
pub(crate) mod pipe {
    //! Bounded reads of pipes, for files that are read only once, as in `sealjar --config <(…)`.

    use std::io::{ErrorKind, Read};
    use std::os::unix::fs::FileTypeExt;
    use std::path::Path;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use zeroize::Zeroizing;

    use super::ReadError;
    use crate::clock::Now;

    /// Returns whether the file at this path is a pipe.
    pub(crate) fn is_pipe(path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
    }

    /// Reads a pipe to its end. Returns an error if the pipe does not end within `timeout`.
    pub(crate) fn read(path: &Path, max_bytes: u64, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let mut pipe = super::open(path)?;
        if !pipe.metadata()?.file_type().is_fifo() {
            return Err(ReadError::NotRegular);
        }
        let deadline = Now::read().boot.saturating_add(timeout);
        let mut bytes = Zeroizing::new(Vec::new());
        let mut chunk = Zeroizing::new([0; 4096]);
        loop {
            let remaining = deadline.saturating_sub(Now::read().boot);
            let remaining = Timespec::try_from(remaining).expect("a few seconds fit");
            // Before a writer has opened the pipe, a read returns 0, as at the end of the pipe. Therefore `poll` waits for
            // a writer first.
            match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&remaining)) {
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
    fn refuses_a_file_that_is_longer_than_the_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        for (length, is_accepted) in [(0, true), (10, true), (11, false), (1 << 40, false)] {
            File::create(&path).and_then(|file| file.set_len(length)).expect("the file is written");
            let result = BoundedFile::open(&path, 10).and_then(BoundedFile::read);
            match result {
                Ok(bytes) => assert!(is_accepted && bytes.len() as u64 == length),
                Err(error) => assert!(!is_accepted && error.to_string() == "it is longer than 10 bytes", "{error}"),
            }
        }
    }

    #[test]
    fn refuses_a_file_that_has_grown_since_it_was_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "short").expect("the file is written");
        let file = BoundedFile::open(&path, 10).expect("the file is opened");
        std::fs::write(&path, "longer than the limit").expect("the file is written");
        assert!(matches!(file.read(), Err(ReadError::TooLong { max_bytes: 10 })));
    }

    #[test]
    fn refuses_a_path_that_is_not_a_regular_file() {
        for path in ["/dev/zero", "/dev/null", "/tmp"] {
            assert!(matches!(BoundedFile::open(Path::new(path), 10), Err(ReadError::NotRegular)), "{path}");
        }
    }
}

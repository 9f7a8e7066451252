//! Ownership of new files: a new file gets the owner and group of its directory.
//!
//! A command that root runs creates files for a server that runs as another user. The server could not read files that are
//! private to root.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

const ROOT: u32 = 0;

/// Owner and group of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    gid: u32,
}

/// Error for a new file whose owner could not be changed to the owner of the directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot change the owner of a new file to the owner of the directory, the user with the id {uid}: {source}; \
     run the command as that user or as root"
)]
struct OwnerError {
    uid: u32,
    source: io::Error,
}

impl Owner {
    /// Returns the owner and group of this directory.
    pub(crate) fn of_directory(directory: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(directory)?;
        Ok(Self { uid: metadata.uid(), gid: metadata.gid() })
    }

    /// Changes the owner and group of a file that the caller has just created.
    ///
    /// If this process is not permitted to change them, this is an error only if the directory's owner cannot read the
    /// file. The directory's owner can read the file if the file already has this owner and only another group, or if
    /// the owner is root.
    ///
    /// # Errors
    /// An error whose text contains the remedy.
    pub(crate) fn give(self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        if (metadata.uid(), metadata.gid()) == (self.uid, self.gid) {
            return Ok(());
        }
        match fchown(file, Some(self.uid), Some(self.gid)) {
            Err(_) if metadata.uid() == self.uid || self.uid == ROOT => Ok(()),
            Err(source) => Err(io::Error::new(source.kind(), OwnerError { uid: self.uid, source })),
            Ok(()) => Ok(()),
        }
    }
}

/// An open directory, with a path that always leads to this directory.
///
/// Without such a path, the owner could replace the directory with a link to another directory while root waits for a
/// lock, and root would create files in the other directory.
#[derive(Debug)]
pub(crate) struct PinnedDirectory {
    path: PathBuf,
    /// Open handle that keeps `path` valid.
    _handle: File,
}

impl PinnedDirectory {
    /// Opens a directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        let handle = File::options().read(true).custom_flags(flags).open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        // Without /proc, the only path is the original one, which does not protect against a replacement.
        let path = if path.exists() { path } else { directory.to_owned() };
        Ok(Self { path, _handle: handle })
    }

    /// Returns a path that leads to this directory as long as this value exists.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the directory that contains the last component of a path.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

//! Gives new files the owner and group of the directory that they are in.
//!
//! A command that root runs makes files for a server that runs as another user. Owned by root and private, they would be of no use
//! to it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

const ROOT: u32 = 0;

/// The owner and group of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    gid: u32,
}

/// A file could not be given to its directory's owner.
#[derive(Debug, thiserror::Error)]
#[error(
    "the directory belongs to the user with the id {uid}, to whom a new file could not be given ({source}); \
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

    /// Gives this owner a file that the caller has just made. It is no error to lack the right for that if this owner can read the
    /// file anyway: because it is theirs, and only the group differs, or because they are root.
    ///
    /// # Errors
    /// An error whose text says what to do.
    pub(crate) fn give(self, file: &File) -> io::Result<()> {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) == (self.uid, self.gid) {
            return Ok(());
        }
        match fchown(file, Some(self.uid), Some(self.gid)) {
            Err(_) if made.uid() == self.uid || self.uid == ROOT => Ok(()),
            Err(source) => Err(io::Error::new(source.kind(), OwnerError { uid: self.uid, source })),
            Ok(()) => Ok(()),
        }
    }
}

/// A directory that stays the same one, whatever is put in its place meanwhile. Its owner could otherwise put a link to another
/// directory there while root waits for a lock, and have root make files in that one.
#[derive(Debug)]
pub(crate) struct PinnedDirectory {
    path: PathBuf,
    /// Keeps the path good.
    _open: File,
}

impl PinnedDirectory {
    /// Opens a directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        let open = File::options().read(true).custom_flags(flags).open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        // Without /proc there is only the name.
        let path = if path.exists() { path } else { directory.to_owned() };
        Ok(Self { path, _open: open })
    }

    /// A path that leads to this directory for as long as it is open.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The directory that a path's last name is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

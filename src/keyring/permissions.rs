//! Permission checks of a key directory and its files.
//!
//! Invariant: only the owner of the directory, the user of this process and root can add, change or replace a key. Otherwise, the
//! directory or the file is refused.
//!
//! The mode of a directory on a read-only mount is ignored. In a mounted Kubernetes Secret, for example, each key is a link to
//! a file in a directory whose mode allows everybody to write, but the mount is read-only.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, statvfs};
use rustix::io::Errno;

use super::error::{KeyFileError, RingError};
use crate::access_denied;
use crate::file_owner::directory_of;

/// Mode bits that allow writing by the group or by others.
const OTHERS_WRITE: u32 = 0o022;
const PERMISSIONS: u32 = 0o7777;

/// Returns an error if the mode of the directory allows other users than the owner to add keys.
pub(crate) fn check_directory(directory: &Path) -> Result<(), RingError> {
    let is_directory = |metadata: Metadata| if metadata.is_dir() { Ok(()) } else { Err(Errno::NOTDIR.into()) };
    let writable_mode = fs::metadata(directory)
        .and_then(is_directory)
        .and_then(|()| mode_if_writable_by_others(directory))
        .map_err(|source| RingError::Directory {
            directory: directory.to_owned(),
            source: access_denied::explain(directory, Access::READ_OK | Access::EXEC_OK, source),
        });
    match writable_mode? {
        Some(mode) => Err(RingError::WritableDirectory { directory: directory.to_owned(), mode }),
        None => Ok(()),
    }
}

/// User ids whose key files are accepted in a directory, in addition to root.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrustedOwners {
    directory: u32,
    process: u32,
}

impl TrustedOwners {
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        Ok(Self { directory: fs::metadata(directory)?.uid(), process: rustix::process::geteuid().as_raw() })
    }

    const fn contains(self, uid: u32) -> bool {
        uid == self.directory || uid == self.process || uid == 0
    }

    /// Returns an error if another user owns a key file, or can replace the target of a link at `path`.
    pub(super) fn check(self, path: &Path, file: &Metadata) -> Result<(), KeyFileError> {
        if !self.contains(file.uid()) {
            return Err(KeyFileError::UntrustedOwner {
                uid: file.uid(),
                trusted: self.directory,
                path: path.to_owned(),
            });
        }
        if fs::symlink_metadata(path)?.is_symlink() { self.check_linked(path) } else { Ok(()) }
    }

    fn check_linked(self, path: &Path) -> Result<(), KeyFileError> {
        // A second attempt, because Kubernetes may just have replaced the link.
        for directory in directories_of_links(path).or_else(|_| directories_of_links(path))? {
            let uid = fs::metadata(&directory)?.uid();
            if !self.contains(uid) {
                return Err(KeyFileError::UntrustedDirectoryOwner { directory, uid, trusted: self.directory });
            }
            if let Some(mode) = mode_if_writable_by_others(&directory)? {
                return Err(KeyFileError::WritableDirectory { directory, mode });
            }
        }
        Ok(())
    }
}

/// Returns the directories that contain the file at the end of `path` or a symbolic link on the way to it. A user who can write
/// in one of them can determine the target of the path.
fn directories_of_links(path: &Path) -> io::Result<Vec<PathBuf>> {
    /// Maximum number of links that Linux follows
    /// ([path_resolution(7)](https://man7.org/linux/man-pages/man7/path_resolution.7.html)).
    const MAX_LINKS: usize = 40;
    let mut directories = Vec::new();
    let mut directory = fs::canonicalize(directory_of(path))?;
    // Stack of the path components that are not yet resolved, the next one on top.
    let mut unresolved: Vec<OsString> = path.file_name().map(OsString::from).into_iter().collect();
    while let Some(name) = unresolved.pop() {
        let next = directory.join(&name);
        let metadata = fs::symlink_metadata(&next)?;
        if metadata.is_symlink() {
            if directories.len() == MAX_LINKS {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            directories.push(directory.clone());
            let target = fs::read_link(&next)?;
            unresolved.extend(target.components().rev().map(|component| component.as_os_str().to_owned()));
        } else if metadata.is_dir() {
            // This includes `..`. If the component is `/`, the join has replaced the whole path.
            directory = fs::canonicalize(&next)?;
        } else {
            directories.push(directory.clone());
        }
    }
    Ok(directories)
}

/// Returns the mode of a directory in which the group or others can write, or `None` for any other directory.
fn mode_if_writable_by_others(directory: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(directory)?.mode() & PERMISSIONS;
    let is_writable = mode & OTHERS_WRITE != 0 && !statvfs(directory)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(is_writable.then_some(mode))
}

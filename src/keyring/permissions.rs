//! Refuses a key directory to which somebody else could add a key: anybody but its owner, this process and root.
//!
//! The modes of what is mounted read-only do not count. Kubernetes' Secrets are such: each key there is a link to a file in a
//! directory that everybody could write, if it were not mounted so.

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

/// The group or others write.
const OTHERS_WRITE: u32 = 0o022;
const PERMISSIONS: u32 = 0o7777;

/// Returns an error if somebody other than its owner can put keys into this directory.
pub(crate) fn check_directory(directory: &Path) -> Result<(), RingError> {
    let is_directory = |metadata: Metadata| if metadata.is_dir() { Ok(()) } else { Err(Errno::NOTDIR.into()) };
    let open =
        fs::metadata(directory).and_then(is_directory).and_then(|()| mode_if_open(directory)).map_err(|source| {
            RingError::Directory {
                directory: directory.to_owned(),
                source: access_denied::explain(directory, Access::READ_OK | Access::EXEC_OK, source),
            }
        });
    match open? {
        Some(mode) => Err(RingError::OpenDirectory { directory: directory.to_owned(), mode }),
        None => Ok(()),
    }
}

/// The owners of key files that are accepted in a directory.
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

    /// Returns an error if somebody else owns a key file, or can replace what the link at `path` leads to.
    pub(super) fn check(self, path: &Path, file: &Metadata) -> Result<(), KeyFileError> {
        if !self.contains(file.uid()) {
            return Err(KeyFileError::StrangeOwner { uid: file.uid(), trusted: self.directory, path: path.to_owned() });
        }
        if fs::symlink_metadata(path)?.is_symlink() { self.check_linked(path) } else { Ok(()) }
    }

    fn check_linked(self, path: &Path) -> Result<(), KeyFileError> {
        // Once more if the link was just swapped, as Kubernetes does.
        for directory in directories_on_the_way(path).or_else(|_| directories_on_the_way(path))? {
            let uid = fs::metadata(&directory)?.uid();
            if !self.contains(uid) {
                return Err(KeyFileError::StrangeDirectory { directory, uid, trusted: self.directory });
            }
            if let Some(mode) = mode_if_open(&directory)? {
                return Err(KeyFileError::OpenDirectory { directory, mode });
            }
        }
        Ok(())
    }
}

/// The directories that hold a link on the way to a file, or the file itself. Whoever writes there decides what the path leads
/// to.
fn directories_on_the_way(path: &Path) -> io::Result<Vec<PathBuf>> {
    /// As many as Linux follows ([path_resolution(7)](https://man7.org/linux/man-pages/man7/path_resolution.7.html)).
    const MOST_LINKS: usize = 40;
    let mut found = Vec::new();
    let mut directory = fs::canonicalize(directory_of(path))?;
    let mut rest: Vec<OsString> = path.file_name().map(OsString::from).into_iter().collect();
    while let Some(name) = rest.pop() {
        let next = directory.join(&name);
        let metadata = fs::symlink_metadata(&next)?;
        if metadata.is_symlink() {
            if found.len() == MOST_LINKS {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            found.push(directory.clone());
            let target = fs::read_link(&next)?;
            rest.extend(target.components().rev().map(|component| component.as_os_str().to_owned()));
        } else if metadata.is_dir() {
            // `..` is one, and `/` replaces what was before.
            directory = fs::canonicalize(&next)?;
        } else {
            found.push(directory.clone());
        }
    }
    Ok(found)
}

/// The mode of a directory that the group or others can write.
fn mode_if_open(directory: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(directory)?.mode() & PERMISSIONS;
    let is_open = mode & OTHERS_WRITE != 0 && !statvfs(directory)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(is_open.then_some(mode))
}

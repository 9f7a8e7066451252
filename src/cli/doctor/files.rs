//! Permissions, owners and mounts of files, for the checks of `doctor`.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// Permission bit with which other users may write.
pub(super) const OTHERS_WRITE: u32 = 0o002;
/// Permission bits with which other users may read, write or enter.
pub(super) const OTHERS: u32 = 0o007;
/// Permission bit with which the group may write.
pub(super) const GROUP_WRITES: u32 = 0o020;
/// Sticky bit: in a directory with it, only the owner of a file may rename or delete the file.
const STICKY: u32 = 0o1000;

/// Returns the permission bits of a file.
pub(super) fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Whether the file system is mounted read-only, so that no user can write regardless of permissions. Directories that Kubernetes
/// or a container mounts are examples.
pub(super) fn is_mounted_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Returns the nearest directory above `path` in which every user can replace the next part of the path.
pub(super) fn open_directory_above(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let open = |directory: &&Path| mode(directory).is_ok_and(|mode| mode & OTHERS_WRITE != 0 && mode & STICKY == 0);
    path.ancestors().skip(1).find(open).filter(|open| !is_mounted_read_only(open)).map(Path::to_owned)
}

/// Returns the owner, if it is neither this user nor root. Returns `None` if this user is root, because root checks files of the
/// server's user.
pub(super) fn foreign_owner(path: &Path) -> Option<u32> {
    let me = rustix::process::geteuid();
    let owner = fs::metadata(path).ok()?.uid();
    (!me.is_root() && owner != me.as_raw() && owner != 0).then_some(owner)
}

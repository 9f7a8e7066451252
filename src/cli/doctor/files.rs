//! Who else can touch a file, and what it lies on.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// Others write.
pub(super) const OTHERS_WRITE: u32 = 0o002;
/// Others read, write or enter.
pub(super) const OTHERS: u32 = 0o007;
/// The group writes.
pub(super) const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// The bits that say who may do what.
pub(super) fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Whether nobody writes there, whatever the modes say: as in a directory that Kubernetes or a container mounts.
pub(super) fn is_mounted_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// The nearest directory above in which everybody can put another in the place of what leads to `path`.
pub(super) fn open_directory_above(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let open = |directory: &&Path| mode(directory).is_ok_and(|mode| mode & OTHERS_WRITE != 0 && mode & STICKY == 0);
    path.ancestors().skip(1).find(open).filter(|open| !is_mounted_read_only(open)).map(Path::to_owned)
}

/// The owner, if that is neither this user nor root. Root looks at the files of others.
pub(super) fn strange_owner(path: &Path) -> Option<u32> {
    let me = rustix::process::geteuid();
    let owner = fs::metadata(path).ok()?.uid();
    (!me.is_root() && owner != me.as_raw() && owner != 0).then_some(owner)
}

//! Lock on a key directory: a lock file, on which every change of the ring holds an advisory lock. Called by `rotate.rs`.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::clock::Now;
use crate::file_owner::Owner;

/// Name of the lock file. It begins with a dot, so it is never read as a key file.
pub(super) const FILE_NAME: &str = ".lock";
/// Maximum time to wait for the lock. The owner of the directory could hold it forever.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Acquires the lock, and waits while another process holds it.
pub(super) fn acquire(lock: &File) -> io::Result<()> {
    let started = Now::read().boot;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Now::read().boot.saturating_sub(started) < TIMEOUT => {
                std::thread::sleep(POLL_INTERVAL)
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "timed out: another process holds the lock {FILE_NAME}; find the process with: fuser -v {FILE_NAME}"
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }
}

/// Opens the lock file, and creates it if it is missing.
///
/// A link or a pipe with this name is an error. Otherwise, the owner of the directory could make a command of root lock another
/// file or change its owner.
pub(super) fn open(path: &Path, owner: Owner) -> io::Result<File> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(created) => match owner.give(&created) {
            Ok(()) => Ok(created),
            Err(error) => {
                fs::remove_file(path)?;
                Err(error)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
        }
        Err(error) => Err(error),
    }
}

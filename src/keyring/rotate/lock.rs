//! The lock on a key directory: a file that whoever changes the ring holds locked.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::clock::Now;
use crate::file_owner::Owner;

/// A dot-name, so it is never taken for a key.
pub(super) const NAME: &str = ".lock";
/// How long another change is waited for. The directory's owner could keep the lock for ever.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Takes the lock as soon as nobody else has it.
pub(super) fn wait(lock: &File) -> io::Result<()> {
    let began = Now::read().boot;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Now::read().boot.saturating_sub(began) < TIMEOUT => {
                std::thread::sleep(POLL)
            }
            Err(TryLockError::WouldBlock) => {
                let message =
                    format!("another command or process keeps the lock {NAME}; see who with: fuser -v {NAME}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }
}

/// Opens the lock file, and makes it if it is missing. A link or a pipe in its place is an error: whoever owns the directory could
/// otherwise have root lock, or give away, another file.
pub(super) fn open(path: &Path, owner: Owner) -> io::Result<File> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(made) => match owner.give(&made) {
            Ok(()) => Ok(made),
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

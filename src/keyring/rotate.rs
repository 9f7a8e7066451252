//! Changes of the key ring: the only code that creates, revokes or removes a key. Called by the commands and by the scheduled
//! rotation of the server.
//!
//! Invariants:
//!
//! * Every change holds a lock on the directory and reads the ring again while it holds the lock. So two operators, or an
//!   operator and the scheduled rotation, never decide from outdated key files.
//! * A key is never created because a read failed.

mod error;
mod lock;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, Mode, OFlags};

use super::error::RingError;
use super::key::{Dates, Key};
use super::permissions::check_directory;
use super::{KeyRing, file};
use crate::access_denied;
use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::file_owner::{Owner, PinnedDirectory, directory_of};
use crate::id::Kid;
use crate::secret::Secret;
pub use error::ChangeError;

/// A key directory that is locked against other changes until this value is dropped.
#[derive(Debug)]
pub struct LockedRing {
    directory: PathBuf,
    /// Open handle of the directory. It still leads to the locked directory if another directory gets the same path.
    pinned: PinnedDirectory,
    /// Owner of the directory, who also becomes the owner of every new file in it.
    owner: Owner,
    _lock: File,
}

impl LockedRing {
    /// Locks the directory. Waits for another change for at most 30 s. Creates only the lock file.
    ///
    /// # Errors
    /// [`ChangeError::Ring`] if the directory is missing or the group or others can write it. [`ChangeError::Write`] if it is
    /// read-only, if its owner cannot be made the owner of new files, or if another process holds the lock.
    pub fn lock(directory: &Path) -> Result<Self, ChangeError> {
        check_directory(directory)?;
        let lock = || -> io::Result<Self> {
            let pinned = PinnedDirectory::open(directory)?;
            let owner = Owner::of_directory(pinned.path())?;
            let path = pinned.path().join(lock::FILE_NAME);
            let explained = |error| access_denied::explain(&directory.join(lock::FILE_NAME), Access::WRITE_OK, error);
            let lock = lock::open(&path, owner).map_err(explained)?;
            lock::acquire(&lock)?;
            Ok(Self { directory: directory.to_owned(), pinned, owner, _lock: lock })
        };
        let ring = lock().map_err(|source| ChangeError::Write {
            directory: directory.to_owned(),
            source: access_denied::explain(directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, source),
        })?;
        // Checks the locked directory, because the path may lead to another directory since the first check.
        match check_directory(ring.pinned.path()) {
            Ok(()) => Ok(ring),
            Err(error) => Err(check_directory(directory).err().unwrap_or(error).into()),
        }
    }

    /// Creates the first key, which is active immediately on every node. Creates the directory (mode 0700) if it is missing.
    ///
    /// # Errors
    /// [`ChangeError::NotEmpty`] if the directory contains a key, or [`ChangeError::Ring`] if it contains a key that cannot be
    /// read. [`ChangeError::CreateDirectory`] or [`ChangeError::NotADirectory`] if the directory cannot be created.
    pub fn init(directory: &Path, max_lifetime: Duration, now: UnixTime) -> Result<Kid, ChangeError> {
        create_directory(directory)?;
        let ring = Self::lock(directory)?;
        match ring.read() {
            Err(ChangeError::Ring(RingError::Empty { .. })) => {
                Ok(ring.create_key(Some(time_passed_on_every_node(now)), max_lifetime, now)?.kid())
            }
            Ok(_) => Err(ChangeError::NotEmpty(directory.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// Reads the current ring. The lock prevents other changes.
    ///
    /// # Errors
    /// [`ChangeError::Ring`].
    pub fn read(&self) -> Result<KeyRing, ChangeError> {
        // The error should contain the path of the directory, not the path of its open handle. So the directory is loaded again
        // by its path. If the second load fails, its error is returned.
        let with_path = |error| KeyRing::load(&self.directory).err().unwrap_or(error);
        Ok(KeyRing::load(self.pinned.path()).map_err(with_path)?)
    }

    /// Publishes a new key that activates at `activates_at`. If another key activates at that second, the new key activates at
    /// the next free second, so that it seals from then on.
    ///
    /// # Errors
    /// [`ChangeError`]. An empty ring is refused, because its keys may only be temporarily missing.
    pub fn rotate(
        &self,
        activates_at: UnixTime,
        max_lifetime: Duration,
        now: UnixTime,
    ) -> Result<(Kid, UnixTime), ChangeError> {
        let activates_at = next_free_second(&self.read()?, activates_at);
        Ok((self.create_key(Some(activates_at), max_lifetime, now)?.kid(), activates_at))
    }

    /// Publishes a key without a scheduled activation, for [`LockedRing::activate`].
    ///
    /// Reuses a key that an earlier command has published and not activated, if such a key exists. A key in `refused` is not
    /// reused; these are the keys that the revocation log in the store refuses. Returns the id of the key, and whether the key
    /// is new.
    ///
    /// # Errors
    /// [`ChangeError`]. An empty ring is refused, because its keys may only be temporarily missing.
    pub fn publish(&self, refused: &[Kid], max_lifetime: Duration, now: UnixTime) -> Result<(Kid, bool), ChangeError> {
        let ring = self.read()?.with_refused_keys(refused);
        let unscheduled = ring.keys().iter().filter(|key| key.dates.activates_at.is_none() && !key.is_revoked());
        match unscheduled.max_by_key(|key| (key.dates.created_at, key.kid())) {
            Some(key) => Ok((key.kid(), false)),
            None => Ok((self.create_key(None, max_lifetime, now)?.kid(), true)),
        }
    }

    /// Activates a published key at `now`, or at the next second at which no other key activates. Returns the time of the
    /// activation. A key that already has an activation date keeps it.
    ///
    /// # Errors
    /// [`ChangeError::Revoked`], [`ChangeError::NoSuchKey`], or an error of reading or writing the ring.
    pub fn activate(&self, kid: Kid, now: UnixTime) -> Result<UnixTime, ChangeError> {
        let ring = self.read()?;
        let key = ring.keys().iter().find(|key| key.kid() == kid).ok_or(ChangeError::NoSuchKey(kid))?;
        match key.dates {
            Dates { revoked_at: Some(_), .. } => Err(ChangeError::Revoked(kid)),
            Dates { activates_at: Some(scheduled), .. } => Ok(scheduled),
            dates => {
                let activates_at = next_free_second(&ring, now);
                self.write(&Key::new(key.secret.clone(), Dates { activates_at: Some(activates_at), ..dates }))?;
                Ok(activates_at)
            }
        }
    }

    /// Begins the revocation of a key. The key itself does not change until [`KeyRevocation::finish`].
    ///
    /// With `replace`, creates a replacement with the same `max_lifetime`. The replacement opens immediately, but seals only
    /// after [`KeyRevocation::finish`]. If it sealed earlier, it would renew sessions of the old key, which would then survive
    /// the revocation. If the key is already revoked, a replacement is created only if no key can seal.
    ///
    /// `refused` are the keys that the revocation log in the store already refuses. They cannot replace the key.
    ///
    /// # Errors
    /// [`ChangeError::OnlyActive`] if no key could seal afterwards and `replace` is false.
    pub fn begin_revoking(
        self,
        kid: Kid,
        replace: bool,
        refused: &[Kid],
        now: UnixTime,
    ) -> Result<KeyRevocation, ChangeError> {
        let ring = self.read()?.with_refused_keys(refused);
        let key = ring.keys().iter().find(|key| key.kid() == kid).ok_or(ChangeError::NoSuchKey(kid))?;
        let others_seal = ring.keys().iter().any(|other| other.kid() != kid && other.may_seal(now));
        if !key.is_revoked() && !others_seal && !replace {
            return Err(ChangeError::OnlyActive(kid));
        }
        let is_to_be_revoked = key.dates.revoked_at.is_none();
        let create_replacement = || -> Result<Key, ChangeError> {
            // The replacement must activate after every key that already seals. Otherwise, that key would continue to seal.
            let sealing = ring.keys().iter().filter(|key| key.may_seal(now));
            let latest = sealing.filter_map(|key| key.dates.activates_at).max();
            let after_latest = latest.map_or(UnixTime(0), |latest| latest.plus(Duration::from_secs(1)));
            let activates_at = next_free_second(&ring, time_passed_on_every_node(now).max(after_latest));
            // Written without an activation date. `finish` writes the date.
            let replacement = self.create_key(None, key.dates.max_lifetime, now)?;
            Ok(Key::new(replacement.secret, Dates { activates_at: Some(activates_at), ..replacement.dates }))
        };
        let replacement = (replace && (is_to_be_revoked || !others_seal)).then(create_replacement).transpose()?;
        let revoked =
            is_to_be_revoked.then(|| Key::new(key.secret.clone(), Dates { revoked_at: Some(now), ..key.dates }));
        let keys_that_renewed = ring.keys_that_renewed(key, now);
        // Time of the revocation by the fastest clock of a node.
        let last_second = key.dates.revoked_at.unwrap_or(now).plus(CLOCK_SKEW);
        let has_sealed = key.dates.activates_at.is_some_and(|instant| instant <= last_second);
        let leaves_no_sealing_key = !others_seal && replacement.is_none();
        Ok(KeyRevocation { ring: self, revoked, replacement, keys_that_renewed, has_sealed, leaves_no_sealing_key })
    }

    /// Removes the keys that no live token needs: keys that were retired or revoked so long ago that all of their tokens have
    /// expired.
    ///
    /// `refused` are the keys that the revocation log in the store refuses. They do not count as replacements, so they do not
    /// retire another key.
    ///
    /// # Errors
    /// [`ChangeError`]. Keys that were removed before the error stay removed.
    pub fn prune(&self, refused: &[Kid], now: UnixTime) -> Result<Vec<Kid>, ChangeError> {
        let ring = self.read()?.with_refused_keys(refused);
        let mut removed = Vec::new();
        for key in ring.keys() {
            if ring.needed_until(key, now).is_some_and(|instant| instant < now) {
                file::remove(self.pinned.path(), key.kid()).map_err(|source| self.failed(source))?;
                removed.push(key.kid());
            }
        }
        Ok(removed)
    }

    fn create_key(
        &self,
        activates_at: Option<UnixTime>,
        max_lifetime: Duration,
        now: UnixTime,
    ) -> Result<Key, ChangeError> {
        let dates = Dates { created_at: now, activates_at, revoked_at: None, max_lifetime };
        let key = Key::new(Secret::random(), dates);
        self.write(&key)?;
        Ok(key)
    }

    fn write(&self, key: &Key) -> Result<(), ChangeError> {
        file::write(self.pinned.path(), key, self.owner).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> ChangeError {
        let source = access_denied::explain(&self.directory, Access::WRITE_OK | Access::EXEC_OK, source);
        ChangeError::Write { directory: self.directory.clone(), source }
    }
}

/// Creates a directory and its missing parents. If this process runs as root, each new directory gets the owner of its parent.
fn create_directory(directory: &Path) -> Result<(), ChangeError> {
    // For `/` and for the first component of a relative path, there is no parent to create.
    let parent = directory_of(directory);
    if directory.is_dir() {
        return Ok(());
    }
    if parent != directory {
        create_directory(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {
            let outcome = give_to_owner_of(parent, directory);
            outcome.map_err(|source| ChangeError::CreateDirectory { directory: directory.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if directory.is_dir() {
                Ok(())
            } else {
                Err(ChangeError::NotADirectory(directory.to_owned()))
            }
        }
        Err(error) => {
            let source = access_denied::explain(parent, Access::WRITE_OK | Access::EXEC_OK, error);
            Err(ChangeError::CreateDirectory { directory: directory.to_owned(), source })
        }
    }
}

/// Makes the owner of `parent` the owner of a new directory, if this process runs as root.
fn give_to_owner_of(parent: &Path, directory: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid();
    if !user.is_root() {
        return Ok(());
    }
    // The owner of the parent could have replaced the new directory meanwhile, so it must belong to root and be empty.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let created: File = rustix::fs::open(directory, flags, Mode::empty())?.into();
    let is_unchanged = created.metadata()?.uid() == user.as_raw() && fs::read_dir(directory)?.next().is_none();
    if is_unchanged { Owner::of_directory(parent)?.give(&created) } else { Err(io::ErrorKind::AlreadyExists.into()) }
}

/// A key revocation in progress.
#[derive(Debug)]
#[must_use]
pub struct KeyRevocation {
    ring: LockedRing,
    /// Key with its revocation date, to be written by `finish`. `None` if the file already has a revocation date.
    revoked: Option<Key>,
    /// Replacement with its activation date, to be written by `finish`.
    replacement: Option<Key>,
    keys_that_renewed: Vec<Kid>,
    has_sealed: bool,
    leaves_no_sealing_key: bool,
}

impl KeyRevocation {
    /// Returns the id of the replacement, or `None` if no replacement was created. It seals after [`KeyRevocation::finish`].
    pub fn replacement(&self) -> Option<Kid> {
        self.replacement.as_ref().map(Key::kid)
    }

    /// Returns the other keys that may have sealed renewed tokens of sessions of this key. These tokens survive the revocation.
    pub fn keys_that_renewed(&self) -> &[Kid] {
        &self.keys_that_renewed
    }

    /// Whether a node may have sealed with the key. If not, all sessions of this key are forged.
    pub const fn has_sealed(&self) -> bool {
        self.has_sealed
    }

    /// Whether the key file had no revocation date before.
    pub const fn is_new(&self) -> bool {
        self.revoked.is_some()
    }

    /// Whether no key can seal after the revocation.
    pub const fn leaves_no_sealing_key(&self) -> bool {
        self.leaves_no_sealing_key
    }

    /// Writes the revocation date into the file of the key, so that servers that read it open nothing with the key. Then
    /// activates the replacement.
    ///
    /// # Errors
    /// [`ChangeError::Write`].
    pub fn finish(self) -> Result<(), ChangeError> {
        self.revoked.iter().chain(&self.replacement).try_for_each(|key| self.ring.write(key))
    }
}

/// Returns a time that has passed by the clock of every node, including the slowest clock. A key with this activation date is
/// active on every node.
fn time_passed_on_every_node(now: UnixTime) -> UnixTime {
    UnixTime(now.0.saturating_sub(CLOCK_SKEW.as_secs()))
}

/// Returns the first second, from `instant` on, at which no key activates. If two keys activated at the same second, the key
/// with the greater id would seal.
fn next_free_second(ring: &KeyRing, mut instant: UnixTime) -> UnixTime {
    while ring.keys().iter().any(|key| key.dates.activates_at == Some(instant)) {
        instant = instant.plus(Duration::from_secs(1));
    }
    instant
}

//! Changing the ring: the only code that makes, revokes or removes a key.
//!
//! Every change runs under a lock on the directory and reads the ring again under it, so that two operators, or an operator
//! and the scheduled rotation, never decide from an old view. **A key is never made because a read failed.**

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

/// Reason why the ring was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The ring as it is cannot be read.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The directory cannot be written.
    #[error("cannot write in the key directory {}: {source}", directory.display())]
    Write {
        /// Key directory.
        directory: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The directory, or one above it, cannot be made.
    #[error("cannot make the directory {}: {source}", directory.display())]
    Make {
        /// The first that cannot be made.
        directory: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// A file, or a link to nothing, is where the directory or one above it should be.
    #[error("{} is not a directory, so no keys can be there", .0.display())]
    NotADirectory(PathBuf),
    /// `init` where there are keys already.
    #[error("there are keys in {} already", .0.display())]
    NotEmpty(PathBuf),
    /// No key of that id.
    #[error("there is no key {0} in the ring")]
    NoSuchKey(Kid),
    /// A key that is to seal was revoked before.
    #[error("{0} was revoked: it never seals again")]
    Revoked(Kid),
    /// Revoking it would leave no key to seal with.
    #[error("{0} is the only key that can seal: without it nobody could sign in")]
    OnlyActive(Kid),
}

/// A key directory, locked against other changes for as long as this lives.
#[derive(Debug)]
pub struct LockedRing {
    directory: PathBuf,
    /// The directory as it was when it was locked.
    pinned: PinnedDirectory,
    /// The directory's, and that of every file made in it.
    owner: Owner,
    _lock: File,
}

impl LockedRing {
    /// Locks the directory, waiting for whoever changes it now, for 30 s at most. Makes nothing but the lock file.
    ///
    /// # Errors
    /// [`ChangeError::Ring`] if the directory is missing or others can write it; [`ChangeError::Write`] if it is read-only, if
    /// new files there cannot be given to its owner, or if somebody else keeps the lock.
    pub fn lock(directory: &Path) -> Result<Self, ChangeError> {
        check_directory(directory)?;
        let lock = || -> io::Result<Self> {
            let pinned = PinnedDirectory::open(directory)?;
            let owner = Owner::of_directory(pinned.path())?;
            let path = pinned.path().join(lock::NAME);
            let named = |error| access_denied::explain(&directory.join(lock::NAME), Access::WRITE_OK, error);
            let lock = lock::open(&path, owner).map_err(named)?;
            lock::wait(&lock)?;
            Ok(Self { directory: directory.to_owned(), pinned, owner, _lock: lock })
        };
        let ring = lock().map_err(|source| ChangeError::Write {
            directory: directory.to_owned(),
            source: access_denied::explain(directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, source),
        })?;
        // Once more, because another may be in its place by now.
        match check_directory(ring.pinned.path()) {
            Ok(()) => Ok(ring),
            Err(error) => Err(check_directory(directory).err().unwrap_or(error).into()),
        }
    }

    /// Makes the directory (mode 0700) if need be, and in it the first key, active at once on every node.
    ///
    /// # Errors
    /// [`ChangeError::NotEmpty`] if it holds a key, or [`ChangeError::Ring`] if it holds one that cannot be read;
    /// [`ChangeError::Make`] or [`ChangeError::NotADirectory`] if it cannot be made.
    pub fn init(directory: &Path, max_lifetime: Duration, now: UnixTime) -> Result<Kid, ChangeError> {
        make_directory(directory)?;
        let ring = Self::lock(directory)?;
        match ring.read() {
            Err(ChangeError::Ring(RingError::Empty { .. })) => {
                Ok(ring.make(Some(everywhere(now)), max_lifetime, now)?.kid())
            }
            Ok(_) => Err(ChangeError::NotEmpty(directory.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// The ring as it is now, which no one else changes meanwhile.
    ///
    /// # Errors
    /// [`ChangeError::Ring`].
    pub fn read(&self) -> Result<KeyRing, ChangeError> {
        // What is wrong is told by the directory's own name, where it has the same fault.
        let named = |error| KeyRing::load(&self.directory).err().unwrap_or(error);
        Ok(KeyRing::load(self.pinned.path()).map_err(named)?)
    }

    /// Publishes a new key that activates at `activates_at`, or at the next second at which no other does, so that it then seals.
    ///
    /// # Errors
    /// [`ChangeError`]; an empty ring is refused, because its keys may only be out of sight.
    pub fn rotate(
        &self,
        activates_at: UnixTime,
        max_lifetime: Duration,
        now: UnixTime,
    ) -> Result<(Kid, UnixTime), ChangeError> {
        let activates_at = free_second(&self.read()?, activates_at);
        Ok((self.make(Some(activates_at), max_lifetime, now)?.kid(), activates_at))
    }

    /// Publishes a new key that is not scheduled, for [`LockedRing::activate`]. One that was published so before and left behind
    /// is taken up instead, unless it is one of `refused`, which the store's revocation log refuses; says whether there was none.
    ///
    /// # Errors
    /// [`ChangeError`]; an empty ring is refused, as by `rotate`.
    pub fn publish(&self, refused: &[Kid], max_lifetime: Duration, now: UnixTime) -> Result<(Kid, bool), ChangeError> {
        let ring = self.read()?.refusing(refused);
        let left_behind = ring.keys().iter().filter(|key| key.dates.activates_at.is_none() && !key.is_revoked());
        match left_behind.max_by_key(|key| (key.dates.created_at, key.kid())) {
            Some(key) => Ok((key.kid(), false)),
            None => Ok((self.make(None, max_lifetime, now)?.kid(), true)),
        }
    }

    /// Lets a published key seal from `now` on, or from the next second at which no other begins; returns when. A key that was
    /// scheduled meanwhile keeps its date.
    ///
    /// # Errors
    /// [`ChangeError::Revoked`], [`ChangeError::NoSuchKey`], or that the ring cannot be read or written.
    pub fn activate(&self, kid: Kid, now: UnixTime) -> Result<UnixTime, ChangeError> {
        let ring = self.read()?;
        let key = ring.keys().iter().find(|key| key.kid() == kid).ok_or(ChangeError::NoSuchKey(kid))?;
        match key.dates {
            Dates { revoked_at: Some(_), .. } => Err(ChangeError::Revoked(kid)),
            Dates { activates_at: Some(scheduled), .. } => Ok(scheduled),
            dates => {
                let activates_at = free_second(&ring, now);
                self.write(&Key::new(key.secret.clone(), Dates { activates_at: Some(activates_at), ..dates }))?;
                Ok(activates_at)
            }
        }
    }

    /// Begins to revoke a key, which until [`KeyRevocation::finish`] changes nothing about it. With `replace`, a successor is
    /// made that opens from now on and seals only then, with the lifetime of the old key. Were it to seal before, sessions of the
    /// old key would be renewed under it, and live on. For a key that was revoked before, none is made unless no key seals.
    ///
    /// `refused` are the keys that the store's revocation log refuses already: they cannot take over.
    ///
    /// # Errors
    /// [`ChangeError::OnlyActive`] if no key could seal afterwards and `replace` is not given.
    pub fn begin_revoking(
        self,
        kid: Kid,
        replace: bool,
        refused: &[Kid],
        now: UnixTime,
    ) -> Result<KeyRevocation, ChangeError> {
        let ring = self.read()?.refusing(refused);
        let key = ring.keys().iter().find(|key| key.kid() == kid).ok_or(ChangeError::NoSuchKey(kid))?;
        let others_seal = ring.keys().iter().any(|other| other.kid() != kid && other.may_seal(now));
        if !key.is_revoked() && !others_seal && !replace {
            return Err(ChangeError::OnlyActive(kid));
        }
        let is_to_be_revoked = key.dates.revoked_at.is_none();
        let make_successor = || -> Result<Key, ChangeError> {
            // After any other that took over a moment ago: else that one would go on sealing.
            let sealing = ring.keys().iter().filter(|key| key.may_seal(now));
            let latest = sealing.filter_map(|key| key.dates.activates_at).max();
            let after_latest = latest.map_or(UnixTime(0), |latest| latest.plus(Duration::from_secs(1)));
            let activates_at = free_second(&ring, everywhere(now).max(after_latest));
            let successor = self.make(None, key.dates.max_lifetime, now)?;
            Ok(Key::new(successor.secret, Dates { activates_at: Some(activates_at), ..successor.dates }))
        };
        let successor = (replace && (is_to_be_revoked || !others_seal)).then(make_successor).transpose()?;
        let revoked =
            is_to_be_revoked.then(|| Key::new(key.secret.clone(), Dates { revoked_at: Some(now), ..key.dates }));
        let renewing = ring.renewing(key, now);
        // By the fastest clock of a node.
        let last_second = key.dates.revoked_at.unwrap_or(now).plus(CLOCK_SKEW);
        let has_sealed = key.dates.activates_at.is_some_and(|instant| instant <= last_second);
        let leaves_none = !others_seal && successor.is_none();
        Ok(KeyRevocation { ring: self, revoked, successor, renewing, has_sealed, leaves_none })
    }

    /// Removes the keys that no live token can need: those retired or revoked for longer than their tokens live. `refused` are
    /// the keys that the store's revocation log refuses: a key is not retired by one of them.
    ///
    /// # Errors
    /// [`ChangeError`]; what was removed before it stays removed.
    pub fn prune(&self, refused: &[Kid], now: UnixTime) -> Result<Vec<Kid>, ChangeError> {
        let ring = self.read()?.refusing(refused);
        let mut removed = Vec::new();
        for key in ring.keys() {
            if ring.needed_until(key, now).is_some_and(|instant| instant < now) {
                file::remove(self.pinned.path(), key.kid()).map_err(|source| self.failed(source))?;
                removed.push(key.kid());
            }
        }
        Ok(removed)
    }

    fn make(&self, activates_at: Option<UnixTime>, max_lifetime: Duration, now: UnixTime) -> Result<Key, ChangeError> {
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

/// Makes a directory, and those above it that are missing. Made by root, each gets the owner of the one above.
fn make_directory(directory: &Path) -> Result<(), ChangeError> {
    // Above `/` and above a relative path there is nothing to make.
    let above = directory_of(directory);
    if directory.is_dir() {
        return Ok(());
    }
    if above != directory {
        make_directory(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {
            let give = give_to_owner_of(above, directory);
            give.map_err(|source| ChangeError::Make { directory: directory.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if directory.is_dir() {
                Ok(())
            } else {
                Err(ChangeError::NotADirectory(directory.to_owned()))
            }
        }
        Err(error) => {
            let source = access_denied::explain(above, Access::WRITE_OK | Access::EXEC_OK, error);
            Err(ChangeError::Make { directory: directory.to_owned(), source })
        }
    }
}

/// If this is root, gives a directory that was just made the owner of the one above.
fn give_to_owner_of(above: &Path, directory: &Path) -> io::Result<()> {
    let root = rustix::process::geteuid();
    if !root.is_root() {
        return Ok(());
    }
    // Whoever owns the directory above could have put something else in its place meanwhile.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made: File = rustix::fs::open(directory, flags, Mode::empty())?.into();
    let is_ours = made.metadata()?.uid() == root.as_raw() && fs::read_dir(directory)?.next().is_none();
    if is_ours { Owner::of_directory(above)?.give(&made) } else { Err(io::ErrorKind::AlreadyExists.into()) }
}

/// A key that is about to be revoked.
#[derive(Debug)]
#[must_use]
pub struct KeyRevocation {
    ring: LockedRing,
    /// The key as its file is to be; `None` if it was revoked before.
    revoked: Option<Key>,
    /// The successor as its file is to be.
    successor: Option<Key>,
    renewing: Vec<Kid>,
    has_sealed: bool,
    leaves_none: bool,
}

impl KeyRevocation {
    /// The successor that was made, if one was asked for. It seals from [`KeyRevocation::finish`] on.
    pub fn successor(&self) -> Option<Kid> {
        self.successor.as_ref().map(Key::kid)
    }

    /// The other keys under which sessions of this key may have been renewed, and live on.
    pub fn renewing(&self) -> &[Kid] {
        &self.renewing
    }

    /// Whether a node may have sealed with the key. If not, all sessions of this key are forged.
    pub const fn has_sealed(&self) -> bool {
        self.has_sealed
    }

    /// Whether its file has not revoked it before.
    pub const fn is_new(&self) -> bool {
        self.revoked.is_some()
    }

    /// Whether no key will seal.
    pub const fn leaves_none(&self) -> bool {
        self.leaves_none
    }

    /// Revokes the key in its file: whoever reads it opens nothing with it from then on. Then lets the successor seal.
    ///
    /// # Errors
    /// [`ChangeError::Write`].
    pub fn finish(self) -> Result<(), ChangeError> {
        self.revoked.iter().chain(&self.successor).try_for_each(|key| self.ring.write(key))
    }
}

/// An instant that has come by the slowest node's clock: for a key without which nothing could be sealed there.
fn everywhere(now: UnixTime) -> UnixTime {
    UnixTime(now.0.saturating_sub(CLOCK_SKEW.as_secs()))
}

/// The first second from this on at which no key begins to seal: of two that begin at once the greater id would win.
fn free_second(ring: &KeyRing, mut instant: UnixTime) -> UnixTime {
    while ring.keys().iter().any(|key| key.dates.activates_at == Some(instant)) {
        instant = instant.plus(Duration::from_secs(1));
    }
    instant
}

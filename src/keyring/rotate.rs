//! Changing the ring: the only code that makes, revokes or removes a key.
//!
//! Every change runs under a lock on the directory and reads the ring again under it, so that two operators, or an operator
//! and the scheduled rotation, never decide from an old view. **A key is never made because a read failed.**

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Dates, Key, KeyRing, RingError, file};
use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::id::Kid;
use crate::secret::Secret;

/// A dot-name, so it is never taken for a key.
const LOCK_NAME: &str = ".lock";

/// Why the ring was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The ring as it is cannot be read.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The directory cannot be written.
    #[error("cannot write in the key directory {}: {source}", directory.display())]
    Write {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
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
    _lock: File,
}

impl LockedRing {
    /// Locks the directory, waiting for whoever changes it now. Makes nothing but the lock file.
    ///
    /// # Errors
    /// [`ChangeError::Write`] if the directory is missing or read-only.
    pub fn lock(directory: &Path) -> Result<Self, ChangeError> {
        let lock = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK_NAME));
        let lock = lock.and_then(|file| file.lock().map(|()| file));
        match lock {
            Ok(lock) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(source) => Err(ChangeError::Write { directory: directory.to_owned(), source }),
        }
    }

    /// Makes the directory (mode 0700) if need be, and in it the first key, active at once on every node.
    ///
    /// # Errors
    /// [`ChangeError::NotEmpty`] if it holds a key, or [`ChangeError::Ring`] if it holds one that cannot be read.
    pub fn init(directory: &Path, max_lifetime: Duration, now: UnixTime) -> Result<Kid, ChangeError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| ChangeError::Write { directory: directory.to_owned(), source })?;
        let ring = Self::lock(directory)?;
        match ring.read() {
            Err(ChangeError::Ring(RingError::Empty { .. })) => ring.make(Some(everywhere(now)), max_lifetime, now),
            Ok(_) => Err(ChangeError::NotEmpty(directory.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// The ring as it is now, which no one else changes meanwhile.
    ///
    /// # Errors
    /// [`ChangeError::Ring`].
    pub fn read(&self) -> Result<KeyRing, ChangeError> {
        Ok(KeyRing::load(&self.directory)?)
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
        Ok((self.make(Some(activates_at), max_lifetime, now)?, activates_at))
    }

    /// Publishes a new key that is not scheduled, for [`LockedRing::activate`]. One that was published so before and left behind is
    /// taken up instead; says whether there was none.
    ///
    /// # Errors
    /// [`ChangeError`]; an empty ring is refused, as by `rotate`.
    pub fn publish(&self, max_lifetime: Duration, now: UnixTime) -> Result<(Kid, bool), ChangeError> {
        let ring = self.read()?;
        let left_behind =
            ring.keys().iter().filter(|key| key.dates.activates_at.is_none() && key.dates.revoked_at.is_none());
        match left_behind.max_by_key(|key| (key.dates.created_at, key.kid())) {
            Some(key) => Ok((key.kid(), false)),
            None => Ok((self.make(None, max_lifetime, now)?, true)),
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

    /// Revokes a key: it opens nothing from now on. With `replace`, a new key that seals at once on every node is made first, with
    /// the lifetime of the old one; its id is returned.
    ///
    /// # Errors
    /// [`ChangeError::OnlyActive`] if no key could seal afterwards and `replace` is not given.
    pub fn revoke(&self, kid: Kid, replace: bool, now: UnixTime) -> Result<Option<Kid>, ChangeError> {
        let ring = self.read()?;
        let key = ring.keys().iter().find(|key| key.kid() == kid).ok_or(ChangeError::NoSuchKey(kid))?;
        if key.dates.revoked_at.is_some() {
            return Ok(None);
        }
        let others_seal = ring.keys().iter().any(|other| other.kid() != kid && other.may_seal(now));
        if !others_seal && !replace {
            return Err(ChangeError::OnlyActive(kid));
        }
        let activates_at = free_second(&ring, everywhere(now));
        let successor = replace.then(|| self.make(Some(activates_at), key.dates.max_lifetime, now)).transpose()?;
        self.write(&Key::new(key.secret.clone(), Dates { revoked_at: Some(now), ..key.dates }))?;
        Ok(successor)
    }

    /// Removes the keys that no live token can need: those retired or revoked for longer than their tokens live.
    ///
    /// # Errors
    /// [`ChangeError`]; what was removed before it stays removed.
    pub fn prune(&self, now: UnixTime) -> Result<Vec<Kid>, ChangeError> {
        let ring = self.read()?;
        let mut removed = Vec::new();
        for key in ring.keys() {
            if ring.needed_until(key, now).is_some_and(|instant| instant < now) {
                file::remove(&self.directory, key.kid()).map_err(|source| self.failed(source))?;
                removed.push(key.kid());
            }
        }
        Ok(removed)
    }

    fn make(&self, activates_at: Option<UnixTime>, max_lifetime: Duration, now: UnixTime) -> Result<Kid, ChangeError> {
        let dates = Dates { created_at: now, activates_at, revoked_at: None, max_lifetime };
        let key = Key::new(Secret::random(), dates);
        self.write(&key)?;
        Ok(key.kid())
    }

    fn write(&self, key: &Key) -> Result<(), ChangeError> {
        file::write(&self.directory, key).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> ChangeError {
        ChangeError::Write { directory: self.directory.clone(), source }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(1000);

    fn ring_at(now: u64) -> (tempfile::TempDir, LockedRing, Kid) {
        let directory = tempfile::tempdir().expect("a directory");
        let kid = LockedRing::init(directory.path(), LIFETIME, UnixTime(now)).expect("an empty directory");
        let ring = LockedRing::lock(directory.path()).expect("writable");
        (directory, ring, kid)
    }

    #[test]
    fn init_makes_one_active_key_and_never_a_second() {
        let (directory, ring, kid) = ring_at(100);
        let slow = UnixTime(100 - CLOCK_SKEW.as_secs());
        assert_eq!(ring.read().expect("reads").sealing_key(slow).map(Key::kid), Some(kid));
        drop(ring);
        let again = LockedRing::init(directory.path(), LIFETIME, UnixTime(100));
        assert!(matches!(again, Err(ChangeError::NotEmpty(_))));
    }

    #[test]
    fn init_makes_no_key_beside_one_that_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("broken.key"), "").expect("writes");
        let outcome = LockedRing::init(directory.path(), LIFETIME, UnixTime(100));
        assert!(matches!(outcome, Err(ChangeError::Ring(RingError::KeyFile { .. }))));
    }

    #[test]
    fn rotation_refuses_an_empty_ring() {
        let directory = tempfile::tempdir().expect("a directory");
        let ring = LockedRing::lock(directory.path()).expect("writable");
        let outcome = ring.rotate(UnixTime(100), LIFETIME, UnixTime(100));
        assert!(matches!(outcome, Err(ChangeError::Ring(RingError::Empty { .. }))));
    }

    #[test]
    fn a_rotated_key_wins_even_when_it_is_to_activate_within_the_same_second() {
        let (_directory, ring, _) = ring_at(100);
        for _ in 0..8 {
            let (kid, activates_at) = ring.rotate(UnixTime(100), LIFETIME, UnixTime(100)).expect("rotates");
            assert_eq!(ring.read().expect("reads").sealing_key(activates_at).map(Key::kid), Some(kid));
        }
    }

    #[test]
    fn a_key_to_activate_at_once_is_active_although_another_will_take_over_later() {
        let (_directory, ring, _) = ring_at(100);
        let (later, _) = ring.rotate(UnixTime(9_000), LIFETIME, UnixTime(200)).expect("rotates");
        let (kid, activates_at) = ring.rotate(UnixTime(200), LIFETIME, UnixTime(200)).expect("rotates");
        let read = ring.read().expect("reads");
        assert_eq!(activates_at, UnixTime(200));
        assert_eq!(read.sealing_key(UnixTime(200)).map(Key::kid), Some(kid));
        assert_eq!(read.sealing_key(UnixTime(9_000)).map(Key::kid), Some(later));
    }

    #[test]
    fn a_key_published_without_a_date_opens_and_seals_only_once_it_is_activated() {
        let (_directory, ring, first) = ring_at(100);
        let (kid, made) = ring.publish(LIFETIME, UnixTime(200)).expect("publishes");
        let read = ring.read().expect("reads");
        assert!(made && read.opening_key(kid).is_ok());
        assert_eq!(read.sealing_key(UnixTime(u64::MAX)).map(Key::kid), Some(first));
        assert_eq!(ring.prune(UnixTime(u64::MAX)).expect("prunes"), [], "it waits for as long as need be");
        assert_eq!(ring.activate(kid, UnixTime(300)).expect("activates"), UnixTime(300));
        let read = ring.read().expect("reads");
        assert_eq!(read.sealing_key(UnixTime(299)).map(Key::kid), Some(first));
        assert_eq!(read.sealing_key(UnixTime(300)).map(Key::kid), Some(kid));
        assert_eq!(ring.activate(kid, UnixTime(400)).expect("is active"), UnixTime(300), "once is enough");
    }

    #[test]
    fn a_key_activated_within_the_same_second_as_another_seals_all_the_same() {
        for _ in 0..8 {
            let (_directory, ring, _) = ring_at(100);
            ring.rotate(UnixTime(100), LIFETIME, UnixTime(100)).expect("rotates");
            let (kid, _) = ring.publish(LIFETIME, UnixTime(100)).expect("publishes");
            let activates_at = ring.activate(kid, UnixTime(100)).expect("activates");
            assert_eq!(activates_at, UnixTime(101));
            assert_eq!(ring.read().expect("reads").sealing_key(activates_at).map(Key::kid), Some(kid));
        }
    }

    #[test]
    fn a_key_left_behind_is_taken_up_unless_it_was_revoked_or_scheduled() {
        let (_directory, ring, _) = ring_at(100);
        let (left, _) = ring.publish(LIFETIME, UnixTime(200)).expect("publishes");
        ring.rotate(UnixTime(9_000), LIFETIME, UnixTime(300)).expect("rotates");
        assert_eq!(ring.publish(LIFETIME, UnixTime(300)).expect("takes up"), (left, false));
        ring.revoke(left, false, UnixTime(400)).expect("revokes");
        assert!(matches!(ring.activate(left, UnixTime(400)), Err(ChangeError::Revoked(_))));
        let (other, made) = ring.publish(LIFETIME, UnixTime(400)).expect("publishes");
        assert!(made && other != left);
        ring.activate(other, UnixTime(500)).expect("activates");
        assert!(ring.publish(LIFETIME, UnixTime(500)).expect("publishes").1);
        assert!(matches!(ring.activate(Kid::from_bytes([0; 8]), UnixTime(500)), Err(ChangeError::NoSuchKey(_))));
    }

    #[test]
    fn publishing_refuses_an_empty_ring() {
        let directory = tempfile::tempdir().expect("a directory");
        let ring = LockedRing::lock(directory.path()).expect("writable");
        let outcome = ring.publish(LIFETIME, UnixTime(100));
        assert!(matches!(outcome, Err(ChangeError::Ring(RingError::Empty { .. }))));
    }

    #[test]
    fn the_only_active_key_is_revoked_only_with_a_replacement() {
        let (_directory, ring, kid) = ring_at(100);
        assert!(matches!(ring.revoke(kid, false, UnixTime(110)), Err(ChangeError::OnlyActive(_))));
        let successor = ring.revoke(kid, true, UnixTime(110)).expect("revokes");
        let read = ring.read().expect("reads");
        assert_eq!(read.sealing_key(UnixTime(110)).map(Key::kid), successor);
        assert!(read.opening_key(kid).is_err());
        assert!(matches!(ring.revoke(Kid::from_bytes([0; 8]), true, UnixTime(110)), Err(ChangeError::NoSuchKey(_))));
    }

    #[test]
    fn prunes_a_retired_key_once_its_last_token_is_dead_and_not_a_second_earlier() {
        let (_directory, ring, old) = ring_at(100);
        ring.rotate(UnixTime(200), LIFETIME, UnixTime(100)).expect("rotates");
        let dead = 200 + LIFETIME.as_secs() + CLOCK_SKEW.as_secs();
        assert_eq!(ring.prune(UnixTime(dead)).expect("prunes"), []);
        assert_eq!(ring.prune(UnixTime(dead + 1)).expect("prunes"), [old]);
        assert_eq!(ring.prune(UnixTime(u64::MAX)).expect("prunes"), [], "the active one stays");
    }

    #[test]
    fn prunes_no_key_of_endless_lifetime() {
        let directory = tempfile::tempdir().expect("a directory");
        LockedRing::init(directory.path(), Duration::from_secs(u64::MAX), UnixTime(100)).expect("an empty directory");
        let ring = LockedRing::lock(directory.path()).expect("writable");
        ring.rotate(UnixTime(200), LIFETIME, UnixTime(100)).expect("rotates");
        assert_eq!(ring.prune(UnixTime(9_000_000_000)).expect("prunes"), []);
    }
}

//! The revocation list: the sessions, accounts and keys that the server must refuse. It is the only server-side state of
//! sessions, and it is in memory.
//!
//! An entry refuses one session, or all sessions of an account below a generation. One more number, the global generation,
//! refuses all older sessions of all accounts. Entries are only added, and are removed when the tokens that they refuse have
//! expired ([`retention`]). So the list is a [grow-only
//! set](https://en.wikipedia.org/wiki/Conflict-free_replicated_data_type) with expiries: an entry that is delivered twice,
//! late or out of order changes nothing. An entry has one of these states, and refuses in each of them:
//!
//! * *pending*: this process refuses the session, and has not yet committed the entry.
//! * *durable*: this process has committed the entry in time ([`retention::MAX_COMMIT_DURATION`]). Only a durable entry lets a
//!   logout succeed without another commit.
//! * *logged*: this process has read the entry from the log. The commit of the entry may have been too late, and then its
//!   expiry is too early. The process that wrote such an entry commits it again, but a reader cannot detect a late commit:
//!   the age of a row counts from its insertion, but the time limit of the commit begins earlier. So a logout that finds a
//!   logged entry commits its own entry, at most once in each process.
//!
//! An entry can also refuse a key. Such entries are never removed, and are applied to the key ring
//! ([`crate::session::Sessions`]).
//!
//! A check reads memory only. `pruned_through` is the time up to which expired entries were removed. A token that expired
//! before that time must never be valid again, even if the wall clock is set back. So the current time never counts as earlier
//! than `pruned_through`.
//!
//! `session/verify.rs` reads the list. `sync/follower.rs` and `sync/committer.rs` add entries from the store's log and from
//! logouts.

mod bloom;
mod entry;
pub mod retention;
mod rollback;
mod subjects;
mod table;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Now, UnixTime, milliseconds};
use crate::id::{Kid, Sid};
pub use entry::Entry;
use rollback::Rollback;
use subjects::Subjects;
use table::SessionTable;

/// Treatment of sessions while the list is older than [`Freshness::max_staleness`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// Sessions are refused, so that a revoked session is never accepted (fail closed).
    Refuse,
    /// Sessions are accepted. A session that another node has revoked may be accepted here until the list is read again (fail
    /// open).
    Allow,
}

/// Maximum age of the list, and the treatment of sessions when it is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Maximum time since the start of the last successful poll of the store.
    pub max_staleness: Duration,
    /// Treatment of sessions after that time.
    pub when_stale: WhenStale,
}

/// The revocation list.
#[derive(Debug)]
pub struct RevocationList {
    /// Durable and logged entries for sessions.
    sessions: SessionTable,
    pending_sessions: SessionTable,
    subjects: Subjects,
    keys: Mutex<Vec<Kid>>,
    /// Length of `keys`, which only grows.
    key_count: AtomicUsize,
    /// Number of pending sessions, including those that are being added. It is almost always 0, and then `pending_sessions`
    /// is not read.
    pending: AtomicUsize,
    global_generation: AtomicU64,
    rollback: Rollback,
    pruned_through: AtomicU64,
    /// Boot clock at the start of the last successful poll, in milliseconds; 0 before the first poll.
    synced: AtomicU64,
    freshness: Freshness,
}

impl RevocationList {
    /// Creates an empty list that has never been read from the store.
    pub fn new(freshness: Freshness) -> Self {
        Self {
            sessions: SessionTable::large(),
            pending_sessions: SessionTable::small(),
            subjects: Subjects::new(),
            keys: Mutex::new(Vec::new()),
            key_count: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            global_generation: AtomicU64::new(0),
            rollback: Rollback::default(),
            pruned_through: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            freshness,
        }
    }

    /// Returns whether a session is refused: by its id, by the generation of its account, or by the global generation.
    pub fn refuses(&self, sid: Sid, sub: &str, account_generation: u64, global_generation: u64) -> bool {
        self.refuses_session(sid) || self.refuses_generation(sub, account_generation, global_generation)
    }

    /// Returns whether the account generation or the global generation of this subject's sessions is refused.
    pub fn refuses_generation(&self, sub: &str, account_generation: u64, global_generation: u64) -> bool {
        global_generation < self.global_generation.load(Ordering::Acquire)
            || self.refuses_account(sub, account_generation)
    }

    /// Returns whether this account generation of the subject is refused. The global generation is not considered.
    pub fn refuses_account(&self, sub: &str, account_generation: u64) -> bool {
        self.subjects.get(sub).is_some_and(|entry| account_generation < entry.below)
    }

    /// Returns whether there is an entry for this session id.
    pub(crate) fn refuses_session(&self, sid: Sid) -> bool {
        // Pending entries are checked first: an entry that becomes durable meanwhile is added to `sessions` before it is
        // removed from `pending_sessions`.
        (self.pending.load(Ordering::Acquire) > 0 && self.pending_sessions.contains(sid)) || self.sessions.contains(sid)
    }

    /// Returns whether this process has committed an entry for this session in time.
    pub fn is_durable(&self, sid: Sid) -> bool {
        self.sessions.is_durable(sid)
    }

    /// Returns whether this process has committed in time an entry that refuses the subject's generations below `below`.
    pub fn is_durable_below(&self, sub: &str, below: u64) -> bool {
        self.subjects.get(sub).is_some_and(|entry| entry.durable >= below)
    }

    /// Refuses a session from now on, before the store has committed the entry.
    ///
    /// Returns whether the caller must commit the entry, because it was neither pending nor durable before. Of several calls
    /// for one session, exactly one returns `true`.
    pub fn add_pending(&self, sid: Sid, keep_until: UnixTime) -> bool {
        self.pending.fetch_add(1, Ordering::AcqRel);
        let is_new = self.pending_sessions.add(sid, keep_until, false);
        if !is_new {
            self.pending.fetch_sub(1, Ordering::AcqRel);
        }
        // An entry that becomes durable meanwhile is added to `sessions` before it is removed from `pending_sessions`.
        let is_durable = self.sessions.is_durable(sid);
        if is_durable {
            // The commit of the durable entry has ended, so nothing else would remove the pending entry.
            self.remove_pending(sid);
        }
        is_new && !is_durable
    }

    /// Removes the pending entry of a session that has a durable entry.
    fn remove_pending(&self, sid: Sid) {
        if self.pending_sessions.remove(sid) {
            self.pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Refuses a subject's generations below `below` from now on, before the store has committed the entry. Returns whether
    /// an entry of the subject did not yet refuse all of them.
    pub fn add_pending_below(&self, sub: &str, below: u64) -> bool {
        let mut is_new = false;
        self.subjects.raise(sub, |current| {
            is_new = current.below < below;
            current.below = current.below.max(below);
            current.requested = current.requested.max(below);
        });
        is_new
    }

    /// Adds an entry that this process has committed in time. The entry is no longer pending.
    pub fn add_durable(&self, entry: &Entry) {
        self.add(entry, true);
        if let Entry::Session { sid, .. } = entry {
            self.remove_pending(*sid);
        }
    }

    /// Adds an entry that was read from the log. A pending entry stays pending, because the row may come from a late
    /// commit of the same entry.
    pub fn add_logged(&self, entry: &Entry) {
        self.add(entry, false);
    }

    /// Adds an entry. Two entries for the same session or subject are merged: the higher generation and the later expiry win.
    fn add(&self, entry: &Entry, durable: bool) {
        match entry {
            Entry::Session { sid, expires_at } => {
                self.sessions.add(*sid, *expires_at, durable);
            }
            Entry::Subject { sub, below, expires_at } => self.subjects.raise(sub, |current| {
                current.below = current.below.max(*below);
                if durable {
                    current.durable = current.durable.max(*below);
                }
                current.expires_at = current.expires_at.max(*expires_at);
            }),
            Entry::Key { kid } => {
                let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                if !keys.contains(kid) {
                    keys.push(*kid);
                    self.key_count.store(keys.len(), Ordering::Release);
                }
            }
        }
    }

    /// Returns the keys that are refused regardless of their files, in the order in which they were added to this list.
    pub fn refused_keys(&self) -> Vec<Kid> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of refused keys. It only grows, so a caller that has applied this many refusals has applied all of
    /// them.
    pub fn refused_key_count(&self) -> usize {
        self.key_count.load(Ordering::Acquire)
    }

    /// Returns whether a key is refused regardless of its file.
    pub fn refuses_key(&self, kid: Kid) -> bool {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).contains(&kid)
    }

    /// Returns whether the list already refuses everything that the entry refuses.
    pub fn refuses_entry(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Session { sid, .. } => self.refuses_session(*sid),
            Entry::Subject { sub, below, .. } => self.subjects.get(sub).is_some_and(|current| current.below >= *below),
            Entry::Key { kid } => self.refuses_key(*kid),
        }
    }

    /// Refuses every token whose global generation is lower than this.
    pub fn raise_global_generation(&self, generation: u64) {
        self.global_generation.fetch_max(generation, Ordering::AcqRel);
    }

    /// Returns the global generation. Tokens with a lower global generation are refused.
    pub fn global_generation(&self) -> u64 {
        self.global_generation.load(Ordering::Acquire)
    }

    /// Returns the evidence that the store was rolled back.
    pub(crate) const fn rollback(&self) -> &Rollback {
        &self.rollback
    }

    /// Returns the time to compare with deadlines: the wall clock, but never earlier than `pruned_through`.
    pub fn time(&self, now: Now) -> UnixTime {
        now.wall.max(UnixTime(self.pruned_through.load(Ordering::Acquire)))
    }

    /// Raises `pruned_through`: from now on, the current time never counts as earlier than `instant`.
    pub fn raise_pruned_through(&self, instant: UnixTime) {
        self.pruned_through.fetch_max(instant.0, Ordering::AcqRel);
    }

    /// Removes the entries that expired before `instant`, without a lock over the whole list.
    ///
    /// The store must have recorded this `pruned_through` before. It is raised here before any entry is removed, so that no
    /// token is valid after the entry that refuses it has been removed.
    pub fn prune(&self, instant: UnixTime) {
        self.raise_pruned_through(instant);
        self.sessions.prune(instant);
        self.subjects.prune(instant);
        self.pending.fetch_sub(self.pending_sessions.prune(instant), Ordering::AcqRel);
    }

    /// Resizes the Bloom filters for the present length of the list. Called once after the list is loaded; later, pruning
    /// does it.
    pub fn resize_filters(&self) {
        self.sessions.rebuild_filter();
        self.subjects.rebuild_filter();
    }

    /// Records a successful poll of the store that began at `started`.
    pub fn mark_synced(&self, started: Now) {
        self.synced.fetch_max(milliseconds(started.boot), Ordering::AcqRel);
    }

    /// Returns the maximum age of the list, and the treatment of sessions when it is exceeded.
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Returns the time since the last successful poll began, or [`Duration::MAX`] before the first poll.
    pub fn staleness(&self, now: Now) -> Duration {
        match self.synced.load(Ordering::Acquire) {
            0 => Duration::MAX,
            synced => Duration::from_millis(milliseconds(now.boot).saturating_sub(synced)),
        }
    }

    /// Returns whether sessions may be accepted: the list is current, or the configuration allows a stale list.
    pub fn may_accept_sessions(&self, now: Now) -> bool {
        self.freshness.when_stale == WhenStale::Allow || self.is_current(now)
    }

    /// Returns whether the list is within its maximum age, regardless of [`Freshness::when_stale`].
    ///
    /// A session begins only while the list is current. So a server that was suspended first reads the entries that were
    /// added meanwhile, and records its lifetimes and its clock in the store.
    pub fn is_current(&self, now: Now) -> bool {
        self.staleness(now) <= self.freshness.max_staleness
    }

    /// Returns whether a login may still use data that was read from the store at `read`.
    ///
    /// The maximum age of the list is also the maximum age of the data. With older data, the login could begin a session that
    /// an entry must refuse, because that entry may have been removed meanwhile.
    pub fn is_recent(&self, read: Now, now: Now) -> bool {
        now.boot.saturating_sub(read.boot) <= self.freshness.max_staleness
    }

    /// Returns the number of refused sessions, including pending ones. A pending session whose late commit was read from the
    /// log counts twice until it is committed in time.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.pending_sessions.len()
    }

    /// Returns the number of refused sessions whose entry this process has not yet committed in time.
    pub fn pending(&self) -> usize {
        self.pending_sessions.len()
    }

    /// Returns whether no session is refused by its id.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

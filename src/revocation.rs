//! What the server must refuse: the only server-side state of a session, and it is in memory.
//!
//! There are entries for one session and for all sessions of an account below a generation, and one generation for everybody.
//! The list only grows, and its entries die with the tokens they refuse ([`retention`]), so that delivering an entry twice, late
//! or out of order changes nothing. An entry is one of these, and each of them refuses:
//!
//! * *pending*: this process refuses the session, and must still get the entry committed.
//! * *durable*: this process has committed the entry in time ([`retention::COMMITTED_WITHIN`]). Only such an entry lets a logout
//!   succeed without another commit.
//! * *logged*: the entry was read from the log. Its commit may have come too late, so that it may be thrown away too early, and
//!   whoever wrote it commits it again. A reader cannot tell: a row's age counts from the writing of the row, and the time for
//!   the commit from before it. So a logout that meets such an entry commits one of its own, at most once in each process.
//!
//! An entry may refuse a key instead. Such entries stay for ever, and are applied to the key ring ([`crate::session::Sessions`]).
//!
//! Checking reads memory only. `pruned_through` is the instant up to which entries have been thrown away: no token that died
//! before it may ever live again, whatever the wall clock does, so time never counts as earlier than that.

mod entry;
mod marks;
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
use table::Table;

/// What to do with a session when the list has not been brought up to date for longer than [`Freshness::max_staleness`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// Refuse it: nobody is let in on old knowledge.
    Refuse,
    /// Accept it: a session revoked elsewhere may live on here until the list is read again.
    Allow,
}

/// How old the list may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// The longest time since the start of the last successful poll of the store.
    pub max_staleness: Duration,
    /// What happens after it.
    pub when_stale: WhenStale,
}

/// The list.
#[derive(Debug)]
pub struct RevocationList {
    sessions: Table,
    pending_sessions: Table,
    subjects: Subjects,
    keys: Mutex<Vec<Kid>>,
    /// Length of `keys`, which only grows.
    key_count: AtomicUsize,
    /// How many pending sessions there are or are about to be: almost always none, and then their map is not looked into.
    pending: AtomicUsize,
    global_generation: AtomicU64,
    rollback: Rollback,
    pruned_through: AtomicU64,
    /// The boot clock, in milliseconds, at the start of the last successful poll; 0 before the first.
    synced: AtomicU64,
    freshness: Freshness,
}

impl RevocationList {
    /// An empty list, never brought up to date.
    pub fn new(freshness: Freshness) -> Self {
        Self {
            sessions: Table::large(),
            pending_sessions: Table::small(),
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

    /// Whether a session is refused: by itself, or with its account's or everybody's sign-ins of that generation.
    pub fn refuses(&self, sid: Sid, sub: &str, account_generation: u64, global_generation: u64) -> bool {
        self.refuses_session(sid) || self.refuses_generation(sub, account_generation, global_generation)
    }

    /// Whether this subject's sign-ins in these generations were ended.
    pub fn refuses_generation(&self, sub: &str, account_generation: u64, global_generation: u64) -> bool {
        global_generation < self.global_generation.load(Ordering::Acquire)
            || self.refuses_account(sub, account_generation)
    }

    /// Whether this subject's sign-ins in this generation were ended, the store's generation aside.
    pub fn refuses_account(&self, sub: &str, account_generation: u64) -> bool {
        self.subjects.get(sub).is_some_and(|entry| account_generation < entry.below)
    }

    /// Whether this session is refused by itself.
    pub(crate) fn refuses_session(&self, sid: Sid) -> bool {
        // Pending first: an entry that settles meanwhile is in `sessions` before it leaves `pending_sessions`.
        (self.pending.load(Ordering::Acquire) > 0 && self.pending_sessions.contains(sid)) || self.sessions.contains(sid)
    }

    /// Whether this process has committed an entry for this session in time.
    pub fn is_durable(&self, sid: Sid) -> bool {
        self.sessions.is_durable(sid)
    }

    /// Whether this process has committed in time that this subject's generations below `below` are dead.
    pub fn is_durable_below(&self, sub: &str, below: u64) -> bool {
        self.subjects.get(sub).is_some_and(|entry| entry.durable >= below)
    }

    /// Refuses a session from now on, before the store has committed the entry. Returns whether the entry was neither pending nor
    /// durable before, so that it must be committed: of several calls for one session exactly one is told so.
    pub fn add_pending(&self, sid: Sid, keep_until: UnixTime) -> bool {
        self.pending.fetch_add(1, Ordering::AcqRel);
        let is_new = self.pending_sessions.add(sid, keep_until, false);
        if !is_new {
            self.pending.fetch_sub(1, Ordering::AcqRel);
        }
        // An entry that settles meanwhile is in `sessions` before it leaves `pending_sessions`.
        let is_durable = self.sessions.is_durable(sid);
        if is_durable {
            // Its commit is over, so nothing else would take the pending entry away.
            self.settle(sid);
        }
        is_new && !is_durable
    }

    /// Takes away the pending entry of a session that has a durable one.
    fn settle(&self, sid: Sid) {
        if self.pending_sessions.remove(sid) {
            self.pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Refuses a subject's lower generations from now on, before the store has committed the entry. Returns whether one of them was
    /// not refused before by an entry of the subject.
    pub fn add_pending_below(&self, sub: &str, below: u64) -> bool {
        let mut is_new = false;
        self.subjects.raise(sub, |held| {
            is_new = held.below < below;
            held.below = held.below.max(below);
            held.asked = held.asked.max(below);
        });
        is_new
    }

    /// Takes an entry that this process has committed in time. It is not pending any more.
    pub fn add_durable(&self, entry: &Entry) {
        self.add(entry, true);
        if let Entry::Session { sid, .. } = entry {
            self.settle(*sid);
        }
    }

    /// Takes an entry that was read from the log. A pending one stays pending: what was read may be its commit that came too late.
    pub fn add_logged(&self, entry: &Entry) {
        self.add(entry, false);
    }

    /// Of two entries for the same thing the wider and longer one holds.
    fn add(&self, entry: &Entry, durable: bool) {
        match entry {
            Entry::Session { sid, expires_at } => {
                self.sessions.add(*sid, *expires_at, durable);
            }
            Entry::Subject { sub, below, expires_at } => self.subjects.raise(sub, |held| {
                held.below = held.below.max(*below);
                if durable {
                    held.durable = held.durable.max(*below);
                }
                held.expires_at = held.expires_at.max(*expires_at);
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

    /// The keys that are refused, whatever their files say, in the order in which this list learned of them.
    pub fn refused_keys(&self) -> Vec<Kid> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many keys are refused. The number only grows, so whoever has applied this many refusals has applied all.
    pub fn refused_key_count(&self) -> usize {
        self.key_count.load(Ordering::Acquire)
    }

    /// Whether a key is refused, whatever its file says.
    pub fn refuses_key(&self, kid: Kid) -> bool {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).contains(&kid)
    }

    /// Whether what the entry refuses is refused already, by it or by another.
    pub fn holds(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Session { sid, .. } => self.refuses_session(*sid),
            Entry::Subject { sub, below, .. } => self.subjects.get(sub).is_some_and(|held| held.below >= *below),
            Entry::Key { kid } => self.refuses_key(*kid),
        }
    }

    /// Refuses every token of a lower global generation.
    pub fn raise_global_generation(&self, generation: u64) {
        self.global_generation.fetch_max(generation, Ordering::AcqRel);
    }

    /// The generation of which a token must be at least.
    pub fn global_generation(&self) -> u64 {
        self.global_generation.load(Ordering::Acquire)
    }

    /// Whether the store was rolled back.
    pub(crate) const fn rollback(&self) -> &Rollback {
        &self.rollback
    }

    /// The instant to hold against deadlines: the wall clock, but never before `pruned_through`.
    pub fn time(&self, now: Now) -> UnixTime {
        now.wall.max(UnixTime(self.pruned_through.load(Ordering::Acquire)))
    }

    /// Lets time never count as earlier than `instant`.
    pub fn raise_pruned_through(&self, instant: UnixTime) {
        self.pruned_through.fetch_max(instant.0, Ordering::AcqRel);
    }

    /// Throws away what expired before `instant`, one small shard at a time. Only after the store has recorded
    /// `pruned_through`: time is moved before anything goes, so that no token outlives an entry that is gone.
    pub fn prune(&self, instant: UnixTime) {
        self.raise_pruned_through(instant);
        self.sessions.prune(instant);
        self.subjects.prune(instant);
        self.pending.fetch_sub(self.pending_sessions.prune(instant), Ordering::AcqRel);
    }

    /// Brings what a check looks at first to the list's length, as pruning does: once the list is loaded.
    pub fn fit(&self) {
        self.sessions.fit_marks();
        self.subjects.fit_marks();
    }

    /// Notes a successful poll of the store that began at `started`.
    pub fn mark_synced(&self, started: Now) {
        self.synced.fetch_max(milliseconds(started.boot), Ordering::AcqRel);
    }

    /// How old it may be, and what happens after that.
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// How long ago the last successful poll began; for ever, before the first.
    pub fn staleness(&self, now: Now) -> Duration {
        match self.synced.load(Ordering::Acquire) {
            0 => Duration::MAX,
            synced => Duration::from_millis(milliseconds(now.boot).saturating_sub(synced)),
        }
    }

    /// Whether sessions may be accepted on what the list knows.
    pub fn may_be_trusted(&self, now: Now) -> bool {
        self.freshness.when_stale == WhenStale::Allow || self.is_current(now)
    }

    /// Whether the list is no older than it may be, whatever happens if it is. Only then sessions begin: a server that has slept
    /// hears first what it missed, and tells the store what it seals and where its clock is.
    pub fn is_current(&self, now: Now) -> bool {
        self.staleness(now) <= self.freshness.max_staleness
    }

    /// Whether a sign-in may act on what the store said when it was asked at `read`. However the list may lag, a sign-in may
    /// not lag further, else it would begin a session that was ended so long ago that the entry is gone.
    pub fn is_recent(&self, read: Now, now: Now) -> bool {
        now.boot.saturating_sub(read.boot) <= self.freshness.max_staleness
    }

    /// How many sessions are refused, pending ones included. One whose late commit was read from the log counts twice until it is
    /// committed in time.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.pending_sessions.len()
    }

    /// How many sessions are refused whose entry this process has yet to commit in time.
    pub fn pending(&self) -> usize {
        self.pending_sessions.len()
    }

    /// Whether no session is refused one by one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

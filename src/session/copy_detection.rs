//! Copy detection: notices that two holders use the same session cookie, without a table of all sessions.
//!
//! Invariant: a single browser is never logged out. The proof below has the conditions. Called by `verify.rs` for tokens that
//! are due for renewal.
//!
//! *Idea.* Each renewal replaces a token (the *parent*) with a new token (its *child*). A browser has one cookie store. Once it
//! has presented the child, it does not present the parent again. If the parent is presented again, there is a copy of the
//! cookie.
//!
//! For each token chain, a node remembers one token R: the newest token that was presented to this node and whose response
//! could renew it. The node compares R with each verified token T that is due. *n* is the number of renewals of a token. The
//! first row that applies gives the verdict:
//!
//! | condition | verdict |
//! |---|---|
//! | there is no R, or T.n > R.n + 1: only other nodes received the tokens in between | R := T; renew |
//! | T.n = R.n, T.link = R.link: the response was lost, or requests ran in parallel | renew |
//! | T.n = R.n + 1, T.parent = R.link: T is the child of R | R := T; renew |
//! | T.n = R.n, T.parent = R.parent: T and R are siblings: responses arrived in another order | R := T, `since` stays; renew |
//! | T.n = R.n − 1, T.link = R.parent, at most 90 s after `since`: the request with T was delayed | accept, do not renew |
//! | anything else | **copy** |
//!
//! `since` is the boot clock at the time when R reached its n. "R := T" is done only if this response may renew T
//! ([`RenewalWindow`](super::lifetime::RenewalWindow)). Otherwise, if one of two siblings arrives minutes late, two nodes could
//! each remember a different sibling. If the verdict is a copy, the whole session ends.
//!
//! Let I be the renewal interval ([`Deadlines::renewal_interval`](super::lifetime::Deadlines::renewal_interval)) and S the
//! clock skew. Let D be an upper limit for two periods that begin when a request is sent: until a node judges its token, and,
//! if the response sets the cookie, until the response arrives.
//!
//! *Claim.* If 2 D + S < I, a single browser is not logged out.
//!
//! *Proof.* Generation n is the set of the tokens with n renewals. We prove by induction that only one token of each generation
//! is ever presented when it is due. Generation 0 has only one token. Let P be the token of generation n that is presented when
//! due.
//!
//! 1. Let t be the time of the first request with P whose response renews P and arrives. The response arrives by t + D,
//!    and puts a child of P into the cookie store. After that, the browser does not send P again. So no request with P is sent
//!    after t + D, and by t + 2 D every child of P has arrived or is lost.
//! 2. Let C be the child that is in the cookie store at t + 2 D. C stays there until it is renewed, for two reasons: no other
//!    child arrives, and no other child was renewed, because no child is due before t + I − S by the clock of any node. So C is
//!    the only token of generation n + 1 that is presented when due. P is not presented after that, because all requests with P
//!    have been judged by t + 2 D.
//!
//! So T is R itself (second row), or the child of R (third row). If only other nodes received the tokens in between, T has at
//! least two more renewals than R (first row). None of these rows ends the session, and the other rows are not needed. ∎
//!
//! *Other methods.* The response to another method than GET and HEAD renews only in the last third of the idle timeout. It may
//! arrive later than t + D, because a proxy holds it back until an upload has ended. Let t + U be the time at which it arrives,
//! and C' its token. C' is then a sibling of a token that other requests have renewed meanwhile. The fourth row accepts C'
//! while R does not have more renewals than C'. This is the case until the grandchild of P is presented when due: at t + 2 I −
//! S at the earliest. So U must be less than 2 I − S, which is 9 minutes. An upload can begin as late as t + D, while the
//! response to another request with P is in transit. So the upload itself may take D less: 7 minutes. And C' must not arrive
//! while a response that renews the sibling of C' is in transit. Otherwise both siblings would have children, and the child of
//! the sibling that is not R would fit no row.
//!
//! If the response does not set the cookie, the request may also be judged later than t + D, because a proxy may collect an
//! upload before it sends the verification request. The fifth row accepts P until 90 s after C was presented when due, that is
//! at least until t + I − S + 90 s.
//!
//! *Application data.* A response that replaces application data puts P into the cookie store again if P was not due when that
//! response was sealed. If P was due, it is judged again, and the response contains a child. A node with a slow clock may
//! consider P not due for up to S longer, so S counts twice. And there must be a time in each renewal interval without a
//! response that replaces data. Siblings whose responses always overlap could replace each other in the cookie store until they
//! are due, and step 2 would not hold.
//!
//! If these bounds are exceeded, the rows for siblings and for delayed requests still accept most of the tokens.
//!
//! *Two holders.* Both holders present a token T0 and renew it. The second row cannot distinguish them. Their tokens of
//! generation 1 are siblings, which the fourth row accepts. Their tokens of generation 2 have different parents, and only one
//! of these parents was R. So on one node, the copy is noticed at the third renewal of both holders at the latest. A holder who
//! does not renew presents a token that is older than R, and the last row applies to it after the grace period at the latest.
//!
//! A node that has forgotten R, or never had it, notices the copy later or not at all. It never ends a session because R is
//! missing.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::claims::Claims;
use super::lifetime::Lifetime;
use crate::clock::Now;
use crate::id::{Chain, IdHasher, Link};

/// Default memory limit of copy detection, in bytes. It is enough for about 700,000 sessions that are in use at the same time.
pub const DEFAULT_MEMORY_BYTES: usize = 64 << 20;

/// Minimum renewal interval for copy detection. With a shorter one, an ordinary delay could end a session.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(3 * 60);

/// Time for which a delayed request with a parent token is accepted after the child was presented.
const PARENT_GRACE_PERIOD: Duration = Duration::from_secs(90);

/// Verdict on a token that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The token is accepted and may be renewed.
    Renew,
    /// The token is accepted, but must not be renewed.
    Keep,
    /// The token proves that there is a copy of the cookie.
    Copy,
}

/// Facts that this node remembers about a token, in 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    renewals: u32,
    /// Boot clock, in seconds, at the time when the chain reached this number of renewals on this node.
    since: u32,
    link: Link,
    parent: Link,
}

/// Applies the table in the module documentation. Returns the verdict, and the new record if it changes.
fn judge(newest: Option<Record>, token: Record) -> (Verdict, Option<Record>) {
    let Some(newest) = newest else { return (Verdict::Renew, Some(token)) };
    let is_in_grace_period = u64::from(token.since.saturating_sub(newest.since)) <= PARENT_GRACE_PERIOD.as_secs();
    match i64::from(token.renewals) - i64::from(newest.renewals) {
        2.. => (Verdict::Renew, Some(token)),
        0 if token.link == newest.link => (Verdict::Renew, None),
        1 if token.parent == newest.link => (Verdict::Renew, Some(token)),
        0 if token.parent == newest.parent => (Verdict::Renew, Some(Record { since: newest.since, ..token })),
        -1 if token.link == newest.parent && is_in_grace_period => (Verdict::Keep, None),
        _ => (Verdict::Copy, None),
    }
}

/// Whether copy detection checks sessions with this lifetime.
pub fn is_possible(lifetime: Lifetime) -> bool {
    lifetime.idle < lifetime.absolute && is_long_enough(lifetime.renewal_interval())
}

/// Whether the renewal interval is long enough for copy detection.
pub(super) fn is_long_enough(renewal_interval: Duration) -> bool {
    renewal_interval >= MIN_RENEWAL_INTERVAL
}

/// Newest token of each chain on this node: the R of the table in the module documentation.
///
/// The records are only in memory, and their number is limited. If records are removed, copies are noticed later.
#[derive(Debug)]
pub(super) struct Chains {
    shards: Box<[Mutex<Shard>]>,
    memory_limit: usize,
    remembered: AtomicUsize,
    dropped: AtomicU64,
}

/// Memory usage of copy detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Number of chains that are remembered.
    pub chains: usize,
    /// Maximum number of chains. Chains may be dropped when more than half of this number are remembered.
    pub capacity: usize,
    /// Number of chains that were dropped because of the memory limit.
    pub dropped: u64,
}

type Table = HashMap<Chain, Record, BuildHasherDefault<IdHasher>>;

/// Two generations of a map. When the newer map is full, it becomes the older map, and the previous older map is dropped. So a
/// chain is remembered as long as it is presented at least once while the newer map fills.
#[derive(Debug, Default)]
struct Shard {
    newer: Table,
    older: Table,
}

/// Number of slots in a table of the maximum size.
const TABLE_SLOTS: usize = 1024;
/// Maximum number of entries in a table. A `HashMap` uses at most seven eighths of its slots.
const TABLE_CAPACITY: usize = TABLE_SLOTS / 8 * 7;
/// Memory of a full shard in bytes. Each slot has an entry and one control byte.
const SHARD_BYTES: usize = 2 * TABLE_SLOTS * (size_of::<(Chain, Record)>() + 1) + size_of::<Mutex<Shard>>() + 64;

impl Chains {
    /// Creates as many shards as fit into `memory_limit` bytes, but at least one (82 KiB).
    pub(super) fn new(memory_limit: usize) -> Self {
        let shards = (memory_limit / SHARD_BYTES).max(1);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            memory_limit,
            remembered: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Judges a verified token that is due, and remembers it if the response may renew it.
    #[cold]
    pub(super) fn judge(&self, claims: &Claims<'_>, may_renew: bool, now: Now) -> Verdict {
        // There are minutes between two renewals, so `u32::MAX` renewals take thousands of years.
        let Ok(renewals) = u32::try_from(claims.renewals) else { return Verdict::Renew };
        let since = u32::try_from(now.boot.as_secs()).unwrap_or(u32::MAX);
        let token = Record { renewals, since, link: claims.link, parent: claims.parent };
        self.judge_record(claims.chain, token, may_renew)
    }

    fn judge_record(&self, chain: Chain, token: Record, may_renew: bool) -> Verdict {
        let mut shard = self.shard(chain).lock().unwrap_or_else(PoisonError::into_inner);
        let newest = shard.newer.get(&chain).or_else(|| shard.older.get(&chain)).copied();
        let (verdict, next) = judge(newest, token);
        if let Some(record) = next.filter(|_| may_renew).or(newest) {
            let before = shard.len();
            self.dropped.fetch_add(shard.put(chain, record) as u64, Ordering::Relaxed);
            // The difference wraps around if the shard has fewer records than before. The sum is still correct.
            self.remembered.fetch_add(shard.len().wrapping_sub(before), Ordering::Relaxed);
        }
        verdict
    }

    /// Returns the shard of a chain. It depends on the last four bytes of the id, because the hash table uses the first eight.
    fn shard(&self, chain: Chain) -> &Mutex<Shard> {
        let [.., a, b, c, d] = *chain.as_bytes();
        &self.shards[u32::from_le_bytes([a, b, c, d]) as usize % self.shards.len()]
    }

    /// Returns the memory limit in bytes.
    pub(super) const fn memory_limit(&self) -> usize {
        self.memory_limit
    }

    pub(super) fn usage(&self) -> MemoryUsage {
        MemoryUsage {
            chains: self.remembered.load(Ordering::Relaxed),
            capacity: self.shards.len() * 2 * TABLE_CAPACITY,
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Shard {
    fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Stores a record in the newer map. Returns the number of records that were dropped to free memory.
    fn put(&mut self, chain: Chain, record: Record) -> usize {
        self.older.remove(&chain);
        let mut dropped = 0;
        if self.newer.len() == TABLE_CAPACITY && !self.newer.contains_key(&chain) {
            dropped = std::mem::replace(&mut self.older, std::mem::take(&mut self.newer)).len();
        }
        self.newer.insert(chain, record);
        dropped
    }
}

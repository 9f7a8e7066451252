//! Copy detection: notices that two holders use one cookie, and does it without a session table.
//!
//! *Idea.* A browser has one cookie jar. Once it has presented the child of a token, the token itself does not come back. If it
//! does, somebody else has a copy.
//!
//! Each node remembers R, the newest token of each chain that was presented to it when its answer could renew it. It looks at R
//! for every verified token that is due. T is that token; *n* is its number of renewals. The first row that fits decides:
//!
//! | case | verdict |
//! |---|---|
//! | there is no R, or n > R.n + 1: other nodes saw the tokens between | R := T; renew |
//! | n = R.n, link = R.link: the answer was lost, or requests ran in parallel | renew |
//! | n = R.n + 1, parent = R.link: the child | R := T; renew |
//! | n = R.n, parent = R.parent: siblings, because answers overtook each other | R := T, `since` stays; renew |
//! | n = R.n − 1, link = R.parent, at most 90 s after `since`: it was on its way | accept, do not renew |
//! | anything else | **copy** |
//!
//! `since` is the boot clock when R reached its n. "R := T" holds only if this answer may renew T
//! ([`RenewalWindow`](super::lifetime::RenewalWindow)): otherwise two siblings, of which one arrived minutes late, could each be
//! remembered on another node. On a copy the whole session ends.
//!
//! Let I be the renewal interval ([`Deadlines::renewal_interval`](super::lifetime::Deadlines::renewal_interval)), S the clock skew,
//! and D the longest time from the sending of a request until a node judges its token; and, if the answer sets the cookie, until the
//! answer arrives.
//!
//! *Claim.* If 2 D + S < I, no lone browser is signed out.
//!
//! *Proof.* The tokens with n renewals are generation n. By induction, only one token of each generation is ever presented when
//! due. Generation 0 is one token. Let P be that token of generation n.
//!
//! 1. Let t be the time of the first request with P whose answer renews and arrives. It arrives by t + D, and puts a child of P
//!    into the jar. After that, P does not come back. So no request carries P after t + D, and every child of P has arrived by
//!    t + 2 D, or is lost.
//! 2. Let C be the child that is in the jar then. It stays there until it is renewed: no other child arrives, and no other child
//!    was renewed, because none is due before t + I − S by the clock of any node. So C is the only token of generation n + 1 that
//!    is presented when due, and P is not presented after that: all requests that carry P have been judged by t + 2 D.
//!
//! So T is R itself (second row), the child of R (third row), or, if only other nodes saw the tokens between, a token with at least
//! two more renewals (first row). None of these rows ends the session, and the others are not needed. ∎
//!
//! *Other methods.* An answer to them renews in the last third of the idle time only, and may arrive later than D after the
//! request, at t + U: a proxy keeps it until an upload has ended. Its token C' is then the sibling of a token that others have
//! renewed meanwhile. The fourth row accepts C' while R has no more renewals than C', that is until the grandchild of P is presented
//! when due: at t + 2 I − S at the earliest. So U < 2 I − S, which is 9 minutes. An upload can begin at t + D, while the answer of
//! another request with P is on its way. Such an upload itself may take D less: 7 minutes. And C' must not arrive while an answer
//! that renews its sibling is on its way. Both would have children, and the child of the one that is not R fits no row.
//!
//! If the answer does not set the cookie, the request may be judged later than D, too: a proxy collects an upload before it asks.
//! The fifth row accepts P until 90 s after C was presented when due, that is until t + I − S + 90 s at least.
//!
//! *Application data.* An answer that replaces data brings P back if P was not due when it was sealed; if P was due, it is judged
//! again, and the answer has a child. A node with a slow clock may call P not due for S longer, so S counts twice. And the answers
//! with new data must leave a pause in each interval: siblings whose answers always overlap can replace each other in the jar until
//! they are due, which breaks step 2.
//!
//! Beyond these bounds, the rows for siblings and for tokens on their way still forgive most.
//!
//! *Two holders.* Both present T0 and renew it: the second row cannot tell them apart, and their tokens of generation 1 are
//! siblings, which the fourth row accepts. Their tokens of generation 2 have different parents, and only one of these parents was
//! R. So on one node the copy is noticed at the third renewal of both at the latest. A holder who does not renew presents a token
//! that is older than R.
//!
//! A node that has lost R, or never had it, notices later or not at all. It never ends a session for that.

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

/// Memory for copy detection, in bytes, where nothing else is set: enough for some 700,000 sessions that are in use at the same
/// time.
pub const DEFAULT_MEMORY: usize = 64 << 20;

/// Shortest renewal interval at which copies are looked for: with a shorter one, an ordinary delay could end a session.
const MIN_INTERVAL: Duration = Duration::from_secs(3 * 60);

/// Time during which a token that was on its way is accepted after its child was presented.
const STRAGGLER_TIME: Duration = Duration::from_secs(90);

/// Verdict on a token that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Renew,
    /// Accept the token, and do not renew it.
    Keep,
    Copy,
}

/// A token as this node remembers it: 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    renewals: u32,
    /// Boot clock in seconds when the chain reached this number of renewals here.
    since: u32,
    link: Link,
    parent: Link,
}

/// The table above. Returns the verdict, and what to remember if that changes.
fn judge(newest: Option<Record>, token: Record) -> (Verdict, Option<Record>) {
    let Some(newest) = newest else { return (Verdict::Renew, Some(token)) };
    let was_on_its_way = u64::from(token.since.saturating_sub(newest.since)) <= STRAGGLER_TIME.as_secs();
    match i64::from(token.renewals) - i64::from(newest.renewals) {
        2.. => (Verdict::Renew, Some(token)),
        0 if token.link == newest.link => (Verdict::Renew, None),
        1 if token.parent == newest.link => (Verdict::Renew, Some(token)),
        0 if token.parent == newest.parent => (Verdict::Renew, Some(Record { since: newest.since, ..token })),
        -1 if token.link == newest.parent && was_on_its_way => (Verdict::Keep, None),
        _ => (Verdict::Copy, None),
    }
}

/// Whether copies are looked for in sessions with this lifetime.
pub fn is_possible(lifetime: Lifetime) -> bool {
    lifetime.idle < lifetime.absolute && is_long_enough(lifetime.renewal_interval())
}

/// Whether copies are looked for in sessions with this renewal interval.
pub(super) fn is_long_enough(renewal_interval: Duration) -> bool {
    renewal_interval >= MIN_INTERVAL
}

/// The newest token of each chain that was presented to this node when its answer could renew it. In memory only, and bounded:
/// losing it loses detection for a while.
#[derive(Debug)]
pub(super) struct Chains {
    shards: Box<[Mutex<Shard>]>,
    memory: usize,
    held: AtomicUsize,
    dropped: AtomicU64,
}

/// How much copy detection remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Number of chains that are remembered.
    pub chains: usize,
    /// Maximum of that number. From half of it on, chains can be dropped.
    pub capacity: usize,
    /// Number of chains that were dropped for lack of memory.
    pub dropped: u64,
}

type Table = HashMap<Chain, Record, BuildHasherDefault<IdHasher>>;

/// Two generations of a map. When the newer one is full, it becomes the older one, and the older one is dropped. So a chain stays
/// if it is presented once while the newer map fills.
#[derive(Debug, Default)]
struct Shard {
    newer: Table,
    older: Table,
}

/// Places in a table at its largest. At most seven eighths are in use.
const PLACES: usize = 1024;
const TABLE_CAPACITY: usize = PLACES / 8 * 7;
/// Memory of a full shard: each place has an entry and one byte of the table's own.
const SHARD_BYTES: usize = 2 * PLACES * (size_of::<(Chain, Record)>() + 1) + size_of::<Mutex<Shard>>() + 64;

impl Chains {
    /// With this many bytes at most, but at least one shard (82 KiB).
    pub(super) fn new(memory: usize) -> Self {
        let shards = (memory / SHARD_BYTES).max(1);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            memory,
            held: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Judges a verified token that is due, and remembers it if its answer may renew it.
    #[cold]
    pub(super) fn judge(&self, claims: &Claims<'_>, may_renew: bool, now: Now) -> Verdict {
        // Renewals are minutes apart, so this many take thousands of years.
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
            // Wraps where fewer are held than before.
            self.held.fetch_add(shard.len().wrapping_sub(before), Ordering::Relaxed);
        }
        verdict
    }

    /// Chooses by the last four bytes of the id: the table uses the first eight.
    fn shard(&self, chain: Chain) -> &Mutex<Shard> {
        let [.., a, b, c, d] = *chain.as_bytes();
        &self.shards[u32::from_le_bytes([a, b, c, d]) as usize % self.shards.len()]
    }

    /// The limit, in bytes.
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    pub(super) fn usage(&self) -> Memory {
        Memory {
            chains: self.held.load(Ordering::Relaxed),
            capacity: self.shards.len() * 2 * TABLE_CAPACITY,
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Shard {
    fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Remembers a record in the newer map. Returns how many are dropped for it.
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

//! Table of refused session ids with their expiries. It grows with the number of logouts.
//!
//! A [`DashMap`] consists of shards. Each shard is a hash table with a lock. A lookup writes to the lock of a shard twice, and
//! reads one memory location, which is not in the CPU cache if the list is long. So a [`BloomFilter`] is read first. An entry
//! takes 20 bytes, plus one byte of metadata in the hash table. A hash table is between three eighths and seven eighths full,
//! because its size is a power of two. Together that is 24 to 56 bytes for each entry.

use std::hash::{BuildHasher, BuildHasherDefault, Hash};

use dashmap::DashMap;

use super::bloom::BloomFilter;
use crate::clock::UnixTime;
use crate::id::{IdHasher, Sid};

/// Number of shards of a large table. It is low enough that the locks of all shards stay in the CPU cache.
const SHARD_COUNT: usize = 128;
/// Maximum number of entries that are collected in one pass of pruning. It limits the memory for them.
const PRUNE_BATCH: usize = 1 << 18;
/// Number of buckets of a shard that is never shrunk.
const MIN_BUCKETS: usize = 16;

/// Maximum size of the filter of a large table. With up to half a million entries, it has a false positive for one of sixteen
/// other sessions; with a million, for one of nine; with ten million, for most.
const FILTER_BYTES: usize = 1 << 20;

/// Refused sessions.
#[derive(Debug)]
pub(super) struct SessionTable {
    map: DashMap<Sid, Expiry, BuildHasherDefault<IdHasher>>,
    filter: BloomFilter,
}

impl SessionTable {
    /// Creates a table for many sessions.
    pub(super) fn large() -> Self {
        let map = DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARD_COUNT);
        Self { map, filter: BloomFilter::new(FILTER_BYTES) }
    }

    /// Creates a table for few sessions, each of which stays for a short time.
    pub(super) fn small() -> Self {
        let map = DashMap::with_hasher(BuildHasherDefault::default());
        Self { map, filter: BloomFilter::new(FILTER_BYTES / 1024) }
    }

    pub(super) fn contains(&self, sid: Sid) -> bool {
        self.filter.may_contain(self.hash(sid)) && self.map.contains_key(&sid)
    }

    /// Returns whether a session has an entry that was added as durable.
    pub(super) fn is_durable(&self, sid: Sid) -> bool {
        self.filter.may_contain(self.hash(sid)) && self.map.get(&sid).is_some_and(|expiry| expiry.is_durable())
    }

    /// Refuses a session. If it has an entry already, the later of both times applies, and a durable entry stays durable.
    /// Returns whether the session had no entry before.
    pub(super) fn add(&self, sid: Sid, until: UnixTime, durable: bool) -> bool {
        let added = Expiry::new(until, durable);
        let mut is_new = false;
        let mut expiry = self.map.entry(sid).or_insert_with(|| {
            is_new = true;
            added
        });
        *expiry = expiry.merge(added);
        drop(expiry);
        // Needed even if the map had the entry: the thread that put it into the map may not have updated the filter yet.
        self.filter.insert(self.hash(sid));
        is_new
    }

    /// Removes the entry of a session. Returns whether the session had an entry.
    pub(super) fn remove(&self, sid: Sid) -> bool {
        self.map.remove(&sid).is_some()
    }

    /// Removes the entries that expired before `instant`, and frees memory that is no longer needed. Returns the number of
    /// removed entries.
    ///
    /// Expired entries are found under read locks, which checks can share. Then they are removed one at a time, so that no
    /// check waits for longer than one removal.
    pub(super) fn prune(&self, instant: UnixTime) -> usize {
        let is_expired = |expiry: &Expiry| expiry.is_before(instant);
        let mut removed = 0;
        loop {
            let expired = self.map.iter().filter(|entry| is_expired(entry.value())).map(|entry| *entry.key());
            let expired: Vec<Sid> = expired.take(PRUNE_BATCH).collect();
            // Checked again under the write lock, because `add` may have extended the entry meanwhile.
            removed += expired.iter().filter_map(|sid| self.map.remove_if(sid, |_, expiry| is_expired(expiry))).count();
            if expired.len() < PRUNE_BATCH {
                break;
            }
        }
        resize_shards(&self.map);
        self.rebuild_filter();
        removed
    }

    pub(super) fn rebuild_filter(&self) {
        self.filter.rebuild(self.len(), |insert| self.map.iter().for_each(|entry| insert(self.hash(*entry.key()))));
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    fn hash(&self, sid: Sid) -> u64 {
        self.map.hasher().hash_one(sid)
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<(Sid, UnixTime)> {
        self.map.iter().map(|entry| (*entry.key(), entry.value().until())).collect()
    }
}

/// Rebuilds the shards whose hash table has the wrong size for its entries, one shard after the other.
///
/// A hash table grows when it is full, and never shrinks automatically. A removed entry can also leave a
/// [tombstone](https://en.wikipedia.org/wiki/Lazy_deletion), which occupies a bucket until the hash table is rebuilt. So a
/// hash table is rebuilt if it is more than twice as large as necessary, or if it has almost no free bucket. The new
/// table has one eighth of spare capacity, so that it is not soon rebuilt again.
pub(super) fn resize_shards<K: Eq + Hash, V, S: BuildHasher + Clone>(map: &DashMap<K, V, S>) {
    let hash = |key: &K| map.hasher().hash_one(key);
    for shard in map.shards() {
        let mut shard = shard.write();
        let len = shard.len();
        let spare = len / 8;
        // A hash table is full when seven eighths of its buckets are occupied.
        let is_too_large = shard.buckets() / 8 * 7 > 2 * (len + spare);
        let is_crowded = shard.capacity() - len < spare / 2;
        if shard.buckets() > MIN_BUCKETS && (is_too_large || is_crowded) {
            let entries = std::mem::take(&mut *shard);
            shard.reserve(len + spare, |(key, _)| hash(key));
            for (key, value) in entries {
                shard.insert(hash(&key), (key, value), |(key, _)| hash(key));
            }
        }
    }
}

/// Time until which an entry is kept, and whether it is durable, in 4 bytes. With 8 bytes, an entry would take 24 bytes
/// instead of 20.
///
/// The lowest bit is 1 if the entry is durable. The other bits are the Unix time in steps of two seconds, rounded up. The
/// largest value is in the year 2106; later times are stored as this value.
#[derive(Debug, Clone, Copy)]
struct Expiry(u32);

impl Expiry {
    const MAX_STEPS: u32 = u32::MAX >> 1;

    fn new(until: UnixTime, durable: bool) -> Self {
        Self(Self::steps(until) << 1 | u32::from(durable))
    }

    fn steps(instant: UnixTime) -> u32 {
        u32::try_from(instant.0.div_ceil(2)).unwrap_or(Self::MAX_STEPS).min(Self::MAX_STEPS)
    }

    const fn is_durable(self) -> bool {
        self.0 & 1 == 1
    }

    fn is_before(self, instant: UnixTime) -> bool {
        self.0 >> 1 < Self::steps(instant)
    }

    /// Returns the expiry with the later of both times. It is durable if one of both is durable.
    fn merge(self, other: Self) -> Self {
        Self((self.0 >> 1).max(other.0 >> 1) << 1 | (self.0 | other.0) & 1)
    }

    #[cfg(test)]
    fn until(self) -> UnixTime {
        UnixTime(2 * u64::from(self.0 >> 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of buckets of all shards, both occupied and free.
    fn buckets(table: &SessionTable) -> usize {
        table.map.shards().iter().map(|shard| shard.read().buckets()).sum()
    }

    /// Adds entries for `count` new sessions, which expire at `until`.
    fn log_out(table: &SessionTable, count: usize, until: u64) {
        (0..count).for_each(|_| assert!(table.add(Sid::random(), UnixTime(until), true)));
    }

    #[test]
    fn frees_memory_after_a_peak_and_keeps_the_other_entries() {
        let table = SessionTable::large();
        log_out(&table, 100_000, 2);
        let remaining: Vec<Sid> = (0..5_000).map(|_| Sid::random()).collect();
        remaining.iter().for_each(|sid| assert!(table.add(*sid, UnixTime(4), true)));
        let peak = buckets(&table);
        assert_eq!(table.prune(UnixTime(3)), 100_000);
        assert!(buckets(&table) < peak / 8, "{} of {peak} buckets for 5,000 entries", buckets(&table));
        assert!(remaining.iter().all(|sid| table.contains(*sid) && !table.add(*sid, UnixTime(4), true)));
        assert_eq!(table.prune(UnixTime(5)), 5_000);
        assert!(buckets(&table) <= MIN_BUCKETS * SHARD_COUNT, "{} buckets for no entry", buckets(&table));
    }

    #[test]
    fn keeps_an_entry_to_the_next_even_second_before_2106() {
        let latest = u64::from(u32::MAX) - 3;
        for (until, last) in [(0, 0), (1, 2), (2, 2), (3, 4), (latest, latest)] {
            for durable in [false, true] {
                let expiry = Expiry::new(UnixTime(until), durable);
                assert_eq!([last, last + 1].map(|now| expiry.is_before(UnixTime(now))), [false, true], "{until}");
            }
        }
        assert!(!Expiry::new(UnixTime(u64::MAX), false).is_before(UnixTime(u64::MAX)), "it never expires");
        assert_eq!(size_of::<(Sid, Expiry)>(), 20);
    }

    #[test]
    fn a_durable_entry_stays_durable_until_the_later_time() {
        let table = SessionTable::small();
        let sid = Sid::random();
        assert!(table.add(sid, UnixTime(8), false) && !table.is_durable(sid));
        assert!(!table.add(sid, UnixTime(4), true) && table.is_durable(sid));
        assert!(!table.add(sid, UnixTime(6), false) && table.is_durable(sid));
        assert_eq!(table.entries(), [(sid, UnixTime(8))]);
    }

    #[test]
    fn a_steady_load_needs_few_rebuilds_and_few_buckets() {
        let table = SessionTable::small();
        let mut before = 0;
        let mut changes = 0;
        let shards = table.map.shards().len();
        for minute in 0..240 {
            log_out(&table, 1_000, minute + 30);
            table.prune(UnixTime(minute));
            if minute >= 60 {
                assert!(buckets(&table) < 3 * table.len(), "{} buckets for {}", buckets(&table), table.len());
                changes += usize::from(buckets(&table) != before);
            }
            before = buckets(&table);
        }
        assert!(changes < 18, "{changes} changes of {shards} shards in 180 minutes");
    }
}

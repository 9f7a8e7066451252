//! Session ids and until when each is refused: the tables that grow with the sign-outs.
//!
//! A [`DashMap`] is hash tables under a lock each. To look into one is to write to its lock, twice, and to read one place in memory,
//! wherever that is by then: the list may be long, but not near. So [`Marks`] are asked first. An entry is 20 bytes and one of the
//! table's own, in a table that is between three eighths and seven eighths full, because its size is a power of two: 24 to 56 bytes.

use std::hash::{BuildHasher, BuildHasherDefault, Hash};

use dashmap::DashMap;

use super::marks::Marks;
use crate::clock::UnixTime;
use crate::id::{IdHasher, Sid};

/// Shards of the list: few enough that their locks stay in the processor's cache.
const SHARDS: usize = 128;
/// What is thrown away after one look through the list, which bounds the memory for it.
const AT_ONCE: usize = 1 << 18;
/// A table with no more places than that is small enough whatever is in it.
const SMALL: usize = 16;

/// Room for marks of a large table, in bytes. Of up to half a million entries one of sixteen others is looked up in vain; of a million
/// one of nine, of ten million most.
const MARKS: usize = 1 << 20;

/// Refused sessions.
#[derive(Debug)]
pub(super) struct Table {
    map: DashMap<Sid, Kept, BuildHasherDefault<IdHasher>>,
    marks: Marks,
}

impl Table {
    /// For many.
    pub(super) fn large() -> Self {
        let map = DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS);
        Self { map, marks: Marks::new(MARKS) }
    }

    /// For few, and for a short time.
    pub(super) fn small() -> Self {
        Self { map: DashMap::with_hasher(BuildHasherDefault::default()), marks: Marks::new(MARKS / 1024) }
    }

    pub(super) fn contains(&self, sid: Sid) -> bool {
        self.marks.may_hold(self.hash(sid)) && self.map.contains_key(&sid)
    }

    /// Whether a session has an entry that was added as durable.
    pub(super) fn is_durable(&self, sid: Sid) -> bool {
        self.marks.may_hold(self.hash(sid)) && self.map.get(&sid).is_some_and(|kept| kept.is_durable())
    }

    /// Refuses a session, of two times until the later one. An entry that is durable stays so. Says whether it was not refused
    /// before.
    pub(super) fn add(&self, sid: Sid, until: UnixTime, durable: bool) -> bool {
        let kept = Kept::new(until, durable);
        let mut new = false;
        let mut held = self.map.entry(sid).or_insert_with(|| {
            new = true;
            kept
        });
        *held = held.or(kept);
        drop(held);
        // Also if it was there already: whoever put it there may not have come so far.
        self.marks.mark(self.hash(sid));
        new
    }

    /// Says whether it was there.
    pub(super) fn remove(&self, sid: Sid) -> bool {
        self.map.remove(&sid).is_some()
    }

    /// Throws away what ended before `instant`, and gives back memory that is not needed any more. Says how many that were.
    ///
    /// It looks under locks that others may read under, too, and takes out one entry after the other, so that no check waits for
    /// longer than that.
    pub(super) fn prune(&self, instant: UnixTime) -> usize {
        let ended = |kept: &Kept| kept.has_ended(instant);
        let mut gone = 0;
        loop {
            let found = self.map.iter().filter(|entry| ended(entry.value())).map(|entry| *entry.key());
            let found: Vec<Sid> = found.take(AT_ONCE).collect();
            gone += found.iter().filter_map(|sid| self.map.remove_if(sid, |_, kept| ended(kept))).count();
            if found.len() < AT_ONCE {
                break;
            }
        }
        fit(&self.map);
        self.fit_marks();
        gone
    }

    pub(super) fn fit_marks(&self) {
        self.marks.remake(self.len(), |mark| self.map.iter().for_each(|entry| mark(self.hash(*entry.key()))));
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

/// Makes tables anew that do not fit what is in them, one shard after the other.
///
/// A table grows when it is full, and never shrinks by itself. And it is full before its time where entries come and go: what goes
/// can leave a mark that takes up its place, and is swept away only when the table is made anew. So that is done with one that has
/// become more than twice as large as it need be, or that has hardly any room left; and it is made with an eighth of room to
/// spare, so that it fits for a while.
pub(super) fn fit<K: Eq + Hash, V, S: BuildHasher + Clone>(map: &DashMap<K, V, S>) {
    let hash = |key: &K| map.hasher().hash_one(key);
    for shard in map.shards() {
        let mut shard = shard.write();
        let (held, spare) = (shard.len(), shard.len() / 8);
        // A table is full when seven eighths of its places are taken.
        let too_large = shard.buckets() / 8 * 7 > 2 * (held + spare);
        let crowded = shard.capacity() - held < spare / 2;
        if shard.buckets() > SMALL && (too_large || crowded) {
            let entries = std::mem::take(&mut *shard);
            shard.reserve(held + spare, |(key, _)| hash(key));
            for (key, value) in entries {
                shard.insert(hash(&key), (key, value), |(key, _)| hash(key));
            }
        }
    }
}

/// Until when an entry is kept, and whether it is durable, in 4 bytes: with 8 an entry would be 24 bytes and not 20.
///
/// The lowest bit is the flag. The others count steps of two seconds, rounded up: they do until 2106, and then count as 2106.
#[derive(Debug, Clone, Copy)]
struct Kept(u32);

impl Kept {
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

    fn has_ended(self, instant: UnixTime) -> bool {
        self.0 >> 1 < Self::steps(instant)
    }

    fn or(self, other: Self) -> Self {
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

    /// Entries for which the table has places, the taken ones included.
    fn places(table: &Table) -> usize {
        table.map.shards().iter().map(|shard| shard.read().buckets()).sum()
    }

    /// Adds so many.
    fn sign_out(table: &Table, count: usize, until: u64) {
        (0..count).for_each(|_| assert!(table.add(Sid::random(), UnixTime(until), true)));
    }

    #[test]
    fn gives_memory_back_after_a_peak_and_keeps_what_is_left() {
        let table = Table::large();
        sign_out(&table, 100_000, 2);
        let stay: Vec<Sid> = (0..5_000).map(|_| Sid::random()).collect();
        stay.iter().for_each(|sid| assert!(table.add(*sid, UnixTime(4), true)));
        let peak = places(&table);
        assert_eq!(table.prune(UnixTime(3)), 100_000);
        assert!(places(&table) < peak / 8, "{} of {peak} places for 5,000", places(&table));
        assert!(stay.iter().all(|sid| table.contains(*sid) && !table.add(*sid, UnixTime(4), true)));
        assert_eq!(table.prune(UnixTime(5)), 5_000);
        assert!(places(&table) <= SMALL * SHARDS, "{} places for none", places(&table));
    }

    #[test]
    fn keeps_an_entry_to_the_next_even_second_before_2106() {
        let latest = u64::from(u32::MAX) - 3;
        for (until, last) in [(0, 0), (1, 2), (2, 2), (3, 4), (latest, latest)] {
            for durable in [false, true] {
                let kept = Kept::new(UnixTime(until), durable);
                assert_eq!([last, last + 1].map(|now| kept.has_ended(UnixTime(now))), [false, true], "{until}");
            }
        }
        assert!(!Kept::new(UnixTime(u64::MAX), false).has_ended(UnixTime(u64::MAX)), "and for ever then");
        assert_eq!(size_of::<(Sid, Kept)>(), 20);
    }

    #[test]
    fn what_is_durable_once_stays_so_until_the_later_time() {
        let table = Table::small();
        let sid = Sid::random();
        assert!(table.add(sid, UnixTime(8), false) && !table.is_durable(sid));
        assert!(!table.add(sid, UnixTime(4), true) && table.is_durable(sid));
        assert!(!table.add(sid, UnixTime(6), false) && table.is_durable(sid));
        assert_eq!(table.entries(), [(sid, UnixTime(8))]);
    }

    #[test]
    fn a_steady_day_needs_three_places_an_entry_and_few_new_tables() {
        let table = Table::small();
        let (mut before, mut changes, shards) = (0, 0, table.map.shards().len());
        for minute in 0..240 {
            sign_out(&table, 1_000, minute + 30);
            table.prune(UnixTime(minute));
            if minute >= 60 {
                assert!(places(&table) < 3 * table.len(), "{} places for {}", places(&table), table.len());
                changes += usize::from(places(&table) != before);
            }
            before = places(&table);
        }
        assert!(changes < 18, "{changes} changes of {shards} tables in 180 minutes");
    }
}

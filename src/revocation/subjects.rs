//! The subjects (accounts) with an entry, and the generation below which each subject's sessions are refused.
//!
//! Every check looks up a subject, and few subjects have an entry. A [`BloomFilter`] in front of the map avoids most lookups.

use std::hash::BuildHasher;

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::bloom::BloomFilter;
use super::table;
use crate::clock::UnixTime;

/// Maximum size of the filter. With up to thirty thousand entries, it has a false positive for one of sixteen other subjects.
const FILTER_BYTES: usize = 1 << 16;

/// The entry of a subject.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SubjectEntry {
    /// Lowest generation that is not refused.
    pub(super) below: u64,
    /// Highest `below` that this process has to commit.
    pub(super) requested: u64,
    /// Highest `below` that this process has committed in time. It is lower than `requested` while an entry is pending.
    pub(super) durable: u64,
    /// Time after which the entry may be removed, if it is not pending.
    pub(super) expires_at: UnixTime,
}

/// Map from subjects to their entries, with a filter.
#[derive(Debug)]
pub(super) struct Subjects {
    map: DashMap<Box<str>, SubjectEntry, RandomState>,
    filter: BloomFilter,
}

impl Subjects {
    pub(super) fn new() -> Self {
        Self { map: DashMap::with_hasher(RandomState::default()), filter: BloomFilter::new(FILTER_BYTES) }
    }

    pub(super) fn get(&self, sub: &str) -> Option<SubjectEntry> {
        if self.filter.is_empty() || !self.filter.may_contain(self.map.hasher().hash_one(sub)) {
            return None;
        }
        self.map.get(sub).map(|entry| *entry)
    }

    /// Changes the entry of a subject. If it has no entry, creates one that refuses nothing, and then changes it.
    pub(super) fn raise(&self, sub: &str, change: impl FnOnce(&mut SubjectEntry)) {
        change(&mut self.map.entry(sub.into()).or_default());
        self.filter.insert(self.map.hasher().hash_one(sub));
    }

    /// Removes the entries that expired before `instant` and are not pending.
    pub(super) fn prune(&self, instant: UnixTime) {
        self.map.retain(|_, entry| entry.durable < entry.requested || entry.expires_at >= instant);
        table::resize_shards(&self.map);
        self.rebuild_filter();
    }

    pub(super) fn rebuild_filter(&self) {
        let hash = |sub: &str| self.map.hasher().hash_one(sub);
        self.filter.rebuild(self.map.len(), |insert| self.map.iter().for_each(|entry| insert(hash(entry.key()))));
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<(Box<str>, SubjectEntry)> {
        self.map.iter().map(|entry| (entry.key().clone(), *entry.value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_entry_and_no_other_before_and_after_pruning() {
        let subjects = Subjects::new();
        let name = |number: u64| format!("subject {number}");
        let below = |number: u64| subjects.get(&name(number)).map(|entry| entry.below);
        // Enough entries that the filter has a false positive for most other subjects.
        for number in 0..400_000 {
            let expires_at = UnixTime(if number < 1000 { 2 } else { 1 });
            subjects.raise(&name(number), |entry| *entry = SubjectEntry { below: number, expires_at, ..*entry });
        }
        assert!((0..400_000).all(|number| below(number) == Some(number)));
        assert!((400_000..401_000).all(|number| below(number).is_none()));
        subjects.prune(UnixTime(2));
        assert!((0..1000).all(|number| below(number) == Some(number)));
        assert!((1000..400_000).all(|number| below(number).is_none()));
    }
}

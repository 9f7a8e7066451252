//! Subjects and the generation below which their sign-ins are refused.
//!
//! Few subjects have an entry, and every check asks for one. So a bit for each hash is looked at first, and the map only if it is
//! set: to look into the map is to write to a lock, which two cores that do so take from each other. A bit is set before the entry
//! is there, and stays when it is gone; then the map is looked into in vain.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::one::RefMut;
use foldhash::fast::RandomState;

use super::table;
use crate::clock::UnixTime;

/// 64 KiB: one of a hundred subjects is looked up in vain after 5,000 have been refused.
const BITS: usize = 1 << 19;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SubjectEntry {
    /// Refuses generations below this.
    pub(super) below: u64,
    /// Up to which generation the store has committed that; lower than `below` while an entry is pending.
    pub(super) durable: u64,
    /// When the committed part may go.
    pub(super) expires_at: UnixTime,
}

#[derive(Debug)]
pub(super) struct Subjects {
    bits: Box<[AtomicU64]>,
    map: DashMap<Box<str>, SubjectEntry, RandomState>,
}

impl Subjects {
    pub(super) fn new() -> Self {
        let bits = (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Self { bits, map: DashMap::with_hasher(RandomState::default()) }
    }

    pub(super) fn get(&self, sub: &str) -> Option<SubjectEntry> {
        let (word, bit) = self.bit(sub);
        if word.load(Ordering::Acquire) & bit == 0 {
            return None;
        }
        self.map.get(sub).map(|entry| *entry)
    }

    /// The subject's entry, to be raised; one that refuses nothing if there is none yet.
    pub(super) fn entry(&self, sub: &str) -> RefMut<'_, Box<str>, SubjectEntry> {
        let (word, bit) = self.bit(sub);
        word.fetch_or(bit, Ordering::AcqRel);
        self.map.entry(sub.into()).or_default()
    }

    /// Throws away what the store has committed and what ended before `instant`.
    pub(super) fn prune(&self, instant: UnixTime) {
        self.map.retain(|_, entry| entry.durable < entry.below || entry.expires_at >= instant);
        table::fit(&self.map);
    }

    fn bit(&self, sub: &str) -> (&AtomicU64, u64) {
        let hash = self.map.hasher().hash_one(sub);
        let place = usize::try_from(hash % BITS as u64).unwrap_or_default();
        (&self.bits[place / 64], 1 << (place % 64))
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
    fn finds_every_entry_and_no_other_whatever_bits_they_share() {
        let subjects = Subjects::new();
        let name = |number: u64| format!("subject {number}");
        // With so many, a third of the others share a bit with one of them.
        for number in 0..200_000 {
            subjects.entry(&name(number)).below = number + 1;
        }
        for number in 0..200_000 {
            assert_eq!(subjects.get(&name(number)).map(|entry| entry.below), Some(number + 1));
            assert!(subjects.get(&name(number + 200_000)).is_none());
        }
        subjects.entry(&name(7)).durable = 8;
        subjects.prune(UnixTime(1));
        assert!(subjects.get(&name(7)).is_none() && subjects.get(&name(8)).is_some());
    }
}

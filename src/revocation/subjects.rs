//! Subjects and the generation below which their sign-ins are refused.
//!
//! Few have an entry, and every check asks for one: [`Marks`] answer most.

use std::hash::BuildHasher;

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::marks::Marks;
use super::table;
use crate::clock::UnixTime;

/// Room for marks, in bytes. Of up to thirty thousand entries one of sixteen others is looked up in vain.
const MARKS: usize = 1 << 16;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SubjectEntry {
    /// Refuses generations below this.
    pub(super) below: u64,
    /// The highest `below` that this process has asked the store for.
    pub(super) asked: u64,
    /// The highest `below` that this process has committed in time; lower than `asked` while an entry is pending.
    pub(super) durable: u64,
    /// When the rest may go.
    pub(super) expires_at: UnixTime,
}

#[derive(Debug)]
pub(super) struct Subjects {
    map: DashMap<Box<str>, SubjectEntry, RandomState>,
    marks: Marks,
}

impl Subjects {
    pub(super) fn new() -> Self {
        Self { map: DashMap::with_hasher(RandomState::default()), marks: Marks::new(MARKS) }
    }

    pub(super) fn get(&self, sub: &str) -> Option<SubjectEntry> {
        if self.marks.are_none() || !self.marks.may_hold(self.map.hasher().hash_one(sub)) {
            return None;
        }
        self.map.get(sub).map(|entry| *entry)
    }

    /// Changes the subject's entry, which refuses nothing if it is new.
    pub(super) fn raise(&self, sub: &str, change: impl FnOnce(&mut SubjectEntry)) {
        change(&mut self.map.entry(sub.into()).or_default());
        self.marks.mark(self.map.hasher().hash_one(sub));
    }

    /// Throws away what ended before `instant` and is not pending.
    pub(super) fn prune(&self, instant: UnixTime) {
        self.map.retain(|_, entry| entry.durable < entry.asked || entry.expires_at >= instant);
        table::fit(&self.map);
        self.fit_marks();
    }

    pub(super) fn fit_marks(&self) {
        let hash = |sub: &str| self.map.hasher().hash_one(sub);
        self.marks.remake(self.map.len(), |mark| self.map.iter().for_each(|entry| mark(hash(entry.key()))));
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
        // So many that most hashes share a bit with one of them.
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

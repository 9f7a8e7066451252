//! A table of deadlines in memory of a fixed size, organized like a [set-associative
//! cache](https://en.wikipedia.org/wiki/Cache_placement_policies#Set-associative_cache).
//!
//! Each key has a *deadline*, in milliseconds of the boot clock. After its deadline, a key counts as absent. Keys are hashes
//! with a secret of this process, so a client cannot choose the slot of a key. A key can be stored in every slot of its set. If
//! all slots of the set are taken, the new key replaces the key with the earliest deadline. The deadline is later if a key has
//! more failures. So a flood of keys with one failure each replaces only such keys, and the key with the most failures is kept
//! longest.

/// Milliseconds of the boot clock.
pub(super) type Millis = u64;

/// Key of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Chooses the set. Keys with the same value share one set, so the table can store only as many of them as a set has slots.
    pub(super) set: u64,
    /// Identity of the key.
    pub(super) id: u64,
}

impl Key {
    /// Creates a key that shares its set with other keys only by chance.
    pub(super) const fn new(id: u64) -> Self {
        Self { set: id, id }
    }
}

/// Id of a key, and its deadline. Two zeros are an empty slot.
type Slot = [u64; 2];

/// A table of deadlines.
#[derive(Debug)]
pub(super) struct Table {
    /// Slots of all sets. The system provides each memory page, filled with zeros, at its first use. So a table needs physical
    /// memory only for the pages in use.
    slots: Vec<Slot>,
    /// Number of slots of a set.
    ways: usize,
}

impl Table {
    /// Creates a table of `1 << bits` slots, in sets of `ways` slots.
    pub(super) fn new(bits: u32, ways: usize) -> Self {
        Self { slots: vec![[0; 2]; 1 << bits], ways }
    }

    /// Returns the maximum memory of the table.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.slots)
    }

    /// Returns the deadline of the key, or 0 if it is not stored.
    pub(super) fn deadline(&self, key: Key) -> Millis {
        self.slots[self.set(key)].iter().find(|[id, _]| *id == key.id).map_or(0, |[_, deadline]| *deadline)
    }

    /// Returns whether the key is stored, or can be stored without replacing another key before its deadline.
    pub(super) fn has_slot(&self, key: Key, now: Millis) -> bool {
        self.slots[self.set(key)].iter().any(|[id, deadline]| *id == key.id || *deadline <= now)
    }

    /// Changes the deadline of the key. `change` gets the present deadline, or 0. A key that is not stored is added unless its
    /// new deadline is 0.
    pub(super) fn update(&mut self, key: Key, change: impl FnOnce(Millis) -> Millis) {
        let set = self.set(key);
        let slots = &mut self.slots[set];
        if let Some([_, deadline]) = slots.iter_mut().find(|[id, _]| *id == key.id) {
            *deadline = change(*deadline);
            return;
        }
        let earliest = slots.iter_mut().min_by_key(|[_, deadline]| *deadline).expect("a set has at least one slot");
        match change(0) {
            0 => {}
            deadline => *earliest = [key.id, deadline],
        }
    }

    /// Returns the slots of the set of a key.
    fn set(&self, key: Key) -> std::ops::Range<usize> {
        let sets = self.slots.len() / self.ways;
        let start = usize::try_from(key.set).unwrap_or(usize::MAX) % sets * self.ways;
        start..start + self.ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_separate_deadline_for_each_key() {
        let mut table = Table::new(6, 8);
        for id in 1..=8 {
            table.update(Key::new(id), |_| 100 + id);
        }
        table.update(Key::new(3), |deadline| deadline + 397);
        assert_eq!(
            (1..=9).map(|id| table.deadline(Key::new(id))).collect::<Vec<_>>(),
            [101, 102, 500, 104, 105, 106, 107, 108, 0]
        );
    }

    #[test]
    fn replaces_the_key_with_the_earliest_deadline() {
        let mut table = Table::new(3, 8);
        let deadline = |table: &Table, id| table.deadline(Key::new(id));
        for id in 1..=8 {
            table.update(Key::new(id), |_| 100 + id);
        }
        table.update(Key::new(9), |_| 1);
        assert_eq!((deadline(&table, 1), deadline(&table, 9)), (0, 1), "a new key is always stored");
        table.update(Key::new(10), |deadline| deadline);
        assert_eq!(deadline(&table, 9), 1, "a key without a deadline replaces no other key");
        for id in 10..1_000 {
            table.update(Key::new(id), |_| 50);
        }
        assert_eq!((2..=8).filter(|id| deadline(&table, *id) > 0).count(), 7, "the other keys stay");
    }

    #[test]
    fn a_set_stores_as_many_keys_as_it_has_slots() {
        let mut table = Table::new(10, 16);
        let key = |id| Key { set: 77, id };
        for id in 1..=16 {
            assert!(table.has_slot(key(id), 0));
            table.update(key(id), |_| 100);
        }
        assert!((1..=16).all(|id| table.deadline(key(id)) == 100 && table.has_slot(key(id), 0)));
        assert!(!table.has_slot(key(17), 99), "all slots are taken");
        assert!(table.has_slot(Key { set: 78, id: 17 }, 99), "another set has free slots");
        assert!(table.has_slot(key(17), 100), "the deadlines have passed");
    }
}

//! A table of deadlines, in memory that never grows.
//!
//! Each key has a *deadline*, in milliseconds of the boot clock. After its deadline, a key counts as absent. Keys are hashes under a
//! secret of this process, so nobody can choose where one is stored. A key can be stored in any place of its set. If all places are
//! taken, it replaces the key with the earliest deadline. So a flood of keys that are used once only replaces keys of its own kind,
//! and the key with the most failures is kept longest.

/// Milliseconds of the boot clock.
pub(super) type Millis = u64;

/// Where a deadline is stored, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Chooses the set. Keys with the same value share one set, and so can be as many as a set has places.
    pub(super) set: u64,
    pub(super) id: u64,
}

impl Key {
    /// A key that shares its set only by chance.
    pub(super) const fn alone(id: u64) -> Self {
        Self { set: id, id }
    }
}

/// A key and its deadline. Zeros are an empty place: the deadline has passed since boot.
type Place = [u64; 2];

#[derive(Debug)]
pub(super) struct Table {
    /// Zeroed by the system when they are first touched: a table costs what is in use.
    places: Vec<Place>,
    /// Places of a set.
    ways: usize,
}

impl Table {
    /// A table of `1 << bits` places, in sets of `ways`.
    pub(super) fn new(bits: u32, ways: usize) -> Self {
        Self { places: vec![[0; 2]; 1 << bits], ways }
    }

    /// The most memory that it can take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.places)
    }

    /// The key's deadline, or 0.
    pub(super) fn deadline(&self, key: Key) -> Millis {
        self.places[self.set(key)].iter().find(|[held, _]| *held == key.id).map_or(0, |[_, deadline]| *deadline)
    }

    /// Whether the key is stored, or can be without replacing another before its deadline.
    pub(super) fn has_place(&self, key: Key, now: Millis) -> bool {
        self.places[self.set(key)].iter().any(|[held, deadline]| *held == key.id || *deadline <= now)
    }

    /// Changes the key's deadline.
    pub(super) fn update(&mut self, key: Key, change: impl FnOnce(Millis) -> Millis) {
        let set = self.set(key);
        let places = &mut self.places[set];
        if let Some([_, deadline]) = places.iter_mut().find(|[held, _]| *held == key.id) {
            *deadline = change(*deadline);
            return;
        }
        let place = places.iter_mut().min_by_key(|[_, deadline]| *deadline).expect("a set has places");
        match change(0) {
            0 => {}
            deadline => *place = [key.id, deadline],
        }
    }

    fn set(&self, key: Key) -> std::ops::Range<usize> {
        let sets = self.places.len() / self.ways;
        let start = usize::try_from(key.set).unwrap_or(usize::MAX) % sets * self.ways;
        start..start + self.ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_deadline_and_others_have_theirs() {
        let mut table = Table::new(6, 8);
        for id in 1..=8 {
            table.update(Key::alone(id), |_| 100 + id);
        }
        table.update(Key::alone(3), |held| held + 397);
        assert_eq!(
            (1..=9).map(|id| table.deadline(Key::alone(id))).collect::<Vec<_>>(),
            [101, 102, 500, 104, 105, 106, 107, 108, 0]
        );
    }

    #[test]
    fn the_key_that_would_be_forgotten_first_gives_way() {
        let mut table = Table::new(3, 8);
        let deadline = |table: &Table, id| table.deadline(Key::alone(id));
        for id in 1..=8 {
            table.update(Key::alone(id), |_| 100 + id);
        }
        table.update(Key::alone(9), |_| 1);
        assert_eq!((deadline(&table, 1), deadline(&table, 9)), (0, 1), "the new key has a place in any case");
        table.update(Key::alone(10), |held| held);
        assert_eq!(deadline(&table, 9), 1, "a key without a deadline takes nobody's place");
        for id in 10..1_000 {
            table.update(Key::alone(id), |_| 50);
        }
        assert_eq!((2..=8).filter(|id| deadline(&table, *id) > 0).count(), 7, "the others stay");
    }

    #[test]
    fn keys_of_one_set_are_as_many_as_it_has_places() {
        let mut table = Table::new(10, 16);
        let key = |id| Key { set: 77, id };
        for id in 1..=16 {
            assert!(table.has_place(key(id), 0));
            table.update(key(id), |_| 100);
        }
        assert!((1..=16).all(|id| table.deadline(key(id)) == 100 && table.has_place(key(id), 0)));
        assert!(!table.has_place(key(17), 99), "all places are taken");
        assert!(table.has_place(Key { set: 78, id: 17 }, 99), "another set has its own");
        assert!(table.has_place(key(17), 100), "the deadlines have passed");
    }
}

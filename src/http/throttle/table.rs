//! A table of deadlines, in memory that never grows.
//!
//! Each key has a *deadline*, in milliseconds of the boot clock, after which it is as if it had never been there. Keys are hashes
//! under a secret of this process, so nobody can choose where one goes. A key has [`WAYS`] places; if all are taken, it takes
//! that of the key which would have been forgotten first. So a flood of strangers, each seen once, only displaces its own kind,
//! and who failed most is remembered best.

/// Places for a key.
const WAYS: usize = 8;

/// Milliseconds of the boot clock.
pub(super) type Millis = u64;

/// A key and its deadline. Zeros are an empty place: the deadline has passed since boot.
type Place = [u64; 2];

#[derive(Debug)]
pub(super) struct Table {
    /// Zeroed by the system when they are first touched: a table costs what is in use.
    places: Vec<Place>,
}

impl Table {
    /// A table of `1 << bits` places.
    pub(super) fn new(bits: u32) -> Self {
        Self { places: vec![[0; 2]; 1 << bits] }
    }

    /// The most memory that it can take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.places)
    }

    /// The key's deadline, or 0.
    pub(super) fn deadline(&self, key: u64) -> Millis {
        self.places[self.set(key)].iter().find(|[held, _]| *held == key).map_or(0, |[_, deadline]| *deadline)
    }

    /// Changes the key's deadline.
    pub(super) fn update(&mut self, key: u64, change: impl FnOnce(Millis) -> Millis) {
        let set = self.set(key);
        let places = &mut self.places[set];
        if let Some([_, deadline]) = places.iter_mut().find(|[held, _]| *held == key) {
            *deadline = change(*deadline);
            return;
        }
        let place = places.iter_mut().min_by_key(|[_, deadline]| *deadline).expect("a set has places");
        match change(0) {
            0 => {}
            deadline => *place = [key, deadline],
        }
    }

    fn set(&self, key: u64) -> std::ops::Range<usize> {
        let sets = self.places.len() / WAYS;
        let start = usize::try_from(key).unwrap_or(usize::MAX) % sets * WAYS;
        start..start + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_deadline_and_others_have_theirs() {
        let mut table = Table::new(6);
        for key in 1..=8 {
            table.update(key, |_| 100 + key);
        }
        table.update(3, |held| held + 397);
        assert_eq!(
            (1..=9).map(|key| table.deadline(key)).collect::<Vec<_>>(),
            [101, 102, 500, 104, 105, 106, 107, 108, 0]
        );
    }

    #[test]
    fn the_key_that_would_be_forgotten_first_gives_way() {
        let mut table = Table::new(3);
        for key in 1..=8 {
            table.update(key, |_| 100 + key);
        }
        table.update(9, |_| 1);
        assert_eq!((table.deadline(1), table.deadline(9)), (0, 1), "the new key has a place in any case");
        table.update(10, |held| held);
        assert_eq!(table.deadline(9), 1, "a key without a deadline takes nobody's place");
        for key in 10..1_000 {
            table.update(key, |_| 50);
        }
        assert_eq!((2..=8).filter(|key| table.deadline(*key) > 0).count(), 7, "the others stay");
    }
}

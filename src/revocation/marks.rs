//! A bit for each hash that may be in a map, to be looked at before the map.
//!
//! To look into a map is to write to a lock, which cores that do so take from each other; bits are only read. There are two sets
//! of them. One is asked, and both are marked. To get rid of marks whose entries are gone, the other set is cleared, marked anew
//! from the map, and asked from then on. No entry is ever missed:
//!
//! * An entry is marked after it is in the map, and counts from then on. If its mark is cleared, it was in the map before that, so
//!   it is found there and marked again. If not, it is there.
//! * A set that is asked may be cleared only after the next has taken its place. Whoever asked so slowly finds no mark, and that the
//!   turn is another; and asks again.
//!
//! A set uses as much of its room as the map needs, so that it stays in a near cache where little is refused.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Two sets of bits.
pub(super) struct Marks {
    sets: [Set; 2],
    /// The set that is asked is this modulo 2.
    turn: AtomicUsize,
    /// Marks made since the last turn, those of the same hash counted again.
    made: AtomicUsize,
    remaking: Mutex<()>,
}

struct Set {
    words: Box<[AtomicU64]>,
    /// How many of them are used: a power of two. It changes only while they are cleared, before they are.
    used: AtomicUsize,
}

impl Set {
    fn place(&self, hash: u64) -> (&AtomicU64, u64) {
        // To divide would take longer than all the rest.
        let word = usize::try_from(hash >> 6).unwrap_or(usize::MAX) & (self.used.load(Ordering::Acquire) - 1);
        (&self.words[word], 1 << (hash & 63))
    }
}

impl Marks {
    /// So many are not worth to be got rid of.
    const FEW: usize = 1000;
    /// Of so many bits one is marked.
    const BITS_EACH: usize = 16;

    /// With room for so many bytes in each set: a power of two, and at least 8.
    pub(super) fn new(bytes: usize) -> Self {
        debug_assert!(bytes.is_power_of_two() && bytes >= 8);
        let sets = [(); 2].map(|()| Set {
            words: (0..bytes / 8).map(|_| AtomicU64::new(0)).collect(),
            used: AtomicUsize::new(Self::words(bytes / 8, 0)),
        });
        Self { sets, turn: AtomicUsize::new(0), made: AtomicUsize::new(0), remaking: Mutex::new(()) }
    }

    /// How many words to use for so many entries, of those that there are.
    fn words(room: usize, entries: usize) -> usize {
        ((entries + Self::FEW) * Self::BITS_EACH / 64).next_power_of_two().min(room)
    }

    /// Whether nothing is marked; then nothing need be hashed to know that it is not in the map. Marks are counted last, and a turn
    /// takes off no more than those whose entries are gone: so this is no longer so when an entry's mark counts.
    pub(super) fn are_none(&self) -> bool {
        self.made.load(Ordering::Acquire) == 0
    }

    /// Whether an entry of this hash may be in the map; if not, it is not.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let mut turn = self.turn.load(Ordering::Acquire);
        loop {
            let (word, bit) = self.sets[turn % 2].place(hash);
            if word.load(Ordering::Acquire) & bit != 0 {
                return true;
            }
            let now = self.turn.load(Ordering::Acquire);
            if now == turn {
                return false;
            }
            turn = now;
        }
    }

    /// Marks an entry that is in the map.
    pub(super) fn mark(&self, hash: u64) {
        for set in &self.sets {
            let (word, bit) = set.place(hash);
            word.fetch_or(bit, Ordering::AcqRel);
        }
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks anew what is in a map of so many entries, if many marks are of others, or if they need more room or less. `hashes`
    /// passes on the hash of each of them.
    pub(super) fn remake(&self, entries: usize, hashes: impl FnOnce(&mut dyn FnMut(u64))) {
        let _alone = self.remaking.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, turn) = (self.made.load(Ordering::Relaxed), self.turn.load(Ordering::Relaxed));
        let (asked, set) = (&self.sets[turn % 2], &self.sets[(turn + 1) % 2]);
        let words = Self::words(set.words.len(), entries);
        if made < 2 * entries + Self::FEW && words == asked.used.load(Ordering::Relaxed) {
            return;
        }
        // Whoever marks by the old number has put the entry into the map before this, and it is found there.
        set.used.store(words, Ordering::Release);
        for word in &set.words {
            // Read, too: so it is known that the entries of these marks are in the map.
            word.swap(0, Ordering::AcqRel);
        }
        let mut marked = 0;
        hashes(&mut |hash| {
            let (word, bit) = set.place(hash);
            word.fetch_or(bit, Ordering::Relaxed);
            marked += 1;
        });
        self.turn.store(turn + 1, Ordering::Release);
        self.made.fetch_sub(made.saturating_sub(marked), Ordering::Relaxed);
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks").field("turn", &self.turn).field("made", &self.made).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn forgets_what_is_gone_and_nothing_else() {
        let marks = Marks::new(1 << 16);
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..20_000).for_each(|number| marks.mark(hash(number)));
        let held = |range: std::ops::Range<u64>| range.filter(|number| marks.may_hold(hash(*number))).count();
        assert_eq!(held(0..20_000), 20_000);
        marks.remake(20_000, |mark| (0..20_000).for_each(|number| mark(hash(number))));
        assert_eq!(held(0..20_000), 20_000);
        assert!(held(20_000..40_000) < 2_000, "few bits are shared");
        marks.remake(17_000, |_| panic!("too few are gone"));
        marks.remake(5_000, |mark| (0..5_000).for_each(|number| mark(hash(number))));
        assert_eq!(held(0..5_000), 5_000);
        assert!(held(5_000..20_000) < 1_500);
        marks.mark(hash(30_000));
        assert!(marks.may_hold(hash(30_000)));
        marks.remake(5_001, |_| panic!("they were just made anew"));
        assert!(!marks.are_none());
        marks.remake(0, |_| ());
        assert!(marks.are_none());
        marks.mark(hash(0));
        assert!(!marks.are_none());
    }

    #[test]
    fn nothing_is_missed_while_they_are_remade() {
        // Few words, so that many share one.
        let (marks, held) = (Marks::new(1 << 12), Mutex::new(BTreeSet::new()));
        let held = || held.lock().expect("nobody panics with it");
        std::thread::scope(|scope| {
            let adding = scope.spawn(|| {
                for number in 0..20_000_u64 {
                    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    held().insert(hash);
                    marks.mark(hash);
                    assert!(marks.may_hold(hash) && !marks.are_none(), "{number}");
                    if number % 64 == 63 {
                        let mut held = held();
                        assert!(held.iter().all(|hash| marks.may_hold(*hash)), "{number}");
                        held.pop_first();
                    }
                    if number % 1024 == 1023 {
                        held().clear();
                    }
                }
            });
            // They need another size each time.
            for entries in [0, 600].into_iter().cycle().take_while(|_| !adding.is_finished()) {
                marks.remake(entries, |mark| {
                    let hashes: Vec<_> = held().iter().copied().collect();
                    hashes.into_iter().for_each(mark);
                });
            }
            adding.join().expect("nothing was missed");
        });
        assert!(marks.turn.load(Ordering::Relaxed) > 10);
    }
}

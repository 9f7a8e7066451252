//! A [Bloom filter](https://en.wikipedia.org/wiki/Bloom_filter) with one hash function in front of a hash map.
//!
//! A lookup in the map writes to a lock, for which cores compete. A lookup in the filter only reads. The filter is double-buffered,
//! so that it can be rebuilt while it is read: there are two sets of bits. Lookups read one of them, the *current* one, and every
//! new entry is marked in both. A rebuild clears the other set, marks each entry of the map in it, and makes it the current one. That
//! removes the bits of entries that are gone. No entry is ever missed:
//!
//! * An entry is marked after it was put into the map, and counts from then on. If a rebuild clears its bit, the entry was in the
//!   map before, so the rebuild finds it there and marks it again. If the rebuild does not clear its bit, the bit is there.
//! * A set is cleared only when it is not the current one. A slow lookup may still read it. Such a lookup finds no bit, sees that the
//!   number of the rebuild has changed, and starts again.
//!
//! `tests/loom/` explores the interleavings, with the orderings of memory that are written here and with weaker ones.
//!
//! A set uses only as many of its words as the map needs, so that a short list stays in a near cache.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The filter.
pub(super) struct Marks {
    sets: [Set; 2],
    /// Number of rebuilds. The current set is this modulo 2.
    turn: AtomicUsize,
    /// Number of calls of [`Marks::mark`], without those for entries that were gone at the last rebuild.
    made: AtomicUsize,
    remaking: Mutex<()>,
}

struct Set {
    words: Box<[AtomicU64]>,
    /// Number of words in use: a power of two. A rebuild changes it before it clears the words.
    used: AtomicUsize,
}

impl Set {
    fn place(&self, hash: u64) -> (&AtomicU64, u64) {
        // A mask: a division would take longer than the rest of the lookup.
        let word = usize::try_from(hash >> 6).unwrap_or(usize::MAX) & (self.used.load(Ordering::Acquire) - 1);
        (&self.words[word], 1 << (hash & 63))
    }
}

impl Marks {
    /// Fewer stale bits than this are not worth a rebuild.
    const FEW: usize = 1000;
    /// Number of bits for each entry.
    const BITS_EACH: usize = 16;

    /// Makes an empty filter. Each set has `bytes` bytes: a power of two, and at least 8.
    pub(super) fn new(bytes: usize) -> Self {
        debug_assert!(bytes.is_power_of_two() && bytes >= 8);
        let sets = [(); 2].map(|()| Set {
            words: (0..bytes / 8).map(|_| AtomicU64::new(0)).collect(),
            used: AtomicUsize::new(Self::words(bytes / 8, 0)),
        });
        Self { sets, turn: AtomicUsize::new(0), made: AtomicUsize::new(0), remaking: Mutex::new(()) }
    }

    /// Returns the number of words to use for this number of entries, if there is room for `room` words.
    fn words(room: usize, entries: usize) -> usize {
        ((entries + Self::FEW) * Self::BITS_EACH / 64).next_power_of_two().min(room)
    }

    /// Returns whether nothing is marked. Then a lookup need not even hash. Marks are counted last, and a rebuild subtracts no more
    /// than those whose entries are gone. So this is `false` as soon as the mark of an entry counts.
    pub(super) fn are_none(&self) -> bool {
        self.made.load(Ordering::Acquire) == 0
    }

    /// Returns `false` only if the map has no entry of this hash.
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

    /// Marks an entry. It must be in the map already.
    pub(super) fn mark(&self, hash: u64) {
        for set in &self.sets {
            let (word, bit) = set.place(hash);
            word.fetch_or(bit, Ordering::AcqRel);
        }
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Rebuilds the filter of a map of this number of entries, if many bits are stale or if the entries need more or fewer words.
    /// `hashes` calls its argument with the hash of each entry.
    pub(super) fn remake(&self, entries: usize, hashes: impl FnOnce(&mut dyn FnMut(u64))) {
        let _alone = self.remaking.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, turn) = (self.made.load(Ordering::Relaxed), self.turn.load(Ordering::Relaxed));
        let (asked, set) = (&self.sets[turn % 2], &self.sets[(turn + 1) % 2]);
        let words = Self::words(set.words.len(), entries);
        if made < 2 * entries + Self::FEW && words == asked.used.load(Ordering::Relaxed) {
            return;
        }
        // A thread that marks by the old number of words has put its entry into the map before this, and it is found there.
        set.used.store(words, Ordering::Release);
        for word in &set.words {
            // A lookup that reads this zero acquires it, and so sees the number of the rebuild before this one. A `swap` reads as
            // well: so this thread acquires the bits that it clears, and sees their entries in the map.
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

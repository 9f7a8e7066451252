// Part of each module that build.rs generates: scenarios in which several threads use a filter and the map behind it.

use loom::sync::Arc;
use loom::thread;

/// A map with a filter in front of it, as in `SessionTable` and `Subjects`.
struct FilteredMap {
    filter: BloomFilter,
    map: Mutex<Vec<u64>>,
}

/// Proof that the lock of the map is not poisoned.
const NO_PANIC: &str = "no thread panics while it holds the lock";

/// Hash whose bit is in the first word of a buffer with one word, and in the second word of a buffer with two words.
const FIRST: u64 = 64;
/// Hash with another bit in the same word.
const SECOND: u64 = 65;

impl FilteredMap {
    fn with(entries: &[u64]) -> Arc<Self> {
        let filtered = Self { filter: BloomFilter::new(16), map: Mutex::new(Vec::new()) };
        entries.iter().for_each(|hash| filtered.add(*hash));
        Arc::new(filtered)
    }

    fn add(&self, hash: u64) {
        self.map.lock().expect(NO_PANIC).push(hash);
        self.filter.insert(hash);
    }

    /// Removes an entry from the map. Its bit in the filter stays.
    fn remove(&self, hash: u64) {
        self.map.lock().expect(NO_PANIC).retain(|other| *other != hash);
    }

    /// Panics if the filter reports that there is no such entry.
    fn assert_contains(&self, hash: u64) {
        assert!(!self.filter.is_empty() && self.filter.may_contain(hash), "an entry was missed");
    }

    /// Rebuilds the filter. `entries` may differ from the number of entries in the map, as in the program, where the number
    /// may be out of date. A buffer then has one word for 0 entries, and two words for 2 entries.
    fn rebuild(&self, entries: usize) {
        self.filter.rebuild(entries, |insert| {
            self.map.lock().expect(NO_PANIC).iter().for_each(|hash| insert(*hash));
        });
    }
}

/// All scenarios of this file.
pub(crate) const SCENARIOS: &[crate::Scenario] =
    &[adds_during_a_rebuild, adds_twice_during_a_rebuild, reads_during_two_rebuilds, rebuilds_twice_at_once];

/// One thread adds an entry, the second rebuilds the filter, and the third looks the entry up if the first has announced it.
fn adds_during_a_rebuild(max_preemptions: Option<usize>) {
    for entries in [0, 2] {
        crate::explore(max_preemptions, move || {
            let filtered = FilteredMap::with(&[]);
            let added = Arc::new(AtomicUsize::new(0));
            let adding = thread::spawn({
                let filtered = filtered.clone();
                let added = added.clone();
                move || {
                    filtered.add(FIRST);
                    filtered.assert_contains(FIRST);
                    added.store(1, Ordering::Release);
                }
            });
            let rebuilding = thread::spawn({
                let filtered = filtered.clone();
                move || filtered.rebuild(entries)
            });
            if added.load(Ordering::Acquire) == 1 {
                filtered.assert_contains(FIRST);
            }
            adding.join().expect("the thread does not panic");
            rebuilding.join().expect("the thread does not panic");
            filtered.assert_contains(FIRST);
        });
    }
}

/// Two threads add entries during a rebuild that removes a stale bit.
fn adds_twice_during_a_rebuild(max_preemptions: Option<usize>) {
    crate::explore(max_preemptions, || {
        let filtered = FilteredMap::with(&[SECOND]);
        filtered.remove(SECOND);
        let adding = thread::spawn({
            let filtered = filtered.clone();
            move || {
                filtered.add(FIRST);
                filtered.assert_contains(FIRST);
            }
        });
        filtered.rebuild(0);
        filtered.add(SECOND);
        filtered.assert_contains(SECOND);
        adding.join().expect("the thread does not panic");
        filtered.assert_contains(FIRST);
        filtered.assert_contains(SECOND);
    });
}

/// A slow lookup reads a buffer that the second rebuild clears.
fn reads_during_two_rebuilds(max_preemptions: Option<usize>) {
    for sizes in [[0, 0], [2, 0], [0, 2], [2, 2]] {
        crate::explore(max_preemptions, move || {
            let filtered = FilteredMap::with(&[FIRST]);
            let rebuilding = thread::spawn({
                let filtered = filtered.clone();
                move || sizes.iter().for_each(|entries| filtered.rebuild(*entries))
            });
            filtered.assert_contains(FIRST);
            rebuilding.join().expect("the thread does not panic");
            filtered.assert_contains(FIRST);
        });
    }
}

/// Two threads rebuild at once. Neither of them may clear the buffer that the other fills.
fn rebuilds_twice_at_once(max_preemptions: Option<usize>) {
    crate::explore(max_preemptions, || {
        let filtered = FilteredMap::with(&[FIRST]);
        let rebuilding = thread::spawn({
            let filtered = filtered.clone();
            move || {
                filtered.rebuild(0);
                filtered.assert_contains(FIRST);
            }
        });
        filtered.rebuild(0);
        filtered.assert_contains(FIRST);
        rebuilding.join().expect("the thread does not panic");
        filtered.assert_contains(FIRST);
    });
}

// Scenarios for the Bloom filter and the map behind it. build.rs includes this file in each generated module.

use loom::sync::Arc;
use loom::thread;

/// Map with its Bloom filter, as in `Table` and `Subjects` of the revocation list.
struct Filtered {
    marks: Marks,
    map: Mutex<Vec<u64>>,
}

/// Hash of an entry. Its bit is in the only word of a set with one word, and in the second word of a set with two words.
const FIRST: u64 = 64;
/// Hash of another entry. Its bit is in the same word.
const SECOND: u64 = 65;

impl Filtered {
    fn with(entries: &[u64]) -> Arc<Self> {
        let filtered = Self { marks: Marks::new(16), map: Mutex::new(Vec::new()) };
        entries.iter().for_each(|hash| filtered.add(*hash));
        Arc::new(filtered)
    }

    fn add(&self, hash: u64) {
        self.map.lock().expect("no thread panics with it").push(hash);
        self.marks.mark(hash);
    }

    /// Removes an entry from the map. Its bit in the filter stays set.
    fn remove(&self, hash: u64) {
        self.map.lock().expect("no thread panics with it").retain(|other| *other != hash);
    }

    /// Asserts that the filter does not exclude an entry.
    fn assert_found(&self, hash: u64) {
        assert!(!self.marks.are_none() && self.marks.may_hold(hash), "an entry was missed");
    }

    /// Rebuilds the filter. `entries` determines the size: with 0 the filter gets one word, with 2 it gets two words. The
    /// number may be outdated at the time of the rebuild.
    fn remake(&self, entries: usize) {
        self.marks.remake(entries, |mark| {
            self.map.lock().expect("no thread panics with it").iter().for_each(|hash| mark(*hash));
        });
    }
}

/// All scenarios.
pub(crate) const SCENARIOS: &[crate::Scenario] =
    &[adds_during_a_rebuild, adds_twice_during_a_rebuild, reads_during_two_rebuilds, rebuilds_twice_at_once];

/// One thread adds an entry while a second thread rebuilds the filter. A third thread looks the entry up after it was added.
fn adds_during_a_rebuild(max_preemptions: Option<usize>) {
    for entries in [0, 2] {
        crate::explore(max_preemptions, move || {
            let filtered = Filtered::with(&[]);
            let added = Arc::new(AtomicUsize::new(0));
            let adding = thread::spawn({
                let filtered = filtered.clone();
                let added = added.clone();
                move || {
                    filtered.add(FIRST);
                    filtered.assert_found(FIRST);
                    added.store(1, Ordering::Release);
                }
            });
            let rebuilding = thread::spawn({
                let filtered = filtered.clone();
                move || filtered.remake(entries)
            });
            if added.load(Ordering::Acquire) == 1 {
                filtered.assert_found(FIRST);
            }
            adding.join().expect("it ends");
            rebuilding.join().expect("it ends");
            filtered.assert_found(FIRST);
        });
    }
}

/// Two threads add entries while the filter is rebuilt, and the filter has the bit of a removed entry.
fn adds_twice_during_a_rebuild(max_preemptions: Option<usize>) {
    crate::explore(max_preemptions, || {
        let filtered = Filtered::with(&[SECOND]);
        filtered.remove(SECOND);
        let adding = thread::spawn({
            let filtered = filtered.clone();
            move || {
                filtered.add(FIRST);
                filtered.assert_found(FIRST);
            }
        });
        filtered.remake(0);
        filtered.add(SECOND);
        filtered.assert_found(SECOND);
        adding.join().expect("it ends");
        filtered.assert_found(FIRST);
        filtered.assert_found(SECOND);
    });
}

/// A lookup runs during two rebuilds. The second rebuild clears the set that the lookup reads.
fn reads_during_two_rebuilds(max_preemptions: Option<usize>) {
    for sizes in [[0, 0], [2, 0], [0, 2], [2, 2]] {
        crate::explore(max_preemptions, move || {
            let filtered = Filtered::with(&[FIRST]);
            let rebuilding = thread::spawn({
                let filtered = filtered.clone();
                move || sizes.iter().for_each(|entries| filtered.remake(*entries))
            });
            filtered.assert_found(FIRST);
            rebuilding.join().expect("it ends");
            filtered.assert_found(FIRST);
        });
    }
}

/// Two threads rebuild the filter at the same time. One thread must not clear the set that the other thread fills.
fn rebuilds_twice_at_once(max_preemptions: Option<usize>) {
    crate::explore(max_preemptions, || {
        let filtered = Filtered::with(&[FIRST]);
        let rebuilding = thread::spawn({
            let filtered = filtered.clone();
            move || {
                filtered.remake(0);
                filtered.assert_found(FIRST);
            }
        });
        filtered.remake(0);
        filtered.assert_found(FIRST);
        rebuilding.join().expect("it ends");
        filtered.assert_found(FIRST);
    });
}

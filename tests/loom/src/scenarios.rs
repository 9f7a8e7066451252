// Part of each module that build.rs makes: what threads do with a filter and the map behind it.

use loom::sync::Arc;
use loom::thread;

/// A map with its filter, as `Table` and `Subjects` have them.
struct Filtered {
    marks: Marks,
    map: Mutex<Vec<u64>>,
}

/// In the only word of a set that has one, and in the second of a set that has two.
const FIRST: u64 = 64;
/// Another bit there.
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

    /// An entry is gone, and its mark stays.
    fn remove(&self, hash: u64) {
        self.map.lock().expect("no thread panics with it").retain(|other| *other != hash);
    }

    /// Fails if the filter says that there is no such entry.
    fn assert_found(&self, hash: u64) {
        assert!(!self.marks.are_none() && self.marks.may_hold(hash), "an entry was missed");
    }

    /// The number of entries may be out of date by the time of the rebuild. None asks for one word, and two for two.
    fn remake(&self, entries: usize) {
        self.marks.remake(entries, |mark| {
            self.map.lock().expect("no thread panics with it").iter().for_each(|hash| mark(*hash));
        });
    }
}

/// All of them.
pub(crate) const SCENARIOS: &[crate::Scenario] =
    &[adds_during_a_rebuild, adds_twice_during_a_rebuild, reads_during_two_rebuilds, rebuilds_twice_at_once];

/// A thread adds an entry while another rebuilds, and a third that has heard of the entry looks for it.
fn adds_during_a_rebuild(interruptions: Option<usize>) {
    for entries in [0, 2] {
        crate::explore(interruptions, move || {
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

/// Two threads add while there is a stale mark to get rid of.
fn adds_twice_during_a_rebuild(interruptions: Option<usize>) {
    crate::explore(interruptions, || {
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

/// A slow lookup: the set that it reads is cleared by the second rebuild.
fn reads_during_two_rebuilds(interruptions: Option<usize>) {
    for sizes in [[0, 0], [2, 0], [0, 2], [2, 2]] {
        crate::explore(interruptions, move || {
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

/// Two threads rebuild, and the set that one fills must not be cleared by the other.
fn rebuilds_twice_at_once(interruptions: Option<usize>) {
    crate::explore(interruptions, || {
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

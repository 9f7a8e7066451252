//! A [Bloom filter](https://en.wikipedia.org/wiki/Bloom_filter) with one hash function in front of a hash map.
//!
//! A lookup in the map writes to a lock, for which cores compete. A lookup in the filter only reads. The filter is
//! double-buffered, so that it can be rebuilt while it is read: there are two buffers of bits. Lookups read one of them, the
//! *current* buffer. Every new entry is inserted into both. A rebuild clears the *spare* buffer, inserts each entry of the
//! map into it, and makes it the current buffer. A rebuild removes the bits of entries that are no longer in the map.
//!
//! Invariant: no lookup misses an entry. The reasons are:
//!
//! * An entry is put into the map first, then inserted into the filter. If a rebuild clears the entry's bit, the entry was in
//!   the map before that, so the rebuild finds it in the map and sets the bit again. If the rebuild does not clear the bit,
//!   the bit stays set.
//! * A rebuild clears the spare buffer only. A slow lookup may still read that buffer, because it was the current one until
//!   recently. Such a lookup finds no bit, then finds that the epoch has changed, and starts again.
//!
//! `tests/loom/` explores the interleavings of threads, with the memory orderings of this file and with weaker ones.
//!
//! A buffer uses only as many of its words as the map needs, so that the filter of a short list stays in a fast CPU cache.
//! Used by `table.rs` and `subjects.rs`.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A double-buffered Bloom filter with one hash function.
pub(super) struct BloomFilter {
    buffers: [Buffer; 2],
    /// Number of rebuilds. This number modulo 2 is the index of the current buffer.
    epoch: AtomicUsize,
    /// Number of calls of [`BloomFilter::insert`], minus the calls for entries that the last rebuild did not find in the map.
    insertions: AtomicUsize,
    /// Lock that allows one rebuild at a time.
    rebuild_lock: Mutex<()>,
}

/// One of the two bit sets of a filter.
struct Buffer {
    words: Box<[AtomicU64]>,
    /// Number of words in use: a power of two. A rebuild changes it before it clears the words.
    used: AtomicUsize,
}

impl Buffer {
    /// Returns the word and the bit of a hash.
    fn position(&self, hash: u64) -> (&AtomicU64, u64) {
        // A mask instead of `%`: a division would take longer than the rest of the lookup.
        let word = usize::try_from(hash >> 6).unwrap_or(usize::MAX) & (self.used.load(Ordering::Acquire) - 1);
        (&self.words[word], 1 << (hash & 63))
    }
}

impl BloomFilter {
    /// Minimum number of stale bits that is worth a rebuild.
    const MIN_STALE_BITS: usize = 1000;
    /// Number of bits for each entry.
    const BITS_PER_ENTRY: usize = 16;

    /// Creates an empty filter. Each buffer has `bytes` bytes: a power of two, and at least 8.
    pub(super) fn new(bytes: usize) -> Self {
        debug_assert!(bytes.is_power_of_two() && bytes >= 8);
        let buffers = [(); 2].map(|()| Buffer {
            words: (0..bytes / 8).map(|_| AtomicU64::new(0)).collect(),
            used: AtomicUsize::new(Self::words_for(0, bytes / 8)),
        });
        Self { buffers, epoch: AtomicUsize::new(0), insertions: AtomicUsize::new(0), rebuild_lock: Mutex::new(()) }
    }

    /// Returns the number of words to use for this number of entries: at most `capacity`, the number of words of a buffer.
    fn words_for(entries: usize, capacity: usize) -> usize {
        ((entries + Self::MIN_STALE_BITS) * Self::BITS_PER_ENTRY / 64).next_power_of_two().min(capacity)
    }

    /// Returns whether the filter has no entry, so that a lookup does not need to compute the hash.
    ///
    /// `insert` counts an entry after it sets the bits, and a rebuild subtracts at most the insertions of entries that were
    /// removed. So this returns `false` from the moment at which an `insert` has returned.
    pub(super) fn is_empty(&self) -> bool {
        self.insertions.load(Ordering::Acquire) == 0
    }

    /// Returns `false` only if the map has no entry with this hash.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let mut epoch = self.epoch.load(Ordering::Acquire);
        loop {
            let (word, bit) = self.buffers[epoch % 2].position(hash);
            if word.load(Ordering::Acquire) & bit != 0 {
                return true;
            }
            // The bit is missing for certain only if no rebuild has replaced the buffer meanwhile.
            let latest = self.epoch.load(Ordering::Acquire);
            if latest == epoch {
                return false;
            }
            epoch = latest;
        }
    }

    /// Inserts an entry that is already in the map.
    pub(super) fn insert(&self, hash: u64) {
        for buffer in &self.buffers {
            let (word, bit) = buffer.position(hash);
            word.fetch_or(bit, Ordering::AcqRel);
        }
        self.insertions.fetch_add(1, Ordering::Relaxed);
    }

    /// Rebuilds the filter of a map of this number of entries, if many bits are stale or if the entries need more or fewer
    /// words. `hashes` calls its argument with the hash of each entry.
    pub(super) fn rebuild(&self, entries: usize, hashes: impl FnOnce(&mut dyn FnMut(u64))) {
        let _guard = self.rebuild_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let insertions = self.insertions.load(Ordering::Relaxed);
        let epoch = self.epoch.load(Ordering::Relaxed);
        let current = &self.buffers[epoch % 2];
        let spare = &self.buffers[(epoch + 1) % 2];
        let words = Self::words_for(entries, spare.words.len());
        if insertions < 2 * entries + Self::MIN_STALE_BITS && words == current.used.load(Ordering::Relaxed) {
            return;
        }
        // A thread that inserts with the old number of words has put its entry into the map before this store. So the entry
        // is found in the map below.
        spare.used.store(words, Ordering::Release);
        for word in &spare.words {
            // A lookup that reads this zero synchronizes with this `swap`, so it also reads the epoch that the previous rebuild
            // stored, or a later epoch. The `swap` acquires the bits that it clears, so this thread finds the entries of these
            // bits in the map.
            word.swap(0, Ordering::AcqRel);
        }
        let mut inserted = 0;
        hashes(&mut |hash| {
            let (word, bit) = spare.position(hash);
            word.fetch_or(bit, Ordering::Relaxed);
            inserted += 1;
        });
        // From now on, lookups read the rebuilt buffer.
        self.epoch.store(epoch + 1, Ordering::Release);
        self.insertions.fetch_sub(insertions.saturating_sub(inserted), Ordering::Relaxed);
    }
}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BloomFilter")
            .field("epoch", &self.epoch)
            .field("insertions", &self.insertions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_rebuild_removes_stale_bits_and_no_others() {
        let filter = BloomFilter::new(1 << 16);
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..20_000).for_each(|number| filter.insert(hash(number)));
        let count_in = |range: std::ops::Range<u64>| range.filter(|number| filter.may_contain(hash(*number))).count();
        assert_eq!(count_in(0..20_000), 20_000);
        filter.rebuild(20_000, |insert| (0..20_000).for_each(|number| insert(hash(number))));
        assert_eq!(count_in(0..20_000), 20_000);
        assert!(count_in(20_000..40_000) < 2_000, "few bits are shared");
        filter.rebuild(17_000, |_| panic!("too few bits are stale for a rebuild"));
        filter.rebuild(5_000, |insert| (0..5_000).for_each(|number| insert(hash(number))));
        assert_eq!(count_in(0..5_000), 5_000);
        assert!(count_in(5_000..20_000) < 1_500);
        filter.insert(hash(30_000));
        assert!(filter.may_contain(hash(30_000)));
        filter.rebuild(5_001, |_| panic!("the filter was rebuilt just before"));
        assert!(!filter.is_empty());
        filter.rebuild(0, |_| ());
        assert!(filter.is_empty());
        filter.insert(hash(0));
        assert!(!filter.is_empty());
    }

    #[test]
    fn misses_no_entry_during_rebuilds() {
        // Few words, so that many entries share a word.
        let filter = BloomFilter::new(1 << 12);
        let entries = Mutex::new(BTreeSet::new());
        let entries = || entries.lock().expect("no thread panics while it holds the lock");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 0..20_000_u64 {
                    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    entries().insert(hash);
                    filter.insert(hash);
                    assert!(filter.may_contain(hash) && !filter.is_empty(), "{number}");
                    if number % 64 == 63 {
                        let mut entries = entries();
                        assert!(entries.iter().all(|hash| filter.may_contain(*hash)), "{number}");
                        entries.pop_first();
                    }
                    if number % 1024 == 1023 {
                        entries().clear();
                    }
                }
            });
            // The two numbers of entries need different sizes, so each call rebuilds the filter.
            for size in [0, 600].into_iter().cycle().take_while(|_| !writer.is_finished()) {
                filter.rebuild(size, |insert| {
                    let hashes: Vec<_> = entries().iter().copied().collect();
                    hashes.into_iter().for_each(insert);
                });
            }
            writer.join().expect("no entry was missed");
        });
        assert!(filter.epoch.load(Ordering::Relaxed) > 10);
    }
}

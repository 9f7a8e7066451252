//! The memory that is lent to threads which check a stored hash that needs more memory than the configured cost.
//!
//! It is a counting semaphore in KiB: it limits the amount of memory, and allocates none.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The memory that can be lent. A thread reserves a part of it for the check of one password.
#[derive(Debug)]
pub(super) struct SpareMemory {
    free_kib: Mutex<u32>,
    returned: Condvar,
}

impl SpareMemory {
    pub(super) const fn new(total_kib: u32) -> Self {
        Self { free_kib: Mutex::new(total_kib), returned: Condvar::new() }
    }

    /// Waits until this much memory is free, and reserves it. `kib` must not be more than the total, or the wait never ends.
    pub(super) fn reserve(&self, kib: u32) -> Reservation<'_> {
        let free_kib = self.returned.wait_while(self.free_kib(), |free| *free < kib);
        *free_kib.unwrap_or_else(PoisonError::into_inner) -= kib;
        Reservation { spare: self, kib }
    }

    fn free_kib(&self) -> MutexGuard<'_, u32> {
        self.free_kib.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reserved part of the memory. Dropping it returns the part.
pub(super) struct Reservation<'s> {
    spare: &'s SpareMemory,
    kib: u32,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        *self.spare.free_kib() += self.kib;
        self.spare.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn threads_share_the_memory_and_wait_until_enough_is_free() {
        let spare = Arc::new(SpareMemory::new(100));
        let first = spare.reserve(60);
        let second = spare.reserve(40);
        let third = std::thread::spawn({
            let spare = spare.clone();
            move || spare.reserve(50).kib
        });
        drop(second);
        assert!(!third.is_finished(), "40 KiB are not enough");
        drop(first);
        assert_eq!(third.join().expect("the thread does not panic"), 50);
        assert_eq!(*spare.free_kib(), 100);
    }
}

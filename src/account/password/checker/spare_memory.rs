//! Limits the additional memory of threads that check a stored hash which needs more memory than the configured cost.
//!
//! [`SpareMemory`] is a counting semaphore in KiB. It only counts the memory; [`Argon2id`](super::Argon2id) allocates it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The amount of memory that can be reserved. A thread reserves a part for the check of one password.
#[derive(Debug)]
pub(super) struct SpareMemory {
    free_kib: Mutex<u32>,
    /// Notified when a reservation is released.
    released: Condvar,
}

impl SpareMemory {
    pub(super) const fn new(total_kib: u32) -> Self {
        Self { free_kib: Mutex::new(total_kib), released: Condvar::new() }
    }

    /// Waits until `kib` KiB are free, and reserves them. `kib` must not be more than the total; otherwise the wait
    /// never ends.
    pub(super) fn reserve(&self, kib: u32) -> Reservation<'_> {
        let free_kib = self.released.wait_while(self.free_kib(), |free| *free < kib);
        *free_kib.unwrap_or_else(PoisonError::into_inner) -= kib;
        Reservation { spare: self, kib }
    }

    fn free_kib(&self) -> MutexGuard<'_, u32> {
        self.free_kib.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reserved part of the memory. Dropping the reservation makes the part available again.
pub(super) struct Reservation<'s> {
    spare: &'s SpareMemory,
    kib: u32,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        *self.spare.free_kib() += self.kib;
        self.spare.released.notify_all();
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

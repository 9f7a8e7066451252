//! Memory beyond what the threads have for themselves, lent to those that check a stored hash of greater cost.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Memory that is lent to a thread for one password.
#[derive(Debug)]
pub(super) struct Spare {
    free_kib: Mutex<u32>,
    returned: Condvar,
}

impl Spare {
    pub(super) const fn new(total_kib: u32) -> Self {
        Self { free_kib: Mutex::new(total_kib), returned: Condvar::new() }
    }

    /// Waits until there is so much, which must not be more than there ever is.
    pub(super) fn take(&self, kib: u32) -> Taken<'_> {
        let enough = self.returned.wait_while(self.free_kib(), |free| *free < kib);
        *enough.unwrap_or_else(PoisonError::into_inner) -= kib;
        Taken { spare: self, kib }
    }

    fn free_kib(&self) -> MutexGuard<'_, u32> {
        self.free_kib.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Taken<'s> {
    spare: &'s Spare,
    kib: u32,
}

impl Drop for Taken<'_> {
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
    fn spare_memory_is_lent_to_as_many_threads_as_it_suffices_for() {
        let spare = Arc::new(Spare::new(100));
        let (first, second) = (spare.take(60), spare.take(40));
        let third = std::thread::spawn({
            let spare = spare.clone();
            move || spare.take(50).kib
        });
        drop(second);
        assert!(!third.is_finished(), "40 are not enough");
        drop(first);
        assert_eq!(third.join().expect("it runs"), 50);
        assert_eq!(*spare.free_kib(), 100);
    }
}

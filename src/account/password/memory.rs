//! The memory that Argon2 computes in: 19 MiB for each hash, with the default cost.
//!
//! It is allocated when a hash needs it, and freed when no hash has needed it for a while. Freed memory must go back to the kernel,
//! but glibc keeps freed blocks of up to 32 MiB for later allocations
//! ([`M_MMAP_THRESHOLD`](https://man7.org/linux/man-pages/man3/mallopt.3.html)). So more than that is reserved, of which only the
//! part that a hash needs is touched: the rest is address space.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Block;

/// The blocks of an allocation, at least, of 1 KiB each: more than the 32 MiB that glibc keeps.
const MIN_RESERVED_BLOCKS: usize = 40 << 10;

/// The system does not give the memory that a hash needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot allocate memory to hash a password")]
pub(crate) struct OutOfMemory;

/// The memory of one hash. Empty before its first use.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Memory {
    /// Allocates and touches this many blocks, unless they are there.
    pub(super) fn reserve(&mut self, blocks: usize) -> Result<(), OutOfMemory> {
        if self.0.len() < blocks {
            // The old allocation is freed first, so that the two do not add up.
            self.0 = Vec::new();
            self.0.try_reserve_exact(blocks.max(MIN_RESERVED_BLOCKS)).map_err(|_| OutOfMemory)?;
            self.0.resize(blocks, Block::default());
        }
        Ok(())
    }

    /// Returns this many blocks. Aborts the process, as every allocation does, if they are not reserved and there is no memory.
    pub(super) fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0 = Vec::with_capacity(count.max(MIN_RESERVED_BLOCKS));
            self.0.resize(count, Block::default());
        }
        &mut self.0[..count]
    }
}

/// Memory that no hash uses at the moment. What was used last is used first, so that the rest becomes idle and is freed: the process
/// keeps as much as the hashes need that are computed at the same time.
pub(super) struct FreeList {
    unused: Mutex<Vec<Unused>>,
    /// Larger memory, for a stored hash of higher cost, is freed at once.
    max_blocks: usize,
}

struct Unused {
    memory: Memory,
    /// Boot clock.
    since: Duration,
}

impl FreeList {
    pub(super) const fn new(max_blocks: usize) -> Self {
        Self { unused: Mutex::new(Vec::new()), max_blocks }
    }

    /// Returns the memory that was used last, or empty memory.
    pub(super) fn take(&self) -> Memory {
        self.unused().pop().map(|unused| unused.memory).unwrap_or_default()
    }

    pub(super) fn put(&self, memory: Memory, now: Duration) {
        if (1..=self.max_blocks).contains(&memory.0.len()) {
            self.unused().push(Unused { memory, since: now });
        }
    }

    /// Frees the memory that has not been used since this instant.
    pub(super) fn free_unused_since(&self, instant: Duration) {
        self.unused().retain(|unused| unused.since > instant);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unused().is_empty()
    }

    fn unused(&self) -> MutexGuard<'_, Vec<Unused>> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the contents, which depend on passwords.
impl fmt::Debug for FreeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreeList").field("max_blocks", &self.max_blocks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(blocks: usize) -> Memory {
        let mut memory = Memory::default();
        memory.reserve(blocks).expect("there is memory");
        memory
    }

    #[test]
    fn memory_is_reserved_beyond_what_the_allocator_keeps() {
        let mut infallible = Memory::default();
        infallible.blocks(8);
        for memory in [memory(8), infallible] {
            assert!(memory.0.capacity() * size_of::<Block>() > 32 << 20);
            assert_eq!(memory.0.len(), 8, "no more is touched");
        }
    }

    #[test]
    fn more_memory_than_can_be_addressed_is_an_error() {
        let mut memory = Memory::default();
        assert_eq!(memory.reserve(usize::MAX / size_of::<Block>()), Err(OutOfMemory));
        assert_eq!(memory.reserve(8), Ok(()), "it can be used again");
    }

    #[test]
    fn memory_used_last_is_used_first_and_the_rest_is_freed() {
        let second = Duration::from_secs(1);
        let free = FreeList::new(9);
        free.put(memory(8), second);
        free.put(memory(9), second * 2);
        assert_eq!(free.take().0.len(), 9);
        free.put(memory(9), second * 3);
        free.free_unused_since(second);
        assert_eq!(free.take().0.len(), 9);
        assert!(free.is_empty(), "the other has not been used since");
        free.put(memory(10), second * 4);
        free.put(Memory::default(), second * 5);
        assert!(free.is_empty(), "one is too large to be kept, the other is empty");
    }
}

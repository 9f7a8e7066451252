//! The working memory of Argon2: 19 MiB for each hash, with the default cost.
//!
//! The memory is allocated when a hash needs it, and freed after a period without use. Freed memory must be returned to the
//! kernel, but glibc keeps freed allocations of up to 32 MiB for later use
//! ([`M_MMAP_THRESHOLD`](https://man7.org/linux/man-pages/man3/mallopt.3.html)). Each allocation is therefore larger
//! than 32 MiB. Only the part that a hash needs is written; the rest is address space, and the kernel provides no memory for
//! it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Block;

/// Minimum size of an allocation in blocks of 1 KiB. It is larger than the 32 MiB that glibc keeps.
const MIN_RESERVED_BLOCKS: usize = 40 << 10;

/// Error if the system does not provide the memory that a hash needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot allocate memory to hash a password")]
pub(crate) struct OutOfMemory;

/// Working memory of one hash. It is empty before its first use.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Memory {
    /// Allocates and initialises this many blocks, unless the memory is already large enough.
    pub(super) fn reserve(&mut self, blocks: usize) -> Result<(), OutOfMemory> {
        if self.0.len() < blocks {
            // The old allocation is freed first, so that both do not exist at the same time.
            self.0 = Vec::new();
            self.0.try_reserve_exact(blocks.max(MIN_RESERVED_BLOCKS)).map_err(|_| OutOfMemory)?;
            self.0.resize(blocks, Block::default());
        }
        Ok(())
    }

    /// Returns this many blocks. Allocates them if [`Self::reserve`] has not allocated enough blocks. If that
    /// allocation fails, the process aborts, as with every infallible allocation in Rust.
    pub(super) fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0 = Vec::with_capacity(count.max(MIN_RESERVED_BLOCKS));
            self.0.resize(count, Block::default());
        }
        &mut self.0[..count]
    }
}

/// A free list of memory that no hash uses at the moment. The memory that was used most recently is reused first, so
/// that the rest is not used again and is freed. The process keeps only as much memory as concurrent hashes need.
pub(super) struct FreeList {
    unused: Mutex<Vec<Unused>>,
    /// Maximum size of memory in the list. Larger memory, for a stored hash of higher cost, is freed after its use.
    max_blocks: usize,
}

/// Memory in the free list.
struct Unused {
    memory: Memory,
    /// Time of the last use, from the boot clock.
    last_used: Duration,
}

impl FreeList {
    pub(super) const fn new(max_blocks: usize) -> Self {
        Self { unused: Mutex::new(Vec::new()), max_blocks }
    }

    /// Returns the most recently used memory, or empty memory if the list is empty.
    pub(super) fn take(&self) -> Memory {
        self.unused().pop().map(|unused| unused.memory).unwrap_or_default()
    }

    /// Adds memory after its use at the time `now`, unless it is empty or too large.
    pub(super) fn put(&self, memory: Memory, now: Duration) {
        if (1..=self.max_blocks).contains(&memory.0.len()) {
            self.unused().push(Unused { memory, last_used: now });
        }
    }

    /// Frees the memory that has not been used after this instant.
    pub(super) fn free_unused_since(&self, instant: Duration) {
        self.unused().retain(|unused| unused.last_used > instant);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unused().is_empty()
    }

    fn unused(&self) -> MutexGuard<'_, Vec<Unused>> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Omits the contents of the memory, which depend on passwords.
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
        memory.reserve(blocks).expect("memory is allocated");
        memory
    }

    #[test]
    fn an_allocation_is_larger_than_the_allocator_keeps() {
        let mut infallible = Memory::default();
        infallible.blocks(8);
        for memory in [memory(8), infallible] {
            assert!(memory.0.capacity() * size_of::<Block>() > 32 << 20);
            assert_eq!(memory.0.len(), 8, "only these blocks are initialised");
        }
    }

    #[test]
    fn an_allocation_that_is_too_large_is_an_error() {
        let mut memory = Memory::default();
        assert_eq!(memory.reserve(usize::MAX / size_of::<Block>()), Err(OutOfMemory));
        assert_eq!(memory.reserve(8), Ok(()), "the memory can be used after the error");
    }

    #[test]
    fn reuses_the_last_used_memory_first_and_frees_the_rest() {
        let second = Duration::from_secs(1);
        let free = FreeList::new(9);
        free.put(memory(8), second);
        free.put(memory(9), second * 2);
        assert_eq!(free.take().0.len(), 9);
        free.put(memory(9), second * 3);
        free.free_unused_since(second);
        assert_eq!(free.take().0.len(), 9);
        assert!(free.is_empty(), "the other memory was not used after this instant");
        free.put(memory(10), second * 4);
        free.put(Memory::default(), second * 5);
        assert!(free.is_empty(), "memory that is too large or empty is not added to the list");
    }
}

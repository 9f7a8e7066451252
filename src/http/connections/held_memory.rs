//! The memory that requests and responses of one HTTP/2 connection use. `exchange.rs` adds and removes the entries.

/// Entries for requests without a response and for responses that the client has not taken yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct HeldMemory {
    entries: Vec<Entry>,
    /// Whether the connection is being closed to free this memory. If so, its entries count in `Connections::closing_bytes`.
    is_closing: bool,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// Time at which the response began to wait for the client, in milliseconds of the boot clock. `None` for a request.
    waits_since: Option<u64>,
    bytes: usize,
}

impl HeldMemory {
    /// Adds an entry. It must be newer than all others.
    pub(super) fn add(&mut self, number: u64, waits_since: Option<u64>, bytes: usize) {
        self.entries.push(Entry { number, waits_since, bytes });
    }

    /// Removes an entry. Returns its size, or 0 if it does not exist.
    pub(super) fn remove(&mut self, number: u64) -> usize {
        let index = self.entries.iter().position(|entry| entry.number == number);
        index.map_or(0, |index| self.entries.remove(index).bytes)
    }

    /// Records that the connection is being closed to free this memory. Returns the size of all entries.
    pub(super) fn mark_closing(&mut self) -> usize {
        self.is_closing = true;
        self.bytes()
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Returns the size of all entries.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Returns the number of the oldest entry. Returns `None` if no entry exists, or if the connection is being closed to free
    /// this memory.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.first().filter(|_| !self.is_closing).map(|entry| entry.number)
    }

    /// Returns whether a response has waited since before `instant`.
    pub(super) fn has_response_waiting_before(&self, instant: u64) -> bool {
        // The entries are in the order of their creation, so the first response has waited longest.
        let mut waiting_responses = self.entries.iter().filter_map(|entry| entry.waits_since);
        waiting_responses.next().is_some_and(|since| since < instant)
    }
}

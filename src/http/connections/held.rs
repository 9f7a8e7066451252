//! The memory that requests and answers of one HTTP/2 connection hold.

/// Requests that are not answered yet and answers that are not taken yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: Vec<Entry>,
    /// The connection is being closed for them, so they count no more.
    is_abandoned: bool,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// When the answer began to wait, in milliseconds of the boot clock; `None` for a request.
    waits_since: Option<u64>,
    bytes: usize,
}

impl Held {
    /// Adds an entry that is newer than all others. `false` if those of this connection do not count any more.
    pub(super) fn add(&mut self, number: u64, waits_since: Option<u64>, bytes: usize) -> bool {
        if !self.is_abandoned {
            self.entries.push(Entry { number, waits_since, bytes });
        }
        !self.is_abandoned
    }

    /// Removes an entry; returns its size, or 0 if it was not counted.
    pub(super) fn remove(&mut self, number: u64) -> usize {
        let place = self.entries.iter().position(|entry| entry.number == number);
        place.map_or(0, |place| self.entries.remove(place).bytes)
    }

    /// Removes all, now and from now on; returns their size.
    pub(super) fn abandon(&mut self) -> usize {
        self.is_abandoned = true;
        std::mem::take(&mut self.entries).iter().map(|entry| entry.bytes).sum()
    }

    /// The number of the oldest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.number)
    }

    /// Whether an answer has waited since before `instant`.
    pub(super) fn answer_waits_since_before(&self, instant: u64) -> bool {
        let mut answers = self.entries.iter().filter_map(|entry| entry.waits_since);
        answers.next().is_some_and(|since| since < instant)
    }
}

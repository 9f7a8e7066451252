//! The memory that requests and answers of one HTTP/2 connection hold.

/// Requests that are not answered yet and answers that are not taken yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: Vec<Entry>,
    /// The connection is being closed for them: they count as closing until they are dropped.
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
    /// Adds an entry that is newer than all others.
    pub(super) fn add(&mut self, number: u64, waits_since: Option<u64>, bytes: usize) {
        self.entries.push(Entry { number, waits_since, bytes });
    }

    /// Removes an entry; returns its size, or 0 if there is none.
    pub(super) fn remove(&mut self, number: u64) -> usize {
        let place = self.entries.iter().position(|entry| entry.number == number);
        place.map_or(0, |place| self.entries.remove(place).bytes)
    }

    /// Notes that the connection is being closed for them; returns their size.
    pub(super) fn abandon(&mut self) -> usize {
        self.is_abandoned = true;
        self.bytes()
    }

    pub(super) const fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    /// The size of all.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// The number of the oldest; `None` if the connection is being closed for them.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.first().filter(|_| !self.is_abandoned).map(|entry| entry.number)
    }

    /// Whether an answer has waited since before `instant`.
    pub(super) fn answer_waits_since_before(&self, instant: u64) -> bool {
        let mut answers = self.entries.iter().filter_map(|entry| entry.waits_since);
        answers.next().is_some_and(|since| since < instant)
    }
}

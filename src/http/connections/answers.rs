//! The answers of one HTTP/2 connection that wait to be taken.

/// Answers that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: Vec<Waiting>,
    /// The connection is being closed for them, so they count no more.
    is_abandoned: bool,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    /// When it began to wait, in milliseconds of the boot clock.
    since: u64,
    bytes: usize,
}

impl Answers {
    /// Adds an answer that is newer than all others. `false` if answers of this connection do not count any more.
    pub(super) fn add(&mut self, number: u64, since: u64, bytes: usize) -> bool {
        if !self.is_abandoned {
            self.waiting.push(Waiting { number, since, bytes });
        }
        !self.is_abandoned
    }

    /// Removes an answer; returns its size, or 0 if it was not counted.
    pub(super) fn remove(&mut self, number: u64) -> usize {
        let place = self.waiting.iter().position(|answer| answer.number == number);
        place.map_or(0, |place| self.waiting.remove(place).bytes)
    }

    /// Removes all, now and from now on; returns their size.
    pub(super) fn abandon(&mut self) -> usize {
        self.is_abandoned = true;
        std::mem::take(&mut self.waiting).iter().map(|answer| answer.bytes).sum()
    }

    /// The number of the oldest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.waiting.first().map(|answer| answer.number)
    }

    /// Whether one has waited since before `instant`.
    pub(super) fn wait_since_before(&self, instant: u64) -> bool {
        self.waiting.first().is_some_and(|answer| answer.since < instant)
    }
}

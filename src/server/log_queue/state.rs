//! The lines that wait, within their bounds, and the lines that were lost.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::line::{Kind, LINE_OVERHEAD, Line};
use crate::metrics::{DroppedLine, LOG_LINES_DROPPED};

/// Size of the queue. Each line counts with [`LINE_OVERHEAD`], so this bounds the number of lines, too.
const MAX_BYTES: usize = 4 << 20;
/// Size of the part of it that lines other than audit events may use.
const MAX_OTHER_BYTES: usize = MAX_BYTES / 4;

/// The state under the queue's lock.
#[derive(Debug, Default)]
pub(super) struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    other_bytes: usize,
    lost: Lost,
    /// Number of lines to write before the next notice of lost lines; `None` while there is nothing to tell.
    lines_to_notice: Option<usize>,
    /// The writing thread waits for a line.
    pub(super) idle: bool,
}

/// Lines that were not written and not told of yet.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lost {
    pub(super) audit: u64,
    pub(super) other: u64,
    /// Lines of libraries that a sampler left out.
    pub(super) sampled: u64,
}

/// The next thing to do for the writing thread.
pub(super) enum Next {
    Write(Line),
    Tell(Lost),
}

impl State {
    /// Adds a line if there is room, or counts it as lost. Returns whether it was added.
    pub(super) fn add(&mut self, kind: Kind, text: Cow<'_, [u8]>) -> bool {
        let cost = text.len() + LINE_OVERHEAD;
        let fits = match kind {
            Kind::Notice => true,
            Kind::Audit => self.bytes + cost <= MAX_BYTES,
            Kind::Other => self.bytes + cost <= MAX_BYTES && self.other_bytes + cost <= MAX_OTHER_BYTES,
        };
        if fits {
            self.push(Line { kind, text: text.into_owned().into() });
        } else {
            self.lost.count(kind);
            self.notice_after_those_that_wait();
        }
        fits
    }

    /// Counts lines of libraries that a sampler left out.
    pub(super) fn count_sampled(&mut self, lines: u64) {
        self.lost.sampled += lines;
        self.notice_after_those_that_wait();
    }

    /// Returns the next thing to do, or `None` if no line waits.
    pub(super) fn next(&mut self) -> Option<Next> {
        if self.lines_to_notice == Some(0) {
            self.lines_to_notice = None;
            return Some(Next::Tell(std::mem::take(&mut self.lost)));
        }
        self.pop().map(Next::Write)
    }

    /// Notes what became of a line. What a notice told of is told again if the notice was not written: after the next line that is.
    pub(super) fn settle(&mut self, kind: Kind, written: bool, told: Lost) {
        match (written, kind) {
            (true, Kind::Notice) => {}
            (true, _) if self.lost.any() => {
                self.lines_to_notice.get_or_insert(0);
            }
            (true, _) => {}
            (false, Kind::Notice) => {
                self.lost.audit += told.audit;
                self.lost.other += told.other;
                self.lost.sampled += told.sampled;
            }
            (false, kind) => self.lost.count(kind),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The text of all lines that wait.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    fn notice_after_those_that_wait(&mut self) {
        let before = self.lines.len();
        self.lines_to_notice.get_or_insert(before);
    }

    fn push(&mut self, line: Line) {
        self.bytes += line.cost();
        match line.kind {
            Kind::Notice => return self.lines.push_front(line),
            Kind::Other => self.other_bytes += line.cost(),
            Kind::Audit => {}
        }
        self.lines.push_back(line);
    }

    fn pop(&mut self) -> Option<Line> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.cost();
        if line.kind == Kind::Other {
            self.other_bytes -= line.cost();
        }
        self.lines_to_notice = self.lines_to_notice.map(|lines| lines.saturating_sub(1));
        Some(line)
    }
}

impl Lost {
    const fn any(self) -> bool {
        self.audit > 0 || self.other > 0 || self.sampled > 0
    }

    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Audit => {
                self.audit += 1;
                LOG_LINES_DROPPED.add(DroppedLine::Audit as usize);
            }
            Kind::Other => {
                self.other += 1;
                LOG_LINES_DROPPED.add(DroppedLine::Other as usize);
            }
            Kind::Notice => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::log_queue::line::MAX_LINE_BYTES;

    fn kinds(state: &State) -> Vec<Kind> {
        state.lines.iter().map(|line| line.kind).collect()
    }

    #[test]
    fn other_lines_fill_a_quarter_and_audit_events_the_rest() {
        let mut state = State::default();
        let text = [b'x'; 1024 - LINE_OVERHEAD];
        let mut fill = |kind| {
            for _ in 0..2 * MAX_BYTES / 1024 {
                state.add(kind, text[..].into());
            }
            kinds(&state)
        };
        assert_eq!(fill(Kind::Other).len(), MAX_OTHER_BYTES / 1024);
        let all = fill(Kind::Audit);
        assert_eq!(all.len(), MAX_BYTES / 1024);
        assert_eq!(all.iter().filter(|kind| **kind == Kind::Audit).count(), MAX_BYTES / 1024 / 4 * 3);
        assert_eq!(state.lost.other, 7 * 1024, "of 8192");
        assert_eq!(state.lost.audit, 5 * 1024, "of 8192");
    }

    #[test]
    fn empty_lines_are_bounded_in_number() {
        let mut state = State::default();
        for _ in 0..2 * MAX_BYTES / LINE_OVERHEAD {
            state.add(Kind::Audit, Cow::default());
        }
        assert_eq!(kinds(&state).len(), MAX_BYTES / LINE_OVERHEAD);
    }

    #[test]
    fn lost_lines_are_reported_after_what_was_queued_before() {
        let mut state = State::default();
        let text = [b'x'; MAX_LINE_BYTES];
        let mut queued = 0;
        while state.add(Kind::Other, text[..].into()) {
            queued += 1;
        }
        state.add(Kind::Audit, b"an event after the drop\n"[..].into());
        state.add(Kind::Other, text[..].into());
        for _ in 0..queued {
            assert!(matches!(state.next(), Some(Next::Write(line)) if line.kind == Kind::Other));
        }
        let Some(Next::Tell(lost)) = state.next() else { panic!("it is time to tell") };
        assert_eq!((lost.other, lost.audit), (2, 0));
        state.add(Kind::Notice, b"two were lost\n"[..].into());
        for kind in [Kind::Notice, Kind::Audit] {
            assert!(matches!(state.next(), Some(Next::Write(line)) if line.kind == kind));
        }
        assert_eq!((state.bytes, state.other_bytes), (0, 0));
    }

    #[test]
    fn unwritten_lines_are_reported_after_the_next_written_one() {
        let mut state = State::default();
        state.settle(Kind::Other, false, Lost::default());
        state.settle(Kind::Audit, false, Lost::default());
        assert_eq!(state.lines_to_notice, None, "nobody reads, so there is nobody to tell");
        state.settle(Kind::Other, true, Lost::default());
        let Some(Next::Tell(told)) = state.next() else { panic!("it is time to tell") };
        assert_eq!((told.other, told.audit), (1, 1));
        state.settle(Kind::Notice, false, told);
        assert_eq!(state.lines_to_notice, None);
        state.settle(Kind::Other, true, told);
        assert!(matches!(state.next(), Some(Next::Tell(again)) if again.other == 1 && again.audit == 1));
    }
}

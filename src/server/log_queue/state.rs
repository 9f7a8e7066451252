//! The state of the log queue: the waiting lines, within the limits of the queue, and the counts of dropped lines.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::line::{LINE_OVERHEAD, Line, LineKind};
use crate::metrics::{DroppedLine, LOG_LINES_DROPPED};

/// Maximum size of the queue. The size of each line includes [`LINE_OVERHEAD`], so this limits the number of lines, too.
const MAX_BYTES: usize = 4 << 20;
/// Maximum size of all waiting lines that are not audit events.
const MAX_OTHER_BYTES: usize = MAX_BYTES / 4;

/// The state that the lock of the queue protects.
#[derive(Debug, Default)]
pub(super) struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    other_bytes: usize,
    dropped: DroppedLines,
    /// Number of waiting lines that are written before the next report of dropped lines. `None` if no report is scheduled.
    lines_before_report: Option<usize>,
    /// Whether the writing thread waits for a line.
    pub(super) is_idle: bool,
}

/// Numbers of lines that were not written and have not been reported.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct DroppedLines {
    /// Number of dropped audit events.
    pub(super) audit: u64,
    /// Number of other dropped lines.
    pub(super) other: u64,
    /// Number of lines of libraries that a sampler omitted.
    pub(super) sampled: u64,
}

/// Next task of the writing thread.
pub(super) enum Next {
    Write(Line),
    Report(DroppedLines),
}

impl State {
    /// Adds a line if it fits, or counts it as dropped. Returns whether it was added.
    pub(super) fn add(&mut self, kind: LineKind, text: Cow<'_, [u8]>) -> bool {
        let cost = text.len() + LINE_OVERHEAD;
        let fits = match kind {
            LineKind::Notice => true,
            LineKind::Audit => self.bytes + cost <= MAX_BYTES,
            LineKind::Other => self.bytes + cost <= MAX_BYTES && self.other_bytes + cost <= MAX_OTHER_BYTES,
        };
        if fits {
            self.push(Line { kind, text: text.into_owned().into() });
        } else {
            self.dropped.count(kind);
            self.schedule_report_after_waiting_lines();
        }
        fits
    }

    /// Counts lines of libraries that a sampler omitted.
    pub(super) fn count_sampled(&mut self, lines: u64) {
        self.dropped.sampled += lines;
        self.schedule_report_after_waiting_lines();
    }

    /// Returns the next task, or `None` if no line waits.
    pub(super) fn next(&mut self) -> Option<Next> {
        if self.lines_before_report == Some(0) {
            self.lines_before_report = None;
            return Some(Next::Report(std::mem::take(&mut self.dropped)));
        }
        self.pop().map(Next::Write)
    }

    /// Records the result of writing a line. `reported` contains the numbers in the last report. If this report was not
    /// written, its numbers are reported again after the next line that is written.
    pub(super) fn record_write(&mut self, kind: LineKind, is_written: bool, reported: DroppedLines) {
        match (is_written, kind) {
            (true, LineKind::Notice) => {}
            (true, _) if self.dropped.any() => {
                self.lines_before_report.get_or_insert(0);
            }
            (true, _) => {}
            (false, LineKind::Notice) => {
                self.dropped.audit += reported.audit;
                self.dropped.other += reported.other;
                self.dropped.sampled += reported.sampled;
            }
            (false, kind) => self.dropped.count(kind),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the text of all waiting lines.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    /// Schedules a report of dropped lines after the lines that wait now, unless a report is already scheduled.
    fn schedule_report_after_waiting_lines(&mut self) {
        let waiting = self.lines.len();
        self.lines_before_report.get_or_insert(waiting);
    }

    fn push(&mut self, line: Line) {
        self.bytes += line.cost();
        match line.kind {
            LineKind::Notice => return self.lines.push_front(line),
            LineKind::Other => self.other_bytes += line.cost(),
            LineKind::Audit => {}
        }
        self.lines.push_back(line);
    }

    fn pop(&mut self) -> Option<Line> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.cost();
        if line.kind == LineKind::Other {
            self.other_bytes -= line.cost();
        }
        self.lines_before_report = self.lines_before_report.map(|lines| lines.saturating_sub(1));
        Some(line)
    }
}

impl DroppedLines {
    /// Returns whether at least one line is counted.
    const fn any(self) -> bool {
        self.audit > 0 || self.other > 0 || self.sampled > 0
    }

    /// Counts a dropped line, here and in the metric.
    fn count(&mut self, kind: LineKind) {
        match kind {
            LineKind::Audit => {
                self.audit += 1;
                LOG_LINES_DROPPED.add(DroppedLine::Audit as usize);
            }
            LineKind::Other => {
                self.other += 1;
                LOG_LINES_DROPPED.add(DroppedLine::Other as usize);
            }
            LineKind::Notice => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::log_queue::line::MAX_LINE_BYTES;

    fn kinds(state: &State) -> Vec<LineKind> {
        state.lines.iter().map(|line| line.kind).collect()
    }

    #[test]
    fn other_lines_can_use_a_quarter_of_the_queue() {
        let mut state = State::default();
        let text = [b'x'; 1024 - LINE_OVERHEAD];
        let mut fill = |kind| {
            for _ in 0..2 * MAX_BYTES / 1024 {
                state.add(kind, text[..].into());
            }
            kinds(&state)
        };
        assert_eq!(fill(LineKind::Other).len(), MAX_OTHER_BYTES / 1024);
        let all = fill(LineKind::Audit);
        assert_eq!(all.len(), MAX_BYTES / 1024);
        assert_eq!(all.iter().filter(|kind| **kind == LineKind::Audit).count(), MAX_BYTES / 1024 / 4 * 3);
        assert_eq!(state.dropped.other, 7 * 1024, "1024 of 8192 lines fit");
        assert_eq!(state.dropped.audit, 5 * 1024, "3072 of 8192 lines fit");
    }

    #[test]
    fn the_number_of_empty_lines_is_limited() {
        let mut state = State::default();
        for _ in 0..2 * MAX_BYTES / LINE_OVERHEAD {
            state.add(LineKind::Audit, Cow::default());
        }
        assert_eq!(kinds(&state).len(), MAX_BYTES / LINE_OVERHEAD);
    }

    #[test]
    fn dropped_lines_are_reported_after_the_lines_before_them() {
        let mut state = State::default();
        let text = [b'x'; MAX_LINE_BYTES];
        let mut queued = 0;
        while state.add(LineKind::Other, text[..].into()) {
            queued += 1;
        }
        state.add(LineKind::Audit, b"an event after the drop\n"[..].into());
        state.add(LineKind::Other, text[..].into());
        for _ in 0..queued {
            assert!(matches!(state.next(), Some(Next::Write(line)) if line.kind == LineKind::Other));
        }
        let Some(Next::Report(dropped)) = state.next() else { panic!("a report is due") };
        assert_eq!((dropped.other, dropped.audit), (2, 0));
        state.add(LineKind::Notice, b"two lines were dropped\n"[..].into());
        for kind in [LineKind::Notice, LineKind::Audit] {
            assert!(matches!(state.next(), Some(Next::Write(line)) if line.kind == kind));
        }
        assert_eq!((state.bytes, state.other_bytes), (0, 0));
    }

    #[test]
    fn unwritten_lines_are_reported_after_the_next_written_one() {
        let mut state = State::default();
        state.record_write(LineKind::Other, false, DroppedLines::default());
        state.record_write(LineKind::Audit, false, DroppedLines::default());
        assert_eq!(state.lines_before_report, None, "no report is due while lines cannot be written");
        state.record_write(LineKind::Other, true, DroppedLines::default());
        let Some(Next::Report(reported)) = state.next() else { panic!("a report is due") };
        assert_eq!((reported.other, reported.audit), (1, 1));
        state.record_write(LineKind::Notice, false, reported);
        assert_eq!(state.lines_before_report, None);
        state.record_write(LineKind::Other, true, reported);
        assert!(matches!(state.next(), Some(Next::Report(again)) if again.other == 1 && again.audit == 1));
    }
}

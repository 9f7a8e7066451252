//! The bounded queue between those who log and standard error.
//!
//! The reader of standard error may stop reading. A pipe then holds 64 KiB, and the next write waits for ever. So a thread of its
//! own writes, and nobody else waits for it. A line that does not fit into the queue is dropped and counted: in a metric, and in a
//! line that follows as soon as one can be written. Lines other than audit events may use a quarter of the queue only, so that a
//! flood of them does not displace audit events.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::audit;
use crate::metrics::{DroppedLine, LOG_LINES_DROPPED};

/// Size of the queue. Each line counts with [`LINE_OVERHEAD`], so this bounds the number of lines, too.
const MAX_BYTES: usize = 4 << 20;
/// Size of the part of it that lines other than audit events may use.
const MAX_OTHER_BYTES: usize = MAX_BYTES / 4;
/// Size of one line in memory besides its text.
const LINE_OVERHEAD: usize = 64;
/// Longer lines are cut.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Time between two tries to write to a standard error that does not block and is full.
const RETRY: Duration = Duration::from_millis(10);
/// Target of the lines that tell of dropped lines.
pub(super) const TARGET: &str = "sealjar::log";

/// Lines to be written. Clones share state.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    other_bytes: usize,
    lost: Lost,
    /// Number of lines to write before the next notice of lost lines; `None` while there is nothing to tell.
    lines_to_notice: Option<usize>,
    /// The writing thread waits for a line.
    idle: bool,
}

/// Lines that were not written and not told of yet.
#[derive(Debug, Default, Clone, Copy)]
struct Lost {
    audit: u64,
    other: u64,
    /// Lines of libraries that a sampler left out.
    sampled: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Audit,
    Other,
    /// Tells of lost lines. Only the writing thread makes it, and writes it next.
    Notice,
}

#[derive(Debug)]
struct Line {
    kind: Kind,
    text: Box<[u8]>,
}

impl Line {
    const fn cost(&self) -> usize {
        self.text.len() + LINE_OVERHEAD
    }
}

/// The next thing to do for the writing thread.
enum Next {
    Write(Line),
    Tell(Lost),
}

impl LogQueue {
    /// Starts the thread that writes the lines to standard error. It ends with the process.
    pub(super) fn start() -> io::Result<Self> {
        let queue = Self::default();
        let writer = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(write_to_stderr))?;
        Ok(queue)
    }

    fn run(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
        let mut told = Lost::default();
        loop {
            match self.next() {
                Next::Write(line) => {
                    let written = write(&line.text);
                    self.settle(&line, written.is_ok(), told);
                }
                Next::Tell(lost) => {
                    told = lost;
                    tell(lost);
                }
            }
        }
    }

    /// Waits for the next thing to do.
    fn next(&self) -> Next {
        let mut state = self.state();
        loop {
            if state.lines_to_notice == Some(0) {
                state.lines_to_notice = None;
                return Next::Tell(std::mem::take(&mut state.lost));
            }
            if let Some(line) = state.pop() {
                return Next::Write(line);
            }
            state.idle = true;
            self.0.drained.notify_all();
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
        }
    }

    /// Notes what became of a line. What a notice told of is told again if the notice was not written: after the next line that is.
    fn settle(&self, line: &Line, written: bool, told: Lost) {
        let mut state = self.state();
        match (written, line.kind) {
            (true, Kind::Notice) => {}
            (true, _) if state.lost.any() => {
                state.lines_to_notice.get_or_insert(0);
            }
            (true, _) => {}
            (false, Kind::Notice) => {
                state.lost.audit += told.audit;
                state.lost.other += told.other;
                state.lost.sampled += told.sampled;
            }
            (false, kind) => state.lost.count(kind),
        }
    }

    /// Adds a line if there is room, and never waits.
    fn push(&self, kind: Kind, text: &[u8]) {
        let (text, end) = cut(text);
        let mut state = self.state();
        let cost = text.len() + end.len() + LINE_OVERHEAD;
        let fits = match kind {
            Kind::Notice => true,
            Kind::Audit => state.bytes + cost <= MAX_BYTES,
            Kind::Other => state.bytes + cost <= MAX_BYTES && state.other_bytes + cost <= MAX_OTHER_BYTES,
        };
        if !fits {
            state.lost.count(kind);
            let before = state.lines.len();
            state.lines_to_notice.get_or_insert(before);
            return;
        }
        state.push(Line { kind, text: [text, end].concat().into() });
        if state.idle {
            self.0.filled.notify_one();
        }
    }

    /// Adds a text that is no event, such as why the process ends. It has the share of audit events, because it must not be displaced.
    pub(super) fn push_text(&self, text: &str) {
        self.push(Kind::Audit, text.as_bytes());
    }

    /// Counts lines of libraries that a sampler left out, to tell of them.
    pub(super) fn count_sampled(&self, lines: u64) {
        let mut state = self.state();
        state.lost.sampled += lines;
        let before = state.lines.len();
        state.lines_to_notice.get_or_insert(before);
    }

    /// Waits until all lines are written, but not for longer than `limit`. Returns whether they are.
    pub(super) fn drain(&self, limit: Duration) -> bool {
        let is_busy = |state: &mut State| !state.idle || !state.lines.is_empty();
        let waited = self.0.drained.wait_timeout_while(self.state(), limit, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The text of all lines that wait.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.state().lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    /// Nothing that is done under the lock can panic or wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

/// Each write is a line: the formatter writes an event at once.
pub(crate) struct LineWriter<'q> {
    queue: &'q LogQueue,
    kind: Kind,
}

impl io::Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(self.kind, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'q> MakeWriter<'q> for LogQueue {
    type Writer = LineWriter<'q>;

    fn make_writer(&'q self) -> Self::Writer {
        LineWriter { queue: self, kind: Kind::Other }
    }

    fn make_writer_for(&'q self, metadata: &Metadata<'_>) -> Self::Writer {
        let kind = match metadata.target() {
            audit::TARGET => Kind::Audit,
            TARGET => Kind::Notice,
            _ => Kind::Other,
        };
        LineWriter { queue: self, kind }
    }
}

/// Logs what was lost, in front of all lines that wait.
fn tell(lost: Lost) {
    let Lost { audit, other, sampled } = lost;
    if audit + other > 0 {
        let left_out = audit + other;
        tracing::warn!(target: TARGET, left_out, audit, "log lines were dropped: standard error was not read, or not fast enough");
    }
    if sampled > 0 {
        tracing::warn!(target: TARGET, left_out = sampled, "lines of libraries were left out: they came too often");
    }
}

/// A line as it is queued: its text, and the end of one that is too long.
fn cut(line: &[u8]) -> (&[u8], &'static [u8]) {
    const END: &[u8] = b" [cut]\n";
    if line.len() <= MAX_LINE_BYTES {
        return (line, b"");
    }
    let is_boundary = |at: &usize| line[*at] & 0xC0 != 0x80;
    let end = (0..=MAX_LINE_BYTES - END.len()).rev().find(is_boundary).unwrap_or_default();
    (&line[..end], END)
}

/// Writes without the lock of [`io::Stderr`], which would be held for as long as nobody reads.
fn write_to_stderr(mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match rustix::io::write(io::stderr(), text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => text = &text[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => thread::sleep(RETRY),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(queue: &LogQueue) -> Vec<Kind> {
        queue.state().lines.iter().map(|line| line.kind).collect()
    }

    #[test]
    fn other_lines_fill_a_quarter_and_audit_events_the_rest() {
        let queue = LogQueue::default();
        let text = [b'x'; 1024 - LINE_OVERHEAD];
        let fill = |kind| (0..2 * MAX_BYTES / 1024).for_each(|_| queue.push(kind, &text));
        fill(Kind::Other);
        assert_eq!(lines(&queue).len(), MAX_OTHER_BYTES / 1024);
        fill(Kind::Audit);
        assert_eq!(lines(&queue).len(), MAX_BYTES / 1024);
        assert_eq!(lines(&queue).iter().filter(|kind| **kind == Kind::Audit).count(), MAX_BYTES / 1024 / 4 * 3);
        let lost = queue.state().lost;
        assert_eq!(lost.other, 7 * 1024, "of 8192");
        assert_eq!(lost.audit, 5 * 1024, "of 8192");
    }

    #[test]
    fn empty_lines_are_bounded_in_number() {
        let queue = LogQueue::default();
        (0..2 * MAX_BYTES / LINE_OVERHEAD).for_each(|_| queue.push(Kind::Audit, b""));
        assert_eq!(lines(&queue).len(), MAX_BYTES / LINE_OVERHEAD);
    }

    #[test]
    fn lost_lines_are_told_of_once_what_was_queued_before_is_written() {
        let queue = LogQueue::default();
        let text = [b'x'; MAX_LINE_BYTES];
        let mut queued = 0;
        while queue.state().lost.other == 0 {
            queue.push(Kind::Other, &text);
            queued += 1;
        }
        queue.push(Kind::Audit, b"an event after the drop\n");
        queue.push(Kind::Other, &text);
        for _ in 0..queued - 1 {
            assert!(matches!(queue.next(), Next::Write(line) if line.kind == Kind::Other));
        }
        let Next::Tell(lost) = queue.next() else { panic!("it is time to tell") };
        assert_eq!((lost.other, lost.audit), (2, 0));
        queue.push(Kind::Notice, b"two were lost\n");
        for kind in [Kind::Notice, Kind::Audit] {
            assert!(matches!(queue.next(), Next::Write(line) if line.kind == kind));
        }
        let state = queue.state();
        assert_eq!((state.bytes, state.other_bytes), (0, 0));
    }

    #[test]
    fn what_could_not_be_written_is_told_of_after_the_next_line_that_could() {
        let queue = LogQueue::default();
        let settle = |kind, written, told| queue.settle(&Line { kind, text: Box::default() }, written, told);
        settle(Kind::Other, false, Lost::default());
        settle(Kind::Audit, false, Lost::default());
        assert_eq!(queue.state().lines_to_notice, None, "nobody reads, so there is nobody to tell");
        settle(Kind::Other, true, Lost::default());
        let Next::Tell(told) = queue.next() else { panic!("it is time to tell") };
        assert_eq!((told.other, told.audit), (1, 1));
        settle(Kind::Notice, false, told);
        assert_eq!(queue.state().lines_to_notice, None);
        settle(Kind::Other, true, told);
        assert!(matches!(queue.next(), Next::Tell(again) if again.other == 1 && again.audit == 1));
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters() {
        let short = [b'x'; MAX_LINE_BYTES];
        assert_eq!(cut(&short), (&short[..], &b""[..]));
        let long = "ä".repeat(MAX_LINE_BYTES);
        let (text, end) = cut(long.as_bytes());
        assert!(text.len() + end.len() <= MAX_LINE_BYTES && text.len() > MAX_LINE_BYTES - 16);
        assert!(str::from_utf8(text).is_ok());
    }

    #[test]
    fn draining_ends_when_all_is_written_and_gives_up_when_nobody_reads() {
        let queue = LogQueue::default();
        queue.push(Kind::Other, b"a line\n");
        assert!(!queue.drain(Duration::ZERO), "nobody writes");
        let (sender, written) = std::sync::mpsc::channel();
        let writer = queue.clone();
        thread::spawn(move || {
            writer.run(|text| sender.send(text.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe.into()));
        });
        assert!(queue.drain(Duration::MAX));
        assert_eq!(written.try_recv().as_deref(), Ok(&b"a line\n"[..]));
    }
}

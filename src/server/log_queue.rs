//! A bounded queue of log lines between the threads that log and standard error.
//!
//! If standard error is a pipe and its reader stops reading, the pipe stores 64 KiB, and the next write blocks without a
//! limit. So a separate thread writes the lines, and no other thread waits for it. A line that does not fit into the queue
//! is dropped and counted: in a metric, and in a log line that is written as soon as possible. Lines other than audit
//! events can use only a quarter of the queue, so that a flood of such lines does not cause the loss of audit events.

mod line;
mod state;
pub(super) mod writer;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::audit;
pub(super) use line::Format;
use line::{LineKind, shorten};
use state::{DroppedLines, Next, State};
use writer::{TARGET, report, write_to_stderr};

/// Target of the log line with the reason for the exit. It is queued like an audit event, because it must not be
/// dropped in a flood of other lines.
pub(crate) const EXIT_TARGET: &str = "sealjar::exit";

/// Queue of the lines to write. Clones share state.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    format: Format,
    state: Mutex<State>,
    /// Notified when a line is added and the writing thread is idle.
    filled: Condvar,
    /// Notified when the writing thread becomes idle.
    drained: Condvar,
}

impl LogQueue {
    /// Starts the thread that writes the lines to standard error. The thread runs until the process ends.
    pub(super) fn start(format: Format) -> io::Result<Self> {
        let queue = Self(Arc::new(Shared { format, ..Shared::default() }));
        let writer = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(write_to_stderr))?;
        Ok(queue)
    }

    /// Adds a line if it fits into the queue. Never waits.
    fn push(&self, kind: LineKind, text: &[u8]) {
        let text = shorten(text, self.0.format);
        let mut state = self.state();
        if state.add(kind, text) && state.is_idle {
            self.0.filled.notify_one();
        }
    }

    /// Counts lines of libraries that a sampler omitted, so that they are reported.
    pub(super) fn count_sampled(&self, lines: u64) {
        self.state().count_sampled(lines);
    }

    /// Waits for at most `timeout` until all lines are written. Returns whether all lines are written.
    pub(super) fn drain(&self, timeout: Duration) -> bool {
        let is_busy = |state: &mut State| !state.is_idle || !state.is_empty();
        let waited = self.0.drained.wait_timeout_while(self.state(), timeout, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Returns the text of all waiting lines.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.state().text()
    }

    /// Writes lines with `write`, without end.
    fn run(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
        let mut reported = DroppedLines::default();
        loop {
            match self.next() {
                Next::Write(line) => {
                    let written = write(&line.text);
                    self.state().record_write(line.kind, written.is_ok(), reported);
                }
                Next::Report(dropped) => {
                    reported = dropped;
                    report(dropped);
                }
            }
        }
    }

    /// Waits for the next line to write, or for dropped lines to report.
    fn next(&self) -> Next {
        let mut state = self.state();
        loop {
            if let Some(next) = state.next() {
                return next;
            }
            state.is_idle = true;
            self.0.drained.notify_all();
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
        }
    }

    /// Locks the state. No code that holds the lock can panic or block.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writer of one log event. The formatter passes a whole event in one call of `write`, so each write is a line.
pub(crate) struct LineWriter<'q> {
    queue: &'q LogQueue,
    kind: LineKind,
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
        LineWriter { queue: self, kind: LineKind::Other }
    }

    fn make_writer_for(&'q self, metadata: &Metadata<'_>) -> Self::Writer {
        let kind = match metadata.target() {
            audit::TARGET | EXIT_TARGET => LineKind::Audit,
            TARGET => LineKind::Notice,
            _ => LineKind::Other,
        };
        LineWriter { queue: self, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_ends_when_all_lines_are_written_or_at_a_timeout() {
        let queue = LogQueue::default();
        queue.push(LineKind::Other, b"a line\n");
        assert!(!queue.drain(Duration::ZERO), "no thread writes the line");
        let (sender, written) = std::sync::mpsc::channel();
        let writer = queue.clone();
        thread::spawn(move || {
            writer.run(|text| sender.send(text.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe.into()));
        });
        assert!(queue.drain(Duration::MAX));
        assert_eq!(written.try_recv().as_deref(), Ok(&b"a line\n"[..]));
    }
}

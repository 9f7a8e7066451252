//! The bounded queue between those who log and standard error.
//!
//! The reader of standard error may stop reading. A pipe then holds 64 KiB, and the next write waits for ever. So a thread of its
//! own writes, and nobody else waits for it. A line that does not fit into the queue is dropped and counted: in a metric, and in
//! a line that follows as soon as one can be written. Lines other than audit events may use a quarter of the queue only, so that
//! a flood of them does not displace audit events.

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
use line::{Kind, shorten};
use state::{Lost, Next, State};
use writer::{TARGET, report, write_to_stderr};

/// Target of the line that says why the server ends. It has the share of audit events, because it must not be displaced.
pub(crate) const EXIT_TARGET: &str = "sealjar::exit";

/// Lines to be written. Clones share state.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    format: Format,
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
}

impl LogQueue {
    /// Starts the thread that writes the lines to standard error. It ends with the process.
    pub(super) fn start(format: Format) -> io::Result<Self> {
        let queue = Self(Arc::new(Shared { format, ..Shared::default() }));
        let writer = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(write_to_stderr))?;
        Ok(queue)
    }

    /// Adds a line if there is room, and never waits.
    fn push(&self, kind: Kind, text: &[u8]) {
        let text = shorten(text, self.0.format);
        let mut state = self.state();
        if state.add(kind, text) && state.idle {
            self.0.filled.notify_one();
        }
    }

    /// Counts lines of libraries that a sampler left out, to tell of them.
    pub(super) fn count_sampled(&self, lines: u64) {
        self.state().count_sampled(lines);
    }

    /// Waits until all lines are written, but not for longer than `limit`. Returns whether they are.
    pub(super) fn drain(&self, limit: Duration) -> bool {
        let is_busy = |state: &mut State| !state.idle || !state.is_empty();
        let waited = self.0.drained.wait_timeout_while(self.state(), limit, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The text of all lines that wait.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.state().text()
    }

    /// Writes lines for ever, with `write`.
    fn run(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
        let mut told = Lost::default();
        loop {
            match self.next() {
                Next::Write(line) => {
                    let written = write(&line.text);
                    self.state().settle(line.kind, written.is_ok(), told);
                }
                Next::Tell(lost) => {
                    told = lost;
                    report(lost);
                }
            }
        }
    }

    /// Waits for the next thing to do.
    fn next(&self) -> Next {
        let mut state = self.state();
        loop {
            if let Some(next) = state.next() {
                return next;
            }
            state.idle = true;
            self.0.drained.notify_all();
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
        }
    }

    /// Nothing that is done under the lock can panic or wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            audit::TARGET | EXIT_TARGET => Kind::Audit,
            TARGET => Kind::Notice,
            _ => Kind::Other,
        };
        LineWriter { queue: self, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_ends_when_all_is_written_or_nobody_reads() {
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

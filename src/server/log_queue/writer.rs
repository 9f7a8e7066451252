//! The thread that writes the lines, and tells of those that were lost.

use std::io;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::state::{Lost, Next};
use super::{LogQueue, TARGET};

/// Time between two tries to write to a standard error that does not block and is full.
const RETRY: Duration = Duration::from_millis(10);

impl LogQueue {
    pub(super) fn run(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
        let mut told = Lost::default();
        loop {
            match self.next() {
                Next::Write(line) => {
                    let written = write(&line.text);
                    self.state().settle(line.kind, written.is_ok(), told);
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
            if let Some(next) = state.next() {
                return next;
            }
            state.idle = true;
            self.0.drained.notify_all();
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
        }
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

/// Writes without the lock of [`io::Stderr`], which would be held for as long as nobody reads.
pub(super) fn write_to_stderr(mut text: &[u8]) -> io::Result<()> {
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
    use crate::server::log_queue::line::Kind;

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

//! Writes to standard error, and logs the reports of dropped lines.

use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::state::DroppedLines;

/// Target of the lines that report dropped lines.
pub(in crate::server) const TARGET: &str = "sealjar::log";
/// Delay between two attempts to write, if standard error is non-blocking and its buffer is full.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Logs the numbers of dropped lines. This log line is put in front of all waiting lines.
pub(super) fn report(dropped: DroppedLines) {
    let DroppedLines { audit, other, sampled } = dropped;
    if audit + other > 0 {
        let left_out = audit + other;
        tracing::warn!(target: TARGET, left_out, audit, "log lines were dropped: standard error was not read, or not fast enough");
    }
    if sampled > 0 {
        tracing::warn!(target: TARGET, left_out = sampled, "log lines of libraries were omitted: too many in a second");
    }
}

/// Writes to standard error without the lock of [`io::Stderr`]. A blocked write would hold that lock, and block every
/// other thread that uses standard error.
pub(super) fn write_to_stderr(mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match rustix::io::write(io::stderr(), text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => text = &text[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => thread::sleep(RETRY_DELAY),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

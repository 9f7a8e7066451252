//! Writing to standard error, and the log lines that report lost lines.

use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::state::Lost;

/// Target of the lines that report lost lines.
pub(in crate::server) const TARGET: &str = "sealjar::log";
/// Pause between two attempts to write to a standard error that is non-blocking and full.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Logs how many lines were lost. The notice is queued before all waiting lines.
pub(super) fn report(lost: Lost) {
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
            Err(Errno::AGAIN) => thread::sleep(RETRY_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

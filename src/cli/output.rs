//! Standard output and standard error of the commands.
//!
//! `println!` panics if it cannot write, for example because `head` has read enough and has closed the pipe. A command must not
//! end half-way for that reason: `keys revoke` prints the successor and then waits for the nodes. So the rest of the output is
//! discarded, the command runs to its end, and [`finish`] reports the error, except a closed pipe.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Stdout, Write};
use std::sync::OnceLock;

use crate::cli::error::CliError;

/// First error of writing to standard output. Nothing is written there after it.
static FIRST_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to standard output, as `println!` does. Errors are left to [`finish`].
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}

/// Writes a line to standard error, as `eprintln!` does. Errors are ignored, because there is no place left to report them.
macro_rules! errln {
    ($($text:tt)*) => { $crate::cli::output::note(format_args!($($text)*)) };
}

pub(super) use {errln, outln};

pub(super) fn line(text: Arguments<'_>) {
    write(|stdout| writeln!(stdout, "{text}"));
}

/// Writes to standard output. Errors are left to [`finish`].
pub(super) fn bytes(bytes: &[u8]) {
    write(|stdout| stdout.write_all(bytes));
}

pub(super) fn note(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Returns an error if something could not be written to standard output, unless its reader closed it.
pub(super) fn finish() -> Result<(), CliError> {
    match FIRST_ERROR.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            let failure = CliError::io(format!("cannot write to standard output: {error}"));
            Err(failure.hint("the command was carried out, but its output is incomplete"))
        }
        _ => Ok(()),
    }
}

fn write(write: impl FnOnce(&mut Stdout) -> io::Result<()>) {
    if FIRST_ERROR.get().is_some() {
        return;
    }
    let mut stdout = io::stdout();
    // Nothing is left for the end of the process, whose errors nobody sees.
    if let Err(error) = write(&mut stdout).and_then(|()| stdout.flush()) {
        FIRST_ERROR.get_or_init(|| error);
    }
}

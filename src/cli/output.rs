//! Standard output and standard error of the commands.
//!
//! `println!` panics if it cannot write, for example because `head` has read enough and has closed the pipe. A command must not
//! stop half-way for that reason: `keys revoke` prints the new key and then waits for the nodes. So the rest of the output is
//! discarded, the command runs to its end, and [`finish`] reports the error, unless the reader closed the pipe.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal, Stdout, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::cli::error::CliError;

/// First error of a write to standard output. After it, nothing more is written there.
static FIRST_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to standard output, as `println!` does. Errors are left to [`finish`].
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}

/// Writes a line to standard error, as `eprintln!` does. Errors are ignored, because they cannot be reported anywhere.
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

/// Prints the output of clap, which is the text of `--help` or a usage error, and returns its exit code. Errors of standard output
/// are left to [`finish`].
pub(super) fn print_clap_error(clap_error: &clap::Error) -> ExitCode {
    match clap_error.print() {
        Err(error) if !clap_error.use_stderr() => drop(FIRST_ERROR.set(error)),
        _ => {}
    }
    ExitCode::from(u8::try_from(clap_error.exit_code()).unwrap_or(CliError::USAGE))
}

/// Writes a text to standard error, without a newline.
pub(super) fn prompt(text: Arguments<'_>) {
    let _ = write!(io::stderr(), "{text}");
}

/// Escapes control characters, and characters that hide or reorder text on a terminal, as in `\u{202e}`.
pub(super) fn visible(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
            || matches!(c, '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_hidden(c) {
            shown.extend(c.escape_unicode())
        } else {
            shown.push(c)
        }
        shown
    })
}

/// Line on a terminal that shows the progress of a command. It is removed when this value is dropped. If standard error is not a
/// terminal, nothing is written.
#[derive(Debug, Default)]
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Control characters that clear the line.
    const CLEAR: &'static str = "\r\x1b[K";

    /// Replaces the line.
    pub(super) fn show(&mut self, text: Arguments<'_>) {
        if io::stderr().is_terminal() {
            prompt(format_args!("{}{text}", Self::CLEAR));
            self.is_shown = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            prompt(format_args!("{}", Self::CLEAR));
        }
    }
}

/// Returns an error if anything could not be written to standard output, for any reason. Called after a generated password was
/// printed, and before the account with this password is added.
pub(super) fn check_delivered() -> Result<(), CliError> {
    const HINT: &str = "nothing was changed, because the password could not be printed";
    if let Some(error) = FIRST_ERROR.get() {
        return Err(write_error(error).hint(HINT));
    }
    // The standard library opens /dev/null for a standard output that is closed at the start.
    let device = |path| rustix::fs::stat(path).map(|facts| facts.st_rdev).ok();
    let is_discarded = rustix::fs::fstat(io::stdout()).is_ok_and(|facts| Some(facts.st_rdev) == device("/dev/null"));
    if is_discarded { Err(CliError::io("standard output is closed, or /dev/null").hint(HINT)) } else { Ok(()) }
}

/// Returns an error if anything could not be written to standard output, unless its reader closed it. `failure` is the error of the
/// command itself, which may already be this error.
pub(super) fn finish(failure: Option<&CliError>) -> Result<(), CliError> {
    let Some(error) = FIRST_ERROR.get().filter(|error| error.kind() != ErrorKind::BrokenPipe) else {
        return Ok(());
    };
    let failed_write = write_error(error);
    match failure {
        Some(failure) if failure.message == failed_write.message => Ok(()),
        Some(_) => Err(failed_write.hint("the output is incomplete; the message above says why the command failed")),
        None => Err(failed_write.hint("the command was carried out, but its output is incomplete")),
    }
}

fn write_error(error: &io::Error) -> CliError {
    CliError::io(format!("cannot write to standard output: {error}"))
}

fn write(write: impl FnOnce(&mut Stdout) -> io::Result<()>) {
    if FIRST_ERROR.get().is_some() {
        return;
    }
    let mut stdout = io::stdout();
    // The buffer is flushed now, because errors of the flush at the end of the process are not reported.
    if let Err(error) = write(&mut stdout).and_then(|()| stdout.flush()) {
        FIRST_ERROR.get_or_init(|| error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_characters_that_hide_or_reorder_text() {
        for (text, expected) in [
            ("J\u{f6}rg \"\\ Ng\u{1ecd}", "J\u{f6}rg \"\\ Ng\u{1ecd}"),
            ("\u{202e}nimda", "\\u{202e}nimda"),
            ("a\u{200b}b\u{2060}\u{2069}", "a\\u{200b}b\\u{2060}\\u{2069}"),
            ("\u{1b}[2J\u{9b}", "\\u{1b}[2J\\u{9b}"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }
}

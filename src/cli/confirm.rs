//! Questions before something that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Read};

use super::error::CliError;
use super::output::prompt;

/// Maximum length of an answer, in bytes.
const MAX_ANSWER: u64 = 16;

/// Whether somebody is there to be asked: standard input and standard error are terminals. A script is not asked.
pub(super) fn is_needed(yes: bool) -> bool {
    !yes && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on standard error. Any answer but `y` and `yes` is an error.
pub(super) fn ask(question: &str) -> Result<(), CliError> {
    prompt(format_args!("{question} [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer);
    let is_yes = read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str());
    if is_yes { Ok(()) } else { Err(CliError::failed("not confirmed; nothing was changed")) }
}

//! Confirmation of actions that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Read};

use super::error::CliError;
use super::output::prompt;

/// Maximum length of an answer, in bytes.
const MAX_ANSWER_BYTES: u64 = 16;

/// Whether the user must confirm: without `--yes`, if standard input and standard error are terminals. A script needs no
/// confirmation.
pub(super) fn is_needed(yes: bool) -> bool {
    !yes && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks the user on standard error. Returns an error unless the answer is `y` or `yes`.
pub(super) fn ask(question: &str) -> Result<(), CliError> {
    prompt(format_args!("{question} [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().take(MAX_ANSWER_BYTES).read_line(&mut answer);
    let is_yes = read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str());
    if is_yes { Ok(()) } else { Err(CliError::failed("not confirmed; nothing was changed")) }
}

//! Faults in a file of accounts, with their places. All faults are reported in one error.

use std::fmt;

use crate::cli::error::CliError;

/// Maximum number of faults that are shown. All are counted.
const MAX_SHOWN: usize = 20;

/// Place of an account in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Number of the line in the file.
    Line(usize),
    /// Number of the account in a JSON array.
    Item(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Item(number) => write!(f, "account {number}"),
        }
    }
}

/// List of the first faults, and the number of all.
#[derive(Debug, Default)]
pub(super) struct Faults {
    shown: Vec<String>,
    count: usize,
}

impl Faults {
    pub(super) fn add(&mut self, place: Place, fault: &str) {
        self.count += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(format!("\n  {place}: {fault}"));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns an error that lists the faults, if there is a fault.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.is_empty() {
            return Ok(());
        }
        let more = match self.count - self.shown.len() {
            0 => String::new(),
            more => format!("\n  and {more} more"),
        };
        let message = format!("the accounts cannot be imported, and nothing was changed:{}{more}", self.shown.concat());
        Err(CliError::failed(message)
            .hint("correct the file, and run the same command again; docs/accounts.md describes the fields"))
    }
}

//! What the doctor found: one line each, for people and for programs.

use serde::Serialize;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::{errln, outln, visible};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    /// Could not be looked at, which proves nothing.
    Skipped,
    /// Weaker than it could be, or about to go wrong.
    Warning,
    /// A promise that is not kept, or a server that does not start.
    Problem,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    found: String,
    remedy: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Level::Ok, found.into(), None);
    }

    /// It is well, unless something was found that is not.
    pub(super) fn ok_otherwise(&mut self, check: &'static str, found: impl Into<String>) {
        if !self.0.iter().any(|finding| finding.check == check) {
            self.ok(check, found);
        }
    }

    pub(super) fn skipped(&mut self, check: &'static str, why: impl Into<String>) {
        self.add(check, Level::Skipped, why.into(), None);
    }

    pub(super) fn warning(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Warning, found.into(), Some(remedy.into()));
    }

    pub(super) fn problem(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Problem, found.into(), Some(remedy.into()));
    }

    /// A problem that other commands end with, and what to do if they know no better.
    pub(super) fn failure(&mut self, check: &'static str, failure: CliError, otherwise: &str) {
        let remedy = failure.hint.unwrap_or_else(|| otherwise.to_owned());
        self.problem(check, failure.message, remedy);
    }

    fn add(&mut self, check: &'static str, level: Level, found: String, remedy: Option<String>) {
        self.0.push(Finding { check, level, found, remedy });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// Whether there is no problem, and if `strict`, no warning.
    pub(super) fn is_well(&self, strict: bool) -> bool {
        self.count(Level::Problem) == 0 && !(strict && self.count(Level::Warning) > 0)
    }

    /// Findings on standard output, and in words how many there are on standard error.
    pub(super) fn print(&self, as_json: bool) {
        let [problems, warnings, skipped, ok] =
            [Level::Problem, Level::Warning, Level::Skipped, Level::Ok].map(|level| self.count(level));
        if as_json {
            let counts = json!({ "problems": problems, "warnings": warnings, "skipped": skipped, "ok": ok });
            outln!("{}", json!({ "version": env!("CARGO_PKG_VERSION"), "counts": counts, "findings": self.0 }));
            return;
        }
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for Finding { check, level, found, remedy } in &self.0 {
            let remedy = remedy.as_ref().map_or_else(String::new, |remedy| format!("; remedy: {remedy}"));
            // Names of files, and what another program answers at the server's address.
            outln!("{:7}  {check:width$}  {}", level.name(), visible(&format!("{found}{remedy}")));
        }
        let (problems, warnings) = (count(problems, "problem"), count(warnings, "warning"));
        errln!("{problems}, {warnings}, {skipped} skipped, {ok} ok");
    }
}

/// A number of things, in words.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

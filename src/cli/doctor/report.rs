//! Findings of `doctor`, printed as one line each or as JSON.

use serde::Serialize;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::{errln, outln, visible};

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// The check has passed.
    Ok,
    /// The check could not be made, so its result is unknown.
    Skipped,
    /// The configuration is weaker than recommended, or a failure is likely soon.
    Warning,
    /// A promise of the documentation is not kept, or the server cannot start.
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

/// Result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    found: String,
    remedy: Option<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Level::Ok, found.into(), None);
    }

    /// Adds an ok finding, unless the check already has a finding.
    pub(super) fn ok_otherwise(&mut self, check: &'static str, found: impl Into<String>) {
        if !self.0.iter().any(|finding| finding.check == check) {
            self.ok(check, found);
        }
    }

    pub(super) fn skipped(&mut self, check: &'static str, reason: impl Into<String>) {
        self.add(check, Level::Skipped, reason.into(), None);
    }

    pub(super) fn warning(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Warning, found.into(), Some(remedy.into()));
    }

    pub(super) fn problem(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Problem, found.into(), Some(remedy.into()));
    }

    /// Adds the error of a command as a problem. Its hint is the remedy, or `default_remedy` if it has none.
    pub(super) fn failure(&mut self, check: &'static str, failure: CliError, default_remedy: &str) {
        let remedy = failure.hint.unwrap_or_else(|| default_remedy.to_owned());
        self.problem(check, failure.message, remedy);
    }

    fn add(&mut self, check: &'static str, level: Level, found: String, remedy: Option<String>) {
        self.0.push(Finding { check, level, found, remedy });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// Whether there is no problem, and if `strict`, no warning.
    pub(super) fn has_passed(&self, strict: bool) -> bool {
        self.count(Level::Problem) == 0 && !(strict && self.count(Level::Warning) > 0)
    }

    /// Prints the findings on standard output and their counts on standard error, or all as JSON on standard output.
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
            // The text may contain names of files, and the response of another program at the server's address.
            outln!("{:7}  {check:width$}  {}", level.name(), visible(&format!("{found}{remedy}")));
        }
        let problems = count(problems, "problem");
        let warnings = count(warnings, "warning");
        errln!("{problems}, {warnings}, {skipped} skipped, {ok} ok");
    }
}

/// Returns a number with its noun, in the plural unless the number is 1.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

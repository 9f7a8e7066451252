//! Writes Prometheus' [text format](https://prometheus.io/docs/instrumenting/exposition_formats/), version 0.0.4.
//!
//! The format calls a metric a *family*, and each of its values a *sample*. All names begin with `sealjar_`. Label values come
//! from closed lists, and none of them needs escaping. `metrics.rs` writes the families that `metrics/families.rs` declares.

use std::fmt::Write;
use std::time::Duration;

use crate::metrics::{Counters, Histogram};

/// A metric: its name without the prefix `sealjar_`, its type, its meaning in one line, and its labels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [Label],
}

/// A label with all values that it can have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    /// All values that the label can have. Empty if the only value is the version of the server.
    pub(crate) values: &'static [&'static str],
}

impl Family {
    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "gauge", help, labels: &[] }
    }

    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "counter", help, labels: &[] }
    }

    /// Declares a histogram of seconds.
    pub(super) const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "histogram", help, labels: &[] }
    }

    pub(super) const fn labels(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }
}

/// The text of a `/metrics` response while it is written, one family after the other.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// Writes the head of a family. Its samples must follow.
    pub(super) fn family(&mut self, Family { name, kind, help, .. }: Family) {
        self.write(format_args!("# HELP sealjar_{name} {help}\n# TYPE sealjar_{name} {kind}\n"));
    }

    /// Writes a sample of a family. `values` are the values of the family's labels, in the same order.
    pub(super) fn sample(&mut self, family: Family, values: &[&str], value: f64) {
        self.line(family, "", values, None, value);
    }

    /// Writes a family with one sample and no labels.
    pub(super) fn single(&mut self, family: Family, value: f64) {
        self.family(family);
        self.sample(family, &[], value);
    }

    /// Writes the samples of a set of counters, one for each value of the last label. `values` are the values of the other
    /// labels.
    pub(super) fn counts<const N: usize>(&mut self, family: Family, values: &[&str], counts: &Counters<N>) {
        let last = family.labels.last().expect("a family of several counters has a label");
        for (index, value) in last.values.iter().enumerate() {
            self.sample(family, &[values, &[*value]].concat(), float(counts.total(index)));
        }
    }

    /// Writes the samples of a histogram of seconds.
    pub(super) fn histogram<const N: usize>(&mut self, family: Family, values: &[&str], histogram: &Histogram<N>) {
        let mut count = 0;
        for (bound, within) in histogram.cumulative_counts() {
            count = within;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            self.line(family, "_bucket", values, Some(&bound), float(count));
        }
        self.line(family, "_sum", values, None, Duration::as_secs_f64(&histogram.sum()));
        self.line(family, "_count", values, None, float(count));
    }

    /// Writes one line. `bound` is the upper bound of a histogram's bucket.
    fn line(&mut self, family: Family, suffix: &str, values: &[&str], bound: Option<&str>, value: f64) {
        self.write(format_args!("sealjar_{}{suffix}", family.name));
        let labels = family.labels.iter().map(|label| label.name).zip(values.iter().copied());
        let labels: Vec<_> = labels.chain(bound.map(|bound| ("le", bound))).collect();
        for (index, (label, text)) in labels.iter().enumerate() {
            self.write(format_args!("{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' }));
        }
        self.write(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string does not fail");
    }
}

/// Converts a count. The result is exact up to 2^53, which no count here reaches.
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

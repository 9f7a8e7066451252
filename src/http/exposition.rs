//! Prometheus' [text format](https://prometheus.io/docs/instrumenting/exposition_formats/), version 0.0.4: metrics, which it
//! calls families, with their samples. Names begin with `sealjar_`. No label value needs escaping.

use std::fmt::Write;
use std::time::Duration;

use crate::metrics::{Counts, Histogram};

/// A metric: its name without `sealjar_`, its labels, and its meaning in one line.
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
    /// Empty if the only value is the version of the server.
    pub(crate) values: &'static [&'static str],
}

impl Family {
    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "gauge", help, labels: &[] }
    }

    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "counter", help, labels: &[] }
    }

    /// A histogram of seconds.
    pub(super) const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "histogram", help, labels: &[] }
    }

    pub(super) const fn labels(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }
}

/// A text that grows family by family.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, Family { name, kind, help, .. }: Family) {
        self.write(format_args!("# HELP sealjar_{name} {help}\n# TYPE sealjar_{name} {kind}\n"));
    }

    /// A sample of a family, with the values of its labels in their order.
    pub(super) fn sample(&mut self, family: Family, values: &[&str], value: f64) {
        self.line(family, "", values, None, value);
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, family: Family, value: f64) {
        self.family(family);
        self.sample(family, &[], value);
    }

    /// The samples of counters, one for each value of the last label; `values` are those of the other labels.
    pub(super) fn counts<const N: usize>(&mut self, family: Family, values: &[&str], counts: &Counts<N>) {
        let last = family.labels.last().expect("a family of several counters has a label");
        for (place, value) in last.values.iter().enumerate() {
            self.sample(family, &[values, &[*value]].concat(), float(counts.total(place)));
        }
    }

    /// The samples of a histogram of seconds.
    pub(super) fn histogram<const N: usize>(&mut self, family: Family, values: &[&str], histogram: &Histogram<N>) {
        let mut count = 0;
        for (bound, within) in histogram.within() {
            count = within;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            self.line(family, "_bucket", values, Some(&bound), float(count));
        }
        self.line(family, "_sum", values, None, Duration::as_secs_f64(&histogram.sum()));
        self.line(family, "_count", values, None, float(count));
    }

    /// One line. `bound` is the upper bound of a histogram's bucket.
    fn line(&mut self, family: Family, suffix: &str, values: &[&str], bound: Option<&str>, value: f64) {
        self.write(format_args!("sealjar_{}{suffix}", family.name));
        let labels = family.labels.iter().map(|label| label.name).zip(values.iter().copied());
        let labels: Vec<_> = labels.chain(bound.map(|bound| ("le", bound))).collect();
        for (place, (label, text)) in labels.iter().enumerate() {
            self.write(format_args!("{}{label}=\"{text}\"", if place == 0 { '{' } else { ',' }));
        }
        self.write(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string does not fail");
    }
}

/// Counts are exact up to 2^53, which nothing here reaches.
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

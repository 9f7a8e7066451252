//! Prometheus' text format, version 0.0.4: families with their samples. Label values are ours and need no escaping.

use std::fmt::Write;
use std::time::Duration;

use crate::metrics::{Counts, Histogram};

/// A text that grows family by family. Every name begins with `sealjar_`, which is left out here.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// What a sample is about.
pub(super) type Labels<'l> = &'l [(&'l str, &'l str)];

impl Text {
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP sealjar_{name} {help}\n# TYPE sealjar_{name} {kind}\n"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.write(format_args!("sealjar_{name}"));
        for (place, (label, text)) in labels.iter().enumerate() {
            self.write(format_args!("{}{label}=\"{text}\"", if place == 0 { '{' } else { ',' }));
        }
        self.write(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }

    /// A family of one sample.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A family of one counter.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], float(value));
    }

    /// The samples of counters of several kinds, which the last label names.
    pub(super) fn counts<const N: usize>(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        label: &str,
        names: &[&str],
        counts: &Counts<N>,
    ) {
        for (kind, text) in names.iter().enumerate() {
            self.sample(name, &[labels, &[(label, *text)]].concat(), float(counts.total(kind)));
        }
    }

    /// The samples of a histogram of seconds.
    pub(super) fn histogram<const N: usize>(&mut self, name: &str, labels: Labels<'_>, histogram: &Histogram<N>) {
        let mut count = 0;
        for (bound, within) in histogram.within() {
            count = within;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            self.sample(&format!("{name}_bucket"), &[labels, &[("le", &bound)]].concat(), float(count));
        }
        self.sample(&format!("{name}_sum"), labels, Duration::as_secs_f64(&histogram.sum()));
        self.sample(&format!("{name}_count"), labels, float(count));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string does not fail");
    }
}

/// Counts are exact up to 2^53, which nothing here reaches.
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

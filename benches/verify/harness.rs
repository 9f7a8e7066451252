//! Runs cases alternately, and measures time and memory.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

/// An operation whose time is measured. The operation receives a number, so that it uses different data each time.
pub(crate) struct Case<'a> {
    pub(crate) name: &'static str,
    /// Name of the case with which this one is compared.
    pub(crate) baseline: Option<&'static str>,
    run: Box<dyn FnMut(Range<usize>) -> Duration + 'a>,
}

impl<'a> Case<'a> {
    /// Creates a case with which others are compared.
    pub(crate) fn baseline<R>(name: &'static str, operation: impl FnMut(usize) -> R + 'a) -> Self {
        Self { baseline: None, ..Self::compared_to("", name, operation) }
    }

    /// Creates a case that is compared with the case `baseline`.
    pub(crate) fn compared_to<R>(
        baseline: &'static str,
        name: &'static str,
        mut operation: impl FnMut(usize) -> R + 'a,
    ) -> Self {
        let run = move |numbers: Range<usize>| time(|| numbers.for_each(|number| drop(black_box(operation(number)))));
        Self { name, baseline: Some(baseline), run: Box::new(run) }
    }
}

/// Runs all cases alternately for a number of rounds. Returns the nanoseconds per operation for each case and round.
///
/// In a round, all cases get the same numbers. `warm` is called with the same numbers before each case, to load the data into the
/// CPU cache: a server that reads a header field has just parsed it.
pub(crate) fn measure_alternately<'a, const N: usize>(
    mut cases: [Case<'a>; N],
    rounds: usize,
    batch: usize,
    warm: impl Fn(usize),
) -> Vec<(Case<'a>, Vec<f64>)> {
    let mut samples = vec![Vec::with_capacity(rounds); N];
    for round in 0..rounds {
        let numbers = round * batch..(round + 1) * batch;
        for (case, samples) in cases.iter_mut().zip(&mut samples) {
            numbers.clone().for_each(&warm);
            samples.push((case.run)(numbers.clone()).as_secs_f64() * 1e9 / batch as f64);
        }
    }
    cases.into_iter().zip(samples).collect()
}

/// Returns the duration of a call.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Returns the median of the samples.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Compares a case with its baseline in each round by the function `compare`, and returns the median of the results.
pub(crate) fn paired(samples: &[f64], baseline: &[f64], compare: fn(f64, f64) -> f64) -> f64 {
    median(samples.iter().zip(baseline).map(|(case, baseline)| compare(*case, *baseline)).collect())
}

/// Returns the resident memory of the process, or `None` if the system does not report it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

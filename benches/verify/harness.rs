//! Taking turns, and reading the stopwatch and the scales.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

/// One thing to time. Its operation is told a number, to work on different data each time.
pub(crate) struct Case<'a> {
    pub(crate) name: &'static str,
    /// The case that it is held against.
    pub(crate) beside: Option<&'static str>,
    run: Box<dyn FnMut(Range<usize>) -> Duration + 'a>,
}

impl<'a> Case<'a> {
    /// What others are held against.
    pub(crate) fn raw<R>(name: &'static str, operation: impl FnMut(usize) -> R + 'a) -> Self {
        Self { beside: None, ..Self::beside("", name, operation) }
    }

    /// What is held against the case of the name `raw`.
    pub(crate) fn beside<R>(raw: &'static str, name: &'static str, mut operation: impl FnMut(usize) -> R + 'a) -> Self {
        let run = move |numbers: Range<usize>| time(|| numbers.for_each(|number| drop(black_box(operation(number)))));
        Self { name, beside: Some(raw), run: Box::new(run) }
    }
}

/// Runs all cases in turn, round after round: the nanoseconds of one operation, for each case and round.
///
/// In a round all of them are told the same numbers, and `warm` before each of them: a server that looks into a header has
/// just parsed it.
pub(crate) fn take_turns<'a, const N: usize>(
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

/// How long it takes.
#[expect(clippy::disallowed_methods, reason = "a stopwatch: nothing that lives or dies by a clock reads it")]
pub(crate) fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// The middle one.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The median over the rounds of what `of` makes of a case and of the one that it is held against.
pub(crate) fn paired(samples: &[f64], raw: &[f64], of: fn(f64, f64) -> f64) -> f64 {
    median(samples.iter().zip(raw).map(|(case, raw)| of(*case, *raw)).collect())
}

/// What the process holds of memory, where the system tells.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

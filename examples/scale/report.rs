//! The report of a simulation: the Markdown tables in `docs/scale.md`.

use std::fmt;
use std::time::Duration;

use crate::scenario::Scenario;
use crate::simulation::Results;

/// [Histogram](https://en.wikipedia.org/wiki/Histogram) of durations: the number of durations per millisecond.
#[derive(Debug, Default)]
pub(crate) struct Histogram(Vec<u64>);

impl Histogram {
    pub(crate) fn add(&mut self, lag: Duration) {
        let ms = usize::try_from(lag.as_millis()).expect("within the day");
        if ms >= self.0.len() {
            self.0.resize(ms + 1, 0);
        }
        self.0[ms] += 1;
    }

    /// Returns a quantile in milliseconds, such as the median for 0.5. Returns `None` if there are no durations.
    fn quantile(&self, fraction: f64) -> Option<usize> {
        let rank = (self.0.iter().sum::<u64>() as f64 * fraction).ceil() as u64;
        let mut sum = 0;
        let reached = |count: &u64| {
            sum += count;
            sum >= rank
        };
        self.0.iter().position(reached)
    }
}

/// The report of one simulation. [`fmt::Display`] writes it.
pub(crate) struct Report<'r> {
    pub(crate) scenario: &'r Scenario,
    pub(crate) day: &'r Results,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_size(f)?;
        self.write_lags(f)?;
        self.write_costs(f)?;
        self.write_outcome(f)
    }
}

impl Report<'_> {
    fn write_size(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, day } = self;
        let secs = scenario.day.as_secs_f64();
        let peak = day.peak;
        writeln!(f, "| | simulated | all users |\n|---|---:|---:|")?;
        let mut row = |label: &str, simulated: f64| {
            let all = simulated * scenario.share as f64;
            writeln!(f, "| {label} | {} | {} |", grouped(simulated), grouped(all))
        };
        row("users, with one logout a day each", scenario.users as f64 / scenario.share as f64)?;
        row("logouts per second, average", day.logouts as f64 / secs)?;
        row("logouts per second, at noon", scenario.rate(secs / 2.0))?;
        row("entries in the longest list", peak.entries as f64)?;
        row("entries by the formula", scenario.predicted_entries())?;
        let Some(bytes) = peak.bytes else { return writeln!(f) };
        row("memory of one list at that time, MB", bytes as f64 / 1e6 / scenario.nodes as f64)?;
        writeln!(f, "\nAn entry takes {:.1} bytes of resident memory.\n", bytes as f64 / peak.entries_in_all as f64)
    }

    fn write_lags(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { day, .. } = self;
        writeln!(f, "| simulated time, ms | median | 99.9 % | longest |\n|---|---:|---:|---:|")?;
        for (label, lags) in [
            ("from a logout to the commit and the response", &day.response_times),
            ("the same, on a node that had been disconnected from the database", &day.response_times_after_outage),
            ("from the response until another node has the entry, only by polling", &day.lags),
            ("the same, on a node that had been disconnected from the database", &day.lags_after_outage),
        ] {
            let quantile = |fraction| lags.quantile(fraction).map_or("–".to_owned(), |ms| grouped(ms as f64));
            writeln!(f, "| {label} | {} | {} | {} |", quantile(0.5), quantile(0.999), quantile(1.0))?;
        }
        let longest = |span: Duration| grouped(span.as_secs_f64() * 1e3);
        writeln!(
            f,
            "| from the response until the last copy is refused | | | {} |",
            longest(day.watched.accepted_after_response)
        )?;
        writeln!(f, "| staleness of a list | | | {} |", longest(day.max_staleness))?;
        writeln!(
            f,
            "| time during which stale nodes refuse all sessions, sum of all nodes | | | {} |\n",
            longest(day.time_refusing_all)
        )
    }

    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { day, .. } = self;
        let per = |span: Duration, times: f64| span.as_secs_f64() / times.max(1.0);
        writeln!(f, "| on this machine | |\n|---|---:|")?;
        writeln!(
            f,
            "| adding an entry to a list, ns | {:.0} |",
            1e9 * per(day.delivery_time, day.delivered_entries as f64)
        )?;
        writeln!(
            f,
            "| deleting the expired entries of a list, ms, average | {:.1} |",
            1e3 * per(day.prune_time, f64::from(day.prune_count))
        )?;
        writeln!(
            f,
            "| deleting the expired entries of a list, ms, longest | {:.1} |",
            1e3 * day.longest_prune_time.as_secs_f64()
        )?;
        writeln!(f, "| duration of the simulation, s | {:.1} |\n", day.duration.as_secs_f64())
    }

    fn write_outcome(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, day } = self;
        let Results { watched, prune_count, .. } = day;
        let count = |number: u64| grouped(number as f64);
        match scenario.nodes {
            1 => write!(f, "One node")?,
            nodes => write!(f, "{nodes} nodes, with clocks up to {} s apart", scenario.skew.as_secs())?,
        }
        writeln!(f, "; {} % of the logouts are of remembered sessions.\n", scenario.remembered_fraction * 100.0)?;
        writeln!(
            f,
            "{} copies of logged-out cookies were presented to every node, {} times in all. The node of the logout \
             accepted none of them. The other nodes accepted none of them later than {} s after the response. {} copies \
             were presented until their entry was deleted from every list, and all of them had expired by then. After \
             each of {} deletions, the list had exactly the expected number of entries.",
            count(watched.copies),
            count(watched.presentations),
            crate::scenario::MAX_STALENESS.as_secs(),
            count(watched.presented_until_deletion),
            count(u64::from(*prune_count)),
        )
    }
}

/// Formats a number in groups of three digits. A number below 10 has one decimal.
fn grouped(number: f64) -> String {
    if number < 10.0 && number.fract() != 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

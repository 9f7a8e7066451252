//! Times in pages: the distance from now, such as "2 hours ago", and the date and time in UTC.

use time::OffsetDateTime;

use super::texts::{Times, Unit};
use crate::clock::UnixTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The texts that a page shows for one time.
#[derive(Debug)]
pub(crate) struct Instant {
    /// Time for the attribute `datetime` ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)).
    pub(super) iso: String,
    /// Distance from now.
    pub(super) distance: String,
    /// Date and time.
    pub(super) text: String,
}

impl Instant {
    pub(crate) fn new(instant: UnixTime, now: UnixTime, times: &Times) -> Self {
        let iso = instant.to_string();
        let date = i64::try_from(instant.0).ok().and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok());
        let text = date.map_or_else(|| iso.clone(), times.instant);
        Self { iso, distance: distance(instant.0, now.0, times), text }
    }
}

/// Returns the distance in one unit, rounded to the nearest whole number.
fn distance(instant: u64, now: u64, times: &Times) -> String {
    let is_later = instant > now;
    let (count, unit) = match instant.abs_diff(now) {
        0..MINUTE if is_later => return times.soon.to_owned(),
        0..MINUTE => return times.just_now.to_owned(),
        secs if secs < 100 * MINUTE => (nearest(secs, MINUTE), Unit::Minute),
        secs if secs < 36 * HOUR => (nearest(secs, HOUR), Unit::Hour),
        secs => (nearest(secs, DAY), Unit::Day),
    };
    let amount = (times.amount)(count, unit);
    if is_later { (times.later)(&amount) } else { (times.ago)(&amount) }
}

/// Returns the number of units, rounded to the nearest whole number.
const fn nearest(secs: u64, unit: u64) -> u64 {
    secs / unit + (secs % unit >= unit / 2) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::language::Language;

    const NOW: u64 = 1_764_000_060;

    #[test]
    fn shows_the_date_and_the_distance_from_now() {
        let times = &Language::English.texts().times;
        let at = |instant: u64| Instant::new(UnixTime(instant), UnixTime(NOW), times);
        let instant = at(NOW);
        assert_eq!((&*instant.iso, &*instant.text), ("2025-11-24T16:01:00Z", "24 November 2025, 16:01 UTC"));
        assert_eq!(at(u64::MAX).text, u64::MAX.to_string());
        for (later, text) in [
            (1, "in less than a minute"),
            (59, "in less than a minute"),
            (60, "in 1 minute"),
            (89, "in 1 minute"),
            (90, "in 2 minutes"),
            (30 * MINUTE - 1, "in 30 minutes"),
            (99 * MINUTE, "in 99 minutes"),
            (100 * MINUTE, "in 2 hours"),
            (12 * HOUR - 1, "in 12 hours"),
            (36 * HOUR - 1, "in 36 hours"),
            (36 * HOUR, "in 2 days"),
            (90 * DAY, "in 90 days"),
        ] {
            assert_eq!(at(NOW + later).distance, text, "{later}");
        }
        for (earlier, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (3 * HOUR, "3 hours ago"),
            (2 * DAY, "2 days ago"),
        ] {
            assert_eq!(at(NOW - earlier).distance, text, "{earlier}");
        }
    }
}

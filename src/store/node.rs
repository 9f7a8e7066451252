//! Node reports: the keys that a node has, and the time for which it may serve requests after the report. The store's clock
//! measures the age of a report, because the clocks of nodes may differ.

use std::time::Duration;

use super::error::StoreError;
use crate::id::{Kid, NodeId};
use crate::revocation::{Freshness, WhenStale};

/// Maximum age of the last report of a node that counts as live.
pub(crate) const LIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum of [`NodeReport::serves_for`]. A node that cannot report, because it is suspended or cannot reach the store, may
/// serve requests for some time after its last report. A node that cannot reach the store refuses all sessions when its list
/// is stale. If `max_staleness` is longer than this minimum, `max_staleness` applies.
pub(crate) const MIN_SERVING_TIME: Duration = Duration::from_secs(300);
/// Minimum of [`NodeReport::serves_for`] for a node that accepts sessions while its list is stale. The time at which such a
/// node stops is unknown. There is a limit nevertheless, because the report of a killed node must be deleted at some time.
const MAY_SERVE_WITHOUT_STORE: Duration = Duration::from_secs(24 * 3600);
/// Minimum age of reports that are deleted. When a node writes its report, it deletes the reports that are older than both
/// this age and their own `serves_for`.
pub(super) const REPORT_RETENTION: Duration = Duration::from_secs(3600);

/// A report that a node writes to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeReport {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    /// Keys with which the node opens tokens: its keys that are not revoked.
    pub(crate) kids: Vec<Kid>,
    /// Key with which the node seals tokens.
    pub(crate) active: Option<Kid>,
    /// Maximum time after this report during which the node may serve requests without a new report.
    pub(crate) serves_for: Duration,
}

/// Latest report of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) report: NodeReport,
    /// Age of the report. If the store's clock was set back, so that the report is in the future, this is the absolute
    /// difference.
    pub(crate) age: Duration,
}

/// Returns the time during which a node with this freshness may serve requests after its last report.
pub(crate) fn serves_for(freshness: Freshness) -> Duration {
    match freshness.when_stale {
        WhenStale::Refuse => freshness.max_staleness.max(MIN_SERVING_TIME),
        WhenStale::Allow => freshness.max_staleness.max(MAY_SERVE_WITHOUT_STORE),
    }
}

impl NodeReport {
    /// Returns the key ids as they are stored: separated by spaces.
    pub(super) fn kids_as_text(&self) -> String {
        self.kids.iter().map(Kid::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Returns whether the node opens tokens that were sealed with this key.
    pub(crate) fn opens_with(&self, kid: Kid) -> bool {
        self.kids.contains(&kid)
    }
}

impl Node {
    /// Decodes a row: id, name, kids, active, `serves_for` in milliseconds, and the age in milliseconds.
    pub(super) fn of_row(
        (id, name, kids, active, serves_for_ms, age_ms): (String, String, String, Option<String>, i64, i64),
    ) -> Result<Self, StoreError> {
        let kid = |text: &str| text.parse::<Kid>().map_err(|_| StoreError::Corrupt("invalid key id"));
        let report = NodeReport {
            id: id.parse().map_err(|_| StoreError::Corrupt("invalid node id"))?,
            name,
            kids: kids.split_whitespace().map(kid).collect::<Result<_, _>>()?,
            active: active.as_deref().map(kid).transpose()?,
            serves_for: Duration::from_millis(serves_for_ms.unsigned_abs()),
        };
        Ok(Self { report, age: Duration::from_millis(age_ms.unsigned_abs()) })
    }

    /// Returns whether the node may still serve requests, even if it no longer reports.
    pub(crate) fn may_serve(&self) -> bool {
        self.age <= self.report.serves_for
    }

    /// Returns whether the node has reported recently.
    pub(crate) fn is_live(&self) -> bool {
        self.age <= LIVE_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_serves_five_minutes_or_to_staleness_or_a_day() {
        let day = 24 * 3600;
        let cases = [
            (10, WhenStale::Refuse, 300),
            (600, WhenStale::Refuse, 600),
            (2 * day, WhenStale::Refuse, 2 * day),
            (10, WhenStale::Allow, day),
            (2 * day, WhenStale::Allow, 2 * day),
        ];
        for (secs, when_stale, expected) in cases {
            let freshness = Freshness { max_staleness: Duration::from_secs(secs), when_stale };
            assert_eq!(serves_for(freshness), Duration::from_secs(expected), "{freshness:?}");
        }
    }
}

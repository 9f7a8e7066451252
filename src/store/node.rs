//! What a node says of its keys, and how long that counts. Instants are the store's: the clocks of nodes may differ.

use std::time::Duration;

use super::error::StoreError;
use crate::id::{Kid, NodeId};
use crate::revocation::{Freshness, WhenStale};

/// A node that reported within this time is live.
pub(crate) const LIVE: Duration = Duration::from_secs(30);
/// A node that reported within this time and has not taken its report back may still serve: it may be paused, or kept from the
/// store. A silent node refuses all sessions once its list is stale, so one whose list is stale later than this counts for
/// longer.
pub(crate) const MAY_SERVE: Duration = Duration::from_secs(300);
/// The same for a node that is configured to go on with a stale list. Nobody knows when it stops, but one that was killed must be
/// forgotten some time.
const MAY_SERVE_WITHOUT_STORE: Duration = Duration::from_secs(24 * 3600);
/// Reports older than this, of nodes that can serve no more, are thrown away by whoever reports.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeReport {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    /// The keys that it opens with: those that it holds and that are not revoked.
    pub(crate) kids: Vec<Kid>,
    /// The key that it seals with.
    pub(crate) active: Option<Kid>,
    /// How long after this it may serve without reporting again.
    pub(crate) serves_for: Duration,
}

/// A node's latest report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) report: NodeReport,
    /// How old it is. One from the future, because the store's clock was set back, is as old as it is ahead.
    pub(crate) age: Duration,
}

/// How long a node with such a list may serve after its last report.
pub(crate) fn serves_for(freshness: Freshness) -> Duration {
    match freshness.when_stale {
        WhenStale::Refuse => freshness.max_staleness.max(MAY_SERVE),
        WhenStale::Allow => freshness.max_staleness.max(MAY_SERVE_WITHOUT_STORE),
    }
}

impl NodeReport {
    /// The keys as they are stored.
    pub(super) fn kids_as_text(&self) -> String {
        self.kids.iter().map(Kid::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Whether the node opens tokens of this key.
    pub(crate) fn opens_with(&self, kid: Kid) -> bool {
        self.kids.contains(&kid)
    }
}

impl Node {
    /// Reads a row: id, name, kids, active, for how many milliseconds it serves, and how many ago it was reported.
    pub(super) fn of_row(
        (id, name, kids, active, serves_for_ms, age_ms): (String, String, String, Option<String>, i64, i64),
    ) -> Result<Self, StoreError> {
        let kid = |text: &str| text.parse::<Kid>().map_err(|_| StoreError::Corrupt("a key id that is none"));
        let report = NodeReport {
            id: id.parse().map_err(|_| StoreError::Corrupt("a node id that is none"))?,
            name,
            kids: kids.split_whitespace().map(kid).collect::<Result<_, _>>()?,
            active: active.as_deref().map(kid).transpose()?,
            serves_for: Duration::from_millis(serves_for_ms.unsigned_abs()),
        };
        Ok(Self { report, age: Duration::from_millis(age_ms.unsigned_abs()) })
    }

    /// Whether it may still serve, though it be silent.
    pub(crate) fn may_serve(&self) -> bool {
        self.age <= self.report.serves_for
    }

    /// Whether it is to be reckoned with.
    pub(crate) fn is_live(&self) -> bool {
        self.age <= LIVE
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

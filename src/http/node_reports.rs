//! Reads from the store which keys other nodes have. Waiting requests share a query (single flight, `sync/single_flight.rs`).
//!
//! Any client can cause this query with an invented key id (`logout.rs`). So there is at most one query a second, and all waiting
//! requests share it. Each request waits for a query that begins after the request arrived, so the result is current.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::log_sampler::sampled;
use crate::store::{Node, Store};
use crate::sync::single_flight::SingleFlight;

/// The shared queries.
#[derive(Debug, Default)]
pub(crate) struct NodeReports(SingleFlight<Option<Arc<[Node]>>>);

impl NodeReports {
    /// Maximum time that a request waits for the result of a query.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
    /// Minimum time between two queries.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Returns the reports of the nodes, from a query that begins after this call. Returns `None` if the store does not respond
    /// in time or the query fails.
    pub(crate) async fn read_next(&self) -> Option<Arc<[Node]>> {
        self.0.next(Self::TIMEOUT).await.flatten()
    }
}

/// Sends a query to the store whenever a request waits for one. Never returns.
pub(crate) async fn read_on_request(reports: Arc<NodeReports>, store: Store) {
    let mut ticks = tokio::time::interval(NodeReports::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        reports.0.requested().await;
        ticks.tick().await;
        reports.0.begin();
        let log_failure = |error: &_| sampled!(ERROR, %error, "cannot read from the store which keys other nodes have");
        let nodes = store.nodes().await.inspect_err(log_failure);
        reports.0.end(nodes.ok().map(Arc::from));
    }
}

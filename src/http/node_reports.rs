//! Asks the store which keys other nodes have, once for many requests.
//!
//! Anybody can cause the question by making up a key (`logout.rs`). So all who wait share one, there is at most one a second, and
//! each waits for one that begins after it asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::log_sampler::sampled;
use crate::store::{Node, Store};
use crate::sync::single_flight::SingleFlight;

/// The questions to the store.
#[derive(Debug, Default)]
pub(crate) struct NodeReports(SingleFlight<Option<Arc<[Node]>>>);

impl NodeReports {
    /// How long a request waits for an answer.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
    /// The shortest time between two questions.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Returns the reports that the store has, by a question that begins after this was called. `None` if it does not answer.
    pub(crate) async fn next(&self) -> Option<Arc<[Node]>> {
        self.0.next(Self::TIMEOUT).await.flatten()
    }
}

/// Asks the store whenever somebody waits. Never ends.
pub(crate) async fn follow(reports: Arc<NodeReports>, store: Store) {
    let mut ticks = tokio::time::interval(NodeReports::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        reports.0.asked().await;
        ticks.tick().await;
        reports.0.begin();
        let failed = |error: &_| sampled!(ERROR, %error, "cannot ask the store which keys other nodes have");
        let nodes = store.nodes().await.inspect_err(failed);
        reports.0.end(nodes.ok().map(Arc::from));
    }
}

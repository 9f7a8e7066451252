//! Reports the keys of this node to the store. `sealjar keys status` shows these node reports, and
//! `sealjar keys rotate --wait` waits until every node has a key.
//!
//! The node sends a report every five seconds, and immediately after a change of the key ring or of the active key. At
//! a graceful shutdown it deletes its report. If it ends in another way, its last report is used for half a minute more. This
//! task does not wait for other nodes, and no request waits for this task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::clock::Now;
use crate::http::app::App;
use crate::id::NodeId;
use crate::keyring::Key;
use crate::store::node::{NodeReport, serves_for};

/// Interval between two reports. It is much shorter than the half minute for which a report counts. So the node still counts as
/// running if a few reports fail.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum time for the deletion of the report at the shutdown.
const DELETE_TIMEOUT: Duration = Duration::from_secs(2);

/// Handle of the task that sends the reports.
#[derive(Debug)]
pub(super) struct Reporting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Reporting {
    /// Starts the task. It also sends a report when `changed` is notified.
    pub(super) fn start(app: Arc<App>, name: String, changed: Arc<Notify>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(app, name, changed, stopped)) }
    }

    /// Stops the task and deletes the report, unless the store takes too long.
    pub(super) async fn finish(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(DELETE_TIMEOUT, self.task).await;
    }
}

async fn run(app: Arc<App>, name: String, changed: Arc<Notify>, mut stop: oneshot::Receiver<()>) {
    let id = NodeId::random();
    let mut has_failed = false;
    loop {
        let outcome = app.store.report_node(&report(&app, id, &name)).await;
        // Only the first failure and the first success after failures are logged.
        match (&outcome, has_failed) {
            (Err(error), false) => {
                tracing::warn!(%error, "cannot report to the store which keys this node holds; trying again");
            }
            (Ok(()), true) => tracing::info!("reporting to the store again"),
            _ => {}
        }
        has_failed = outcome.is_err();
        tokio::select! {
            _ = &mut stop => break,
            () = changed.notified() => {}
            () = tokio::time::sleep(REPORT_INTERVAL) => {}
        }
    }
    if let Err(error) = app.store.delete_node_report(id).await {
        tracing::warn!(%error, "cannot delete the report of this node from the store; the node counts as running for half a minute more, and for `keys revoke` for longer");
    }
}

/// Returns the current report of this node.
fn report(app: &App, id: NodeId, name: &str) -> NodeReport {
    let ring = app.sessions.ring();
    let opening = ring.keys().iter().filter(|key| !key.is_revoked());
    let kids = opening.map(Key::kid).collect();
    let serves_for = serves_for(app.sessions.revocations().freshness());
    NodeReport { id, name: name.to_owned(), kids, active: app.sessions.active_key(Now::read()), serves_for }
}

//! Telling the store which keys this node holds, so that `sealjar keys status` can show it and `sealjar keys rotate --wait` can
//! wait for it.
//!
//! A report goes out every five seconds, and at once when the ring changed or another key became active. An orderly stop takes it
//! back; a node that ends otherwise is silent, and stops counting after half a minute. Nothing here waits for another node, and
//! no request waits for this.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::clock::Now;
use crate::http::app::App;
use crate::id::NodeId;
use crate::keyring::Key;
use crate::store::node::{NodeReport, serves_for};

/// Several reports may go astray before the node counts as gone.
const EVERY: Duration = Duration::from_secs(5);
/// How long the store may take to be told that the node is gone.
const FORGET_TIMEOUT: Duration = Duration::from_secs(2);

/// The task that reports.
#[derive(Debug)]
pub(super) struct Reporting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Reporting {
    /// Starts it. `changed` says that what there is to report is another.
    pub(super) fn start(app: Arc<App>, name: String, changed: Arc<Notify>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(app, name, changed, stopped)) }
    }

    /// Takes the report back, if the store can be told in time.
    pub(super) async fn finish(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(FORGET_TIMEOUT, self.task).await;
    }
}

async fn run(app: Arc<App>, name: String, changed: Arc<Notify>, mut stop: oneshot::Receiver<()>) {
    let id = NodeId::random();
    let mut failing = false;
    loop {
        let outcome = app.store.report_node(&report(&app, id, &name)).await;
        match (&outcome, failing) {
            (Err(error), false) => {
                tracing::warn!(%error, "cannot report to the store which keys this node holds; trying again");
            }
            (Ok(()), true) => tracing::info!("reporting to the store again"),
            _ => {}
        }
        failing = outcome.is_err();
        tokio::select! {
            _ = &mut stop => break,
            () = changed.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    if let Err(error) = app.store.forget_node(id).await {
        tracing::warn!(%error, "the store cannot be told that this node stops; it counts as live for half a minute more, and for `keys revoke` for longer");
    }
}

fn report(app: &App, id: NodeId, name: &str) -> NodeReport {
    let ring = app.sessions.ring();
    let opening = ring.keys().iter().filter(|key| !key.is_revoked());
    let kids = opening.map(Key::kid).collect();
    let serves_for = serves_for(app.sessions.revocations().freshness());
    NodeReport { id, name: name.to_owned(), kids, active: app.sessions.active_key(Now::read()), serves_for }
}

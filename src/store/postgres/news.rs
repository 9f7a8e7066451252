//! Notices that the log has grown, by LISTEN and NOTIFY: they make followers quick, and nobody relies on them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::StoreError;
use super::line::Line;
use crate::store::within;

const CHANNEL: &str = "sealjar";
/// In one message: whoever listens hears of it when the transaction is committed, and not before.
pub(super) const NOTIFY_AND_COMMIT: &str = "NOTIFY sealjar; COMMIT";
/// Between two attempts to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// Listens from the first time that somebody waits, for as long as the store is open.
#[derive(Debug)]
pub(super) struct News {
    /// Whether the server knows of notices at all: some that speak PostgreSQL's protocol do not.
    pub(super) known: bool,
    line: Line,
    arrived: Arc<Notify>,
    listening: OnceLock<JoinHandle<()>>,
}

impl News {
    pub(super) async fn new(line: Line, connection: &mut PgConnection) -> Self {
        let known = connection.execute("LISTEN sealjar; UNLISTEN sealjar").await.is_ok();
        Self { known, line, arrived: Arc::default(), listening: OnceLock::new() }
    }

    /// Returns when there was a notice since the last time.
    pub(super) async fn wait(&self) {
        if self.known {
            self.listening.get_or_init(|| tokio::spawn(listen(self.line.clone(), self.arrived.clone())));
        }
        self.arrived.notified().await;
    }

    pub(super) fn stop(&self) {
        self.listening.get().into_iter().for_each(JoinHandle::abort);
    }
}

async fn listen(line: Line, arrived: Arc<Notify>) {
    loop {
        if let Err(error) = hear(&line, &arrived).await {
            tracing::debug!(%error, "not listening for notices; polling goes on");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Passes notices on until the connection is lost.
async fn hear(line: &Line, arrived: &Notify) -> Result<(), StoreError> {
    /// After that the server is asked whether it is there: behind a network that swallows packets it says nothing any more.
    const SILENCE: Duration = Duration::from_secs(30);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(line.connect_timeout);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(line.options.clone())).await?;
    listener.eager_reconnect(false);
    within(line.connect_timeout, async { Ok(listener.listen(CHANNEL).await?) }).await?;
    // What was committed until now was told to nobody here.
    arrived.notify_one();
    loop {
        let Ok(heard) = tokio::time::timeout(SILENCE, listener.try_recv()).await else {
            within(line.connect_timeout, async { Ok(listener.execute("SELECT 1").await?) }).await?;
            continue;
        };
        if heard?.is_none() {
            return Ok(());
        }
        arrived.notify_one();
    }
}

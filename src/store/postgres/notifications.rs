//! Notifications that the log has grown, by LISTEN and NOTIFY. They make followers quicker; nothing relies on them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::pool::Connector;
use crate::store::error::{StoreError, within};

const CHANNEL: &str = "sealjar";
/// One message. PostgreSQL notifies listeners when the transaction is committed, and not before.
pub(super) const NOTIFY_AND_COMMIT: &str = "NOTIFY sealjar; COMMIT";
/// Pause between two attempts to listen.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Listens from the first call of `wait` until the store is closed.
#[derive(Debug)]
pub(super) struct Notifications {
    /// Whether the server supports notifications. Some servers that speak PostgreSQL's protocol do not.
    pub(super) supported: bool,
    connector: Connector,
    arrived: Arc<Notify>,
    listening: OnceLock<JoinHandle<()>>,
}

impl Notifications {
    pub(super) async fn new(connector: Connector, connection: &mut PgConnection) -> Self {
        let supported = connection.execute("LISTEN sealjar; UNLISTEN sealjar").await.is_ok();
        Self { supported, connector, arrived: Arc::default(), listening: OnceLock::new() }
    }

    /// Waits for a notification since the last call.
    pub(super) async fn wait(&self) {
        if self.supported {
            self.listening.get_or_init(|| tokio::spawn(listen(self.connector.clone(), self.arrived.clone())));
        }
        self.arrived.notified().await;
    }

    pub(super) fn stop(&self) {
        self.listening.get().into_iter().for_each(JoinHandle::abort);
    }
}

async fn listen(connector: Connector, arrived: Arc<Notify>) {
    loop {
        if let Err(error) = hear(&connector, &arrived).await {
            tracing::debug!(%error, "not listening for notices; polling goes on");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Passes notifications on until the connection is lost.
async fn hear(connector: &Connector, arrived: &Notify) -> Result<(), StoreError> {
    /// Pause after which the connection is checked: a network that drops packets does not report a lost connection.
    const SILENCE: Duration = Duration::from_secs(30);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(connector.limits.connect_timeout);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(connector.options.clone())).await?;
    listener.eager_reconnect(false);
    within(connector.limits.connect_timeout, async { Ok(listener.listen(CHANNEL).await?) }).await?;
    // Commits before this were not notified.
    arrived.notify_one();
    loop {
        let Ok(heard) = tokio::time::timeout(SILENCE, listener.try_recv()).await else {
            within(connector.limits.connect_timeout, async { Ok(listener.execute("SELECT 1").await?) }).await?;
            continue;
        };
        if heard?.is_none() {
            return Ok(());
        }
        arrived.notify_one();
    }
}

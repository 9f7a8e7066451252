//! Notifications of new rows in the log, with [`LISTEN` and
//! `NOTIFY`](https://www.postgresql.org/docs/current/sql-notify.html). They reduce the lag of followers. They are not
//! required, because followers also poll.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::pool::Connector;
use crate::store::error::{StoreError, within};

const CHANNEL: &str = "sealjar";
/// Statements that notify followers and commit, in one message to the server. PostgreSQL sends the notification after the
/// commit.
pub(super) const NOTIFY_AND_COMMIT: &str = "NOTIFY sealjar; COMMIT";
/// Delay between two attempts to listen.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Listener for notifications. It listens from the first call of `wait` until the store is closed.
#[derive(Debug)]
pub(super) struct Notifications {
    /// Whether the server supports notifications. Some servers with PostgreSQL's protocol do not.
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

    /// Waits until a notification has arrived since the last call. The first call starts the listener. Never returns if the
    /// server does not support notifications.
    pub(super) async fn wait(&self) {
        if self.supported {
            self.listening.get_or_init(|| tokio::spawn(listen(self.connector.clone(), self.arrived.clone())));
        }
        self.arrived.notified().await;
    }

    /// Stops the listener.
    pub(super) fn stop(&self) {
        self.listening.get().into_iter().for_each(JoinHandle::abort);
    }
}

/// Listens until the task is aborted. Connects again after each failure.
async fn listen(connector: Connector, arrived: Arc<Notify>) {
    loop {
        if let Err(error) = listen_once(&connector, &arrived).await {
            tracing::debug!(%error, "cannot listen for notifications; polling continues");
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Connects, and receives notifications until the connection is lost.
async fn listen_once(connector: &Connector, arrived: &Notify) -> Result<(), StoreError> {
    /// Time without a notification after which the connection is checked, because a network that drops packets does not
    /// report a lost connection.
    const CHECK_INTERVAL: Duration = Duration::from_secs(30);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(connector.limits.connect_timeout);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(connector.options.clone())).await?;
    listener.eager_reconnect(false);
    within(connector.limits.connect_timeout, async { Ok(listener.listen(CHANNEL).await?) }).await?;
    // This connection received no notification of commits before LISTEN, so the follower must poll once.
    arrived.notify_one();
    loop {
        let Ok(received) = tokio::time::timeout(CHECK_INTERVAL, listener.try_recv()).await else {
            within(connector.limits.connect_timeout, async { Ok(listener.execute("SELECT 1").await?) }).await?;
            continue;
        };
        if received?.is_none() {
            return Ok(());
        }
        arrived.notify_one();
    }
}

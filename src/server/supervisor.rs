//! Sends the state of the server to systemd with
//! [sd_notify(3)](https://man7.org/linux/man-pages/man3/sd_notify.3.html). Nothing is sent if the environment variable
//! `NOTIFY_SOCKET` is not set.

use std::time::Duration;

use sd_notify::NotifyState::{self, Ready, Status, Stopping, Watchdog};
use tokio::task::JoinHandle;

/// Reports that the server is ready. If the systemd unit has a watchdog, starts to send keep-alive messages, which show
/// that Tokio runs tasks in time. The messages are sent until the process ends, also during the shutdown.
pub(super) fn ready() {
    notify(&[Ready, Status("serving")]);
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(send_keep_alives(limit));
    }
}

/// Reports that the server finishes the requests in progress and then ends.
pub(super) fn stopping() {
    notify(&[Stopping, Status("finishing requests in progress")]);
}

/// Sends a keep-alive message twice in each period of the watchdog, without end.
async fn send_keep_alives(limit: Duration) {
    // Tokio's timer has a resolution of a millisecond, and panics if the period is zero.
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        // Waits until the message is sent, so that messages cannot accumulate.
        let _ = notify(&[Watchdog]).await;
    }
}

/// Sends a message on a separate thread, because sending blocks if systemd does not read.
fn notify(state: &'static [NotifyState<'static>]) -> JoinHandle<()> {
    tokio::task::spawn_blocking(|| {
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "cannot send the state of the server to systemd (NOTIFY_SOCKET)");
        }
    })
}

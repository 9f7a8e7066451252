//! Telling systemd how the server is, by sd_notify(3). Where `NOTIFY_SOCKET` is not set nobody wants to know.

use std::time::Duration;

use sd_notify::NotifyState::{self, Ready, Status, Stopping, Watchdog};
use tokio::task::JoinHandle;

/// It serves. From here on a watchdog, if one is set, hears that tasks are run in time, and does so until the process ends: a
/// server that stops has work to do as well.
pub(super) fn ready() {
    tell(&[Ready, Status("serving")]);
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(keep_awake(limit));
    }
}

/// It finishes what is under way, and ends.
pub(super) fn stopping() {
    tell(&[Stopping, Status("finishing requests under way")]);
}

async fn keep_awake(limit: Duration) {
    // A timer counts in milliseconds, and takes no period of none.
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        // One at a time, however long it takes.
        let _ = tell(&[Watchdog]).await;
    }
}

/// On a thread of its own: where nobody reads, sending waits.
fn tell(state: &'static [NotifyState<'static>]) -> JoinHandle<()> {
    tokio::task::spawn_blocking(|| {
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "systemd could not be told how the server is (NOTIFY_SOCKET)");
        }
    })
}

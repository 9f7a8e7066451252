//! A wrong clock makes no revoked session valid again (docs/security/promises.md), at a price. Nodes must agree on the time to
//! within a minute, and each of them with the store to within half of that.

use std::path::Path;
use std::time::Duration;

use super::keys;
use super::report::Report;
use crate::clock::{CLOCK_SKEW, Now, STORE_CLOCK_SKEW, UnixTime};
use crate::keyring::KeyRing;
use crate::store::Store;
use crate::store::error::StoreError;

/// Half of what is allowed.
const NOTICEABLE: Duration = Duration::from_secs(STORE_CLOCK_SKEW.as_secs() / 2);
/// Where systemd-timesyncd works; it makes a file there once it has set the clock.
const TIMESYNC: &str = "/run/systemd/timesync";

pub(super) async fn check(ring: Option<&KeyRing>, store: Option<&Store>, report: &mut Report) {
    check_synchronised(report);
    if let Some(ring) = ring {
        let now = Now::read().wall;
        match keys::latest_date(ring, now) {
            Some(latest) => behind("clock.keys", "a key was made or revoked", latest, now, report),
            None => report.ok("clock.keys", "no key was made or revoked in the future"),
        }
    }
    let Some(store) = store else {
        return report.skipped("clock.store", "the store could not be read");
    };
    if let Err(error) = check_store(store, report).await {
        report.failure("clock.store", error.into(), "see what is said of the store");
    }
}

fn check_synchronised(report: &mut Report) {
    const CHECK: &str = "clock.ntp";
    if Path::new(TIMESYNC).join("synchronized").exists() {
        report.ok(CHECK, "systemd-timesyncd has set the clock");
    } else if Path::new(TIMESYNC).exists() {
        report.warning(CHECK, "systemd-timesyncd has not set the clock yet", "see: timedatectl timesync-status");
    } else {
        report.skipped(
            CHECK,
            "who keeps the clock does not say whether it is right; ask: chronyc tracking, or timedatectl",
        );
    }
}

async fn check_store(store: &Store, report: &mut Report) -> Result<(), StoreError> {
    const CHECK: &str = "clock.store";
    let asked = Now::read().wall;
    let state = store.state().await?;
    let now = Now::read().wall;
    let reached = store.clock_reached().await?.max(state.pruned_through);
    if reached > now.plus(CLOCK_SKEW) {
        behind(CHECK, "a server counted on it being", reached, now, report);
    }
    if let (Some(there), Some(apart)) = (state.clock, state.clock_difference(asked, now)) {
        let found = format!("this machine's clock says {now}, the database's says {there}");
        let remedy = "set the clock that is wrong, and keep both by NTP";
        if apart >= STORE_CLOCK_SKEW {
            report.problem(CHECK, found, remedy);
        } else if apart >= NOTICEABLE {
            report.warning(CHECK, found, remedy);
        }
    }
    report.ok_otherwise(CHECK, format!("{now}, and no server has been further"));
    Ok(())
}

/// Time was later once than the clock says now: one of the two was wrong.
fn behind(check: &'static str, what: &str, then: UnixTime, now: UnixTime, report: &mut Report) {
    let remedy = "if the clock is slow now, set it by NTP; if it was fast then, see \"The clock was ahead when the server started\" \
                  in docs/troubleshooting.md";
    report.problem(check, format!("the clock says {now}, and {what} {then}"), remedy);
}

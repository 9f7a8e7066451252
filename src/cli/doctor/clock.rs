//! Checks of the clock: synchronisation, dates of keys, and the clock of the store.
//!
//! A wrong clock makes no revoked session valid again (docs/security/promises.md), but it has other effects. The clocks of nodes may
//! differ by a minute at most, and the clocks of a node and the store by half a minute.

use std::path::Path;
use std::time::Duration;

use super::keys;
use super::report::Report;
use crate::clock::{CLOCK_SKEW, Now, STORE_CLOCK_SKEW, UnixTime};
use crate::keyring::KeyRing;
use crate::store::Store;
use crate::store::error::StoreError;

/// Difference of the clocks from which there is a warning: half of the allowed difference.
const WARNING_SKEW: Duration = Duration::from_secs(STORE_CLOCK_SKEW.as_secs() / 2);
/// Directory of systemd-timesyncd. It creates the file `synchronized` there when it has set the clock.
const TIMESYNC: &str = "/run/systemd/timesync";

pub(super) async fn check(ring: Option<&KeyRing>, store: Option<&Store>, report: &mut Report) {
    check_synchronised(report);
    if let Some(ring) = ring {
        let now = Now::read().wall;
        match keys::latest_date(ring, now) {
            Some(latest) => report_slow_clock("clock.keys", "a key was created or revoked at", latest, now, report),
            None => report.ok("clock.keys", "no key has a creation or revocation date in the future"),
        }
    }
    let Some(store) = store else {
        return report.skipped("clock.store", "the store could not be read");
    };
    if let Err(error) = check_store(store, report).await {
        report.failure("clock.store", error.into(), "see the findings about the store");
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
            "cannot tell whether the clock is synchronised, because systemd-timesyncd is not in use; check with: chronyc tracking, or timedatectl",
        );
    }
}

async fn check_store(store: &Store, report: &mut Report) -> Result<(), StoreError> {
    const CHECK: &str = "clock.store";
    // The clock of the store is compared with the times before and after the query.
    let before = Now::read().wall;
    let state = store.state().await?;
    let now = Now::read().wall;
    let latest = store.clock_reached().await?.max(state.pruned_through);
    if latest > now.plus(CLOCK_SKEW) {
        report_slow_clock(CHECK, "a server has already recorded the time", latest, now, report);
    }
    if let (Some(store_clock), Some(difference)) = (state.clock, state.clock_difference(before, now)) {
        let found = format!("this machine's clock shows {now}, and the clock of the database shows {store_clock}");
        let remedy = "correct the clock that is wrong, and synchronise both with NTP";
        if difference >= STORE_CLOCK_SKEW {
            report.problem(CHECK, found, remedy);
        } else if difference >= WARNING_SKEW {
            report.warning(CHECK, found, remedy);
        }
    }
    report.ok_otherwise(CHECK, format!("{now}, and no server has recorded a later time"));
    Ok(())
}

/// Reports a recorded time that is later than the time of the clock now: the clock is wrong now, or was wrong then.
fn report_slow_clock(check: &'static str, recorded: &str, then: UnixTime, now: UnixTime, report: &mut Report) {
    let remedy = "if the clock is slow now, synchronise it with NTP; if it was fast then, see \"The clock was ahead when the server started\" \
                  in docs/troubleshooting.md";
    report.problem(check, format!("this machine's clock shows {now}, but {recorded} {then}"), remedy);
}

//! Checks of the running server, by a request to its admin listener (`admin_listener.rs`). Skipped if no server runs.

use serde_json::Value;

use super::report::{Report, count};
use crate::cli::admin_listener::{Readiness, RequestError};
use crate::config::Config;
use crate::config::listen::Listen;
use crate::hardening;

pub(super) async fn check(config: &Config, report: &mut Report) {
    const CHECK: &str = "server.ready";
    let address = &config.http.admin_listen;
    let readiness = match Readiness::request(address).await {
        Ok(readiness) => readiness,
        Err(error @ (RequestError::AnyPort | RequestError::SystemdSocket)) => {
            return report.skipped(CHECK, format!("no request was sent to {address}: {error}"));
        }
        Err(RequestError::NotListening(_)) => {
            return report.skipped(CHECK, format!("nothing listens at {address}, so the server does not run"));
        }
        Err(error) => {
            return report.problem(CHECK, format!("no Sealjar server responds at {address}: {error}"), error.remedy());
        }
    };
    let body = &readiness.body;
    for degraded in readiness.degraded() {
        let found = if readiness.is_ready {
            format!("the server at {address} verifies sessions, but {degraded}")
        } else {
            format!("the server at {address} is degraded: {degraded}")
        };
        let remedy = "see \"The server is degraded\" in docs/troubleshooting.md, and the server's log";
        report.problem(CHECK, found, remedy);
    }
    if !readiness.is_ready {
        let found = format!("the server at {address} is not ready: {}", readiness.reasons().join(", "));
        report.problem(CHECK, found, readiness.remedy());
    }
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    let pending = number("pending") as usize;
    let revocations = number("revocations");
    if pending > 0 {
        let found = format!(
            "{} in the memory of the server at {address}, and not yet in the store",
            count(pending, "revocation")
        );
        report.warning(
            CHECK,
            found,
            "see in the server's log why the store cannot be changed; do not stop the server now",
        );
    }
    check_hardening(body, config, report);
    check_rules(&body["misspelt_rules"], number("unreadable_rules"), address, report);
    let staleness = number("staleness_ms");
    report.ok_otherwise(
        CHECK,
        format!("the server at {address} is ready; its revocation list has {revocations} entries and was read {staleness} ms ago"),
    );
}

/// Checks the hardening of the running server. It differs from the settings if they changed after the start, or if the kernel
/// refused it.
fn check_hardening(body: &Value, config: &Config, report: &mut Report) {
    const CHECK: &str = "server.hardening";
    let address = &config.http.admin_listen;
    let (Some(dumpable), Some(landlock)) = (body["dumpable"].as_bool(), body["landlock"].as_str()) else {
        return report
            .skipped(CHECK, format!("the server at {address} does not report it, because it is an older version"));
    };
    let found = format!("the server at {address} has dumpable = {dumpable} and Landlock {landlock}");
    // If the kernel has no Landlock, the check `process.landlock` already reports it.
    let is_possible = landlock != "unsupported" || hardening::kernel_has_landlock();
    let lacks_landlock = config.process.landlock && is_possible && !matches!(landlock, "full" | "partial");
    let is_weaker = lacks_landlock || (dumpable && !config.process.dumpable);
    if is_weaker {
        report.warning(
            CHECK,
            found,
            "restart the server; if this remains, see in its log why Landlock failed: a filter of system calls must allow the calls of Landlock",
        );
    } else {
        report.ok(CHECK, found);
    }
}

/// Reports rules of verify requests that cannot be parsed. A misspelt rule in a query is ignored, so more users pass than intended.
/// With a misspelt rule in the path, every request is refused.
fn check_rules(misspelt: &Value, unreadable: u64, address: &Listen, report: &mut Report) {
    const CHECK: &str = "server.rules";
    if unreadable > 0 {
        let found = format!(
            "the server at {address} refused {unreadable} verify requests, because it cannot parse their rules"
        );
        report.warning(
            CHECK,
            found,
            "correct the URL to which the proxy sends verify requests; the server's log has its path",
        );
    }
    let counts = misspelt.as_object().into_iter().flatten();
    let texts: Vec<_> =
        counts.filter_map(|(rule, number)| Some(format!("{rule} {} times", number.as_u64()?))).collect();
    if texts.is_empty() {
        return report.ok_otherwise(CHECK, format!("no verify request to the server at {address} had a misspelt rule"));
    }
    let found = format!(
        "the server at {address} ignored rules in the queries of verify requests, because they are misspelt or the path also has rules: {}",
        texts.join(", ")
    );
    let remedy = "correct the URL to which the proxy sends verify requests, or write the rules as segments, such as \
                  /auth/verify/role=admin/-, where a misspelt one is refused; query parameters of clients count, too, if the \
                  proxy appends them";
    report.warning(CHECK, found, remedy);
}

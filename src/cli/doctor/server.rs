//! The server that runs, if one does: it is asked on its admin listener.

use serde_json::Value;

use super::report::{Report, count};
use crate::cli::admin_listener::{AskError, Readiness};
use crate::config::Config;
use crate::config::listen::Listen;
use crate::hardening;

pub(super) async fn check(config: &Config, report: &mut Report) {
    const CHECK: &str = "server.ready";
    let address = &config.http.admin_listen;
    let readiness = match Readiness::ask(address).await {
        Ok(readiness) => readiness,
        Err(error @ (AskError::AnyPort | AskError::OfSystemd)) => {
            return report.skipped(CHECK, format!("nothing was asked at {address}: {error}"));
        }
        Err(AskError::Nobody(_)) => {
            return report.skipped(CHECK, format!("nothing listens at {address}, so no server was asked"));
        }
        Err(error) => {
            return report.problem(CHECK, format!("{address} was asked and did not answer: {error}"), error.remedy());
        }
    };
    let body = &readiness.body;
    for degraded in readiness.degraded() {
        let found = if readiness.is_ready {
            format!("the server at {address} verifies sessions, but {degraded}")
        } else {
            format!("of the server at {address}: {degraded}")
        };
        let remedy = "see \"The server is degraded\" in docs/troubleshooting.md, and the server's log";
        report.problem(CHECK, found, remedy);
    }
    if !readiness.is_ready {
        let found = format!("the server at {address} is not ready: {}", readiness.reasons().join(", "));
        report.problem(CHECK, found, readiness.remedy());
    }
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    let (pending, revocations) = (number("pending") as usize, number("revocations"));
    if pending > 0 {
        let found =
            format!("{} in force in the server at {address}, and not yet in the store", count(pending, "sign-out"));
        report.warning(
            CHECK,
            found,
            "the server's log says why the store does not take them; do not stop the server now",
        );
    }
    check_hardening(body, config, report);
    check_rules(&body["misspelt_rules"], number("unreadable_rules"), address, report);
    let staleness = number("staleness_ms");
    report.ok_otherwise(
        CHECK,
        format!("the server at {address} is ready; {revocations} refused, read {staleness} ms ago"),
    );
}

/// The server may be older than its configuration, and the kernel may have refused.
fn check_hardening(body: &Value, config: &Config, report: &mut Report) {
    const CHECK: &str = "server.hardening";
    let address = &config.http.admin_listen;
    let (Some(dumpable), Some(landlock)) = (body["dumpable"].as_bool(), body["landlock"].as_str()) else {
        return report.skipped(CHECK, format!("the server at {address} does not say; it is an older version"));
    };
    let found = format!("the server at {address} has dumpable = {dumpable} and Landlock {landlock}");
    // `process.landlock` tells of a kernel without Landlock.
    let is_possible = landlock != "unsupported" || hardening::kernel_has_landlock();
    let is_unlimited = config.process.landlock && is_possible && !matches!(landlock, "full" | "partial");
    let is_weaker = is_unlimited || (dumpable && !config.process.dumpable);
    if is_weaker {
        report.warning(
            CHECK,
            found,
            "restart the server; if this stays, its log says why Landlock failed: a filter of system calls must allow those of Landlock",
        );
    } else {
        report.ok(CHECK, found);
    }
}

/// A route whose rule is misspelt in a query is wider open than its operator meant. One with a misspelt segment lets nobody in.
fn check_rules(misspelt: &Value, unreadable: u64, address: &Listen, report: &mut Report) {
    const CHECK: &str = "server.rules";
    if unreadable > 0 {
        let found = format!(
            "the server at {address} refused {unreadable} of proxies' questions, because it cannot read their rules"
        );
        report.warning(CHECK, found, "correct the address that the proxy asks; the server's log has its path");
    }
    let counts = misspelt.as_object().into_iter().flatten();
    let texts: Vec<_> =
        counts.filter_map(|(rule, number)| Some(format!("{rule} {} times", number.as_u64()?))).collect();
    if texts.is_empty() {
        return report.ok_otherwise(CHECK, format!("no proxy asked the server at {address} with a misspelt rule"));
    }
    let found = format!(
        "rules in the queries of proxies' questions to the server at {address} are misspelt, or stand beside rules in the path, and are passed over: {}",
        texts.join(", ")
    );
    let remedy = "correct the address that the proxy asks, or write the rules as segments, such as \
                  /auth/verify/role=admin/-, where a misspelt one is refused; visitors' own parameters count too if the \
                  proxy appends them";
    report.warning(CHECK, found, remedy);
}

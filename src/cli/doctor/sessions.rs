//! Checks of the settings for sessions: cookie attributes, lifetimes, copy detection, a stale revocation list, and the log.

use std::time::Duration;

use tracing::Level;

use super::report::Report;
use crate::config::log_level;
use crate::config::span::Span;
use crate::config::{Config, StaleChoice};
use crate::session::copy_detection;
use crate::session::lifetime::Lifetime;
use crate::web::cookie::Cookies;
use crate::web::hosts::Domain;

const HOUR: u64 = 3600;

pub(super) fn check(config: &Config, report: &mut Report) {
    check_cookie(config, report);
    check_lifetimes(config, report);
    check_copy_detection(config, report);
    check_revocation(config, report);
    check_log(config, report);
}

fn check_cookie(config: &Config, report: &mut Report) {
    const CHECK: &str = "cookie.attributes";
    let domain = Domain::parse(&config.cookie.domain);
    let cookie = Cookies::new(domain.as_ref(), config.cookie.plain_http).describe();
    if config.cookie.plain_http {
        let found = format!("{cookie}: without Secure, so an attacker who reads the traffic can use the session");
        report.problem(CHECK, found, "set cookie.plain_http = false, and use TLS");
    } else if let Some(domain) = domain {
        let found = format!(
            "{cookie}: browsers send the session to every host below {}, and every such host can set a session cookie",
            domain.as_str()
        );
        report.warning(CHECK, found, "leave cookie.domain empty, unless all of these hosts can be trusted");
        if domain.may_be_public_suffix() {
            let name = domain.as_str();
            let found = format!(
                "{name} may be a public suffix, under which any person can register a name: most browsers reject a cookie for it, so \
                 that no user stays logged in, and other browsers send the session to every site below {name}"
            );
            let remedy = format!(
                "set cookie.domain to your registered name, such as example.{name}; if {name} is your registered name, nothing"
            );
            report.warning("cookie.domain", found, remedy);
        }
    } else {
        report.ok(CHECK, cookie);
    }
}

/// Compares the lifetimes with limits. The limits for ordinary sessions come from [NIST SP
/// 800-63B-4](https://pages.nist.gov/800-63-4/sp800-63b.html), AAL2. The limits for remembered sessions are the defaults.
fn check_lifetimes(config: &Config, report: &mut Report) {
    const CHECK: &str = "session.lifetimes";
    let session = &config.session;
    for (name, span, limit) in [
        ("session.idle", session.idle, HOUR),
        ("session.absolute", session.absolute, 24 * HOUR),
        ("session.remembered_idle", session.remembered_idle, 30 * 24 * HOUR),
        ("session.remembered_absolute", session.remembered_absolute, 90 * 24 * HOUR),
    ] {
        let limit = Span(Duration::from_secs(limit));
        if span.0 > limit.0 {
            let found = format!("{name} is {span}: a forgotten or stolen cookie is valid for this time");
            report.warning(CHECK, found, format!("set {name} to {limit} or less"));
        }
    }
    let spans = format!(
        "at most {} unused and {} in total; remembered sessions {} and {}",
        session.idle, session.absolute, session.remembered_idle, session.remembered_absolute
    );
    report.ok_otherwise(CHECK, spans);
}

fn check_copy_detection(config: &Config, report: &mut Report) {
    const CHECK: &str = "session.copy_detection";
    let session = &config.session;
    if !session.copy_detection {
        let found = "off: a copied cookie is not detected";
        report.warning(CHECK, found, "set session.copy_detection = true, unless clients share cookies on purpose");
        return;
    }
    for (name, absolute_name, idle, absolute) in [
        ("session.idle", "session.absolute", session.idle, session.absolute),
        (
            "session.remembered_idle",
            "session.remembered_absolute",
            session.remembered_idle,
            session.remembered_absolute,
        ),
    ] {
        if !copy_detection::is_possible(Lifetime { idle: idle.0, absolute: absolute.0 }) {
            let found = format!("off for these sessions: {name} is {idle}, {absolute_name} is {absolute}");
            report.warning(CHECK, found, format!("set {name} to 18m or more, and {absolute_name} to a longer time"));
        }
    }
    report.ok_otherwise(
        CHECK,
        format!("a session ends if its cookie is used in two places; setting: {}", session.copy_detection_memory),
    );
}

fn check_revocation(config: &Config, report: &mut Report) {
    const CHECK: &str = "revocation";
    let staleness = config.revocation.max_staleness;
    let limit = Duration::from_secs(60);
    if matches!(config.revocation.when_stale, StaleChoice::Allow) {
        let found = "while the store cannot be read, sessions that other nodes revoked are accepted";
        report.warning(CHECK, found, "set revocation.when_stale = \"refuse\"");
    }
    if staleness.0 > limit {
        let found = format!("a session that another node revoked may be accepted for {staleness}");
        report.warning(CHECK, found, "set revocation.max_staleness to 10s");
    }
    report.ok_otherwise(CHECK, format!("a server that cannot read the store for {staleness} accepts no session"));
}

fn check_log(config: &Config, report: &mut Report) {
    let Ok(targets) = log_level::parse(&config.log.level) else {
        return;
    };
    if !targets.would_enable("sealjar::server", &Level::ERROR) {
        let found = "errors are not logged, so the cause of a failure cannot be found";
        report.warning("log.level", found, "set log.level to error or more");
    }
    if targets.would_enable(crate::audit::TARGET, &Level::INFO) {
        report.ok("log.audit", "audit events are logged");
    } else {
        let remedy = "set log.level to error,sealjar::audit=info or more";
        report.warning("log.audit", "audit events are not logged, so security events cannot be investigated", remedy);
    }
}

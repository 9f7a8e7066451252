//! "A cookie goes where it should", and for how long it is good; what is refused when, and who is told.

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
        let found = format!("{cookie}: without Secure, so whoever sees the traffic has the session");
        report.problem(CHECK, found, "set cookie.plain_http = false, and put TLS in front");
    } else if let Some(domain) = domain {
        let found = format!("{cookie}: every host below {} is sent the session, and can plant one", domain.as_str());
        report.warning(CHECK, found, "leave cookie.domain empty, unless all of these hosts can be trusted");
        if domain.may_be_public_suffix() {
            let name = domain.as_str();
            let found = format!(
                "{name} may be a public suffix, under which anybody can register a name: browsers drop a cookie for one, so \
                 that nobody stays signed in, and a browser that keeps it sends the session to every site below {name}"
            );
            let remedy = format!(
                "set cookie.domain to the name that is registered to you, such as example.{name}; nothing, if that is {name}"
            );
            report.warning("cookie.domain", found, remedy);
        }
    } else {
        report.ok(CHECK, cookie);
    }
}

/// The longest of NIST SP 800-63B-4, AAL2, for an ordinary session; and what we ship for a remembered one.
fn check_lifetimes(config: &Config, report: &mut Report) {
    const CHECK: &str = "session.lifetimes";
    let session = &config.session;
    for (name, span, most) in [
        ("session.idle", session.idle, HOUR),
        ("session.absolute", session.absolute, 24 * HOUR),
        ("session.remembered_idle", session.remembered_idle, 30 * 24 * HOUR),
        ("session.remembered_absolute", session.remembered_absolute, 90 * 24 * HOUR),
    ] {
        let most = Span(Duration::from_secs(most));
        if span.0 > most.0 {
            let found = format!("{name} is {span}: a forgotten or stolen cookie is good for as long");
            report.warning(CHECK, found, format!("set {name} to {most} or less"));
        }
    }
    let spans = format!(
        "{} unused and {} in all; remembered, {} and {}",
        session.idle, session.absolute, session.remembered_idle, session.remembered_absolute
    );
    report.ok_otherwise(CHECK, spans);
}

fn check_copy_detection(config: &Config, report: &mut Report) {
    const CHECK: &str = "session.copy_detection";
    let session = &config.session;
    if !session.copy_detection {
        let found = "off: a copied cookie is not noticed";
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
            report.warning(CHECK, found, format!("set {name} to 18m or more, and {absolute_name} to more than that"));
        }
    }
    report.ok_otherwise(
        CHECK,
        format!("a session ends if its cookie is used in two places; {}", session.copy_detection_memory),
    );
}

fn check_revocation(config: &Config, report: &mut Report) {
    const CHECK: &str = "revocation";
    let (staleness, most) = (config.revocation.max_staleness, Duration::from_secs(60));
    if matches!(config.revocation.when_stale, StaleChoice::Allow) {
        let found = "while the store cannot be read, sessions that were ended elsewhere are accepted";
        report.warning(CHECK, found, "set revocation.when_stale = \"refuse\"");
    }
    if staleness.0 > most {
        let found = format!("a session that was ended elsewhere may be accepted for {staleness}");
        report.warning(CHECK, found, "set revocation.max_staleness to 10s");
    }
    report.ok_otherwise(CHECK, format!("what cannot read the store for {staleness} accepts nothing"));
}

fn check_log(config: &Config, report: &mut Report) {
    let Ok(targets) = log_level::parse(&config.log.level) else {
        return;
    };
    if !targets.would_enable("sealjar::server", &Level::ERROR) {
        let found = "errors are not logged, so nobody can see why something fails";
        report.warning("log.level", found, "set log.level to error or more");
    }
    if targets.would_enable(crate::audit::TARGET, &Level::INFO) {
        report.ok("log.audit", "audit events are logged");
    } else {
        let remedy = "set log.level to error,sealjar::audit=info or more";
        report.warning("log.audit", "audit events are not logged, so nobody can see what happened", remedy);
    }
}

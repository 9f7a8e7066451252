//! `/metrics`, on the admin listener, in Prometheus' text format (version 0.0.4): a family of lines for each thing that is measured.
//!
//! Names and units follow Prometheus' conventions. Values are counted elsewhere (`metrics.rs`) or looked up here, at each scrape.

use std::sync::atomic::Ordering;

use salvo::prelude::{Response, handler};
use strum::VariantNames;

use crate::audit::Purpose;
use crate::clock::{Now, UnixTime};
use crate::http::app::{App, AppHandle};
use crate::http::exposition::{Text, float};
use crate::http::health::{self, Degradation, Readiness};
use crate::keyring::KeyState;
use crate::metrics::{
    BODY_WAITS_DISPLACED, DroppedLine, GAVE_WAY, HASHING, HASHING_NOW, HTTP2_REFUSED, KEY_WAITS_REFUSED,
    LOG_LINES_DROPPED, MISSPELT_RULES, PASSWORDS, Password, RENEWALS, RuleName, SIGN_OUTS, STORE, SignOut, StoreCall,
    UNREADABLE_RULES, VERIFICATIONS, Verification,
};

/// `GET /metrics`.
pub(crate) struct Metrics(pub(crate) AppHandle);

#[handler]
impl Metrics {
    async fn handle(&self, response: &mut Response) {
        let text = text(&self.0.load(), Now::read());
        health::write(response, "text/plain; version=0.0.4; charset=utf-8", text);
    }
}

fn text(app: &App, now: Now) -> String {
    let mut out = Text::default();
    process(app, now, &mut out);
    sessions(&mut out);
    passwords(app, &mut out);
    keys(app, now, &mut out);
    list(app, now, &mut out);
    out.finish()
}

fn process(app: &App, now: Now, out: &mut Text) {
    out.family("build_info", "gauge", "1, with the version that runs.");
    out.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    out.gauge("ready", "Whether /readyz says so.", flag(Readiness::of(app, now).is_ready()));
    out.family("degraded", "gauge", "Whether this work fails although sessions are verified.");
    for degradation in Degradation::ALL {
        let is_found = degradation.found(app, now).is_some();
        out.sample("degraded", &[("what", degradation.name())], flag(is_found));
    }
    let reloads = &app.reloads;
    out.gauge("start_timestamp_seconds", "When the server started.", seconds_of(reloads.started_at()));
    out.gauge(
        "config_last_reload_successful",
        "Whether the configuration, as it was last read, can be used.",
        flag(reloads.is_good()),
    );
    out.gauge(
        "config_last_reload_success_timestamp_seconds",
        "When a configuration that can be used was last read.",
        seconds_of(reloads.good_at()),
    );
    if let Some(tls) = &app.tls {
        out.gauge(
            "tls_certificate_expiry_timestamp_seconds",
            "When the certificate ends.",
            seconds_of(tls.expires_at()),
        );
    }
    out.gauge("connections", "Open connections of the public listener.", app.connections.count() as f64);
    out.gauge("connections_limit", "How many it may have.", app.connections.limit() as f64);
    out.counter(
        "connections_displaced_total",
        "Connections closed to make room for others, or for their requests and answers of HTTP/2.",
        GAVE_WAY.total(0),
    );
    out.counter(
        "http2_requests_refused_total",
        "Requests over HTTP/2 answered with 503, because connections hold too much memory.",
        HTTP2_REFUSED.total(0),
    );
    out.counter(
        "key_waits_refused_total",
        "Requests that did not wait because of their keys, because too many did.",
        KEY_WAITS_REFUSED.total(0),
    );
    out.counter(
        "body_waits_displaced_total",
        "Requests of trusted proxies over HTTP/2 whose bodies were not waited for any longer, because too many were.",
        BODY_WAITS_DISPLACED.total(0),
    );
    out.family("log_lines_dropped_total", "counter", "Lines of the log that were not written, by kind.");
    out.counts("log_lines_dropped_total", &[], "kind", DroppedLine::VARIANTS, &LOG_LINES_DROPPED);
}

fn sessions(out: &mut Text) {
    out.family("verifications_total", "counter", "Requests that ask whether there is a live session.");
    out.counts("verifications_total", &[], "outcome", Verification::VARIANTS, &VERIFICATIONS);
    out.family(
        "misspelt_rules_total",
        "counter",
        "Rules in queries of proxies' questions that are misspelt or beside rules in the path, by rule.",
    );
    out.counts("misspelt_rules_total", &[], "rule", RuleName::VARIANTS, &MISSPELT_RULES);
    out.counter(
        "unreadable_rules_total",
        "Questions of proxies that were refused because their rules cannot be read.",
        UNREADABLE_RULES.total(0),
    );
    out.counter("renewals_total", "Sessions sealed anew because they are in use.", RENEWALS.total(0));
    out.family("sign_outs_total", "counter", "Requests to end sessions that were taken up.");
    out.counts("sign_outs_total", &[], "outcome", SignOut::VARIANTS, &SIGN_OUTS);
}

fn passwords(app: &App, out: &mut Text) {
    out.family("passwords_total", "counter", "Passwords that were given, by what for and what came of it.");
    for purpose in [Purpose::SignIn, Purpose::StepUp, Purpose::PasswordChange] {
        let labels = [("for", purpose.name())];
        out.counts("passwords_total", &labels, "outcome", Password::VARIANTS, &PASSWORDS[purpose as usize]);
    }
    out.gauge("password_threads", "Threads that check passwords.", f64::from(app.passwords.threads()));
    out.gauge("password_threads_busy", "Of these, those that do.", float(HASHING_NOW.load(Ordering::Relaxed)));
    out.family("password_queue", "gauge", "Passwords that wait for a thread.");
    let ([known, strange], limit) = app.passwords.waiting();
    out.sample("password_queue", &[("lane", "known")], known as f64);
    out.sample("password_queue", &[("lane", "strange")], strange as f64);
    out.gauge("password_queue_limit", "How many may wait, in each lane.", limit as f64);
    out.family("password_hashing_seconds", "histogram", "How long a thread took for a password.");
    out.histogram("password_hashing_seconds", &[], &HASHING);
}

fn keys(app: &App, now: Now, out: &mut Text) {
    let (ring, time) = (app.sessions.ring(), app.sessions.revocations().time(now));
    out.family("keys", "gauge", "Keys of the ring, by state.");
    for state in [KeyState::Published, KeyState::Active, KeyState::Retired, KeyState::Revoked] {
        let count = ring.keys().iter().filter(|key| ring.state(key, time) == state).count();
        out.sample("keys", &[("state", state.name())], count as f64);
    }
    out.gauge(
        "key_ring_age_seconds",
        "Time since the last successful read of the key ring began.",
        app.key_directory.age(now).as_secs_f64(),
    );
    let activated = ring.sealing_key(time).and_then(|key| key.dates().activates_at);
    if let Some(activated) = activated {
        out.gauge("key_activated_timestamp_seconds", "When the active key became so.", seconds_of(activated));
        out.gauge("key_age_seconds", "For how long the active key has been.", time.since(activated).as_secs_f64());
    }
    let next = ring.keys().iter().filter(|key| ring.state(key, time) == KeyState::Published);
    if let Some(next) = next.filter_map(|key| key.dates().activates_at).min() {
        out.gauge("key_next_activation_timestamp_seconds", "When the next key becomes active.", seconds_of(next));
    }
}

fn list(app: &App, now: Now, out: &mut Text) {
    let list = app.sessions.revocations();
    out.gauge("revocations", "Sessions refused one by one.", list.len() as f64);
    out.gauge("revocations_pending", "Of these, not in the store yet.", list.pending() as f64);
    out.gauge(
        "revocation_staleness_seconds",
        "Time since the last successful poll of the store began.",
        list.staleness(now).as_secs_f64(),
    );
    out.gauge(
        "revocation_max_staleness_seconds",
        "Staleness from which on no session is vouched for.",
        list.freshness().max_staleness.as_secs_f64(),
    );
    out.family("revocation_lag_seconds", "histogram", "From the writing of another node's sign-out to its reading.");
    out.histogram("revocation_lag_seconds", &[], app.lag.histogram());
    out.family("store_seconds", "histogram", "How long the store took, by what it was asked for.");
    for (call, times) in StoreCall::VARIANTS.iter().zip(&STORE) {
        out.histogram("store_seconds", &[("call", call)], &times.took);
    }
    out.family("store_failures_total", "counter", "Questions that the store did not answer.");
    for (call, times) in StoreCall::VARIANTS.iter().zip(&STORE) {
        out.sample("store_failures_total", &[("call", call)], float(times.failures.load(Ordering::Relaxed)));
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

const fn seconds_of(instant: UnixTime) -> f64 {
    float(instant.0)
}

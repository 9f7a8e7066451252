//! `/metrics` on the admin listener, in Prometheus' text format (`exposition.rs`). [`families`] declares the metrics.
//!
//! Names and units follow [Prometheus' conventions](https://prometheus.io/docs/practices/naming/). Counters are in
//! `src/metrics.rs`. Other values are read from the `App` at each scrape.

pub(crate) mod families;

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
    COPIED_SESSIONS, EVICTED_BODY_WAITS, EVICTED_CONNECTIONS, HASHING, HASHING_THREADS, HTTP2_REFUSED,
    KEY_WAITS_REFUSED, LOG_LINES_DROPPED, MISSPELT_RULES, PASSWORDS, RENEWALS, SIGN_OUTS, STORE, StoreCall,
    UNREADABLE_RULES, VERIFICATIONS,
};
use crate::session::copy_detection::MemoryUsage;

/// Responds to `GET /metrics`.
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
    sessions(app, &mut out);
    passwords(app, &mut out);
    keys(app, now, &mut out);
    list(app, now, &mut out);
    out.finish()
}

fn process(app: &App, now: Now, out: &mut Text) {
    out.family(families::BUILD_INFO);
    out.sample(families::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    out.single(families::READY, flag(Readiness::of(app, now).is_ready()));
    out.family(families::DEGRADED);
    for degradation in Degradation::ALL {
        let is_found = degradation.message(app, now).is_some();
        out.sample(families::DEGRADED, &[degradation.name()], flag(is_found));
    }
    let reloads = &app.reloads;
    out.single(families::START_TIMESTAMP, seconds_of(reloads.started_at()));
    out.single(families::CONFIG_RELOAD_SUCCESSFUL, flag(reloads.last_succeeded()));
    out.single(families::CONFIG_RELOAD_TIMESTAMP, seconds_of(reloads.last_success_at()));
    if let Some(tls) = &app.tls {
        out.single(families::TLS_EXPIRY, seconds_of(tls.expires_at()));
    }
    out.single(families::CONNECTIONS, app.connections.count() as f64);
    out.single(families::CONNECTIONS_LIMIT, app.connections.limit() as f64);
    out.single(families::CONNECTIONS_DISPLACED, float(EVICTED_CONNECTIONS.total(0)));
    out.single(families::HTTP2_REFUSED, float(HTTP2_REFUSED.total(0)));
    out.single(families::KEY_WAITS_REFUSED, float(KEY_WAITS_REFUSED.total(0)));
    out.single(families::BODY_WAITS_DISPLACED, float(EVICTED_BODY_WAITS.total(0)));
    out.family(families::LOG_LINES_DROPPED);
    out.counts(families::LOG_LINES_DROPPED, &[], &LOG_LINES_DROPPED);
}

fn sessions(app: &App, out: &mut Text) {
    out.family(families::VERIFICATIONS);
    out.counts(families::VERIFICATIONS, &[], &VERIFICATIONS);
    out.family(families::MISSPELT_RULES);
    out.counts(families::MISSPELT_RULES, &[], &MISSPELT_RULES);
    out.single(families::UNREADABLE_RULES, float(UNREADABLE_RULES.total(0)));
    out.single(families::RENEWALS, float(RENEWALS.total(0)));
    out.single(families::COPIED_SESSIONS, float(COPIED_SESSIONS.total(0)));
    if let Some(MemoryUsage { chains, capacity, dropped }) = app.sessions.copy_detection() {
        out.single(families::COPY_DETECTION_CHAINS, chains as f64);
        out.single(families::COPY_DETECTION_CHAINS_LIMIT, capacity as f64);
        out.single(families::COPY_DETECTION_DROPPED, float(dropped));
    }
    out.family(families::SIGN_OUTS);
    out.counts(families::SIGN_OUTS, &[], &SIGN_OUTS);
}

fn passwords(app: &App, out: &mut Text) {
    out.family(families::PASSWORDS);
    for purpose in [Purpose::SignIn, Purpose::StepUp, Purpose::PasswordChange] {
        out.counts(families::PASSWORDS, &[purpose.name()], &PASSWORDS[purpose as usize]);
    }
    out.single(families::PASSWORD_THREADS, f64::from(app.passwords.threads()));
    out.single(families::PASSWORD_THREADS_BUSY, float(HASHING_THREADS.load(Ordering::Relaxed)));
    out.family(families::PASSWORD_QUEUE);
    let ([known, unknown], limit) = app.passwords.waiting();
    out.sample(families::PASSWORD_QUEUE, &["known"], known as f64);
    out.sample(families::PASSWORD_QUEUE, &["strange"], unknown as f64);
    out.single(families::PASSWORD_QUEUE_LIMIT, limit as f64);
    out.family(families::PASSWORD_HASHING);
    out.histogram(families::PASSWORD_HASHING, &[], &HASHING);
}

fn keys(app: &App, now: Now, out: &mut Text) {
    let ring = app.sessions.ring();
    let time = app.sessions.revocations().time(now);
    out.family(families::KEYS);
    for state in [KeyState::Published, KeyState::Active, KeyState::Retired, KeyState::Revoked] {
        let count = ring.keys().iter().filter(|key| ring.state(key, time) == state).count();
        out.sample(families::KEYS, &[state.name()], count as f64);
    }
    out.single(families::KEY_RING_AGE, app.key_directory.age(now).as_secs_f64());
    let activated = ring.sealing_key(time).and_then(|key| key.dates().activates_at);
    if let Some(activated) = activated {
        out.single(families::KEY_ACTIVATED, seconds_of(activated));
        out.single(families::KEY_AGE, time.since(activated).as_secs_f64());
    }
    let next = ring.keys().iter().filter(|key| ring.state(key, time) == KeyState::Published);
    if let Some(next) = next.filter_map(|key| key.dates().activates_at).min() {
        out.single(families::KEY_NEXT_ACTIVATION, seconds_of(next));
    }
}

fn list(app: &App, now: Now, out: &mut Text) {
    let list = app.sessions.revocations();
    out.single(families::REVOCATIONS, list.len() as f64);
    out.single(families::REVOCATIONS_PENDING, list.pending() as f64);
    out.single(families::STALENESS, list.staleness(now).as_secs_f64());
    out.single(families::MAX_STALENESS, list.freshness().max_staleness.as_secs_f64());
    out.family(families::LAG);
    out.histogram(families::LAG, &[], app.lag.histogram());
    out.family(families::STORE);
    for (call, times) in StoreCall::VARIANTS.iter().zip(&STORE) {
        out.histogram(families::STORE, &[call], &times.duration);
    }
    out.family(families::STORE_FAILURES);
    for (call, times) in StoreCall::VARIANTS.iter().zip(&STORE) {
        out.sample(families::STORE_FAILURES, &[call], float(times.failures.load(Ordering::Relaxed)));
    }
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

const fn seconds_of(instant: UnixTime) -> f64 {
    float(instant.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::fixture::Site;

    #[tokio::test]
    async fn every_family_is_written_in_order_and_has_its_labels() {
        let site = Site::new().await;
        let text = text(&site.handle.load(), Now::read());
        let written: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE sealjar_")).collect();
        let is_written = |name: &str, kind: &str| written.contains(&format!("{name} {kind}").as_str());
        let present = families::ALL.iter().filter(|family| {
            let is_written = is_written(family.name, family.kind);
            assert!(is_written || family.help.contains("Absent if"), "{} is not in /metrics", family.name);
            is_written
        });
        assert_eq!(written, present.map(|family| format!("{} {}", family.name, family.kind)).collect::<Vec<_>>());

        for family in families::ALL {
            let Some(last) = family.labels.last() else { continue };
            for value in last.values {
                assert!(text.contains(&format!("{}=\"{value}\"", last.name)), "{} lacks {value}", family.name);
            }
        }
    }
}

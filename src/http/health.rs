//! `/healthz`, `/readyz` and `/metrics`, on the admin listener.

use std::sync::atomic::Ordering;
use std::time::Duration;

use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use salvo::prelude::{Response, handler};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::live::Live;
use crate::clock::{Now, milliseconds};

/// Alive: the process answers. It depends on nothing.
#[handler]
pub(crate) async fn healthz(response: &mut Response) {
    answer(response, StatusCode::OK, r#"{"status":"alive"}"#.to_owned());
}

/// Ready: the list is loaded and fresh, a key is active, and nobody asked to stop.
pub(crate) struct Ready(pub(crate) Live);

#[handler]
impl Ready {
    async fn handle(&self, response: &mut Response) {
        let (app, now) = (&*self.0.load(), Now::read());
        let list = app.sessions.revocations();
        let checks = [
            (app.stopping.load(Ordering::Acquire), "stopping"),
            (!list.may_be_trusted(now), "the revocation list is stale"),
            (app.sessions.ring().sealing_key(list.time(now)).is_none(), "no key is active"),
        ];
        let failed: Vec<&'static str> = checks.into_iter().filter_map(|(bad, reason)| bad.then_some(reason)).collect();
        let status = if failed.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = Readiness {
            lag_ms: app.lag.last_ms(),
            pending: list.pending(),
            staleness_ms: milliseconds(list.staleness(now)),
            revocations: list.len(),
            status: if failed.is_empty() { "ready" } else { "not ready" },
            reasons: failed,
        };
        answer(response, status, serde_json::to_string(&body).expect("texts and numbers can be written"));
    }
}

/// Whether this server can do its work, and how it follows the others.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// How late the last sign-out of another node was heard of; `null` if none was yet.
    lag_ms: Option<u64>,
    /// Revocations that are not in the store yet.
    pending: usize,
    /// What is in the way.
    reasons: Vec<&'static str>,
    /// Sessions that are refused one by one.
    revocations: usize,
    /// Since when the store could not be asked.
    staleness_ms: u64,
    /// `ready`, or `not ready`.
    status: &'static str,
}

/// How the list of revocations is, in Prometheus' text format.
pub(crate) struct Metrics(pub(crate) Live);

#[handler]
impl Metrics {
    async fn handle(&self, response: &mut Response) {
        let text = metrics(&self.0.load(), Now::read());
        write(response, StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text);
    }
}

fn metrics(app: &App, now: Now) -> String {
    let list = app.sessions.revocations();
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
        text += &format!("# HELP sealjar_{name} {help}\n# TYPE sealjar_{name} {kind}\n");
        samples.iter().for_each(|(labels, value)| text += &format!("sealjar_{name}{labels} {value}\n"));
    };
    let mut gauge = |name: &str, help: &str, value: f64| family(name, "gauge", help, &[(String::new(), value)]);
    let reloads = &app.reloads;
    gauge(
        "config_last_reload_successful",
        "Whether the configuration, as it was last read, can be used.",
        f64::from(u8::from(reloads.is_good())),
    );
    gauge(
        "config_last_reload_success_timestamp_seconds",
        "When a configuration that can be used was last read.",
        reloads.good_at().0 as f64,
    );
    gauge("revocations", "Sessions refused one by one.", list.len() as f64);
    gauge("revocations_pending", "Of these, not in the store yet.", list.pending() as f64);
    gauge(
        "revocation_staleness_seconds",
        "Time since the last successful poll of the store began.",
        list.staleness(now).as_secs_f64(),
    );
    let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    let mut lag: Vec<(String, f64)> = app
        .lag
        .within()
        .map(|(bound, count)| {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |ms| seconds(ms).to_string());
            (format!("_bucket{{le=\"{bound}\"}}"), count as f64)
        })
        .collect();
    let count = lag.last().map_or(0.0, |(_, count)| *count);
    lag.extend([("_sum".to_owned(), seconds(app.lag.sum_ms())), ("_count".to_owned(), count)]);
    family("revocation_lag_seconds", "histogram", "From the writing of another node's sign-out to its reading.", &lag);
    text
}

fn answer(response: &mut Response, status: StatusCode, body: String) {
    write(response, status, "application/json", body + "\n");
}

fn write(response: &mut Response, status: StatusCode, media_type: &'static str, body: String) {
    response.status_code(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.body(body);
}

//! `/healthz` and `/readyz`, on the admin listener.

use std::sync::atomic::Ordering;

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

/// `GET /readyz`.
pub(crate) struct Ready(pub(crate) Live);

#[handler]
impl Ready {
    async fn handle(&self, response: &mut Response) {
        let readiness = Readiness::of(&self.0.load(), Now::read());
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(response, status, serde_json::to_string(&readiness).expect("texts and numbers can be written"));
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

impl Readiness {
    /// Ready: the list is loaded and fresh, a key is active, and nobody asked to stop.
    pub(super) fn of(app: &App, now: Now) -> Self {
        let list = app.sessions.revocations();
        let checks = [
            (app.stopping.load(Ordering::Acquire), "stopping"),
            (!list.may_be_trusted(now), "the revocation list is stale"),
            (app.sessions.ring().sealing_key(list.time(now)).is_none(), "no key is active"),
        ];
        let reasons: Vec<_> = checks.into_iter().filter_map(|(bad, reason)| bad.then_some(reason)).collect();
        Self {
            lag_ms: app.lag.last_ms(),
            pending: list.pending(),
            staleness_ms: milliseconds(list.staleness(now)),
            revocations: list.len(),
            status: if reasons.is_empty() { "ready" } else { "not ready" },
            reasons,
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}
fn answer(response: &mut Response, status: StatusCode, body: String) {
    response.status_code(status);
    write(response, "application/json", body + "\n");
}

pub(super) fn write(response: &mut Response, media_type: &'static str, body: String) {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.body(body);
}

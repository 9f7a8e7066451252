//! `/healthz` and `/readyz`, on the admin listener.

use std::sync::atomic::Ordering;

use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use salvo::prelude::{Response, handler};
use serde_json::json;

use super::App;
use super::live::Live;
use crate::clock::{Now, milliseconds};

/// Alive: the process answers. It depends on nothing.
#[handler]
pub(crate) async fn healthz(response: &mut Response) {
    answer(response, StatusCode::OK, r#"{"status":"alive"}"#.to_owned());
}

/// Whether this server can do its work, and why not.
pub(super) struct Readiness(Vec<&'static str>);

impl Readiness {
    /// Ready: the list is loaded and fresh, a key is active, and nobody asked to stop.
    pub(super) fn of(app: &App, now: Now) -> Self {
        let list = app.sessions.revocations();
        let checks = [
            (app.stopping.load(Ordering::Acquire), "stopping"),
            (!list.may_be_trusted(now), "the revocation list is stale"),
            (app.sessions.ring().sealing_key(list.time(now)).is_none(), "no key is active"),
        ];
        Self(checks.into_iter().filter_map(|(bad, reason)| bad.then_some(reason)).collect())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0.is_empty()
    }
}

/// `GET /readyz`.
pub(crate) struct Ready(pub(crate) Live);

#[handler]
impl Ready {
    async fn handle(&self, response: &mut Response) {
        let (app, now) = (&*self.0.load(), Now::read());
        let (list, readiness) = (app.sessions.revocations(), Readiness::of(app, now));
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = json!({
            "status": if readiness.is_ready() { "ready" } else { "not ready" },
            "reasons": readiness.0,
            "staleness_ms": milliseconds(list.staleness(now)),
            "lag_ms": app.lag.last_ms(),
            "revocations": list.len(),
            "pending": list.pending(),
        });
        answer(response, status, body.to_string());
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

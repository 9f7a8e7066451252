//! `/healthz` and `/readyz`, on the admin listener.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use salvo::prelude::{Response, handler};
use serde_json::json;

use super::App;
use crate::clock::Now;

/// Alive: the process answers. It depends on nothing.
#[handler]
pub(crate) async fn healthz(response: &mut Response) {
    answer(response, StatusCode::OK, r#"{"status":"alive"}"#.to_owned());
}

/// Ready: the list is loaded and fresh, a key is active, and nobody asked to stop.
pub(crate) struct Ready(pub(crate) Arc<App>);

#[handler]
impl Ready {
    async fn handle(&self, response: &mut Response) {
        let (app, now) = (&*self.0, Now::read());
        let list = app.sessions.revocations();
        let checks = [
            (app.stopping.load(Ordering::Acquire), "stopping"),
            (!list.may_be_trusted(now), "the revocation list is stale"),
            (app.sessions.ring().sealing_key(list.time(now)).is_none(), "no key is active"),
        ];
        let failed: Vec<&str> = checks.into_iter().filter_map(|(bad, reason)| bad.then_some(reason)).collect();
        let status = if failed.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = json!({
            "status": if failed.is_empty() { "ready" } else { "not ready" },
            "reasons": failed,
            "staleness_ms": u64::try_from(list.staleness(now).as_millis()).unwrap_or(u64::MAX),
            "revocations": list.len(),
        });
        answer(response, status, body.to_string());
    }
}

fn answer(response: &mut Response, status: StatusCode, body: String) {
    response.status_code(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.body(body + "\n");
}

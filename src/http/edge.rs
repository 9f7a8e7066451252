//! What every answer carries, whoever makes it: nothing is stored unless the answer says so itself, nothing is framed, nothing
//! but what the policy names is loaded, and browsers come back over TLS where it is spoken.
//!
//! The answers that are made most often start from all of their fields, prepared once: copying a map is a fraction of filling it.

use salvo::http::Request;
use salvo::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use salvo::prelude::{Depot, FlowCtrl, Handler, Response, async_trait};
use tracing::Instrument;

use super::access::Access;
use super::hosts::Hosts;
use super::live::Live;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::{App, identity, pages};

const YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");
const COMMON: [(HeaderName, HeaderValue); 5] = [
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];
const UNSTORED: [(HeaderName, HeaderValue); 2] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-store")), (VARY, HeaderValue::from_static("Cookie"))];

/// The outermost hoop.
pub(super) struct Edge(pub(super) Live);

#[async_trait]
impl Handler for Edge {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        let (app, access) = (&*self.0.hold(), Access::begin());
        let id = RequestId::of(app, request);
        let span = id.span(app, request);
        ctrl.call_next(request, depot, response).instrument(span).await;
        complete(app, request, response);
        access.end(app, request, response, Some(&id));
        response.headers_mut().insert(X_REQUEST_ID, id.into_value());
    }
}

/// Adds what an answer lacks that did not start from prepared fields.
pub(super) fn complete(app: &App, request: &Request, response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in &app.prepared.edge {
        headers.insert(name, value.clone());
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.extend(UNSTORED);
    }
    if app.served(request).is_ok_and(|served| served.origin.is_secure()) {
        headers.insert(STRICT_TRANSPORT_SECURITY, YEAR);
    }
}

/// The fields of the answers that are made most often, and what they have in common with all others.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    edge: HeaderMap,
    json: HeaderMap,
    json_of_https: HeaderMap,
    passed: HeaderMap,
}

impl Prepared {
    pub(crate) fn new(hosts: &Hosts) -> Self {
        let policy = (CONTENT_SECURITY_POLICY, pages::policy(hosts));
        let edge: HeaderMap = COMMON.into_iter().chain([policy]).collect();
        let all = |more: HeaderMap| -> HeaderMap {
            let own = more.iter().chain(&edge).map(|(name, value)| (name.clone(), value.clone()));
            own.chain(UNSTORED).collect()
        };
        let media_type = |value| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        let json = all(media_type("application/json"));
        let mut json_of_https = json.clone();
        json_of_https.insert(STRICT_TRANSPORT_SECURITY, YEAR);
        let mut passed = identity::empty();
        passed.extend(media_type("text/plain"));
        let passed = all(passed);
        assert!(identity::is_begun(&passed), "a map keeps the order in which it was filled");
        Self { edge, json, json_of_https, passed }
    }

    /// Of a JSON answer on a host that is reached over TLS or not.
    pub(super) fn json(&self, is_secure: bool) -> HeaderMap {
        if is_secure { self.json_of_https.clone() } else { self.json.clone() }
    }

    /// Of the answer to a proxy that a request may pass; all identity fields are empty.
    pub(super) fn passed(&self) -> HeaderMap {
        self.passed.clone()
    }
}

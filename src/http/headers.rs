//! Header fields that responses have in common.
//!
//! By default, caches do not store a response, other pages cannot embed it in a frame, and a page in it loads only resources that
//! the Content-Security-Policy allows. On hosts with TLS, browsers use only TLS from then on
//! ([HSTS](https://www.rfc-editor.org/rfc/rfc6797)).
//!
//! The most frequent responses start from a prepared map with all their fields, because copying a map is much cheaper than
//! filling it.

use salvo::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::http::{identity, pages};
use crate::web::hosts::Hosts;

/// Value of `Strict-Transport-Security`: one year.
const HSTS_VALUE: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// Fields of every response, in addition to the Content-Security-Policy.
const COMMON: [(HeaderName, HeaderValue); 5] = [
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Names of the common fields in a response to a verify request. Without these fields, a page of another origin could load the
/// response as a script or in a frame, and so find out whether the user of the browser has access.
const IN_VERIFY_RESPONSES: [HeaderName; 3] = [X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, CROSS_ORIGIN_RESOURCE_POLICY];
/// Fields of a response that caches must not store.
const NO_STORE: [(HeaderName, HeaderValue); 2] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-store")), (VARY, HeaderValue::from_static("Cookie"))];

/// Prepared maps of header fields.
#[derive(Debug, Clone)]
pub(crate) struct PreparedHeaders {
    /// Fields of every response.
    common: HeaderMap,
    /// All fields of a JSON response on a host without TLS.
    json: HeaderMap,
    /// All fields of a JSON response on a host with TLS.
    json_with_tls: HeaderMap,
    /// All fields of the response to a verify request that is allowed, with empty identity fields.
    verify_allowed: HeaderMap,
}

impl PreparedHeaders {
    pub(crate) fn new(hosts: &Hosts) -> Self {
        let policy = (CONTENT_SECURITY_POLICY, pages::policy(hosts));
        let common: HeaderMap = COMMON.into_iter().chain([policy]).collect();
        let media_type = |value| [(CONTENT_TYPE, HeaderValue::from_static(value))];
        let mut json = HeaderMap::from_iter(media_type("application/json"));
        json.extend(common.clone());
        json.extend(NO_STORE);
        let mut json_with_tls = json.clone();
        json_with_tls.insert(STRICT_TRANSPORT_SECURITY, HSTS_VALUE);
        // A proxy does not forward this response to the browser, so it has only the necessary fields. Each field costs about 200
        // instructions.
        let mut verify_allowed = identity::empty_headers();
        verify_allowed.extend(media_type("text/plain"));
        verify_allowed.extend(COMMON.into_iter().filter(|(name, _)| IN_VERIFY_RESPONSES.contains(name)));
        verify_allowed.extend(NO_STORE);
        assert!(
            identity::begins_with_identity_headers(&verify_allowed),
            "a map keeps the order in which its fields were inserted"
        );
        Self { common, json, json_with_tls, verify_allowed }
    }

    /// Adds the common fields that a response does not have yet. `is_secure` is true if browsers reach its host over TLS.
    pub(super) fn complete(&self, is_secure: bool, headers: &mut HeaderMap) {
        for (name, value) in &self.common {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        if !headers.contains_key(CACHE_CONTROL) {
            headers.extend(NO_STORE);
        }
        if is_secure {
            headers.insert(STRICT_TRANSPORT_SECURITY, HSTS_VALUE);
        }
    }

    /// Returns the fields of a JSON response. `is_secure` is true if browsers reach its host over TLS.
    pub(super) fn json(&self, is_secure: bool) -> HeaderMap {
        if is_secure { self.json_with_tls.clone() } else { self.json.clone() }
    }

    /// Returns the fields of the response that lets a request pass a proxy, with empty identity fields.
    pub(super) fn verify_allowed(&self) -> HeaderMap {
        self.verify_allowed.clone()
    }
}

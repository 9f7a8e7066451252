//! Header fields that answers have in common: an answer is not stored unless it says so itself, it is not framed, its page loads
//! nothing but what the policy names, and browsers come back over TLS where it is spoken.
//!
//! The answers that are made most often start from a prepared map of all their fields, because copying a map is much cheaper than
//! filling it.

use salvo::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::http::{identity, pages};
use crate::web::hosts::Hosts;

const YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");
const COMMON: [(HeaderName, HeaderValue); 5] = [
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Without these, a page of another origin could load the answer for a proxy as a script or in a frame, and learn by that whether its
/// visitor may pass.
const OF_PROXIES: [HeaderName; 3] = [X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, CROSS_ORIGIN_RESOURCE_POLICY];
const UNSTORED: [(HeaderName, HeaderValue); 2] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-store")), (VARY, HeaderValue::from_static("Cookie"))];

/// Prepared fields: of the answers that are made most often, and those of every answer.
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
        let media_type = |value| [(CONTENT_TYPE, HeaderValue::from_static(value))];
        let mut json = HeaderMap::from_iter(media_type("application/json"));
        json.extend(edge.clone());
        json.extend(UNSTORED);
        let mut json_of_https = json.clone();
        json_of_https.insert(STRICT_TRANSPORT_SECURITY, YEAR);
        // A proxy shows its answer to nobody, so that has only what it needs: each field takes some 200 instructions.
        let mut passed = identity::empty();
        passed.extend(media_type("text/plain"));
        passed.extend(COMMON.into_iter().filter(|(name, _)| OF_PROXIES.contains(name)));
        passed.extend(UNSTORED);
        assert!(identity::is_begun(&passed), "a map keeps the order in which it was filled");
        Self { edge, json, json_of_https, passed }
    }

    /// Adds the fields that an answer lacks. `is_secure` says whether its host is reached over TLS.
    pub(super) fn complete(&self, is_secure: bool, headers: &mut HeaderMap) {
        for (name, value) in &self.edge {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        if !headers.contains_key(CACHE_CONTROL) {
            headers.extend(UNSTORED);
        }
        if is_secure {
            headers.insert(STRICT_TRANSPORT_SECURITY, YEAR);
        }
    }

    /// Returns the fields of a JSON answer on a host that is reached over TLS or not.
    pub(super) fn json(&self, is_secure: bool) -> HeaderMap {
        if is_secure { self.json_of_https.clone() } else { self.json.clone() }
    }

    /// Returns the fields of the answer to a proxy that a request may pass, with empty identity fields.
    pub(super) fn passed(&self) -> HeaderMap {
        self.passed.clone()
    }
}

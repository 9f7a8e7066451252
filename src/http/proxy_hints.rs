//! Log lines for the operator of a proxy or an application: of a proxy that is not trusted or says too little, and of requests that
//! were refused with 403, which an application behind a proxy does not see.
//!
//! A stranger can cause each of them, so they are sampled, and what a client sends is cut.

use std::net::IpAddr;

use salvo::http::Method;
use salvo::http::header::{HeaderMap, HeaderName, ORIGIN};

use crate::clock::Now;
use crate::http::context::Context;
use crate::http::forwarded;
use crate::log_sampler::{LogSampler, sampled};
use crate::network::is_private;
use crate::web::origin::Origin;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The visitor's request that a proxy asked about. What is not known is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit<'v> {
    pub(super) host: &'v Origin,
    pub(super) method: Option<&'v Method>,
    /// Path and query.
    pub(super) target: Option<&'v str>,
}

/// Logs that forwarded fields are ignored, because their sender is not in `http.trusted_proxies`. A sender in a private network is
/// likely to be the operator's proxy. On the Internet, it may be anybody.
pub(super) fn note_untrusted(context: &Context) {
    static PRIVATE: LogSampler = LogSampler::a_minute();
    static PUBLIC: LogSampler = LogSampler::a_minute();
    if context.is_from_proxy() || !forwarded::is_stated(context.headers()) {
        return;
    }
    let peer = context.peer().ip().map(|address| address.to_canonical());
    if peer.is_none_or(is_private) {
        if let Some(left_out) = PRIVATE.take(Now::read().boot) {
            tracing::warn!(
                peer = peer_name(context),
                left_out,
                "a proxy that is not trusted sent X-Forwarded or X-Original fields, which are ignored; if it is yours, add peer to http.trusted_proxies"
            );
        }
    } else if let Some(left_out) = PUBLIC.take(Now::read().boot) {
        tracing::info!(
            client = %context.client(),
            left_out,
            "a client sent X-Forwarded or X-Original fields, which are ignored; if it is your proxy, add its address to http.trusted_proxies"
        );
    }
}

/// Logs that a trusted proxy did not say the method of the visitor's request.
pub(super) fn note_unknown_method(context: &Context) {
    static UNSAID: LogSampler = LogSampler::a_minute();
    if let Some(left_out) = UNSAID.take(Now::read().boot) {
        tracing::warn!(
            peer = peer_name(context),
            left_out,
            "a trusted proxy did not say the method of the visitor's request, so sessions are renewed late; let it send X-Forwarded-Method"
        );
    }
}

/// Logs that an account lacks the role that a route requires. The path of the question has the rule.
pub(super) fn note_missing_role(context: &Context, visit: Visit<'_>, sub: &str) {
    sampled!(
        INFO,
        sub,
        method = visit.method.map(|method| shortened(method.as_str())),
        host = %visit.host,
        path = visit.target.map(without_query),
        asked = shortened(context.uri().path()),
        "refused a request with 403 forbidden: the account does not have the role that the route requires"
    );
}

/// Logs that another site may have sent a visitor's request.
pub(super) fn note_cross_site(context: &Context, visit: Visit<'_>) {
    let headers = context.headers();
    sampled!(
        INFO,
        method = visit.method.map(|method| shortened(method.as_str())),
        host = %visit.host,
        path = visit.target.map(without_query),
        origin = field(headers, &ORIGIN),
        sec_fetch_site = field(headers, &SEC_FETCH_SITE),
        "refused a request with 403 cross-site: another site may have sent it to the application"
    );
}

/// Logs that another site may have sent a request to a route of ours.
pub(super) fn note_own_cross_site(context: &Context) {
    let headers = context.headers();
    sampled!(
        INFO,
        method = shortened(context.method().as_str()),
        path = shortened(context.uri().path()),
        origin = field(headers, &ORIGIN),
        sec_fetch_site = field(headers, &SEC_FETCH_SITE),
        "refused a request with 403 cross-site: another site may have sent it"
    );
}

/// The peer as `http.trusted_proxies` has it.
fn peer_name(context: &Context) -> String {
    let address = context.peer().ip().map(|address| address.to_canonical());
    address.as_ref().map_or_else(|| "unix".to_owned(), IpAddr::to_string)
}

/// Shortens what a client says, for the log.
pub(super) fn shortened(text: &str) -> &str {
    const MAX_BYTES: usize = 128;
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

/// The query may hold what nobody else is to see.
fn without_query(target: &str) -> &str {
    shortened(target.split('?').next().unwrap_or_default())
}

fn field<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(shortened)
}

//! Log lines for the operator of a proxy or an application.
//!
//! They report proxies that are not trusted or do not send enough information, and requests that were refused with 403. An
//! application behind a proxy does not receive such requests. Unauthenticated clients can cause every line here, so the lines
//! are sampled, and values from a client are shortened.

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

/// The client's request about which a proxy sends a verify request. Unknown facts are `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForwardedRequest<'v> {
    pub(super) host: &'v Origin,
    pub(super) method: Option<&'v Method>,
    /// Path and query.
    pub(super) target: Option<&'v str>,
}

/// Logs that forwarded fields are ignored because their sender is not in `http.trusted_proxies`. A sender in a private network is
/// probably the operator's proxy. A sender on the Internet may be any client.
pub(super) fn log_untrusted_proxy(context: &Context) {
    static PRIVATE: LogSampler = LogSampler::one_per_minute();
    static PUBLIC: LogSampler = LogSampler::one_per_minute();
    if context.is_from_proxy() || !forwarded::has_forwarded_fields(context.headers()) {
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

/// Logs that a trusted proxy did not send the method of the client's request.
pub(super) fn log_unknown_method(context: &Context) {
    static SAMPLER: LogSampler = LogSampler::one_per_minute();
    if let Some(left_out) = SAMPLER.take(Now::read().boot) {
        tracing::warn!(
            peer = peer_name(context),
            left_out,
            "a trusted proxy did not send the method of the client's request, so sessions are renewed late: configure it to send X-Forwarded-Method"
        );
    }
}

/// Logs that an account does not have the role that a route requires. The path of the verify request contains the required role.
pub(super) fn log_missing_role(context: &Context, request: ForwardedRequest<'_>, sub: &str) {
    sampled!(
        INFO,
        sub,
        method = request.method.map(|method| shortened(method.as_str())),
        host = %request.host,
        path = request.target.map(without_query),
        asked = shortened(context.uri().path()),
        "refused a request with 403 forbidden: the account does not have the role that the route requires"
    );
}

/// Logs that another site may have sent a client's request to an application.
pub(super) fn log_cross_site(context: &Context, request: ForwardedRequest<'_>) {
    let headers = context.headers();
    sampled!(
        INFO,
        method = request.method.map(|method| shortened(method.as_str())),
        host = %request.host,
        path = request.target.map(without_query),
        origin = field(headers, &ORIGIN),
        sec_fetch_site = field(headers, &SEC_FETCH_SITE),
        "refused a request with 403 cross-site: another site may have sent it to the application"
    );
}

/// Logs that another site may have sent a request to a route of this server.
pub(super) fn log_own_cross_site(context: &Context) {
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

/// Returns the peer in the notation of `http.trusted_proxies`.
fn peer_name(context: &Context) -> String {
    let address = context.peer().ip().map(|address| address.to_canonical());
    address.as_ref().map_or_else(|| "unix".to_owned(), IpAddr::to_string)
}

/// Shortens a value from a client for the log.
pub(super) fn shortened(text: &str) -> &str {
    const MAX_BYTES: usize = 128;
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

/// Removes the query, which may contain confidential data, and shortens the rest.
fn without_query(target: &str) -> &str {
    shortened(target.split('?').next().unwrap_or_default())
}

fn field<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(shortened)
}

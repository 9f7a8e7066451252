//! The access log: a line for each response of the public routes, with target `sealjar::access` and level `debug`. It is off by
//! default.
//!
//! The line does not contain the query, which may have confidential data. The client address has the form of `log.client`. While
//! the log is off, it costs each request only one comparison.

use std::time::Duration;

use salvo::http::StatusCode;
use tracing::Level;

use crate::clock::{Now, milliseconds};
use crate::http::context::Context;
use crate::http::request_id::RequestId;

/// A request whose response will be logged if the access log is on.
#[derive(Debug)]
pub(super) struct Access {
    /// Time at which the request began, on the boot clock. `None` if the access log is off.
    began: Option<Duration>,
}

impl Access {
    /// Maximum length of a path in the log.
    const MAX_PATH_BYTES: usize = 256;
    /// Maximum length of a method in the log.
    const MAX_METHOD_BYTES: usize = 32;

    /// Records the start of a request.
    pub(super) fn begin() -> Self {
        let is_on = tracing::enabled!(target: "sealjar::access", Level::DEBUG);
        Self { began: is_on.then(|| Now::read().boot) }
    }

    /// Logs the response.
    pub(super) fn end(self, context: &Context, status: StatusCode) {
        let Some(began) = self.began else { return };
        let path = context.uri().path();
        let method = context.method().as_str();
        let id = context.any_id();
        tracing::debug!(
            target: "sealjar::access",
            request_id = id.as_ref().map(RequestId::as_str),
            method = &method[..method.floor_char_boundary(Self::MAX_METHOD_BYTES)],
            path = &path[..path.floor_char_boundary(Self::MAX_PATH_BYTES)],
            status = status.as_u16(),
            ms = milliseconds(Now::read().boot.saturating_sub(began)),
            client = %context.client(),
            "answered"
        );
    }
}

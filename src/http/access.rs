//! A line for each answer of the public routes, for those who ask for it: of target `sealjar::access`, at level `debug`.
//!
//! The query is left out, which may hold what nobody else is to see, and the client is shortened. While it is not asked for, it costs
//! a request a look at one number.

use std::time::Duration;

use salvo::http::Request;
use salvo::prelude::Response;
use tracing::Level;

use super::App;
use super::request_id::RequestId;
use crate::clock::{Now, milliseconds};

/// A request whose answer is to be logged, or not.
#[derive(Debug)]
pub(super) struct Access {
    /// When it began by the boot clock, if its answer is.
    began: Option<Duration>,
}

impl Access {
    /// So much of a path is written, in bytes.
    const MAX_PATH: usize = 256;
    const MAX_METHOD: usize = 32;

    pub(super) fn begin() -> Self {
        let is_wanted = tracing::enabled!(target: "sealjar::access", Level::DEBUG);
        Self { began: is_wanted.then(|| Now::read().boot) }
    }

    /// The answer is made. `id` is that of a request which has one.
    pub(super) fn end(self, app: &App, request: &Request, response: &Response, id: Option<&RequestId>) {
        let Some(began) = self.began else { return };
        let path = request.uri().path();
        let method = request.method().as_str();
        let of_proxy = if id.is_none() { RequestId::of_proxy(app, request) } else { None };
        tracing::debug!(
            target: "sealjar::access",
            request_id = id.or(of_proxy.as_ref()).map(RequestId::as_str),
            method = &method[..method.floor_char_boundary(Self::MAX_METHOD)],
            path = &path[..path.floor_char_boundary(Self::MAX_PATH)],
            status = response.status_code.map(|status| status.as_u16()),
            ms = milliseconds(Now::read().boot.saturating_sub(began)),
            client = %app.client(request),
            "answered"
        );
    }
}

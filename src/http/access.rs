//! A line for each answer of the public routes, for those who ask for it: of target `sealjar::access`, at level `debug`.
//!
//! The query is left out, which may hold what nobody else is to see, and the client is shortened. While it is not asked for, it costs
//! a request a look at one number.

use std::time::Duration;

use salvo::http::StatusCode;
use tracing::Level;

use crate::clock::{Now, milliseconds};
use crate::http::context::Context;
use crate::http::request_id::RequestId;

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

    /// Logs the answer.
    pub(super) fn end(self, context: &Context, status: StatusCode) {
        let Some(began) = self.began else { return };
        let path = context.uri().path();
        let method = context.method().as_str();
        let id = context.any_id();
        tracing::debug!(
            target: "sealjar::access",
            request_id = id.as_ref().map(RequestId::as_str),
            method = &method[..method.floor_char_boundary(Self::MAX_METHOD)],
            path = &path[..path.floor_char_boundary(Self::MAX_PATH)],
            status = status.as_u16(),
            ms = milliseconds(Now::read().boot.saturating_sub(began)),
            client = %context.client(),
            "answered"
        );
    }
}

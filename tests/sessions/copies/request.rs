//! Templates of requests, requests in progress, and the tokens that they contain.

use std::rc::Rc;

use sealjar::clock::UnixTime;
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Refusal, SealedSession};

use super::{MINUTE, SECOND};
use crate::fixture::field;

/// Template of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestTemplate {
    /// Whether the method is GET or HEAD.
    pub(super) is_safe: bool,
    pub(super) route: Route,
    /// Range of the time that the handler takes, or that an upload takes, in milliseconds.
    pub(super) work: (u64, u64),
    /// Range of the time for which a proxy buffers the body before the check, in milliseconds.
    pub(super) buffered: (u64, u64),
    /// Whether the application replaces its data in the response.
    pub(super) writes: bool,
    /// Maximum time until the response arrives, in milliseconds. `None` stands for the maximum of the setup.
    pub(super) max_duration: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Page of the application. The request is a navigation, so it can be redirected.
    Page,
    /// Other resource of the application.
    Other,
    /// `/auth/renew`.
    Renew,
}

pub(super) const GET: RequestTemplate = RequestTemplate {
    is_safe: true,
    route: Route::Other,
    work: (20, 2 * SECOND),
    buffered: (0, 0),
    writes: false,
    max_duration: None,
};
pub(super) const PAGE: RequestTemplate = RequestTemplate { route: Route::Page, ..GET };
pub(super) const POST: RequestTemplate = RequestTemplate { is_safe: false, ..GET };
pub(super) const RENEW: RequestTemplate = RequestTemplate { route: Route::Renew, work: (0, 0), ..GET };

impl RequestTemplate {
    /// Upload that takes this time after the check.
    pub(super) const fn upload(work: (u64, u64), max_duration: u64) -> Self {
        Self { work, max_duration: Some(max_duration), ..POST }
    }

    /// Upload that a proxy buffers for this time before the check.
    pub(super) const fn buffered_upload(buffered: (u64, u64), max_duration: u64) -> Self {
        Self { buffered, max_duration: Some(max_duration), ..POST }
    }

    pub(super) const fn taking(self, work: (u64, u64)) -> Self {
        Self { work, ..self }
    }

    pub(super) const fn writing(self) -> Self {
        Self { writes: true, ..self }
    }
}

/// Proxy or application between the browser and the session server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// Proxy with forward authentication. It forwards the new cookie together with the response of the application.
    Proxy {
        /// Whether the server trusts the proxy, and therefore receives the client's method.
        is_trusted: bool,
        /// Whether the proxy drops the new cookie.
        drops: bool,
        /// Whether sessions are renewed only by a redirect to `/auth/renew`.
        redirects: bool,
    },
    /// Application with embedded sessions.
    Embedded,
}

pub(super) const PROXY: Front = Front::Proxy { is_trusted: true, drops: false, redirects: false };
pub(super) const UNTRUSTED: Front = Front::Proxy { is_trusted: false, drops: false, redirects: false };

impl Front {
    /// Returns the renewal window for a request. Safe methods renew early, if the server receives the method.
    pub(super) fn window(self, template: RequestTemplate) -> RenewalWindow {
        let is_method_known = template.route == Route::Renew || !matches!(self, Self::Proxy { is_trusted: false, .. });
        if is_method_known && template.is_safe { RenewalWindow::WhenDue } else { RenewalWindow::LastThird }
    }

    pub(super) fn redirects(self) -> bool {
        matches!(self, Self::Proxy { redirects: true, .. })
    }

    pub(super) fn drops(self) -> bool {
        matches!(self, Self::Proxy { drops: true, .. })
    }
}

/// Token in the cookie of a browser.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Number in the order of sealing.
    pub(super) number: u64,
    /// Value of the `Cookie` field.
    pub(super) field: Vec<u8>,
    pub(super) sealed_at: UnixTime,
    pub(super) absolute_deadline: UnixTime,
}

impl Token {
    pub(super) fn new(number: u64, sealed: &SealedSession) -> Rc<Self> {
        let SealedSession { token, sealed_at, deadlines, .. } = sealed;
        let field = field(token.expose());
        Rc::new(Self { number, field, sealed_at: *sealed_at, absolute_deadline: deadlines.absolute })
    }
}

/// Request in progress.
pub(super) struct Request {
    /// Index of the habit that sends the request.
    pub(super) actor: usize,
    pub(super) template: RequestTemplate,
    pub(super) cookie: Rc<Token>,
    pub(super) node: usize,
    /// Number of restarts of the node before the check.
    pub(super) restarts: u64,
    /// Number of suspends of the browser before it sent the request.
    pub(super) suspends: u64,
    /// Time from the check to the end of the handler, in milliseconds.
    pub(super) work: u64,
    /// Time from the end of the handler to the arrival of the response, in milliseconds.
    pub(super) down: u64,
    /// Whether the response is lost.
    pub(super) is_lost: bool,
    /// Token that the response sets as the new cookie.
    pub(super) new_cookie: Option<Rc<Token>>,
    pub(super) refusal: Option<Refusal>,
    pub(super) redirect: RenewalRedirect,
}

/// State of a navigation that is redirected to `/auth/renew`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RenewalRedirect {
    /// The navigation has not been redirected.
    None,
    /// The navigation is redirected to `/auth/renew`.
    ToRenew,
    /// The navigation returns from `/auth/renew`, and is not redirected again.
    FromRenew,
}

/// Maximum duration of an upload (D) if the renewal interval is two thirds of an idle timeout of 30 minutes.
pub(super) const MAX_UPLOAD_DURATION: u64 = 9 * MINUTE + 29 * SECOND;

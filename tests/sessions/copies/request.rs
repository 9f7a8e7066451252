//! Requests: what is asked, and what is under way.

use std::rc::Rc;

use sealjar::clock::UnixTime;
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Refusal, SealedSession};

use super::{MINUTE, SECOND};
use crate::fixture::field;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// GET or HEAD.
    pub(super) is_safe: bool,
    pub(super) route: Route,
    /// Milliseconds that the application works, or that the body of an upload takes.
    pub(super) work: (u64, u64),
    /// Milliseconds that the body takes if a proxy holds the request until it has all of it, before the check.
    pub(super) held: (u64, u64),
    /// Whether the application replaces its data at the end.
    pub(super) writes: bool,
    /// Maximum time until the answer arrives, in milliseconds. `None`: that of the setup.
    pub(super) longest: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// A page that the browser navigates to, so that it can be redirected.
    Page,
    /// Anything else of the application.
    Other,
    /// `/auth/renew`.
    Renew,
}

pub(super) const GET: Ask =
    Ask { is_safe: true, route: Route::Other, work: (20, 2 * SECOND), held: (0, 0), writes: false, longest: None };
pub(super) const PAGE: Ask = Ask { route: Route::Page, ..GET };
pub(super) const POST: Ask = Ask { is_safe: false, ..GET };
pub(super) const RENEW: Ask = Ask { route: Route::Renew, work: (0, 0), ..GET };

impl Ask {
    /// A request with a body that takes so long.
    pub(super) const fn upload(work: (u64, u64), longest: u64) -> Self {
        Self { work, longest: Some(longest), ..POST }
    }

    /// An upload that a proxy holds so long before the check.
    pub(super) const fn held_upload(held: (u64, u64), longest: u64) -> Self {
        Self { held, longest: Some(longest), ..POST }
    }

    pub(super) const fn taking(self, work: (u64, u64)) -> Self {
        Self { work, ..self }
    }

    pub(super) const fn writing(self) -> Self {
        Self { writes: true, ..self }
    }
}

/// The proxy or application between the browser and the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// A proxy that asks a server whether a request may pass, and hands the cookie on when the application has answered.
    Proxy {
        /// It is trusted, so that the method is known.
        is_trusted: bool,
        /// It drops the cookie.
        drops: bool,
        /// Sessions are renewed by redirects only.
        redirects: bool,
    },
    /// The application itself.
    Embedded,
}

pub(super) const PROXY: Front = Front::Proxy { is_trusted: true, drops: false, redirects: false };
pub(super) const UNTRUSTED: Front = Front::Proxy { is_trusted: false, drops: false, redirects: false };

impl Front {
    pub(super) fn window(self, ask: Ask) -> RenewalWindow {
        let is_known = ask.route == Route::Renew || !matches!(self, Self::Proxy { is_trusted: false, .. });
        if is_known && ask.is_safe { RenewalWindow::WhenDue } else { RenewalWindow::LastThird }
    }

    pub(super) fn redirects(self) -> bool {
        matches!(self, Self::Proxy { redirects: true, .. })
    }

    pub(super) fn drops(self) -> bool {
        matches!(self, Self::Proxy { drops: true, .. })
    }
}

/// A cookie as a browser holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// In the order of sealing.
    pub(super) number: u64,
    /// The `Cookie` field.
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

/// A request under way.
pub(super) struct Request {
    pub(super) actor: usize,
    pub(super) ask: Ask,
    pub(super) cookie: Rc<Token>,
    pub(super) node: usize,
    /// How often the node had restarted at the check.
    pub(super) restarts: u64,
    /// How often the browser had been suspended when it sent this.
    pub(super) suspends: u64,
    /// From the check to the application's answer, and from there to the browser.
    pub(super) work: u64,
    pub(super) down: u64,
    pub(super) is_lost: bool,
    pub(super) set: Option<Rc<Token>>,
    pub(super) refusal: Option<Refusal>,
    pub(super) detour: Detour,
}

/// The way of a navigation by `/auth/renew`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detour {
    None,
    /// Redirected there.
    There,
    /// Comes from there: is not redirected again.
    Back,
}

/// D for two thirds of an idle time of 30 minutes.
pub(super) const LONGEST_UPLOAD: u64 = 9 * MINUTE + 29 * SECOND;

//! The session of a request: [`Session`] for handlers, with the application's data in its type, and [`RequestState`] for the
//! middleware.
//!
//! The middleware (`hoop.rs`) stores a [`RequestState`] in Salvo's depot, the storage of values per request.

use std::sync::LazyLock;

use salvo::extract::{Extractible, Metadata};
use salvo::prelude::{Depot, Request};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::clock::UnixTime;
use crate::id::Sid;
use crate::session::claims::{self, Flags};
use crate::session::lifetime::Deadlines;
use crate::session::{Cause, Identity, Refusal, SealedSession, Verified};
use crate::web::cookie::CookieChange;

/// The live session of a request. A handler with a parameter of this type is protected: without a live session it is not
/// called, and the client gets 401 with the reason.
///
/// `T` is the application's own data, from [`Claims::data`] or [`Jar::replace_data`](super::Jar::replace_data). The token
/// contains it as JSON, so that a later version of the application may add a field with `#[serde(default)]`. A token whose data
/// is not a valid `T` is refused as invalid. Of several concurrent responses, the browser keeps the data of the last one. While
/// an older token is valid, a user can send it again and so restore earlier data: do not store counters or permissions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session<T = ()> {
    /// Id of the session. It is not a credential.
    pub sid: Sid,
    /// Subject: the id of the user.
    pub sub: String,
    /// Login name, or empty.
    pub login_name: String,
    /// Display name, or empty.
    pub display_name: String,
    /// Email address, or empty.
    pub email: String,
    /// Roles of the user.
    pub roles: Vec<String>,
    /// Time at which the application last authenticated the user.
    pub authenticated_at: UnixTime,
    /// Times at which the session ends.
    pub deadlines: Deadlines,
    /// Whether the user chose a remembered session.
    pub remembered: bool,
    /// The application's own data.
    pub data: T,
}

impl<T: DeserializeOwned> Session<T> {
    /// Returns the live session of this request, for handlers that also serve requests without a session.
    ///
    /// # Errors
    /// [`Problem::Session`] if there is no live session, [`Problem::NoHoop`] if the route has no middleware of a jar.
    pub fn of(depot: &Depot) -> Result<Self, Problem> {
        let raw = RequestState::of(depot)?.session.as_ref().map_err(|refusal| Problem::Session(*refusal))?;
        let data =
            serde_json::from_slice(&raw.data).map_err(|_| Problem::Session(Refusal::Invalid(Cause::BadClaims)))?;
        let Session {
            sid,
            sub,
            login_name,
            display_name,
            email,
            roles,
            authenticated_at,
            deadlines,
            remembered,
            data: _,
        } = raw.clone();
        Ok(Self { sid, sub, login_name, display_name, email, roles, authenticated_at, deadlines, remembered, data })
    }
}

impl<T> Session<T> {
    /// Checks that the session has this role.
    ///
    /// # Errors
    /// [`Problem::Role`] (403) if the session does not have the role.
    pub fn require_role(&self, role: &str) -> Result<(), Problem> {
        if self.roles.iter().any(|assigned| assigned == role) { Ok(()) } else { Err(Problem::Role) }
    }
}

impl<'ex, T: DeserializeOwned> Extractible<'ex> for Session<T> {
    fn metadata() -> &'static Metadata {
        static METADATA: LazyLock<Metadata> = LazyLock::new(|| Metadata::new(""));
        &METADATA
    }

    #[allow(refining_impl_trait)]
    async fn extract(_: &'ex mut Request, depot: &'ex mut Depot) -> Result<Self, Problem> {
        Self::of(depot)
    }
}

/// Content of a new session. All fields except `data` are optional: `Claims { display_name, ..Claims::of(data) }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims<'a, T = ()> {
    /// Login name: at most 64 bytes.
    pub login_name: &'a str,
    /// Display name: at most 256 bytes, no control characters.
    pub display_name: &'a str,
    /// Email address of visible ASCII: at most 254 bytes.
    pub email: &'a str,
    /// Roles, each `[A-Za-z0-9_.:-]{1,64}`. Joined by commas, they have at most 1024 bytes.
    pub roles: &'a [&'a str],
    /// Whether the session is remembered: it has longer timeouts, and its cookie is kept when the browser is closed.
    pub remember: bool,
    /// The application's own data. The whole cookie has at most 4096 bytes. This leaves about 2,700 bytes for all fields
    /// together.
    pub data: T,
}

impl<T> Claims<'_, T> {
    /// Returns claims with the application's own data. All other fields are empty.
    pub const fn of(data: T) -> Self {
        Self { login_name: "", display_name: "", email: "", roles: &[], remember: false, data }
    }
}

/// A session whose data is still the JSON of the token. It is a copy, because the buffer of the opened token is reused.
pub(super) type RawSession = Session<Vec<u8>>;

impl RawSession {
    /// Returns the session with these claims.
    pub(super) fn new(
        sid: Sid,
        identity: &Identity<'_>,
        authenticated_at: UnixTime,
        deadlines: Deadlines,
        flags: Flags,
        data: Vec<u8>,
    ) -> Self {
        Self {
            sid,
            sub: identity.sub.to_owned(),
            login_name: identity.login_name.to_owned(),
            display_name: identity.display_name.to_owned(),
            email: identity.email.to_owned(),
            roles: identity.roles().map(str::to_owned).collect(),
            authenticated_at,
            deadlines,
            remembered: flags.is_remembered(),
            data,
        }
    }

    /// Returns a copy of a verified session.
    pub(super) fn verified(session: &Verified<'_>) -> Self {
        let claims::Claims { sid, identity, authenticated_at, flags, app_data, .. } = session.claims();
        Self::new(*sid, identity, *authenticated_at, session.deadlines(), *flags, app_data.to_vec())
    }
}

/// State of one request: its session, and the change of the cookie in its response. Each request has only one state, so a
/// response has at most one `Set-Cookie` of the session.
#[derive(Debug)]
pub(super) struct RequestState {
    pub(super) session: Result<RawSession, Refusal>,
    /// Session that the middleware renewed. A login or logout removes it.
    pub(super) renewal: Option<SealedSession>,
    /// Change of the cookie by the handler.
    pub(super) change: CookieChange,
}

impl RequestState {
    /// Returns the state of this request. Fails if the route has no middleware of a jar.
    pub(super) fn of(depot: &Depot) -> Result<&Self, Problem> {
        depot.get_typed().map_err(|_| Problem::NoHoop)
    }

    /// Takes the change of the cookie for the response. If the handler failed, its new cookie is not set: a request that failed
    /// must not log the client in or change its data. But a renewal is still sent, and the cookie is removed after a logout.
    pub(super) fn take_change(&mut self, has_failed: bool) -> CookieChange {
        let renewal = self.renewal.take().map_or(CookieChange::Keep, CookieChange::Set);
        match std::mem::take(&mut self.change) {
            CookieChange::Set(_) if has_failed => renewal,
            CookieChange::Keep => renewal,
            change => change,
        }
    }

    /// Returns the state of this request, to change it.
    pub(super) fn of_mut(depot: &mut Depot) -> Result<&mut Self, Problem> {
        depot.get_typed_mut().map_err(|_| Problem::NoHoop)
    }
}

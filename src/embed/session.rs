//! A session as handlers see it, with the application's own data in its type; and as it is kept in the depot while they run.

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

/// The live session of a request. A handler that takes one by value is protected: without a live session it is not called, and the
/// client gets 401 with the reason.
///
/// `T` is the application's own data, as [`Claims::data`] or [`Jar::replace_data`](super::Jar::replace_data) sealed it. It travels
/// as JSON, so that a later version of the application may add a field with `#[serde(default)]`; a token whose data is no `T` at
/// all is refused as invalid. Last response wins, and a user can bring an earlier value back within a token's life: keep neither
/// counters nor grants in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session<T = ()> {
    /// What a sign-out ends; no credential.
    pub sid: Sid,
    /// The subject: who it is.
    pub sub: String,
    /// The name to sign in with, or empty.
    pub login_name: String,
    /// What to call the user, or empty.
    pub display_name: String,
    /// An address, or empty.
    pub email: String,
    /// Roles.
    pub roles: Vec<String>,
    /// When the user last proved who it is.
    pub authenticated_at: UnixTime,
    /// When it ends.
    pub deadlines: Deadlines,
    /// Whether the user asked to be remembered.
    pub remembered: bool,
    /// The application's own data.
    pub data: T,
}

impl<T: DeserializeOwned> Session<T> {
    /// The live session of this request, for handlers that serve others too.
    ///
    /// # Errors
    /// [`Problem::Session`] if there is none, [`Problem::NoHoop`] if nobody looked.
    pub fn of(depot: &Depot) -> Result<Self, Problem> {
        let held = Visit::of(depot)?.session.as_ref().map_err(|refusal| Problem::Session(*refusal))?;
        let data =
            serde_json::from_slice(&held.data).map_err(|_| Problem::Session(Refusal::Invalid(Cause::BadClaims)))?;
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
        } = held.clone();
        Ok(Self { sid, sub, login_name, display_name, email, roles, authenticated_at, deadlines, remembered, data })
    }
}

impl<T> Session<T> {
    /// Whether the session has this role.
    ///
    /// # Errors
    /// [`Problem::Role`] if not: 403.
    pub fn require_role(&self, role: &str) -> Result<(), Problem> {
        if self.roles.iter().any(|held| held == role) { Ok(()) } else { Err(Problem::Role) }
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

/// What a new session says of whoever signed in. All but `data` may be left out:
/// `Claims { display_name, ..Claims::of(data) }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims<'a, T = ()> {
    /// The name to sign in with: at most 64 bytes.
    pub login_name: &'a str,
    /// What to call the user: at most 256 bytes, no control characters.
    pub display_name: &'a str,
    /// An address of visible ASCII: at most 254 bytes.
    pub email: &'a str,
    /// Roles, each `[A-Za-z0-9_.:-]{1,64}`; joined by commas at most 1024 bytes.
    pub roles: &'a [&'a str],
    /// Whether the user asked to be remembered: the longer lifetimes, and a cookie that outlives the browser.
    pub remember: bool,
    /// The application's own data. The whole cookie has at most 4096 bytes, which leaves some 2,700 for all of these together.
    pub data: T,
}

impl<T> Claims<'_, T> {
    /// Claims that say nothing but the application's own data.
    pub const fn of(data: T) -> Self {
        Self { login_name: "", display_name: "", email: "", roles: &[], remember: false, data }
    }
}

/// A session whose data is still as the token has it, copied out of the buffer that the token was opened in.
pub(super) type RawSession = Session<Vec<u8>>;

impl RawSession {
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
            remembered: flags.remembered(),
            data,
        }
    }

    pub(super) fn verified(session: &Verified<'_>) -> Self {
        let claims::Claims { sid, identity, authenticated_at, flags, app_data, .. } = session.claims();
        Self::new(*sid, identity, *authenticated_at, session.deadlines(), *flags, app_data.to_vec())
    }
}

/// A request under way: its session, and the change that its answer makes to the cookie. Each request has one in its depot, so an
/// answer has at most one `Set-Cookie` of ours.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) session: Result<RawSession, Refusal>,
    /// The renewal by the hoop, as long as nothing ended the session.
    pub(super) renewal: Option<SealedSession>,
    /// The change by the handler.
    pub(super) change: CookieChange,
}

impl Visit {
    /// The visit of this request, if it came through the hoop.
    pub(super) fn of(depot: &Depot) -> Result<&Self, Problem> {
        depot.get_typed().map_err(|_| Problem::NoHoop)
    }

    /// Takes the change that the answer makes to the cookie. An answer that reports a failure sets no cookie that its handler
    /// wanted: the client must not be signed in, or have other data, by what failed. It renews a session, and removes the cookie
    /// of one that was signed out for good.
    pub(super) fn take_change(&mut self, has_failed: bool) -> CookieChange {
        let renewal = self.renewal.take().map_or(CookieChange::Keep, CookieChange::Set);
        match std::mem::take(&mut self.change) {
            CookieChange::Set(_) if has_failed => renewal,
            CookieChange::Keep => renewal,
            change => change,
        }
    }

    pub(super) fn of_mut(depot: &mut Depot) -> Result<&mut Self, Problem> {
        depot.get_typed_mut().map_err(|_| Problem::NoHoop)
    }
}

//! The sessions of an application: login, logout, and change of a session's data.
//!
//! Invariant: a login or logout that has started runs to its end, even if the client disconnects. Called by the handlers of the
//! application. Uses `revocations.rs` and `session.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use salvo::http::Request;
use salvo::http::header::{COOKIE, HeaderMap};
use salvo::prelude::Depot;
use serde::Serialize;
use tokio::task::JoinSet;

use super::navigation::SignInPage;
use super::problem::Problem;
use super::revocations::Revocations;
use super::session::{Claims, RawSession, RequestState};
use crate::account::{DisplayName, Email, Roles};
use crate::clock::Now;
use crate::id::{Sid, Site};
use crate::session::claims::Methods;
use crate::session::identity::is_subject;
use crate::session::lifetime::RenewalWindow;
use crate::session::{Identity, PresentedSession, Refusal, SealedSession, Sessions};
use crate::sync::key_directory::KeyDirectory;
use crate::web::changes::{self, Changes};
use crate::web::cookie::{self, CookieChange, Cookies};
use crate::web::hosts::Hosts;

/// Maximum time that [`Jar::close`] waits for logins and logouts in progress.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(10);

/// The sessions of an application: keys, cookie, and revocations. Clones share state. The background tasks stop when the last
/// clone is dropped.
#[derive(Debug, Clone)]
pub struct Jar(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) hosts: Hosts,
    pub(super) cookies: Cookies,
    pub(super) sign_in_page: Option<SignInPage>,
    pub(super) revocations: Revocations,
    /// Logins and logouts in progress. They run to their end even if their client disconnects.
    pub(super) changes: Changes,
    /// Background tasks. They stop when the set is dropped.
    pub(super) tasks: Mutex<JoinSet<()>>,
}

/// State that handlers and background tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) sessions: Sessions,
    /// Directory of the key files, or `None` if the key ring never changes.
    pub(super) key_directory: Option<KeyDirectory>,
}

impl Inner {
    /// Ends a session whose cookie was copied. The revocation list refuses it already. The entry is committed in the background.
    pub(super) fn end_copied(&self, copied: &PresentedSession) {
        let PresentedSession { sid, sub, .. } = copied;
        tracing::warn!(%sid, %sub, "ended a session whose cookie is used in two places");
        self.revocations.end_later(copied);
    }
}

impl Jar {
    /// Returns the jar whose middleware handled this request.
    ///
    /// # Errors
    /// [`Problem::NoHoop`].
    pub fn of(depot: &Depot) -> Result<Self, Problem> {
        depot.get_typed().cloned().map_err(|_| Problem::NoHoop)
    }

    /// Starts a session for `subject`, whom the application has authenticated. The session always has a new id. The response sets
    /// its cookie, and [`Session::of`](super::Session::of) returns the new session for the rest of this request.
    ///
    /// The sessions that came with the request are revoked first. So an attacker who planted a cookie in the browser before the
    /// login does not get the user's session. A session whose key this process does not have is not revoked, and ends at its
    /// deadline.
    ///
    /// If the handler fails after this, nobody is logged in: a response with a status of 400 or above does not set the cookie,
    /// nor does a handler that panics. The new session is not revoked, because nobody has its token. The sessions that came with
    /// the request stay revoked.
    ///
    /// `subject` is 1 to 64 bytes of visible ASCII. It must identify one person forever: use a number or a random text, and not a
    /// name that another person may get later.
    ///
    /// # Errors
    /// [`Problem`]. Then no session has started, and the cookie is unchanged.
    pub async fn sign_in<T: Serialize>(
        &self,
        request: &Request,
        depot: &mut Depot,
        subject: &str,
        claims: Claims<'_, T>,
    ) -> Result<Sid, Problem> {
        if !is_subject(subject) {
            return Err(Problem::Subject);
        }
        let Claims { login_name, display_name, email, roles, remember, ref data } = claims;
        let site = self.site(request)?;
        let data = json(data)?;
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let roles = Roles::new(&roles)?;
        let display_name: DisplayName = display_name.parse()?;
        let email: Email = email.parse()?;
        // Fails on a route without the middleware, before any session is revoked.
        RequestState::of(depot)?;
        let read_at = Now::read();
        let generations = self.0.revocations.generations().await?;
        let identity = Identity {
            sub: subject,
            account_generation: generations.subject,
            global_generation: generations.global,
            login_name,
            display_name: display_name.as_str(),
            email: email.as_str(),
            roles: roles.as_str(),
        };
        let sessions = &self.0.shared.sessions;
        // Seals the new session before the old ones are revoked. If sealing fails, nothing is revoked.
        let session = sessions.sign_in(&identity, Methods::NONE, remember, &data, site, Now::read())?;
        self.end_presented(request).await?;
        RequestState::of_mut(depot)?.renewal = None;
        sessions.may_begin(&identity, read_at, Now::read()).map_err(|refusal| match refusal {
            Refusal::Stale => Problem::Session(refusal),
            _ => Problem::Overtaken,
        })?;
        let SealedSession { sid, sealed_at, deadlines, flags, .. } = session;
        let state = RequestState::of_mut(depot)?;
        state.session = Ok(RawSession::new(sid, &identity, sealed_at, deadlines, flags, data));
        state.change = CookieChange::Set(session);
        Ok(sid)
    }

    /// Revokes the sessions that came with the request, including expired ones, and removes the cookie. When this returns, copies
    /// of the cookie are refused here, after a restart, and on every node that uses the store. If the request has no session,
    /// nothing is revoked. The cookie is removed even if the response has an error status, because its session has ended.
    ///
    /// # Errors
    /// After each of these errors the browser still has the cookie, so it can repeat the request:
    ///
    /// - [`Problem::NotDurable`] if the store did not commit the logout. This process refuses the session already, and tries
    ///   again to commit it.
    /// - [`Problem::TooManyCookies`] if the request has too many cookies with the name of the session cookie. Nothing was
    ///   revoked.
    /// - [`Problem::KeyElsewhere`] if the key of a token is not in the directory, or is revoked there but not in the store. The
    ///   session may still be live on another node.
    pub async fn sign_out(&self, request: &Request, depot: &mut Depot) -> Result<(), Problem> {
        RequestState::of(depot)?;
        if !self.end_presented(request).await? {
            return Err(Problem::KeyElsewhere);
        }
        let state = RequestState::of_mut(depot)?;
        state.renewal = None;
        state.change = CookieChange::Clear;
        state.session = Err(Refusal::Revoked);
        Ok(())
    }

    /// Ends every session that `subject` has, on every device. Sessions that start later are not affected. If the session of this
    /// request is one of them, it is refused from the next request on. [`Jar::sign_out`] removes its cookie.
    ///
    /// # Errors
    /// [`Problem::Subject`] and [`Problem::Store`] if nothing was done, [`Problem::NotDurable`] with the same meaning as for
    /// [`Jar::sign_out`].
    pub async fn sign_out_everywhere(&self, subject: &str) -> Result<(), Problem> {
        let jar = self.clone();
        let subject = subject.to_owned();
        self.0.changes.run(async move { jar.0.revocations.end_all(&subject).await }).await
    }

    /// Replaces the data in the session of this request. The session keeps its id and its deadlines. If it is due for renewal, it
    /// is renewed. If several concurrent responses replace the data, the browser keeps the last one. If the session already has
    /// this data, nothing changes. A response with a status of 400 or above does not set the cookie, so the session keeps its old
    /// data.
    ///
    /// The response should follow within 90 seconds of the request, or within 30 seconds if the idle time is 18 minutes. A later
    /// response can restore a cookie that the browser replaced long ago, and copy detection then counts it as a copy (see
    /// [`Settings::copy_detection`](super::Settings::copy_detection)). Responses that do not replace data may take two minutes.
    /// For the same reason, do not replace data in responses that overlap all the time, such as those to several long polls.
    ///
    /// # Errors
    /// [`Problem::Session`] if there is no live session, [`Problem::Seal`] if the data does not fit.
    pub fn replace_data<T: Serialize>(&self, request: &Request, depot: &mut Depot, data: &T) -> Result<(), Problem> {
        let state = RequestState::of_mut(depot)?;
        let sid = state.session.as_ref().map_err(|refusal| Problem::Session(*refusal))?.sid;
        let site = self.site(request)?;
        let data = json(data)?;
        let Inner { shared, cookies, .. } = &*self.0;
        let sessions = &shared.sessions;
        // If this response already has a new token, that token is newer than the tokens in the request, so it is verified first.
        let outgoing = match &state.change {
            CookieChange::Set(session) => Some(session),
            CookieChange::Keep => state.renewal.as_ref(),
            CookieChange::Clear => None,
        };
        let outgoing = outgoing.map(|session| format!("{}={}", cookies.session().as_str(), session.token.expose()));
        let fields = outgoing.iter().map(String::as_bytes).chain(cookie::fields(request.headers()));
        // The token may have become due after the middleware verified it. Then this response renews it, so copy detection checks
        // it now.
        let on_copy = |copied| self.0.end_copied(&copied);
        let sealed =
            sessions.verify_and_detect(fields, site, Now::read(), RenewalWindow::WhenDue, on_copy, |verified| {
                let claims = verified.claims();
                if claims.sid != sid {
                    return Err(Problem::Session(Refusal::Revoked));
                }
                if claims.app_data == data {
                    return Ok(None);
                }
                let sealed = sessions.replace_app_data(verified, &data)?.ok_or(Problem::Session(Refusal::Revoked))?;
                Ok(Some((RawSession::verified(verified), sealed)))
            });
        let Some((mut session, sealed)) = sealed.map_err(Problem::Session)?? else { return Ok(()) };
        session.deadlines = sealed.deadlines;
        session.data = data;
        state.session = Ok(session);
        state.change = CookieChange::Set(sealed);
        Ok(())
    }

    /// Closes the jar and its store. Await this after the application has stopped serving. It waits at most ten seconds for
    /// logins and logouts in progress. Then it tries for at most ten more seconds to write the logouts that the store has not
    /// committed yet. Without this call, they are lost when the process exits. After it, no session can start and no logout is
    /// stored. Soon afterwards the revocation list is stale, and no session is accepted. With
    /// [`Settings::in_memory`](super::Settings::in_memory), nothing is stored.
    ///
    /// # Errors
    /// [`Problem::NotDurable`] if some logouts are not stored: other nodes still accept these sessions, and this node accepts
    /// them after its next start.
    pub async fn close(&self) -> Result<(), Problem> {
        if tokio::time::timeout(CHANGES_TIMEOUT, self.0.changes.finish()).await.is_err() {
            tracing::error!("requests that change something did not end in time: their outcome is not known");
        }
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.0.revocations.close().await
    }

    /// Revokes the sessions that came with the request. Returns `false` if a session may still be live on another node: the key
    /// of its token is not in the directory, even after it was read again, or it is revoked in this directory only. A key that is
    /// revoked in the store opens no token on any node. In memory, there is only one key.
    async fn end_presented(&self, request: &Request) -> Result<bool, Problem> {
        let headers: HeaderMap =
            request.headers().get_all(COOKIE).iter().map(|field| (COOKIE, field.clone())).collect();
        if self.0.shared.sessions.has_too_many_candidates(cookie::fields(&headers)) {
            return Err(Problem::TooManyCookies);
        }
        let jar = self.clone();
        let change = async move {
            let Inner { shared, revocations, .. } = &*jar.0;
            let mut are_all_ended = true;
            if let Some(key_directory) = &shared.key_directory {
                if jar.lacks_key(&headers) {
                    changes::untrusted_wait(key_directory.reread()).await;
                }
                are_all_ended = !jar.may_be_live_on_other_node(&headers);
            }
            let presented = shared.sessions.presented(cookie::fields(&headers), Now::read());
            revocations.end(&presented).await?;
            Ok(are_all_ended)
        };
        self.0.changes.run(change).await
    }

    /// Returns whether this process cannot open a token whose key is not revoked in the store. Another node may be able to open
    /// it. The nodes of an application do not report their keys.
    fn may_be_live_on_other_node(&self, headers: &HeaderMap) -> bool {
        let Inner { shared, cookies, .. } = &*self.0;
        let list = shared.sessions.revocations();
        let mut keys = shared.sessions.unusable_keys(cookie::fields(headers), cookies.session());
        keys.any(|(kid, _)| !list.refuses_key(kid))
    }

    /// Returns whether a token names a key that is not in the key ring.
    fn lacks_key(&self, headers: &HeaderMap) -> bool {
        let Inner { shared, cookies, .. } = &*self.0;
        shared.sessions.lacks_key_of_cookies(cookie::fields(headers), cookies.session())
    }

    /// Returns the site of the host that the request names.
    fn site(&self, request: &Request) -> Result<Site, Problem> {
        Ok(self.0.hosts.find_public(request.uri(), request.headers())?.site)
    }
}

/// Serializes the application's data as JSON.
fn json<T: Serialize>(data: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(data).map_err(|_| Problem::Data)
}

//! The sessions of an application: sign-in, sign-out, and change of a session's data.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use salvo::http::Request;
use salvo::http::header::{COOKIE, HeaderMap};
use salvo::prelude::Depot;
use serde::Serialize;
use tokio::task::JoinSet;

use super::navigation::SignInPage;
use super::problem::Problem;
use super::refusals::Refusals;
use super::session::{Claims, RawSession, Visit};
use crate::account::{DisplayName, Email, Roles};
use crate::clock::Now;
use crate::id::{Sid, Site};
use crate::session::claims::Methods;
use crate::session::identity::is_subject;
use crate::session::lifetime::RenewalWindow;
use crate::session::{Identity, Presented, Refusal, SealedSession, Sessions};
use crate::sync::key_directory::KeyDirectory;
use crate::web::changes::{self, Changes};
use crate::web::cookie::{self, CookieChange, Cookies};
use crate::web::hosts::Hosts;

/// Maximum time that [`Jar::close`] waits for sign-ins and sign-outs under way.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(10);

/// The sessions of an application: keys, cookie, and revocations. Clones share state. The background tasks stop when the last
/// clone is dropped.
#[derive(Debug, Clone)]
pub struct Jar(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) core: Arc<Core>,
    pub(super) hosts: Hosts,
    pub(super) cookies: Cookies,
    pub(super) sign_in_page: Option<SignInPage>,
    pub(super) refusals: Refusals,
    /// Sign-ins and sign-outs under way. They run to their end even if their client disconnects.
    pub(super) changes: Changes,
    /// Background tasks. They stop when this is dropped.
    pub(super) tasks: Mutex<JoinSet<()>>,
}

/// The part that the background tasks use, too.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) sessions: Sessions,
    /// The directory of the keys, or `None` if the ring never changes.
    pub(super) key_directory: Option<KeyDirectory>,
}

impl Inner {
    /// Ends a session of which there is a copy. It is refused already, and nothing waits for the store.
    pub(super) fn end_copied(&self, copied: &Presented) {
        let Presented { sid, sub, .. } = copied;
        tracing::warn!(%sid, %sub, "ended a session whose cookie is used in two places");
        self.refusals.end_later(copied);
    }
}

impl Jar {
    /// Returns the jar whose hoop this request came through.
    ///
    /// # Errors
    /// [`Problem::NoHoop`].
    pub fn of(depot: &Depot) -> Result<Self, Problem> {
        depot.get_typed().cloned().map_err(|_| Problem::NoHoop)
    }

    /// Begins a session for `subject`, whom the application has authenticated, always under a fresh id. Sessions that came with
    /// the request are ended first, for good, so that a cookie that was planted before gains nothing. A session whose key is not
    /// held here is left to its deadline. The answer sets the cookie, and the rest of this request sees the new session.
    ///
    /// If the handler fails after this, nobody is signed in: an answer with a status of 400 or above does not set the cookie, nor
    /// does a handler that panics. The new session is not ended, because nobody has its token. The sessions that came with the
    /// request stay ended.
    ///
    /// `subject` is 1 to 64 bytes of visible ASCII and stands for one person for ever: a number or random text, not a name that
    /// another person may get later.
    ///
    /// # Errors
    /// [`Problem`]. Then no session has begun, and the cookie is unchanged.
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
        // Before anything is awaited, so that a handler without the hoop ends no session.
        Visit::of(depot)?;
        let read = Now::read();
        let generations = self.0.refusals.generations().await?;
        let identity = Identity {
            sub: subject,
            account_generation: generations.subject,
            global_generation: generations.global,
            login_name,
            display_name: display_name.as_str(),
            email: email.as_str(),
            roles: roles.as_str(),
        };
        let sessions = &self.0.core.sessions;
        // Sealed before anything is ended: what cannot be sealed ends nothing.
        let session = sessions.sign_in(&identity, Methods::NONE, remember, &data, site, Now::read())?;
        self.end_presented(request).await?;
        Visit::of_mut(depot)?.renewal = None;
        sessions.may_begin(&identity, read, Now::read()).map_err(|refusal| match refusal {
            Refusal::Stale => Problem::Session(refusal),
            _ => Problem::Overtaken,
        })?;
        let SealedSession { sid, sealed_at, deadlines, flags, .. } = session;
        let visit = Visit::of_mut(depot)?;
        visit.session = Ok(RawSession::new(sid, &identity, sealed_at, deadlines, flags, data));
        visit.change = CookieChange::Set(session);
        Ok(sid)
    }

    /// Ends the sessions that came with the request, expired ones too, and removes the cookie. When this returns, copies of the
    /// cookie are refused here, after a restart, and on every node of the store. Without a session it does nothing. Whatever the
    /// status of the answer, the cookie is removed, because its session is over.
    ///
    /// # Errors
    /// The cookie stays with each of them, so that the browser can ask again:
    /// [`Problem::NotDurable`] if the store did not take it. The session is refused here already, and the store is tried again.
    /// [`Problem::TooManyCookies`] if more cookies of the session's name came than are looked at. Nothing was ended.
    /// [`Problem::KeyElsewhere`] if a token's key is not in the directory, or is revoked there but not in the store. The session
    /// may be alive on another node.
    pub async fn sign_out(&self, request: &Request, depot: &mut Depot) -> Result<(), Problem> {
        Visit::of(depot)?;
        if !self.end_presented(request).await? {
            return Err(Problem::KeyElsewhere);
        }
        let visit = Visit::of_mut(depot)?;
        visit.renewal = None;
        visit.change = CookieChange::Clear;
        visit.session = Err(Refusal::Revoked);
        Ok(())
    }

    /// Ends every session that `subject` has, on every device. Sessions that begin later are not affected. If the cookie of this
    /// request is one of them, it is refused from the next request on; [`Jar::sign_out`] removes it.
    ///
    /// # Errors
    /// [`Problem::Subject`] and [`Problem::Store`] if nothing was done, [`Problem::NotDurable`] as for [`Jar::sign_out`].
    pub async fn sign_out_everywhere(&self, subject: &str) -> Result<(), Problem> {
        let jar = self.clone();
        let subject = subject.to_owned();
        self.0.changes.run(async move { jar.0.refusals.end_all(&subject).await }).await
    }

    /// Seals other data into the session of this request. The session keeps its id and its deadlines; if it is due for renewal, it
    /// is renewed. Of concurrent answers, the last one wins. If the session has this data already, nothing changes. An answer with
    /// a status of 400 or above does not set the cookie, so the session keeps its data.
    ///
    /// The answer should follow within 90 seconds of the request, or within 30 seconds if the idle time is 18 minutes: a later one
    /// can bring back a cookie that the browser has replaced long ago, which looks like a copy (see
    /// [`Settings::copy_detection`](super::Settings::copy_detection)). Without new data, two minutes are enough. For the same
    /// reason, do not replace data in answers that overlap all the time, such as those to several long polls.
    ///
    /// # Errors
    /// [`Problem::Session`] if there is no live session, [`Problem::Seal`] if the data does not fit.
    pub fn replace_data<T: Serialize>(&self, request: &Request, depot: &mut Depot, data: &T) -> Result<(), Problem> {
        let visit = Visit::of_mut(depot)?;
        let sid = visit.session.as_ref().map_err(|refusal| Problem::Session(*refusal))?.sid;
        let site = self.site(request)?;
        let data = json(data)?;
        let Inner { core, cookies, .. } = &*self.0;
        let sessions = &core.sessions;
        // A token that goes out with this answer is newer than those that came.
        let outgoing = match &visit.change {
            CookieChange::Set(session) => Some(session),
            CookieChange::Keep => visit.renewal.as_ref(),
            CookieChange::Clear => None,
        };
        let outgoing = outgoing.map(|session| format!("{}={}", cookies.session().as_str(), session.token.expose()));
        let fields = outgoing.iter().map(String::as_bytes).chain(cookie::fields(request.headers()));
        // A token that has become due since the hoop saw it is judged now, because the answer renews it.
        let end = |copied| self.0.end_copied(&copied);
        let sealed = sessions.verify_and_detect(fields, site, Now::read(), RenewalWindow::WhenDue, end, |verified| {
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
        let Some((mut held, sealed)) = sealed.map_err(Problem::Session)?? else { return Ok(()) };
        held.deadlines = sealed.deadlines;
        held.data = data;
        visit.session = Ok(held);
        visit.change = CookieChange::Set(sealed);
        Ok(())
    }

    /// Closes the sessions and their store. Await this when the application has stopped serving. It waits at most ten seconds for
    /// sign-ins and sign-outs under way. Then it tries for at most ten more to write the sign-outs that the store has not taken
    /// yet; without that, they are lost with the process. Afterwards no session begins, no sign-out is kept, and soon no session
    /// is live. In memory there is nothing to keep.
    ///
    /// # Errors
    /// [`Problem::NotDurable`] if some sign-outs are not kept: those sessions live on elsewhere, and here after the next start.
    pub async fn close(&self) -> Result<(), Problem> {
        if tokio::time::timeout(CHANGES_TIMEOUT, self.0.changes.finish()).await.is_err() {
            tracing::error!("requests that change something did not end in time: their outcome is not known");
        }
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.0.refusals.close().await
    }

    /// Ends the sessions that came with the request, and returns whether those were all. They are not if a token's key is not
    /// held here after the directory was read again, or is revoked in this directory only. A key that the store refuses opens
    /// nothing on any node, and in memory no other key opens anything.
    async fn end_presented(&self, request: &Request) -> Result<bool, Problem> {
        let headers: HeaderMap =
            request.headers().get_all(COOKIE).iter().map(|field| (COOKIE, field.clone())).collect();
        if self.0.core.sessions.has_too_many_candidates(cookie::fields(&headers)) {
            return Err(Problem::TooManyCookies);
        }
        let jar = self.clone();
        let change = async move {
            let Inner { core, refusals, .. } = &*jar.0;
            let mut all = true;
            if let Some(reads) = &core.key_directory {
                if jar.lacks_key(&headers) {
                    changes::wait_for_anybody(reads.reread()).await;
                }
                all = !jar.may_be_elsewhere(&headers);
            }
            let presented = core.sessions.presented(cookie::fields(&headers), Now::read());
            refusals.end(&presented).await?;
            Ok(all)
        };
        self.0.changes.run(change).await
    }

    /// Whether a token names a key that does not open here and may open on another node: nodes do not tell which keys they have.
    fn may_be_elsewhere(&self, headers: &HeaderMap) -> bool {
        let Inner { core, cookies, .. } = &*self.0;
        let list = core.sessions.revocations();
        let mut keys = core.sessions.keys_not_opened(cookie::fields(headers), cookies.session());
        keys.any(|(kid, _)| !list.refuses_key(kid))
    }

    /// Whether a token names a key that is not held here.
    fn lacks_key(&self, headers: &HeaderMap) -> bool {
        let Inner { core, cookies, .. } = &*self.0;
        core.sessions.lacks_key_of_cookies(cookie::fields(headers), cookies.session())
    }

    /// Returns the site of the host that the request names.
    fn site(&self, request: &Request) -> Result<Site, Problem> {
        Ok(self.0.hosts.of_request(request.uri(), request.headers())?.site)
    }
}

fn json<T: Serialize>(data: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(data).map_err(|_| Problem::Data)
}

//! Sessions in a Salvo application of your own (feature `salvo`): its own sign-in, its own data in the session, and sign-outs
//! that hold.
//!
//! 1. [`Settings`] say under which origins browsers reach the application, and open a [`Jar`]: `open` with a key directory and a
//!    store (feature `store`), so that sessions survive a restart and sign-outs do, too; or [`Settings::in_memory`].
//! 2. [`Jar::hoop`] goes before the routes. It refuses requests for foreign hosts, and unsafe ones that another site may have sent
//!    (by `Sec-Fetch-Site` and `Origin`, so that forms need no token); verifies the session in place, without I/O; and
//!    renews the cookie when a tenth of the idle time has gone.
//! 3. Handlers take a [`Session<T>`](Session) and are thereby protected, or [`signed_in`] protects everything below a router.
//! 4. [`Jar::sign_in`] begins a session for whoever the application has made sure of; [`Jar::sign_out`] and
//!    [`Jar::sign_out_everywhere`] end sessions for good.
//!
//! ```
//! use salvo::prelude::*;
//! use sealjar::embed::{Claims, Jar, Problem, Session, Settings};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Cart { items: Vec<u32> }
//!
//! #[handler]
//! async fn sign_in(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
//!     // However the application makes sure of who it is: a password, a code, another service.
//!     let jar = Jar::of(depot)?;
//!     let claims = Claims { roles: &["staff"], ..Claims::of(Cart { items: vec![] }) };
//!     jar.sign_in(request, depot, "user-42", claims).await?;
//!     Ok(())
//! }
//!
//! #[handler]
//! async fn cart(session: Session<Cart>) -> String {
//!     format!("{} has {} items", session.sub, session.data.items.len())
//! }
//!
//! #[handler]
//! async fn sign_out(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
//!     Jar::of(depot)?.sign_out(request, depot).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let jar = Settings::new(["https://app.example.com"]).in_memory()?;
//! let routes = Router::with_hoop(jar.hoop())
//!     .push(Router::with_path("sign-in").post(sign_in))
//!     .push(Router::with_path("cart").get(cart))
//!     .push(Router::with_path("sign-out").post(sign_out));
//! # drop(Service::new(routes));
//! # Ok(())
//! # }
//! ```
//!
//! Answers that change the cookie get `Cache-Control: no-store`, whatever they say themselves; others to a request with a live
//! session, unless they say otherwise; both `Vary: Cookie`. TLS is the application's or its proxy's business; the proxy must pass
//! `Host` on. [`Jar::close`] is the orderly end.
//!
//! Keys and store must be the application's own, not those of a Sealjar server. The cookie has a name of its own, too:
//! `__Host-sealjar-app`, `__Secure-sealjar-app` with a cookie domain, `sealjar-app-insecure` over plain HTTP.
//!
//! What it does not do: check passwords or limit attempts (that is the application's sign-in), or tell other nodes which keys it
//! holds, so `sealjar keys rotate --wait` does not know of it; `keys.activate_after`, two minutes, is time enough for all.

mod hoop;
mod open;
mod problem;
mod refusals;
mod session;
mod visit;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use salvo::http::Request;
use salvo::http::header::{COOKIE, HeaderMap};
use salvo::prelude::Depot;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::account::{DisplayName, Email, Roles};
use crate::clock::Now;
use crate::id::{Sid, Site};
use crate::session::identity::is_subject;
use crate::session::{Identity, Refusal, SealedSession, Sessions};
use crate::sync::key_directory::KeyDirectory;
use crate::web::changes::{self, Changes};
use crate::web::cookie::{self, CookieChange, Cookies};
use crate::web::hosts::Hosts;
pub use hoop::{Hoop, signed_in};
pub use open::{OpenError, Settings};
pub use problem::Problem;
use refusals::Refusals;
pub use session::{Claims, Session};
use visit::{Held, Visit};

/// How long closing waits for sign-ins and sign-outs under way.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(10);

/// The application's sessions: keys, cookie, and what is refused. Clones are the same one; its tasks end with the last.
#[derive(Debug, Clone)]
pub struct Jar(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    hosts: Hosts,
    cookies: Cookies,
    refusals: Refusals,
    /// Sign-ins and sign-outs under way, which run to their end although their client leaves.
    changes: Changes,
    /// They end with it.
    tasks: Mutex<JoinSet<()>>,
}

/// What the tasks work on, too.
#[derive(Debug)]
struct Core {
    sessions: Sessions,
    /// `None` if the ring never changes.
    key_directory: Option<KeyDirectory>,
}

impl Jar {
    /// The hoop that goes before every route which has to do with sessions. For GET and HEAD of public files it is not needed.
    pub fn hoop(&self) -> Hoop {
        Hoop::new(self.clone())
    }

    /// The jar whose hoop this request came through.
    ///
    /// # Errors
    /// [`Problem::NoHoop`].
    pub fn of(depot: &Depot) -> Result<Self, Problem> {
        depot.get_typed().cloned().map_err(|_| Problem::NoHoop)
    }

    /// Begins a session for `subject`, whom the application has made sure of, always under a fresh id. Sessions that came with the
    /// request are ended first, for good, so that a cookie that was planted before gains nothing; one whose key is not held here is
    /// left to its deadline. The answer sets the cookie, and for what is left of this request the new session is the one.
    ///
    /// `subject` is 1 to 64 bytes of visible ASCII and stands for one person for ever: a number or random text, not a name that
    /// may be given away again.
    ///
    /// # Errors
    /// [`Problem`]; then there is no session, and the cookie is left alone.
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
        let (site, data) = (self.site(request)?, json(data)?);
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let (roles, display_name, email) =
            (Roles::new(&roles)?, display_name.parse::<DisplayName>()?, email.parse::<Email>()?);
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
        let session = sessions.sign_in(&identity, remember, &data, site, Now::read())?;
        self.end_presented(request).await?;
        sessions.may_begin(&identity, read, Now::read()).map_err(|refusal| match refusal {
            Refusal::Stale => Problem::Session(refusal),
            _ => Problem::Overtaken,
        })?;
        let SealedSession { sid, sealed_at, deadlines, flags, .. } = session;
        let visit = Visit::of_mut(depot)?;
        visit.session = Ok(Held::new(sid, &identity, sealed_at, deadlines, flags, data));
        visit.change = CookieChange::Set(session);
        Ok(sid)
    }

    /// Ends the sessions that came with the request, idle or expired ones too, and removes the cookie. When this returns, copies of
    /// the cookie are refused here, and after a restart and on every node of the store as well. Without a session it does nothing.
    ///
    /// # Errors
    /// [`Problem::NotDurable`] if the store did not take it: refused here already, and tried again until it is kept.
    /// [`Problem::TooManyCookies`] if more cookies of its name came than are looked at: nothing was ended.
    /// [`Problem::KeyElsewhere`] if a token's key is not among those of the directory, or is revoked there but not in the store: the
    /// session may be alive on another node.
    /// With either the cookie stays, so that the browser can ask again.
    pub async fn sign_out(&self, request: &Request, depot: &mut Depot) -> Result<(), Problem> {
        Visit::of(depot)?;
        if !self.end_presented(request).await? {
            return Err(Problem::KeyElsewhere);
        }
        let visit = Visit::of_mut(depot)?;
        visit.change = CookieChange::Clear;
        visit.session = Err(Refusal::Revoked);
        Ok(())
    }

    /// Ends every session that `subject` has, on every device; those that begin later are not affected. The cookie of the request
    /// under way, if it is one of them, is refused from the next request on; [`Jar::sign_out`] removes it.
    ///
    /// # Errors
    /// [`Problem::Subject`] and [`Problem::Store`] if nothing was done, [`Problem::NotDurable`] as for [`Jar::sign_out`].
    pub async fn sign_out_everywhere(&self, subject: &str) -> Result<(), Problem> {
        let jar = self.clone();
        let subject = subject.to_owned();
        self.0.changes.run(async move { jar.0.refusals.end_all(&subject).await }).await
    }

    /// Seals other data into the session of this request. It is renewed by that, and keeps its id; concurrent answers overwrite
    /// each other, the last one wins.
    ///
    /// # Errors
    /// [`Problem::Session`] if there is no live session, [`Problem::Seal`] if the data does not fit.
    pub fn replace_data<T: Serialize>(&self, request: &Request, depot: &mut Depot, data: &T) -> Result<(), Problem> {
        let visit = Visit::of_mut(depot)?;
        let sid = visit.session.as_ref().map_err(|refusal| Problem::Session(*refusal))?.sid;
        let (site, data, Inner { core, cookies, .. }) = (self.site(request)?, json(data)?, &*self.0);
        let sessions = &core.sessions;
        // The token that goes out with this answer is later than those that came.
        let outgoing = match &visit.change {
            CookieChange::Set(session) => Some(format!("{}={}", cookies.session().as_str(), session.token.expose())),
            CookieChange::Keep | CookieChange::Clear => None,
        };
        let fields = outgoing.iter().map(String::as_bytes).chain(cookie::fields(request.headers()));
        let sealed = sessions.verify(fields, site, Now::read(), |verified| {
            if verified.claims().sid != sid {
                return Err(Problem::Session(Refusal::Revoked));
            }
            Ok((Held::of(verified), sessions.replace_app_data(verified, &data)?))
        });
        let (mut held, sealed) = sealed.map_err(Problem::Session)??;
        let sealed = sealed.ok_or(Problem::Session(Refusal::Revoked))?;
        (held.deadlines, held.data) = (sealed.deadlines, data);
        (visit.session, visit.change) = (Ok(held), CookieChange::Set(sealed));
        Ok(())
    }

    /// Orderly end, to be awaited when the application serves no more: sign-ins and sign-outs under way are waited for, for at most
    /// ten seconds; sign-outs that the store did not take at first are tried until it has them, for at most ten more; and the store
    /// is closed. Afterwards no session begins, no sign-out is kept, and soon none is live. Without it such sign-outs are lost with
    /// the process. In memory there is nothing to keep.
    ///
    /// # Errors
    /// [`Problem::NotDurable`] if some are not kept: those sessions live on elsewhere, and here after the next start.
    pub async fn close(&self) -> Result<(), Problem> {
        if tokio::time::timeout(CHANGES_TIMEOUT, self.0.changes.finish()).await.is_err() {
            tracing::error!("requests that change something did not end in time: their outcome is not known");
        }
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.0.refusals.close().await
    }

    /// Ends the sessions that came with the request, and says whether those were all: not if one's key is not held here, though the
    /// directory was read again, or is revoked in this directory only. A key that the store refuses opens nothing on any node, and in
    /// memory no other key opens anything anywhere.
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

    /// Whether a token names a key that is not held here, or that other nodes may hold otherwise: they do not tell which keys they have.
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

    /// The site of the host that the request names.
    fn site(&self, request: &Request) -> Result<Site, Problem> {
        Ok(self.0.hosts.of_request(request.uri(), request.headers())?.site)
    }
}

fn json<T: Serialize>(data: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(data).map_err(|_| Problem::Data)
}

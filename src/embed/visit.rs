//! A request as the hoop sees it, and the change that its answer makes to the cookie: kept in the depot between the two.

use salvo::http::Request;
use salvo::prelude::Depot;

use super::{Inner, Jar, Problem};
use crate::clock::{Now, UnixTime};
use crate::id::Sid;
use crate::log_sampler::sampled;
use crate::seal::CookieName;
use crate::session::claims::{Claims, Flags};
use crate::session::lifetime::Deadlines;
use crate::session::{Identity, Refusal, SealError, SealedSession, Verified};
use crate::web::cookie::{self, CookieChange};
use crate::web::csrf;

/// A request under way. There is one for each, so its answer has at most one `Set-Cookie` of ours.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) session: Result<Held, Refusal>,
    pub(super) change: CookieChange,
    pub(super) cookie: CookieName,
}

/// A live session, copied out of the buffer that it was opened in.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) sid: Sid,
    pub(super) sub: String,
    pub(super) login_name: String,
    pub(super) display_name: String,
    pub(super) email: String,
    pub(super) roles: Vec<String>,
    pub(super) authenticated_at: UnixTime,
    pub(super) deadlines: Deadlines,
    pub(super) remembered: bool,
    pub(super) data: Vec<u8>,
}

impl Held {
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

    pub(super) fn of(session: &Verified<'_>) -> Self {
        let Claims { sid, identity, authenticated_at, flags, app_data, .. } = session.claims();
        Self::new(*sid, identity, *authenticated_at, session.deadlines(), *flags, app_data.to_vec())
    }
}

impl Jar {
    /// Whether the request is let in; then looks for its session, and renews it if it is time.
    pub(super) async fn visit(&self, request: &Request) -> Result<Visit, Problem> {
        let Inner { core, hosts, cookies, .. } = &*self.0;
        let headers = request.headers();
        let served = hosts.of_request(request.uri(), headers)?;
        csrf::check_for_app(request.method(), headers, &served.origin)?;
        let look = || {
            core.sessions.verify(cookie::fields(headers), served.site, Now::read(), |verified| {
                (Held::of(verified), core.sessions.renew(verified))
            })
        };
        let mut found = look();
        // A key that another node seals with already: the directory is read before its token is refused.
        if found.is_err()
            && let Some(reads) = &core.key_directory
            && self.lacks_key(headers)
        {
            reads.reread().await;
            found = look();
        }
        let (session, change) = match found {
            Ok((held, renewed)) => (Ok(held), renewed.map_or_else(not_renewed, set)),
            Err(refusal) => {
                if let Some(cause) = refusal.cause() {
                    sampled!(DEBUG, cause, "refused a token");
                }
                (Err(refusal), CookieChange::Keep)
            }
        };
        Ok(Visit::new(session, change, cookies.session().clone()))
    }
}

fn set(renewed: Option<SealedSession>) -> CookieChange {
    renewed.map_or(CookieChange::Keep, CookieChange::Set)
}

/// The session is live all the same.
fn not_renewed(error: SealError) -> CookieChange {
    sampled!(ERROR, %error, "a session could not be renewed");
    CookieChange::Keep
}

impl Visit {
    pub(super) fn new(session: Result<Held, Refusal>, change: CookieChange, cookie: CookieName) -> Self {
        Self { session, change, cookie }
    }

    /// That of this request, if it came through the hoop.
    pub(super) fn of(depot: &Depot) -> Result<&Self, Problem> {
        depot.get_typed().map_err(|_| Problem::NoHoop)
    }

    pub(super) fn of_mut(depot: &mut Depot) -> Result<&mut Self, Problem> {
        depot.get_typed_mut().map_err(|_| Problem::NoHoop)
    }
}

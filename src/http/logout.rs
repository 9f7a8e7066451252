//! `POST /auth/logout` and `POST /auth/logout/all`: refuse for good, and say so only when the disk has it.
//!
//! Every presented token that opens is revoked, even an idle-expired one, and however stale the list is. The removal cookie goes
//! out only with success: after a failure the browser still has what it needs to try again.

use std::sync::Arc;

use salvo::http::Request;
use salvo::http::header::CONTENT_TYPE;
use salvo::prelude::{Response, handler};
use serde_json::json;

use super::body::{self, MediaType};
use super::cookie::{self, CookieChange};
use super::problem::Problem;
use super::{App, Reply, respond};
use crate::clock::Now;
use crate::session::{Presented, Refusal};
use crate::store::Revoke;

/// Where a form goes on to.
const AFTER_SIGN_OUT: &str = "/auth/status";

/// `POST /auth/logout`: ends this session; idempotent.
pub(crate) struct Logout(pub(crate) Arc<App>);

#[handler]
impl Logout {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let now = Now::read();
        let presented = presented(&self.0, request, now);
        let revokes = presented.iter().map(Revoke::from).collect();
        respond(&self.0, now, end(&self.0, request, revokes).await, response);
    }
}

/// `POST /auth/logout/all`: ends every session of the subject. Needs a live session, as far as this server knows, or one that was
/// ended in this very way, so that it can be tried again.
pub(crate) struct LogoutAll(pub(crate) Arc<App>);

#[handler]
impl LogoutAll {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let now = Now::read();
        let presented = presented(&self.0, request, now);
        let outcome = match subject(&self.0, request, &presented, now) {
            Ok(all) => end(&self.0, request, presented.iter().map(Revoke::from).chain(all).collect()).await,
            Err(problem) => Err(problem),
        };
        respond(&self.0, now, outcome, response);
    }
}

/// The refusal of all sessions of the subject.
fn subject(app: &App, request: &Request, presented: &[Presented], now: Now) -> Result<Vec<Revoke>, Problem> {
    let all = |sub: &str, generation: u64| Revoke::Subject { sub: sub.into(), below: generation + 1 };
    let live = app.sessions.verify(cookie::fields(request.headers()), app.site(request)?, now, |session| {
        let claims = session.claims();
        all(claims.sub, claims.account_generation)
    });
    live.map(|all| vec![all]).or_else(|refusal| {
        let tried_again = |token: &&Presented| match refusal {
            // Ended already, but perhaps not on disk: the committer knows.
            Refusal::Revoked => token.generation_ended,
            // Signing out works on old knowledge too.
            Refusal::Stale => true,
            Refusal::Missing | Refusal::Invalid(_) | Refusal::Expired => false,
        };
        let found: Vec<_> =
            presented.iter().filter(tried_again).map(|token| all(&token.sub, token.account_generation)).collect();
        if found.is_empty() { Err(app.refused(refusal)) } else { Ok(found) }
    })
}

fn presented(app: &App, request: &Request, now: Now) -> Vec<Presented> {
    app.sessions.presented(cookie::fields(request.headers()), now)
}

async fn end(app: &App, request: &Request, revokes: Vec<Revoke>) -> Result<Reply, Problem> {
    let media_type = body::media_type(request.headers());
    if media_type.is_none() && request.headers().contains_key(CONTENT_TYPE) {
        return Err(Problem::MediaType);
    }
    for revoke in &revokes {
        match revoke {
            Revoke::Session { sid, .. } => tracing::info!(%sid, "signing out"),
            Revoke::Subject { sub, .. } => tracing::info!(%sub, "signing out everywhere"),
        }
    }
    app.committer.revoke(revokes).await.map_err(|_| Problem::NotDurable)?;
    let reply = match media_type {
        Some(MediaType::Form) => Reply::see_other(AFTER_SIGN_OUT),
        _ => Reply::json(&json!({ "signed_out": true })),
    };
    Ok(reply.cookie(CookieChange::Clear))
}

//! `POST /auth/logout` and `POST /auth/logout/all`: refuse for good, and say so only when the disk has it.
//!
//! Every presented token that opens is revoked, even an idle-expired one, and however stale the list is. The removal cookie goes
//! out only with success: after a failure the browser still has what it needs to try again.

use salvo::http::Request;

use crate::audit;
use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::json::{Object, name};
use crate::http::node_reports::NodeReports;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::return_url::ReturnUrl;
use crate::id::Kid;
use crate::keyring::NoKey;
use crate::metrics::{SIGN_OUTS, SignOut};
use crate::session::form::Bound;
use crate::session::{Presented, Refusal};
use crate::store::{Node, Revoke};
use crate::web::cookie::CookieChange;

/// Where a form goes on to.
const AFTER_SIGN_OUT: &str = "/auth/login?signed-out";

/// `POST /auth/logout`: ends this session; idempotent.
pub(crate) async fn logout(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let (submission, presented) = read(context, request).await?;
    end(context, &submission, &presented, Vec::new()).await
}

/// `POST /auth/logout/all`: ends every session of the subject. Needs a live session, as far as this server knows, or one that was
/// ended in this very way, so that it can be tried again.
pub(crate) async fn logout_all(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let (submission, presented) = read(context, request).await?;
    let all = subject(context, &presented)?;
    end(context, &submission, &presented, all).await
}

/// The refusal of all sessions of the subject.
fn subject(context: &Context, presented: &[Presented]) -> Result<Vec<Revoke>, Problem> {
    let all = |sub: &str, generation: u64| Revoke::Subject { sub: sub.into(), below: generation + 1 };
    let live = context.verify(context.site()?, context.now(), context.renewal_window(), |session| {
        let identity = &session.claims().identity;
        all(identity.sub, identity.account_generation)
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
        if found.is_empty() { Err(Problem::Session(refusal)) } else { Ok(found) }
    })
}

/// The body, and the sessions that came with the request. A form must be bound to one of them; the form of a page that was open
/// while its session was signed out elsewhere has nothing left to act on, and passes.
async fn read(context: &Context, request: &mut Request) -> Result<(Submission, Vec<Presented>), Problem> {
    let submission = Submission::read(context, request).await?;
    let presented = context.app.sessions.presented(context.cookies(), context.now());
    submission.check_token(context, |bound| {
        presented.is_empty() || presented.iter().any(|token| bound == Bound::Session(token.sid))
    })?;
    if is_known_elsewhere(context, &submission).await? {
        SIGN_OUTS.add(SignOut::KeyElsewhere as usize);
        return Err(Problem::KeyElsewhere);
    }
    Ok((submission, presented))
}

/// Whether a token that came with the request is of a key that this server does not open with, because it lacks it or it was revoked
/// here, and another opens with: then nobody here can tell whose session it is, and it may be alive there. A key that nobody opens
/// with opens nothing anywhere.
///
/// A revoked key counts only while that node may still serve: one that was killed has left a report that says nothing.
async fn is_known_elsewhere(context: &Context, submission: &Submission) -> Result<bool, Problem> {
    let app = &context.app;
    let not_opened: Vec<(Kid, NoKey)> =
        app.sessions.keys_not_opened(context.cookies(), app.cookies.session()).collect();
    if not_opened.is_empty() {
        return Ok(false);
    }
    // Anybody can make up a key, so the connection may be closed to make room while this waits.
    let _paused = submission.pause_work(NodeReports::TIMEOUT);
    let nodes = app.node_waits.run(context.client(), app.node_reports.next()).await?.ok_or(Problem::Store)?;
    let opens = |node: &Node, kid: Kid, reason: NoKey| {
        node.report.opens_with(kid) && (reason == NoKey::Unknown || node.may_serve())
    };
    Ok(nodes.iter().any(|node| not_opened.iter().any(|(kid, reason)| opens(node, *kid, *reason))))
}

/// Ends the sessions that came with the request and `all` those of their subjects.
async fn end(
    context: &Context,
    submission: &Submission,
    presented: &[Presented],
    all: Vec<Revoke>,
) -> Result<Reply, Problem> {
    let app = &context.app;
    let client = context.client();
    let tell = |new: &Revoke| match new {
        Revoke::Session { sid, .. } => {
            // A session that ended with its account's generation does not end again.
            if let Some(token) = presented.iter().find(|token| token.sid == *sid && !token.generation_ended) {
                audit::signing_out(*sid, &token.sub, client);
            }
        }
        Revoke::Subject { sub, .. } | Revoke::SubjectSoFar { sub, .. } => audit::signing_out_everywhere(sub, client),
    };
    let revokes = presented.iter().map(Revoke::from).chain(all).collect();
    let outcome = app.committer.revoke_telling(revokes, tell).await;
    SIGN_OUTS.add(if outcome.is_ok() { SignOut::Durable } else { SignOut::NotDurable } as usize);
    outcome.map_err(|_| Problem::NotDurable)?;
    let reply = if submission.is_form() {
        let rd = submission.return_url(context);
        Reply::see_other(rd.as_ref().map_or(AFTER_SIGN_OUT, ReturnUrl::as_str))
    } else {
        Reply::json(Object::new().boolean(name!("signed_out"), true))
    };
    Ok(reply.cookie(CookieChange::Clear))
}

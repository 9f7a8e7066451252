//! The routes `POST /auth/logout` and `POST /auth/logout/all`.
//!
//! Invariants:
//!
//! - A logout gets 200 only after the database has committed its entry.
//! - Every token of the request that can be opened is revoked, even if it is idle-expired, and even if the revocation list is
//!   stale.
//! - The response removes the cookie only if the logout succeeds. After a failure, the browser still has the cookie and can try
//!   again.

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
use crate::session::form::FormBinding;
use crate::session::{PresentedSession, Refusal};
use crate::store::{Node, Revocation};
use crate::web::cookie::CookieChange;

/// Page after the logout of a form without a return URL.
const AFTER_SIGN_OUT: &str = "/auth/login?signed-out";

/// Handles `POST /auth/logout`: ends the sessions that came with the request. A repeated logout also succeeds.
pub(crate) async fn logout(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let (submission, presented) = read(context, request).await?;
    end(context, &submission, &presented, Vec::new()).await
}

/// Handles `POST /auth/logout/all`: ends every session of the account. Requires a live session, or a session that an earlier
/// request to this route has ended, so that a client can repeat a request that failed. If the revocation list is stale, the
/// session counts as live.
pub(crate) async fn logout_all(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let (submission, presented) = read(context, request).await?;
    let account_entries = entries_for_all_sessions(context, &presented)?;
    end(context, &submission, &presented, account_entries).await
}

/// Returns the entries that revoke all sessions of the account.
fn entries_for_all_sessions(context: &Context, presented: &[PresentedSession]) -> Result<Vec<Revocation>, Problem> {
    let entry = |sub: &str, generation: u64| Revocation::Subject { sub: sub.into(), below: generation + 1 };
    let live = context.verify(context.site()?, context.now(), context.renewal_window(), |session| {
        let identity = &session.claims().identity;
        entry(identity.sub, identity.account_generation)
    });
    live.map(|entry| vec![entry]).or_else(|refusal| {
        let may_end_all = |token: &&PresentedSession| match refusal {
            // An earlier request has revoked all sessions of the account, perhaps without a commit. The committer waits for the
            // commit.
            Refusal::Revoked => token.is_generation_revoked,
            // A logout must work with a stale list, too.
            Refusal::Stale => true,
            Refusal::Missing | Refusal::Invalid(_) | Refusal::Expired => false,
        };
        let entries: Vec<_> =
            presented.iter().filter(may_end_all).map(|token| entry(&token.sub, token.account_generation)).collect();
        if entries.is_empty() { Err(Problem::Session(refusal)) } else { Ok(entries) }
    })
}

/// Reads the body, and returns it with the tokens that came with the request. A form must be bound to one of them. If there are
/// no tokens, every form passes: the session of its page was logged out elsewhere, and there is nothing to end.
async fn read(context: &Context, request: &mut Request) -> Result<(Submission, Vec<PresentedSession>), Problem> {
    let submission = Submission::read(context, request).await?;
    let presented = context.app.sessions.presented(context.cookies(), context.now());
    submission.check_token(context, |bound| {
        presented.is_empty() || presented.iter().any(|token| bound == FormBinding::Session(token.sid))
    })?;
    if may_be_live_on_other_node(context, &submission).await? {
        SIGN_OUTS.add(SignOut::KeyElsewhere as usize);
        return Err(Problem::KeyElsewhere);
    }
    Ok((submission, presented))
}

/// Returns whether another node can open a token of the request that this server cannot open. This server either does not have
/// the key, or the key is revoked here. So it cannot read the session id, and cannot end the session, which may be live on the
/// other node.
///
/// The reports of the nodes list their keys. If the key is revoked here, the report of a node counts only if the node may still
/// be running, because the last report of a node that was killed stays in the store.
async fn may_be_live_on_other_node(context: &Context, submission: &Submission) -> Result<bool, Problem> {
    let app = &context.app;
    let not_opened: Vec<(Kid, NoKey)> = app.sessions.unusable_keys(context.cookies(), app.cookies.session()).collect();
    if not_opened.is_empty() {
        return Ok(false);
    }
    // Any client can send an invented key id. So the connection may be evicted during this wait.
    let _paused = submission.pause_work(NodeReports::TIMEOUT);
    let nodes =
        app.node_report_waits.run(context.client(), app.node_reports.read_next()).await?.ok_or(Problem::Store)?;
    let can_open = |node: &Node, kid: Kid, reason: NoKey| {
        node.report.opens_with(kid) && (reason == NoKey::Unknown || node.may_serve())
    };
    Ok(nodes.iter().any(|node| not_opened.iter().any(|(kid, reason)| can_open(node, *kid, *reason))))
}

/// Revokes the sessions that came with the request, and adds `account_entries`. Waits for the commit.
async fn end(
    context: &Context,
    submission: &Submission,
    presented: &[PresentedSession],
    account_entries: Vec<Revocation>,
) -> Result<Reply, Problem> {
    let app = &context.app;
    let client = context.client();
    let write_audit_event = |new: &Revocation| match new {
        Revocation::Session { sid, .. } => {
            // If all sessions of the account were revoked before, an audit event for them was already written.
            if let Some(token) = presented.iter().find(|token| token.sid == *sid && !token.is_generation_revoked) {
                audit::signing_out(*sid, &token.sub, client);
            }
        }
        Revocation::Subject { sub, .. } | Revocation::SubjectUntilCommit { sub, .. } => {
            audit::signing_out_everywhere(sub, client)
        }
    };
    let revokes = presented.iter().map(Revocation::from).chain(account_entries).collect();
    let outcome = app.committer.revoke_with(revokes, write_audit_event).await;
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

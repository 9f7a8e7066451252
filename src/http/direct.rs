//! The routes that are asked all the time, on the shortest way: one handler and no hoop, answered at once from memory.
//!
//! Whatever hoops do for other routes happens here in plain calls: a panic becomes a 500, an answer gets the edge's fields, and if a
//! token names a key that is not held, the ring is read again and the answer made once more (`reread.rs`). Only a token that is
//! refused is looked at for that.

use std::panic::{AssertUnwindSafe, catch_unwind};

use salvo::http::{Request, StatusCode};
use salvo::prelude::Response;

use super::problem::Problem;
use super::reply::{Reply, respond};
use super::{App, cookie, edge};
use crate::clock::Now;
use crate::id::Site;
use crate::metrics::{VERIFICATIONS, Verification};
use crate::session::{Refusal, Verified};

/// Whether the key ring was read for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// Not yet.
    AsItIs,
    /// It was, or there was no need.
    JustRead,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    Problem(Problem),
    /// No token is live, and one names a key that may be in the ring's directory by now.
    LacksKey,
}

impl<P: Into<Problem>> From<P> for Unanswered {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

/// Writes the answer that `answer` makes.
pub(super) async fn respond_directly(
    app: &App,
    request: &Request,
    response: &mut Response,
    answer: impl Fn(&mut Response, Now, Ring) -> Result<Reply, Unanswered>,
) {
    let mut now = Now::read();
    let mut outcome = caught(|| answer(response, now, Ring::AsItIs));
    if let Err(Unanswered::LacksKey) = outcome {
        app.ring_reads.next().await;
        now = Now::read();
        outcome = caught(|| answer(response, now, Ring::JustRead));
    }
    let outcome = outcome.map_err(|unanswered| match unanswered {
        Unanswered::Problem(problem) => problem,
        Unanswered::LacksKey => unreachable!("nobody asks for a second reading"),
    });
    VERIFICATIONS.add(verification(&outcome) as usize);
    let is_complete = outcome.as_ref().is_ok_and(Reply::is_complete);
    respond(app, request.headers(), now, outcome, response);
    if !is_complete {
        edge::complete(app, request, response);
    }
}

/// How the outcome is counted.
fn verification(outcome: &Result<Reply, Problem>) -> Verification {
    match outcome {
        Ok(_) => Verification::Live,
        Err(Problem::Session(refusal)) => match refusal {
            Refusal::Missing => Verification::Missing,
            Refusal::Invalid(_) => Verification::Invalid,
            Refusal::Expired => Verification::Expired,
            Refusal::Revoked => Verification::Revoked,
            Refusal::Stale => Verification::Stale,
        },
        Err(Problem::StepUp) => Verification::StepUp,
        Err(Problem::Role) => Verification::Forbidden,
        Err(problem) if problem.status().is_server_error() => Verification::Error,
        Err(_) => Verification::BadRequest,
    }
}

/// What the panic says goes to standard error, as any does.
fn caught(answer: impl FnOnce() -> Result<Reply, Unanswered>) -> Result<Reply, Unanswered> {
    // Nothing that is changed on the way outlives the request but counters and locks that a panic leaves whole.
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        tracing::error!("making an answer panicked; it is 500");
        Err(Unanswered::Problem(Problem::Status(StatusCode::INTERNAL_SERVER_ERROR)))
    })
}

impl App {
    /// Hands the live session to `accept`.
    pub(super) fn verify<R>(
        &self,
        request: &Request,
        site: Site,
        now: Now,
        ring: Ring,
        accept: impl FnOnce(&Verified<'_>) -> R,
    ) -> Result<R, Unanswered> {
        let fields = || cookie::fields(request.headers());
        self.sessions.verify(fields(), site, now, accept).map_err(|refusal| {
            if ring == Ring::AsItIs && self.sessions.lacks_key_of_cookies(fields(), self.cookies.session()) {
                Unanswered::LacksKey
            } else {
                self.refused(request, refusal).into()
            }
        })
    }
}

//! The routes that are asked all the time, on the shortest way: one handler and no hoop but the edge, answered at once from memory.
//!
//! Whatever hoops do for other routes happens here in plain calls: a panic becomes a 500, and if a token names a key that is not
//! held, the ring is read again and the answer made once more (`reread.rs`). Only a token that is refused is looked at for that.

use std::panic::{AssertUnwindSafe, catch_unwind};

use salvo::http::{Method, Request, StatusCode};
use salvo::prelude::{Response, Router};

use super::problem::Problem;
use super::reply::{Reply, respond};
use super::{App, cookie};
use crate::clock::Now;
use crate::id::Site;
use crate::session::Verified;

/// A route for GET and HEAD of a target with exactly this path: one comparison. For other spellings and other methods the same
/// route stands further below, with filters that Salvo can read.
pub(super) fn reads(path: &'static str) -> Router {
    exactly(path, |request| [Method::GET, Method::HEAD].contains(request.method()))
}

/// The same for any method.
pub(super) fn any(path: &'static str) -> Router {
    exactly(path, |_| true)
}

fn exactly(path: &'static str, fits: fn(&Request) -> bool) -> Router {
    Router::with_filter_fn(move |request, state| {
        let is_it = request.uri().path() == path && fits(request);
        if is_it {
            state.forward(path.len());
        }
        is_it
    })
}

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
    request: &mut Request,
    response: &mut Response,
    answer: impl Fn(&Request, &mut Response, Now, Ring) -> Result<Reply, Unanswered>,
) {
    let mut now = Now::read();
    let mut outcome = caught(|| answer(request, response, now, Ring::AsItIs));
    if let Err(Unanswered::LacksKey) = outcome {
        app.ring_reads.next().await;
        now = Now::read();
        outcome = caught(|| answer(request, response, now, Ring::JustRead));
    }
    let outcome = outcome.map_err(|unanswered| match unanswered {
        Unanswered::Problem(problem) => problem,
        Unanswered::LacksKey => unreachable!("nobody asks for a second reading"),
    });
    respond(app, request.headers(), now, outcome, response);
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

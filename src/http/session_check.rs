//! The check of a request's session: verify, renew in passing, answer. No I/O, no waiting.

use crate::audit;
use crate::clock::Now;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::return_url::ReturnUrl;
use crate::id::Site;
use crate::log_sampler::sampled;
use crate::metrics::{COPIED_SESSIONS, RENEWALS};
use crate::session::claims::Claims;
use crate::session::lifetime::{Deadlines, RenewalWindow};
use crate::session::{Presented, Refusal, SealedSession, Verified};
use crate::web::cookie::{CookieChange, renewal_window};

impl Context {
    /// Hands the live session of a site to `accept`. A session whose cookie is used in two places ends here. `window` is that of the
    /// visitor's request.
    ///
    /// # Errors
    /// The refusal of the cookie that came furthest.
    pub(super) fn verify<R>(
        &self,
        site: Site,
        now: Now,
        window: RenewalWindow,
        accept: impl FnOnce(&Verified<'_>) -> R,
    ) -> Result<R, Refusal> {
        let end = |copied| self.end_copied(&copied);
        self.app.sessions.verify_and_detect(self.cookies(), site, now, window, end, accept)
    }

    /// Ends a session of which there is a copy. It is refused already, and nothing waits for the store.
    #[cold]
    fn end_copied(&self, copied: &Presented) {
        COPIED_SESSIONS.add(0);
        self.in_span(|| audit::session_copied(copied.sid, &copied.sub, self.client()));
        self.app.committer.revoke_later(copied.into());
    }

    /// Returns whether this refusal may be due to a key that was not held here. It may be in the key directory by now.
    pub(super) fn lacked_session_key(&self, refusal: Refusal) -> bool {
        self.app.sessions.lacked_key(self.cookies(), refusal)
    }

    /// Returns whether a session's cookie, or that of a sign-in form, names a key that is not held here.
    pub(super) fn lacks_key(&self) -> bool {
        let lacks = |cookie| self.app.sessions.lacks_key_of_cookies(self.cookies(), cookie);
        lacks(self.app.cookies.session()) || lacks(&self.app.cookies.form)
    }

    /// Returns from when on the answer to this request, which is not about another one, may renew the session.
    pub(super) fn renewal_window(&self) -> RenewalWindow {
        renewal_window(Some(self.method()))
    }

    /// Answers with what `answer` makes of the live session and its deadlines. Renews the session if it is time.
    pub(super) fn with_session(
        &self,
        site: Site,
        now: Now,
        answer: impl FnOnce(&Claims<'_>, Deadlines) -> Result<Reply, Problem>,
    ) -> Result<Reply, Problem> {
        let window = self.renewal_window();
        let answered = self.verify(site, now, window, |session| {
            let renewed = self.renewed(session, window);
            let deadlines = renewed.as_ref().map_or_else(|| session.deadlines(), |renewed| renewed.deadlines);
            let reply = answer(session.claims(), deadlines)?;
            Ok(reply.cookie(renewed.map_or(CookieChange::Keep, CookieChange::Set)))
        });
        answered.map_err(Problem::Session)?
    }

    /// Renews a session if it is time for an answer of this kind. If that fails, the session goes on as it is.
    pub(super) fn renewed(&self, session: &Verified<'_>, window: RenewalWindow) -> Option<SealedSession> {
        let renewed = self.app.sessions.renew(session, window).unwrap_or_else(|error| {
            sampled!(ERROR, %error, "a session could not be renewed and goes on as it is");
            None
        });
        if renewed.is_some() {
            RENEWALS.add(0);
        }
        renewed
    }

    /// Returns the return URL in the query, if it is a good one.
    pub(super) fn return_url(&self) -> Option<ReturnUrl> {
        ReturnUrl::of_query(self.uri().query(), &self.served().ok()?.origin, &self.app.hosts)
    }

    /// Sends a browser that has no live session to the sign-in page, and from there back `here`.
    pub(super) fn or_sign_in(&self, here: &ReturnUrl, outcome: Result<Reply, Problem>) -> Result<Reply, Problem> {
        match outcome {
            Err(problem) if problem.is_cured_by_sign_in() && self.is_navigation() => {
                // A sign-in leads home by itself, and home may be a URL that is no return URL.
                let rd = (*here != self.app.pages.home).then_some(here.as_str());
                Ok(Reply::found(&ReturnUrl::at_page("/auth/login", rd)).because(problem))
            }
            outcome => outcome,
        }
    }
}

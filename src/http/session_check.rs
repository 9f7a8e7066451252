//! Check and renewal of the session of a request. Nothing here does I/O or waits.
//!
//! Methods of [`Context`], which the handlers of the public routes call. The rules of a session are in `session/verify.rs`.

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
use crate::session::{PresentedSession, Refusal, SealedSession, Verified};
use crate::web::cookie::{CookieChange, renewal_window};

impl Context {
    /// Verifies the session of a site, and calls `accept` with it if it is live. Ends the session if its cookie was copied
    /// (`session/copy_detection.rs`). `window` is the renewal window for the client's request.
    ///
    /// # Errors
    /// The reason for the refusal. If several cookies were refused, the reason belongs to the cookie that passed the most checks.
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

    /// Ends a session whose cookie was copied. The revocation list refuses it already. The entry is committed in the background.
    #[cold]
    fn end_copied(&self, copied: &PresentedSession) {
        COPIED_SESSIONS.add(0);
        self.in_span(|| audit::session_copied(copied.sid, &copied.sub, self.client()));
        self.app.committer.revoke_later(copied.into());
    }

    /// Returns whether the session may have been refused because its key was not in the key ring. The key may be in the key
    /// directory by now.
    pub(super) fn was_refused_for_unknown_key(&self, refusal: Refusal) -> bool {
        self.app.sessions.may_have_lacked_key(self.cookies(), refusal)
    }

    /// Returns whether a session cookie or a login form cookie names a key that is not in the key ring.
    pub(super) fn has_unknown_key(&self) -> bool {
        let names_unknown_key = |cookie| self.app.sessions.lacks_key_of_cookies(self.cookies(), cookie);
        names_unknown_key(self.app.cookies.session()) || names_unknown_key(&self.app.cookies.form)
    }

    /// Returns the renewal window for the response to this request. The window of a verify request depends on
    /// the client request instead.
    pub(super) fn renewal_window(&self) -> RenewalWindow {
        renewal_window(Some(self.method()))
    }

    /// Returns the reply that `respond` creates from the live session and its deadlines. Renews the session if it is due.
    pub(super) fn with_session(
        &self,
        site: Site,
        now: Now,
        respond: impl FnOnce(&Claims<'_>, Deadlines) -> Result<Reply, Problem>,
    ) -> Result<Reply, Problem> {
        let window = self.renewal_window();
        let outcome = self.verify(site, now, window, |session| {
            let renewed = self.renew(session, window);
            let deadlines = renewed.as_ref().map_or_else(|| session.deadlines(), |renewed| renewed.deadlines);
            let reply = respond(session.claims(), deadlines)?;
            Ok(reply.cookie(renewed.map_or(CookieChange::Keep, CookieChange::Set)))
        });
        outcome.map_err(Problem::Session)?
    }

    /// Returns the renewed session, or `None` if it is not due in this window. If sealing fails, the session continues unchanged.
    pub(super) fn renew(&self, session: &Verified<'_>, window: RenewalWindow) -> Option<SealedSession> {
        let renewed = self.app.sessions.renew(session, window).unwrap_or_else(|error| {
            sampled!(ERROR, %error, "session renewal failed: the session continues with its old deadline");
            None
        });
        if renewed.is_some() {
            RENEWALS.add(0);
        }
        renewed
    }

    /// Returns the return URL in the query, if it is valid.
    pub(super) fn return_url(&self) -> Option<ReturnUrl> {
        ReturnUrl::of_query(self.uri().query(), &self.served().ok()?.origin, &self.app.hosts)
    }

    /// Redirects a navigation without a live session to the login page, which returns to `return_url`. Other outcomes stay
    /// unchanged.
    pub(super) fn redirect_to_login(
        &self,
        return_url: &ReturnUrl,
        outcome: Result<Reply, Problem>,
    ) -> Result<Reply, Problem> {
        match outcome {
            Err(problem) if problem.needs_login() && self.is_navigation() => {
                // Without `rd`, a login leads to `pages.home`, which may be a URL that is not valid in `rd`.
                let rd = (*return_url != self.app.pages.home).then_some(return_url.as_str());
                Ok(Reply::found(&ReturnUrl::at_page("/auth/login", rd)).with_problem(problem))
            }
            outcome => outcome,
        }
    }
}

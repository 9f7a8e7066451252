//! A token that names a key which is not held: the key ring is read again before anybody judges the token.
//!
//! Another node may seal already with a key that came to the directory since this one looked. So a request that brings such a
//! token waits for a read that begins after it asked, and goes on to its handler only then, whichever that is; a sign-out must
//! know its sessions as much as a check. Many wait for one read, and of reads there are ten a second at most (`sync/key_directory.rs`).
//! A request whose keys are all held does not wait: for it this is a look at twelve characters. Anybody can make up a key, so only a
//! few may wait at once (`key_waits.rs`). (A form's token comes in the body; `Submission::read` looks at it in the same way. The
//! routes in `direct.rs` look only if no token is live.)

use salvo::http::Request;
use salvo::prelude::{Depot, FlowCtrl, Handler, Response, async_trait};

use super::cookie;
use super::live::Live;
use super::reply;

/// The hoop before every handler that looks at a session or at the cookie of the sign-in form, but for those in `direct.rs`, which
/// look at the key only if there is no live session.
pub(crate) struct Reread {
    pub(crate) app: Live,
    /// The page of this route is shown without a wait if too many wait: it is where whoever's key is gone gets another cookie.
    pub(crate) shows_page: bool,
}

#[async_trait]
impl Handler for Reread {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        let app = self.app.hold();
        let lacks_key = [app.cookies.session(), &app.cookies.form]
            .into_iter()
            .any(|name| app.sessions.lacks_key_of_cookies(cookie::fields(request.headers()), name));
        if lacks_key
            && let Err(problem) = app.ring_waits.run(app.client(request), app.key_directory.reread()).await
            && !(self.shows_page && request.method().is_safe())
        {
            reply::refuse(&app, request.headers(), problem, response);
            ctrl.skip_rest();
            return;
        }
        ctrl.call_next(request, depot, response).await;
    }
}

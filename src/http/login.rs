//! `POST /auth/login`: a name and a password, and a fresh session for them.

pub(crate) mod page;

use salvo::http::Request;
use salvo::prelude::{Response, handler};

use super::authenticate::{Manner, authenticate, begin};
use super::body::Submission;
use super::cookie::{self, CookieChange};
use super::live::Live;
use super::problem::Problem;
use super::reply::{Reply, respond};
use super::{App, browser, password};
use crate::account::credentials::{BadBody, Credentials};
use crate::audit::Purpose;
use crate::clock::Now;
use crate::session::form::Bound;
use page::Entry;

/// `POST /auth/login`.
pub(crate) struct Login(pub(crate) Live);

#[handler]
impl Login {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let app = &*self.0.hold();
        let mut entry = Entry::default();
        let outcome = match sign_in(app, request, &mut entry).await {
            Err(Problem::MustChange) if browser::is_navigation(request.headers()) => {
                let page = password::first_page(app, request, Now::read(), &entry, None);
                page.map(|reply| reply.status(Problem::MustChange.status()))
            }
            Err(problem) if browser::is_navigation(request.headers()) => {
                page::again(app, request, Now::read(), &entry, problem)
            }
            outcome => outcome,
        };
        respond(app, request.headers(), Now::read(), outcome, response);
    }
}

/// Signs in; `entry` is filled with what the form is to show again if it fails.
async fn sign_in(app: &App, request: &mut Request, entry: &mut Entry) -> Result<Reply, Problem> {
    let submission = Submission::read(app, request).await?;
    *entry = Entry::of_submission(&submission, &app.hosts);
    let form = app.sessions.sign_in_form(cookie::fields(request.headers()), &app.cookies.form, Now::read());
    submission.check_token(app, |bound| Some(bound) == form.map(Bound::SignIn))?;
    let Credentials { login_name, password, remember } =
        Credentials::parse(submission.required_type()?, &submission.body)?;
    let checked = authenticate(app, request, Purpose::SignIn, login_name, password).await?;
    let manner = Manner { purpose: Purpose::SignIn, remember, app_data: &[] };
    let (session, view) = begin(app, request, &checked, manner).await?;
    let reply = if submission.is_form() { Reply::see_other(entry.rd().as_str()) } else { view };
    Ok(reply.cookie(CookieChange::Set(session)))
}

impl From<BadBody> for Problem {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::NotJson => Self::NotJson,
            BadBody::LoginName => Self::LoginName(bad.hint()),
            BadBody::Fields(_) | BadBody::PasswordLength => Self::Fields(bad.hint()),
        }
    }
}

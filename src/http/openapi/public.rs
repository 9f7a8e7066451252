//! The public routes, described.

use std::time::Duration;

use salvo::http::StatusCode;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{Components, ObjectBuilder, Type, empty};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

use crate::account::credentials::{PasswordChangeBody, SignInBody, StepUpBody};
use crate::http::openapi::described::Described;
use crate::http::openapi::operation::{
    self, HTML, JSON, SESSION, Shared, number, object, page, parameter, string, string_like,
};
use crate::http::problem::Problem;
use crate::http::session_view::SessionView;
use crate::seal::TooLarge;
use crate::session::{Cause, Refusal, SealError};
use crate::web::cookie::Cookies;

pub(super) const INTRODUCTION: &str = "\
Sessions that live in the browser, sealed into one cookie.

Every answer is one of two kinds. A browser's navigation (`Sec-Fetch-Mode: navigate`, or an `Accept` that names `text/html`) \
gets pages and redirects; anything else gets JSON, and problems as RFC 9457 has them, with a `reason` of a closed list.

What a browser sends with a method other than GET and HEAD must come from this site, by `Sec-Fetch-Site` or else by `Origin`; if \
it is no JSON, it must also carry the `csrf_token` of its page or session, as a field of the form or in `X-CSRF-Token`. Programs \
that send neither field need no token.

A method that a resource has not is answered with 405 and `Allow`, any other path with 404, both as a problem. What is no HTTP, \
or has a head that is too long, is answered with 400, 414 or 431 and no body. A request \
over HTTP/2 may be answered with 503 and no body, if too many others are unfinished.";

const AUTH: &str = "session";
const OTHER: &str = "other";

pub(super) const FAILED: Problem = Problem::Status(StatusCode::INTERNAL_SERVER_ERROR);
/// What any route but those for proxies may answer.
const ADMITTED: [Problem; 4] = [Problem::Authority, Problem::Misdirected, Problem::TooLarge, FAILED];
/// What anything that takes a body may answer.
const SUBMITTED: [Problem; 5] =
    [Problem::CrossSite, Problem::FormToken, Problem::MediaType, Problem::Incomplete, Problem::Slow];
const MALFORMED: [Problem; 2] = [Problem::NotJson, Problem::Fields("the body has other fields, or of other types")];
pub(super) const NO_SESSION: [Problem; 6] = [
    Problem::Session(Refusal::Missing),
    Problem::Session(Refusal::Invalid(Cause::Malformed)),
    Problem::Session(Refusal::Expired),
    Problem::Session(Refusal::Revoked),
    STALE,
    Problem::KeyWaits,
];
const STALE: Problem = Problem::Session(Refusal::Stale);
const NO_KEY: Problem = Problem::Seal(SealError::NoActiveKey);
/// What may come of a password.
const PASSWORD: [Problem; 10] = [
    Problem::Credentials,
    Problem::MustChange,
    Problem::Throttled(Duration::ZERO),
    Problem::Busy,
    Problem::KeyWaits,
    Problem::Store,
    Problem::NotDurable,
    STALE,
    NO_KEY,
    Problem::Seal(SealError::TooLarge(TooLarge { bytes: 0 })),
];
const SIGNED_OUT: [Problem; 4] = [Problem::NotDurable, Problem::KeyElsewhere, Problem::KeyWaits, Problem::Store];
pub(super) const RENEWED: &str = "The session, renewed, if a tenth of its idle time has gone.";
const BEGUN: &str = "The fresh session.";

pub(super) fn resources(shared: &mut Shared) -> Vec<Described> {
    let mut all = sessions(shared);
    all.extend(passwords(shared));
    let style = public("style", OTHER, "The pages' style sheet.")
        .content(StatusCode::OK, "text/css", string(), "The style sheet.")
        .build(shared);
    all.push(Described::at("/auth/style.css").get(style));
    all.push(
        Described::at("/openapi.json").get(description(public("description", OTHER, "This description."), shared)),
    );
    all
}

/// The session's cookie, as it is called under the settings in force.
pub(super) fn security(mut components: Components, cookies: &Cookies) -> Components {
    let text = "The sealed session. It is called `__Host-sealjar`; with `cookie.domain`, `__Secure-sealjar`; with `cookie.plain_http`, `sealjar-insecure`.";
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description(cookies.session().as_str(), text));
    components.add_security_scheme(SESSION, SecurityScheme::ApiKey(cookie));
    components
}

fn public(id: &str, tag: &str, summary: &str) -> operation::Described {
    operation::Described::public(id, tag, summary).problems(&ADMITTED)
}

/// A method that changes something.
fn change(id: &str, summary: &str) -> operation::Described {
    let token = "The `csrf_token`, where the body is no form that has it.";
    public(id, AUTH, summary).problems(&SUBMITTED).parameter(parameter(
        ParameterIn::Header,
        "X-CSRF-Token",
        string(),
        token,
    ))
}

fn rd(text: &str) -> Parameter {
    parameter(ParameterIn::Query, "rd", string(), text)
}

fn sessions(shared: &mut Shared) -> Vec<Described> {
    const OK: StatusCode = StatusCode::OK;
    let session = shared.of::<SessionView<'_>>();
    let status = public("status", AUTH, "The session.")
        .text("As JSON or, for a navigation, as a page. Renews the session in passing.")
        .session(false)
        .problems(&NO_SESSION)
        .problems(&[NO_KEY])
        .content(OK, JSON, session, "The session.")
        .content(OK, HTML, page(), "")
        .sets_cookie(OK, false, RENEWED);
    let protected = public("protected", OTHER, "A sample of what only a live session sees.")
        .session(false)
        .problems(&NO_SESSION)
        .content(OK, JSON, object([("message", string().into()), ("login_name", string().into())]), "A greeting.")
        .sets_cookie(OK, false, RENEWED)
        .redirect(StatusCode::FOUND, "To sign in, for a navigation without a session.");
    let times = object([("idle_deadline", number().into()), ("absolute_deadline", number().into())]);
    let renew = public("renew", AUTH, "Renews the session.")
        .text("For browsers behind proxies that drop the cookie of a verify answer, and for scripts of pages that stay open.")
        .session(false)
        .problems(&NO_SESSION)
        .parameter(rd("Where to go then. Passed over if it leads away from here."))
        .content(OK, JSON, times, "The session's deadlines, if there is no `rd`.")
        .sets_cookie(OK, false, RENEWED)
        .redirect(StatusCode::FOUND, "To `rd`; or to sign in, for a navigation without a session.")
        .sets_cookie(StatusCode::FOUND, false, RENEWED);
    let logout = sign_out("logout", "Ends this session.")
        .text("Every copy of the cookie is dead once this is answered. Without a session there is nothing to do, and it is done.")
        .session(true);
    let everywhere = sign_out("logoutAll", "Ends every session of the account.").session(false).problems(&NO_SESSION);
    vec![
        Described::at("/auth/status").get(status.build(shared)),
        Described::at("/protected").get(protected.build(shared)),
        Described::at("/auth/renew").get(renew.build(shared)),
        Described::at("/auth/logout").post(logout.build(shared)),
        Described::at("/auth/logout/all").post(everywhere.build(shared)),
    ]
}

fn sign_out(id: &str, summary: &str) -> operation::Described {
    let form = ObjectBuilder::new().property("csrf_token", string()).property("rd", string()).build();
    let done = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
    let removed = "Removes the session's cookie.";
    change(id, summary)
        .body(Required::False, empty(), form)
        .problems(&SIGNED_OUT)
        .content(StatusCode::OK, JSON, object([("signed_out", done.into())]), "Done, for good.")
        .sets_cookie(StatusCode::OK, true, removed)
        .redirect(StatusCode::SEE_OTHER, "Done, for a form: to `rd` or to the sign-in form.")
        .sets_cookie(StatusCode::SEE_OTHER, true, removed)
}

fn passwords(shared: &mut Shared) -> Vec<Described> {
    const OK: StatusCode = StatusCode::OK;
    let session = shared.of::<SessionView<'_>>();
    let begins = |operation: operation::Described, to: &str| {
        operation
            .problems(&MALFORMED)
            .problems(&PASSWORD)
            .content(OK, JSON, session.clone(), "The session that has begun.")
            .sets_cookie(OK, true, BEGUN)
            .redirect(StatusCode::SEE_OTHER, to)
            .sets_cookie(StatusCode::SEE_OTHER, true, BEGUN)
    };
    let form = |id, summary| {
        public(id, AUTH, summary)
            .content(OK, HTML, page(), "The form.")
            .sets_cookie(
                OK,
                false,
                "What binds the form to this browser, if there is no session; or the session, renewed.",
            )
            .problems(&[NO_KEY])
    };
    let to_sign_in = "To sign in, for a navigation without a session.";
    let sign_in_page = form("loginForm", "The sign-in form.")
        .text("`?signed-out` makes it say that one is signed out.")
        .parameter(rd("Where to go after the sign-in. Passed over if it leads away from here."));
    let (json, fields) = (shared.of::<SignInBody>(), shared.of_form::<SignInBody>());
    let login = change("login", "Signs in.").body(Required::True, json, fields).text(
        "Ends the sessions that came with the request. What `csrf_token` proves is that the form is of this browser: its page sets a cookie.",
    );
    let login = begins(login, "The session has begun, for a form: to `rd` or to the session.");
    let reauthenticate_page = form("reauthenticateForm", "The form to give the password again.")
        .session(false)
        .problems(&NO_SESSION)
        .parameter(rd("Where to go then. Passed over if it leads away from here."))
        .redirect(StatusCode::FOUND, to_sign_in);
    let (json, fields) = (shared.of::<StepUpBody>(), shared.of_form::<StepUpBody>());
    let reauthenticate = change("reauthenticate", "Takes the password again, for a fresh session.")
        .session(false)
        .body(Required::True, json, fields)
        .problems(&NO_SESSION);
    let reauthenticate = begins(reauthenticate, "The session has begun, for a form: to `rd` or to the session.");
    let password_page = form("passwordForm", "The form to change the password.")
        .session(false)
        .problems(&NO_SESSION)
        .redirect(StatusCode::FOUND, to_sign_in);
    let (json, fields) = (shared.of::<PasswordChangeBody>(), shared.of_form::<PasswordChangeBody>());
    let password = change("password", "Changes the own password, and ends all other sessions of the account.")
        .session(true)
        .body(Required::True, json, fields)
        .problems(&NO_SESSION);
    let password = begins(password, "The session has begun, for a form: to the session, or beside `login` to `rd`.");
    vec![
        Described::at("/auth/login").get(sign_in_page.build(shared)).post(login.build(shared)),
        Described::at("/auth/password").get(password_page.build(shared)).post(password.build(shared)),
        Described::at("/auth/reauthenticate").get(reauthenticate_page.build(shared)).post(reauthenticate.build(shared)),
    ]
}

/// `GET /openapi.json`, of either listener.
pub(super) fn description(operation: operation::Described, shared: &mut Shared) -> Operation {
    let tag = || string_like("^\"[A-Za-z0-9_-]{43}\"$");
    let known = "The tag of a description that is held, which is sent again only if it has changed.";
    operation
        .parameter(parameter(ParameterIn::Header, "If-None-Match", string(), known))
        .content(StatusCode::OK, JSON, ObjectBuilder::new().schema_type(Type::Object).build(), "The description.")
        .header(StatusCode::OK, "ETag", true, tag(), "A tag of just this description.")
        .bare(StatusCode::NOT_MODIFIED, "It has not changed.")
        .header(StatusCode::NOT_MODIFIED, "ETag", true, tag(), "A tag of just this description.")
        .build(shared)
}

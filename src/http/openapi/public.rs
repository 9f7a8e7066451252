//! OpenAPI description of the routes of the public listener, except the verify routes.

use std::time::Duration;

use salvo::http::StatusCode;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{Components, ObjectBuilder, Type, empty};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

use crate::account::credentials::{PasswordChangeBody, SignInBody, StepUpBody};
use crate::http::openapi::operation::{
    self, HTML, JSON, SESSION, SharedComponents, number, object, page, parameter, string, string_like,
};
use crate::http::openapi::resource::Resource;
use crate::http::problem::Problem;
use crate::http::session_view::SessionView;
use crate::seal::TooLarge;
use crate::session::{Cause, Refusal, SealError};
use crate::web::cookie::Cookies;

pub(super) const INTRODUCTION: &str = "\
Sessions that are stored in the browser, encrypted in one cookie.

A request is a navigation if it has `Sec-Fetch-Mode: navigate`, or if its `Accept` names `text/html` and it has \
`Sec-Fetch-Mode: same-origin` or no `Sec-Fetch-Mode`. With `Sec-Fetch-Dest: empty`, its `Accept` must name `text/html` in any \
case. Navigations get errors as pages. All other requests get them as problem details (RFC 9457), with a `reason` from a closed \
list. The response to a form that succeeds is a redirect.

A request from a browser with a method other than GET and HEAD must come from this site. The server checks `Sec-Fetch-Site`, or \
`Origin` if that is absent. If `Content-Type` is not `application/json`, the request must also contain the `csrf_token` of its \
page or session: as a field of the form, or in `X-CSRF-Token`. A client that does not send `Sec-Fetch-Site` or `Origin` needs no token. The \
forward authentication routes do not check this, unless the rule `csrf` requires it.

A request for an unknown path gets 404 with the reason `not-found`. A request with a method that its path does not support gets \
405 with the reason `method` and the field `Allow`. A request that is not valid HTTP gets 400 without a body. A request head that \
is longer than 32 KiB, or has more than 100 fields, gets 431: over HTTP/2 with too many fields, the body is a line of text, \
otherwise there is no body. Over HTTP/2, a request gets 503 without a body if unfinished requests use too much memory.";

const OK: StatusCode = StatusCode::OK;
const AUTH: &str = "session";
const OTHER: &str = "other";

pub(super) const FAILED: Problem = Problem::Status(StatusCode::INTERNAL_SERVER_ERROR);
/// Problems of every route except the verify routes.
const COMMON_PROBLEMS: [Problem; 4] = [Problem::Authority, Problem::Misdirected, Problem::TooLarge, FAILED];
/// Problems of the routes that are served for every host.
const ANY_HOST_PROBLEMS: [Problem; 3] = [Problem::Authority, Problem::TooLarge, FAILED];
/// Problems of every route that reads a body.
const BODY_PROBLEMS: [Problem; 6] = [
    Problem::CrossSite,
    Problem::FormToken,
    Problem::MediaType,
    Problem::ContentEncoding,
    Problem::Incomplete,
    Problem::Slow,
];
/// Problems of a body that is not empty.
const MALFORMED_BODY_PROBLEMS: [Problem; 2] =
    [Problem::NotJson, Problem::Fields("the body has other fields, or of other types")];
/// Problems of every route that needs a live session.
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
/// Problems of every route that checks a password.
const PASSWORD_PROBLEMS: [Problem; 10] = [
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
/// Problems of both logout routes.
const LOGOUT_PROBLEMS: [Problem; 4] = [Problem::NotDurable, Problem::KeyElsewhere, Problem::KeyWaits, Problem::Store];
pub(super) const RENEWED: &str = "The renewed session, if it is due: five minutes after the last renewal, or after a sixth of the idle timeout if that \
is shorter. If the client's method is unknown, or is neither GET nor HEAD: after two thirds of the idle timeout.";
const NEW_SESSION: &str = "The new session.";

/// Returns the descriptions of the routes.
pub(super) fn resources(shared: &mut SharedComponents) -> Vec<Resource> {
    let mut all = sessions(shared);
    all.extend(passwords(shared));
    let file = |id, summary| operation::OperationSpec::public(id, OTHER, summary).problems(&ANY_HOST_PROBLEMS);
    let style = file("style", "The style sheet of the pages.").content(OK, "text/css", string(), "The style sheet.");
    all.push(Resource::at("/auth/style.css").get(style.build(shared)));
    let icon = file("icon", "The icon of the pages, if there is no logo.");
    let icon = icon.content(OK, "image/svg+xml", string(), "The icon.");
    all.push(Resource::at("/auth/icon.svg").get(icon.build(shared)));
    let logo = file("logo", "The logo of the pages.").problems(&[Problem::NOT_FOUND]);
    let logo = logo.content(OK, "image/*", string(), "The file that `pages.logo` names.");
    all.push(Resource::at("/auth/logo").get(logo.build(shared)));
    for (path, id, summary, to) in [
        ("/", "root", "Redirects to the session.", "/auth/status"),
        ("/auth", "auth", "Redirects to the session.", "/auth/status"),
        ("/auth/", "authDirectory", "Redirects to the session.", "/auth/status"),
        (
            "/.well-known/change-password",
            "changePassword",
            "Redirects password managers to the page to change the password.",
            "/auth/password",
        ),
    ] {
        let redirect = public(id, OTHER, summary).redirect(StatusCode::FOUND, &format!("To `{to}`."));
        all.push(Resource::at(path).get(redirect.build(shared)));
    }
    all.push(Resource::at("/openapi.json").get(description(public("description", OTHER, "This description."), shared)));
    all
}

/// Adds the security scheme: the session cookie, with its name under the current settings.
pub(super) fn security(mut components: Components, cookies: &Cookies) -> Components {
    let text = "The encrypted session. The name is `__Host-sealjar`, with `cookie.domain` `__Secure-sealjar`, and with `cookie.plain_http` `sealjar-insecure`.";
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description(cookies.session().as_str(), text));
    components.add_security_scheme(SESSION, SecurityScheme::ApiKey(cookie));
    components
}

/// Returns an operation with the problems of every route.
fn public(id: &str, tag: &str, summary: &str) -> operation::OperationSpec {
    operation::OperationSpec::public(id, tag, summary).problems(&COMMON_PROBLEMS)
}

/// Returns an operation that changes a session or an account. It reads a body and needs a CSRF token.
fn change(id: &str, summary: &str) -> operation::OperationSpec {
    let token = "The `csrf_token`, if the body is not a form with this field.";
    public(id, AUTH, summary).problems(&BODY_PROBLEMS).parameter(parameter(
        ParameterIn::Header,
        "X-CSRF-Token",
        string(),
        token,
    ))
}

/// Returns the parameter for the return URL.
fn rd(text: &str) -> Parameter {
    parameter(ParameterIn::Query, "rd", string(), text)
}

fn sessions(shared: &mut SharedComponents) -> Vec<Resource> {
    let session = shared.of::<SessionView<'_>>();
    let status = public("status", AUTH, "The session.")
        .text("JSON, or a page for a navigation. May renew the session.")
        .session(false)
        .problems(&NO_SESSION)
        .problems(&[NO_KEY])
        .content(OK, JSON, session, "The session.")
        .content(OK, HTML, page(), "")
        .sets_cookie(OK, false, RENEWED);
    let protected = public("protected", OTHER, "A sample of a resource that needs a live session.")
        .session(false)
        .problems(&NO_SESSION)
        .content(OK, JSON, object([("message", string().into()), ("login_name", string().into())]), "A greeting.")
        .sets_cookie(OK, false, RENEWED)
        .redirect(StatusCode::FOUND, "To the login page, for a navigation without a live session.");
    let times = object([("idle_deadline", number().into()), ("absolute_deadline", number().into())]);
    let renew = public("renew", AUTH, "Renews the session.")
        .text("For browsers behind proxies that do not forward the `Set-Cookie` of a verify response, and for scripts of pages that stay open.")
        .session(false)
        .problems(&NO_SESSION)
        .parameter(rd("Return URL. Ignored if it could lead to another site."))
        .content(OK, JSON, times, "The deadlines of the session, if there is no valid `rd`.")
        .sets_cookie(OK, false, RENEWED)
        .redirect(StatusCode::FOUND, "To `rd`. For a navigation without a live session, to the login page.")
        .sets_cookie(StatusCode::FOUND, false, RENEWED);
    let logout = sign_out("logout", "Ends this session.")
        .text("After a 200 or 303, every copy of the cookie is refused, even after a restart. Also succeeds without a session.")
        .session(true);
    let everywhere = sign_out("logoutAll", "Ends all sessions of the account.").session(false).problems(&NO_SESSION);
    vec![
        Resource::at("/auth/status").get(status.build(shared)),
        Resource::at("/protected").get(protected.build(shared)),
        Resource::at("/auth/renew").get(renew.build(shared)),
        Resource::at("/auth/logout").post(logout.build(shared)),
        Resource::at("/auth/logout/all").post(everywhere.build(shared)),
    ]
}

/// Returns the operation of a logout route.
fn sign_out(id: &str, summary: &str) -> operation::OperationSpec {
    let form = ObjectBuilder::new().property("csrf_token", string()).property("rd", string()).build();
    let done = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
    let removed = "Removes the session's cookie.";
    change(id, summary)
        .body(Required::False, empty(), form)
        .problems(&LOGOUT_PROBLEMS)
        .content(StatusCode::OK, JSON, object([("signed_out", done.into())]), "The logout is stored.")
        .sets_cookie(StatusCode::OK, true, removed)
        .redirect(StatusCode::SEE_OTHER, "The logout is stored. Response to a form: to `rd` or to the login page.")
        .sets_cookie(StatusCode::SEE_OTHER, true, removed)
}

fn passwords(shared: &mut SharedComponents) -> Vec<Resource> {
    let session = shared.of::<SessionView<'_>>();
    let starts_session = |operation: operation::OperationSpec, to: &str| {
        operation
            .problems(&MALFORMED_BODY_PROBLEMS)
            .problems(&PASSWORD_PROBLEMS)
            .content(OK, JSON, session.clone(), "The new session.")
            .sets_cookie(OK, true, NEW_SESSION)
            .redirect(StatusCode::SEE_OTHER, to)
            .sets_cookie(StatusCode::SEE_OTHER, true, NEW_SESSION)
    };
    let form = |id, summary| public(id, AUTH, summary).content(OK, HTML, page(), "The page.").problems(&[NO_KEY]);
    let to_sign_in = "To the login page, for a navigation without a live session.";
    let sign_in_page = form("loginForm", "The login page.")
        .sets_cookie(OK, true, "A cookie that binds the form to this browser.")
        .text("With the query `signed-out`, the page shows that the user is signed out.")
        .parameter(rd("Return URL after the login. Ignored if it could lead to another site."));
    let json = shared.of::<SignInBody>();
    let fields = shared.of_form::<SignInBody>();
    let login = change("login", "Logs in.").body(Required::True, json, fields).text(
        "Starts a session, and ends the sessions whose cookies are in the request. The `csrf_token` of the login page is bound to a cookie that the page sets.",
    );
    let login = starts_session(login, "The session has started. Response to a form: to `rd` or to `pages.home`.");
    let reauthenticate_page = form("reauthenticateForm", "The page to give the password again.")
        .sets_cookie(OK, false, RENEWED)
        .session(false)
        .problems(&NO_SESSION)
        .parameter(rd("Return URL. Ignored if it could lead to another site."))
        .redirect(StatusCode::FOUND, to_sign_in);
    let json = shared.of::<StepUpBody>();
    let fields = shared.of_form::<StepUpBody>();
    let reauthenticate =
        change("reauthenticate", "Checks the password again and starts a new session (step-up authentication).")
            .session(false)
            .body(Required::True, json, fields)
            .problems(&NO_SESSION);
    let reauthenticate =
        starts_session(reauthenticate, "The session has started. Response to a form: to `rd` or to `pages.home`.");
    let password_page = form("passwordForm", "The page to change the password.")
        .sets_cookie(OK, false, RENEWED)
        .session(false)
        .problems(&NO_SESSION)
        .redirect(StatusCode::FOUND, to_sign_in);
    let json = shared.of::<PasswordChangeBody>();
    let fields = shared.of_form::<PasswordChangeBody>();
    let password = change("password", "Changes the user's password, and ends all other sessions of the account.")
        .text("With `login`, no session is needed. Use this to log in after 403 `must-change`.")
        .session(true)
        .body(Required::True, json, fields)
        .problems(&NO_SESSION);
    let password = starts_session(
        password,
        "The session has started. Response to a form: with `login` to `rd` or to `pages.home`, otherwise to `/auth/status`.",
    );
    vec![
        Resource::at("/auth/login").get(sign_in_page.build(shared)).post(login.build(shared)),
        Resource::at("/auth/password").get(password_page.build(shared)).post(password.build(shared)),
        Resource::at("/auth/reauthenticate").get(reauthenticate_page.build(shared)).post(reauthenticate.build(shared)),
    ]
}

/// Returns the operation `GET /openapi.json` of a listener.
pub(super) fn description(operation: operation::OperationSpec, shared: &mut SharedComponents) -> Operation {
    let tag = || string_like("^\"[A-Za-z0-9_-]{43}\"$");
    let if_none_match = "The `ETag` of a description that the client has. If it is current, the response is 304.";
    operation
        .parameter(parameter(ParameterIn::Header, "If-None-Match", string(), if_none_match))
        .content(StatusCode::OK, JSON, ObjectBuilder::new().schema_type(Type::Object).build(), "The description.")
        .header(StatusCode::OK, "ETag", true, tag(), "A hash of the description.")
        .bare(StatusCode::NOT_MODIFIED, "The description has not changed.")
        .header(StatusCode::NOT_MODIFIED, "ETag", true, tag(), "A hash of the description.")
        .build(shared)
}

//! The public routes, described.

use std::time::Duration;

use salvo::http::StatusCode;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{Array, ArrayBuilder, Components, Object, ObjectBuilder, Schema, Type, empty};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{RefOr, Required};

use super::super::cookie::Cookies;
use super::super::problem::Problem;
use super::super::status::SessionView;
use super::described::Described;
use super::operation::{self, HTML, JSON, SESSION, Shared, number, object, page, parameter, string};
use crate::account::credentials::{PasswordChangeBody, SignInBody, StepUpBody};
use crate::seal::TooLarge;
use crate::session::{Cause, Refusal, SealError};

pub(super) const INTRODUCTION: &str = "\
Sessions that live in the browser, sealed into one cookie.

Every answer is one of two kinds. A browser's navigation (`Sec-Fetch-Mode: navigate`, or an `Accept` that names `text/html`) \
gets pages and redirects; anything else gets JSON, and problems as RFC 9457 has them, with a `reason` of a closed list.

What a browser sends with a method other than GET and HEAD must come from this site, by `Sec-Fetch-Site` or else by `Origin`; if \
it is no JSON, it must also carry the `csrf_token` of its page or session, as a field of the form or in `X-CSRF-Token`. Programs \
that send neither field need no token.

A method that a resource has not is answered with 405 and `Allow`, any other path with 404, both as a problem. What is no HTTP, \
or has a head that is too long, is answered with 400, 414 or 431 and no body.";

const AUTH: &str = "session";
const VERIFY: &str = "forward authentication";
const OTHER: &str = "other";

const FAILED: Problem = Problem::Status(StatusCode::INTERNAL_SERVER_ERROR);
/// What any route but those for proxies may answer.
const ADMITTED: [Problem; 4] = [Problem::Authority, Problem::Misdirected, Problem::TooLarge, FAILED];
/// What anything that takes a body may answer.
const SUBMITTED: [Problem; 5] =
    [Problem::CrossSite, Problem::FormToken, Problem::MediaType, Problem::Incomplete, Problem::Slow];
const MALFORMED: [Problem; 2] = [Problem::NotJson, Problem::Fields("the body has other fields, or of other types")];
const NO_SESSION: [Problem; 5] = [
    Problem::Session(Refusal::Missing),
    Problem::Session(Refusal::Invalid(Cause::Malformed)),
    Problem::Session(Refusal::Expired),
    Problem::Session(Refusal::Revoked),
    STALE,
];
const STALE: Problem = Problem::Session(Refusal::Stale);
const NO_KEY: Problem = Problem::Seal(SealError::NoActiveKey);
/// What may come of a password.
const PASSWORD: [Problem; 9] = [
    Problem::Credentials,
    Problem::MustChange,
    Problem::Throttled(Duration::ZERO),
    Problem::Busy,
    Problem::Store,
    Problem::NotDurable,
    STALE,
    NO_KEY,
    Problem::Seal(SealError::TooLarge(TooLarge { bytes: 0 })),
];
const SIGNED_OUT: [Problem; 3] = [Problem::NotDurable, Problem::KeyElsewhere, Problem::Store];
const PASSED_ON: [Problem; 8] = [
    Problem::Authority,
    Problem::Misdirected,
    Problem::StepUp,
    Problem::Role,
    Problem::CrossSite,
    Problem::Rule,
    Problem::Forwarded("what the proxy says of the request is missing or contradicts itself"),
    FAILED,
];

const RENEWED: &str = "The session, renewed, if a tenth of its idle time has gone.";
const BEGUN: &str = "The fresh session.";

pub(super) fn resources(shared: &mut Shared) -> Vec<Described> {
    let mut all = sessions(shared);
    all.extend(passwords(shared));
    all.extend(verify(shared));
    let style = public("style", OTHER, "The pages' style sheet.")
        .content(StatusCode::OK, "text/css", string(), "The style sheet.")
        .build(shared);
    all.push(Described::at("auth/style.css").get(style));
    all.push(Described::at("openapi.json").get(description(public("description", OTHER, "This description."), shared)));
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
        Described::at("auth/status").get(status.build(shared)),
        Described::at("protected").get(protected.build(shared)),
        Described::at("auth/renew").get(renew.build(shared)),
        Described::at("auth/logout").post(logout.build(shared)),
        Described::at("auth/logout/all").post(everywhere.build(shared)),
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
        Described::at("auth/login").get(sign_in_page.build(shared)).post(login.build(shared)),
        Described::at("auth/password").get(password_page.build(shared)).post(password.build(shared)),
        Described::at("auth/reauthenticate").get(reauthenticate_page.build(shared)).post(reauthenticate.build(shared)),
    ]
}

/// The routes for reverse proxies.
fn verify(shared: &mut Shared) -> Vec<Described> {
    let asked = |id, summary| {
        let text = "A reverse proxy asks whether a request may pass to the application, and who sent it. Any method will do, and no body is looked at. 401 has a `Location` with the page to sign in. What the proxy says of the visitor's request in `X-Forwarded-Host`, `-Uri` and `-Method` (or `X-Original-URL`, `-URI` and `-Method`) counts only if the proxy is in `http.trusted_proxies`.";
        let who = [
            ("User", "The login name."),
            ("Name", "What to call the user. Every byte but visible ASCII, and `%`, is percent-encoded."),
            ("Groups", "The roles, joined by commas."),
            ("Email", "An address."),
        ];
        let passed = operation::Described::public(id, VERIFY, summary)
            .text(text)
            .session(false)
            .problems(&NO_SESSION)
            .problems(&PASSED_ON)
            .content(StatusCode::OK, "text/plain", string(), "It may pass.")
            .header(
                StatusCode::OK,
                "Remote-Session-Deadline",
                true,
                number(),
                "When the session ends, in Unix seconds.",
            )
            .header(
                StatusCode::UNAUTHORIZED,
                "Location",
                true,
                string(),
                "The page to sign in, or to give the password again.",
            )
            .sets_cookie(StatusCode::OK, false, RENEWED);
        who.into_iter().fold(passed, |all, (fact, text)| {
            all.header(StatusCode::OK, &format!("Remote-{fact}"), true, string(), text).header(
                StatusCode::OK,
                &format!("X-Auth-Request-{fact}"),
                true,
                string(),
                text,
            )
        })
    };
    let ruled = |operation: operation::Described| {
        let role = string_like("^[A-Za-z0-9_.:-]{1,64}(,[A-Za-z0-9_.:-]{1,64})*$");
        let roles: Array = ArrayBuilder::new().items(RefOr::T(Schema::Object(role))).max_items(Some(32)).build();
        let roles = ParameterBuilder::from(parameter(
            ParameterIn::Query,
            "role",
            roles,
            "The session has one of these roles; of several, each must hold.",
        ));
        let max_age = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).build();
        let csrf =
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["", "1", "true", "on", "yes", "enforce"]));
        operation
            .parameter(roles.style(Some(ParameterStyle::Form)).explode(Some(true)).build())
            .parameter(parameter(
                ParameterIn::Query,
                "max_age",
                max_age,
                "The password was given at most so many seconds ago.",
            ))
            .parameter(parameter(
                ParameterIn::Query,
                "csrf",
                csrf.build(),
                "Refuses requests of other sites for the application, if they are not GET or HEAD.",
            ))
    };
    let redirected = |operation: operation::Described| {
        operation
            .redirect(StatusCode::FOUND, "To sign in, for a navigation that is GET or HEAD.")
            .redirect(StatusCode::SEE_OTHER, "To sign in, for any other navigation.")
    };
    let plain = ruled(asked("verify", "For nginx and Apache: never a redirect."));
    let redirect =
        redirected(ruled(asked("verifyRedirect", "For Caddy, HAProxy and Traefik: a navigation is redirected.")))
            .parameter(parameter(
                ParameterIn::Query,
                "renew",
                string(),
                "`redirect` renews by way of `/auth/renew`, for proxies that cannot pass on a cookie.",
            ));
    let rule = segment(
        "rule",
        string_like("^(role=[A-Za-z0-9_.:-]{1,64}|max_age=[1-9][0-9]{0,8}|csrf=1)$"),
        "max_age=900",
        "A rule as in the query of the other routes. There may be several such segments, or none.",
    );
    let path = segment(
        "path",
        string(),
        "reports",
        "The path that the visitor asked for, which may have any number of segments.",
    );
    let envoy = redirected(asked("verifyEnvoy", "For Envoy: path and method are those of the visitor's request."));
    let envoy = envoy.parameter(rule).parameter(path);
    vec![
        Described::at("auth/verify").any(plain.build(shared)),
        Described::at("auth/verify/redirect").any(redirect.build(shared)),
        Described::at("auth/verify/envoy/{**path}")
            .shown_as("/auth/verify/envoy/{rule}/-/{path}")
            .any(envoy.build(shared)),
    ]
}

fn string_like(pattern: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build()
}

fn segment(name: &str, schema: Object, example: &str, text: &str) -> Parameter {
    let segment = ParameterBuilder::from(parameter(ParameterIn::Path, name, schema, text));
    segment.required(Required::True).example(Some(example.into())).build()
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

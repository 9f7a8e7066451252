//! The routes for reverse proxies, described.

use salvo::http::StatusCode;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};

use crate::http::openapi::described::Described;
use crate::http::openapi::operation::{self, Shared, number, parameter, string, string_like};
use crate::http::openapi::public::{FAILED, NO_SESSION, RENEWED};
use crate::http::problem::Problem;

const VERIFY: &str = "forward authentication";

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

/// All of them.
pub(super) fn resources(shared: &mut Shared) -> Vec<Described> {
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
    let rule = |names: &str, text: &str| {
        let pattern = format!("^(role=[A-Za-z0-9_.:-]{{1,64}}|max_age=[1-9][0-9]{{0,8}}|csrf=1|preflight=1{names})$");
        segment("rule", string_like(&pattern), "max_age=900", text)
    };
    const SEGMENTS: &str = "A rule: `role=`, `max_age=` or `csrf=1` as in a query, or `preflight=1`, which lets CORS preflights pass without a session and with empty identity fields. There may be several such segments, or none. They are exact, and no query is read.";
    const RENEW: &str = "A rule as for `/auth/verify/{rule}/-`, or `renew=redirect`.";
    let exact = asked("verifySegments", "For nginx and Apache, with the rules in the path: never a redirect.")
        .parameter(rule("", SEGMENTS));
    let redirect_exact = redirected(asked(
        "verifyRedirectSegments",
        "For Caddy, HAProxy and Traefik, with the rules in the path: a navigation is redirected.",
    ))
    .parameter(rule("|renew=redirect", RENEW));
    let path = segment(
        "path",
        string(),
        "reports",
        "The path that the visitor asked for, which may have any number of segments.",
    );
    let envoy = redirected(asked("verifyEnvoy", "For Envoy: path and method are those of the visitor's request."));
    let envoy = envoy.parameter(rule("", SEGMENTS)).parameter(path);
    vec![
        Described::at("/auth/verify").any(plain.build(shared)),
        Described::at("/auth/verify/{rule}/-").any(exact.build(shared)),
        Described::at("/auth/verify/redirect").any(redirect.build(shared)),
        Described::at("/auth/verify/redirect/{rule}/-").any(redirect_exact.build(shared)),
        Described::at("/auth/verify/envoy/{rule}/-/{path}").any(envoy.build(shared)),
    ]
}

fn segment(name: &str, schema: Object, example: &str, text: &str) -> Parameter {
    let segment = ParameterBuilder::from(parameter(ParameterIn::Path, name, schema, text));
    segment.required(Required::True).example(Some(example.into())).build()
}

//! OpenAPI description of the verify routes, which reverse proxies request.

use salvo::http::StatusCode;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};

use crate::http::openapi::operation::{self, SharedComponents, number, parameter, string, string_like};
use crate::http::openapi::public::{FAILED, NO_SESSION, RENEWED};
use crate::http::openapi::resource::Resource;
use crate::http::problem::Problem;

const VERIFY: &str = "forward authentication";

/// Problems of every verify route, in addition to [`NO_SESSION`].
const VERIFY_PROBLEMS: [Problem; 8] = [
    Problem::Authority,
    Problem::Misdirected,
    Problem::StepUp,
    Problem::Role,
    Problem::CrossSite,
    Problem::Rule,
    Problem::Forwarded("the forwarded headers of the proxy are missing or contradict each other"),
    FAILED,
];

/// Regular expression for the value of a rule `role=`.
const ROLES: &str = "[A-Za-z0-9_.:-]{1,64}(,[A-Za-z0-9_.:-]{1,64})*";

/// Description of the verify routes that read forwarded headers.
const FORWARDED: &str = "A reverse proxy sends this request before it forwards a request to the application. The response allows or denies the request, and names the user. Any method is accepted, and the body is not read. The proxy describes the client's request in `X-Forwarded-Host`, `-Uri` and `-Method` (or in `X-Original-URL`, `-URI` and `-Method`). These fields are read only if the proxy is in `http.trusted_proxies`.";
/// Description of the verify route for Envoy.
const ENVOY: &str = "Envoy sends this request before it forwards a request to the application. The response allows or denies the request, and names the user. Method, host and path are those of the client's request. They are used only if the proxy is in `http.trusted_proxies`. The body is not read.";

/// Returns the descriptions of all verify routes.
pub(super) fn resources(shared: &mut SharedComponents) -> Vec<Resource> {
    let operation_for = |id, summary, text, deadline: Object| {
        let identity_headers = [
            ("User", "The login name."),
            ("Name", "The display name. `%` and every byte that is not visible ASCII are percent-encoded."),
            ("Groups", "The roles, joined by commas."),
            ("Email", "The email address."),
        ];
        let operation = operation::OperationSpec::public(id, VERIFY, summary)
            .text(text)
            .session(false)
            .problems(&NO_SESSION)
            .problems(&VERIFY_PROBLEMS)
            .content(StatusCode::OK, "text/plain", string(), "The request is allowed.")
            .header(
                StatusCode::OK,
                "Remote-Session-Deadline",
                true,
                deadline,
                "The absolute deadline of the session, in Unix seconds. Empty, like the other identity fields, if the request was allowed by `preflight=1`.",
            )
            .header(
                StatusCode::UNAUTHORIZED,
                "Location",
                true,
                string(),
                "The URL of the login page. For the reason `step-up`, the URL of the page to give the password again.",
            )
            .sets_cookie(StatusCode::OK, false, RENEWED);
        identity_headers.into_iter().fold(operation, |operation, (fact, text)| {
            operation.header(StatusCode::OK, &format!("Remote-{fact}"), true, string(), text).header(
                StatusCode::OK,
                &format!("X-Auth-Request-{fact}"),
                true,
                string(),
                text,
            )
        })
    };
    let with_query_rules = |operation: operation::OperationSpec| {
        let role = string_like(&format!("^{ROLES}$"));
        let roles: Array = ArrayBuilder::new().items(RefOr::T(Schema::Object(role))).max_items(Some(32)).build();
        let roles = ParameterBuilder::from(parameter(
            ParameterIn::Query,
            "role",
            roles,
            "The session must have one of these roles. If the parameter is repeated, the session must have a role of each list.",
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
                "Maximum number of seconds since the user gave the password.",
            ))
            .parameter(parameter(
                ParameterIn::Query,
                "csrf",
                csrf.build(),
                "Refuses requests to the application that another site caused. GET, HEAD and CORS preflights pass, and WebSocket handshakes are checked.",
            ))
    };
    let with_redirects = |operation: operation::OperationSpec, renewal: &str| {
        let to_login = "For a navigation without a sufficient session, if the client's method is GET, HEAD or unknown: to the login page, or to the page to give the password again.";
        operation
            .redirect(StatusCode::FOUND, &format!("{to_login}{renewal}"))
            .redirect(StatusCode::SEE_OTHER, "For a navigation without a sufficient session, with another method: to the same pages. After the login, the user returns to the page that sent the request.")
    };
    const RENEWAL: &str = " With `renew=redirect`, also to `/auth/renew`, and from there back.";
    let plain = with_query_rules(operation_for("verify", "For nginx and Apache: no redirects.", FORWARDED, number()));
    let redirect =
        operation_for("verifyRedirect", "For Caddy, HAProxy and Traefik: redirects navigations.", FORWARDED, number());
    let redirect = with_redirects(with_query_rules(redirect), RENEWAL).parameter(parameter(
        ParameterIn::Query,
        "renew",
        string(),
        "`redirect` renews the session with a redirect to `/auth/renew`, for proxies that do not forward the cookie of a verify response. Other values are ignored.",
    ));
    let rule = |names: &str, text: &str| {
        let pattern = format!("^(role={ROLES}|max_age=[1-9][0-9]{{0,8}}|csrf=1|preflight=1{names})$");
        segment("rule", string_like(&pattern), "max_age=900", text)
    };
    const SEGMENTS: &str = "A rule: `role=`, `max_age=` or `csrf=1` as in a query, or `preflight=1`. `preflight=1` allows CORS preflights without a session, and with empty identity fields. The path may contain any number of such segments. An unknown rule is an error. The query is not read.";
    const RENEW: &str = "A rule as for `/auth/verify/{rule}/-`, or `renew=redirect`.";
    let plain_segments = operation_for(
        "verifySegments",
        "For nginx and Apache, with rules in the path: no redirects.",
        FORWARDED,
        deadline_or_empty(),
    )
    .parameter(rule("", SEGMENTS));
    let redirect_segments = with_redirects(
        operation_for(
            "verifyRedirectSegments",
            "For Caddy, HAProxy and Traefik, with rules in the path: redirects navigations.",
            FORWARDED,
            deadline_or_empty(),
        ),
        RENEWAL,
    )
    .parameter(rule("|renew=redirect", RENEW));
    let path =
        segment("path", string(), "reports", "The path of the client's request. It may have any number of segments.");
    let envoy = with_redirects(
        operation_for("verifyEnvoy", "For Envoy: redirects navigations.", ENVOY, deadline_or_empty()),
        "",
    );
    let envoy = envoy.parameter(rule("", SEGMENTS)).parameter(path);
    vec![
        Resource::at("/auth/verify").any(plain.build(shared)),
        Resource::at("/auth/verify/{rule}/-").any(plain_segments.build(shared)),
        Resource::at("/auth/verify/redirect").any(redirect.build(shared)),
        Resource::at("/auth/verify/redirect/{rule}/-").any(redirect_segments.build(shared)),
        Resource::at("/auth/verify/envoy/{rule}/-/{path}").any(envoy.build(shared)),
    ]
}

/// Returns the schema of the deadline header, which is empty after a preflight.
fn deadline_or_empty() -> Object {
    string_like("^[0-9]*$")
}

/// Returns a parameter in the path.
fn segment(name: &str, schema: Object, example: &str, text: &str) -> Parameter {
    let segment = ParameterBuilder::from(parameter(ParameterIn::Path, name, schema, text));
    segment.required(Required::True).example(Some(example.into())).build()
}

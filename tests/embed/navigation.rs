//! Tests of the redirect of a browser to the sign-in page of the application, and of the return path. Programs get 401.

use std::error::Error;

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use salvo::prelude::*;
use sealjar::embed::{Claims, Jar, OpenError, Problem, Session, Settings, return_path, signed_in};
use sealjar::session::{Cause, Refusal};

const NAVIGATION: &[(&str, &str)] =
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html,*/*;q=0.8")];
const OLD_BROWSER: &[(&str, &str)] = &[("accept", "text/html,application/xhtml+xml")];

#[handler]
async fn page(session: Session<u8>) -> String {
    format!("{} {}", session.sub, session.data)
}

/// Returns the return path, to which an application would redirect after a login.
#[handler]
async fn sign_in_page(request: &mut Request) -> String {
    return_path(request).unwrap_or_else(|| "none".to_owned())
}

/// Starts a session, and then fails, because the data of the session has another type.
#[handler]
async fn fail_after_login(request: &mut Request, depot: &mut Depot) -> Result<String, Problem> {
    Jar::of(depot)?.sign_in(request, depot, "a", Claims::of("text")).await?;
    Session::<u8>::of(depot).map(|session| session.sub)
}

#[handler]
async fn stale() -> Problem {
    Problem::Session(Refusal::Stale)
}

/// Starts an application, and returns its address.
async fn serve(sign_in_at: Option<&str>) -> String {
    let listening = TcpListener::new("127.0.0.1:0").bind().await;
    let address = listening.local_addr().unwrap().to_string();
    let settings = Settings::new("shop", [format!("http://{address}")]);
    let settings = sign_in_at.into_iter().fold(settings, |settings, path| settings.sign_in_at(path));
    let jar = settings.in_memory().unwrap();
    let routes = Router::with_hoop(jar.hoop())
        .push(Router::with_path("page").get(page).post(page))
        .push(Router::with_path("late").get(fail_after_login))
        .push(Router::with_path("stale").get(stale))
        .push(Router::with_path("sign-in").get(sign_in_page).post(sign_in_page))
        // A sign-in page that requires a session by mistake.
        .push(Router::with_path("closed").get(page))
        .push(Router::with_hoop(signed_in).path("below/{**rest}").get(sign_in_page))
        .push(Router::with_path("{**rest}").get(page));
    tokio::spawn(Server::new(listening).serve(routes));
    address
}

/// The parts of a response that the tests check.
struct CheckedResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl CheckedResponse {
    fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request with these header fields. Follows no redirect.
async fn send(address: &str, method: Method, path: &str, fields: &[(&str, &str)]) -> CheckedResponse {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let fields = fields.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
    let request = client.request(method, format!("http://{address}{path}")).headers(fields.collect());
    let response = request.send().await.unwrap();
    let status = response.status();
    let headers = response.headers().clone();
    CheckedResponse { status, headers, body: response.text().await.unwrap() }
}

#[tokio::test]
async fn redirects_a_browser_to_the_sign_in_page_and_back() {
    let address = serve(Some("/sign-in")).await;
    for browser in [NAVIGATION, OLD_BROWSER] {
        for (method, path, rd) in [
            (Method::GET, "/page", Some("%2Fpage")),
            (Method::GET, "/page?a=b&c=%20d", Some("%2Fpage%3Fa%3Db%26c%3D%2520d")),
            (Method::GET, "/below/a/b?rd=%2Fx", Some("%2Fbelow%2Fa%2Fb%3Frd%3D%252Fx")),
            // The redirect cannot send the form again.
            (Method::POST, "/page", None),
        ] {
            let response = send(&address, method.clone(), path, browser).await;
            let expected = rd.map_or_else(|| "/sign-in".to_owned(), |rd| format!("/sign-in?rd={rd}"));
            assert_eq!(
                (response.status, response.location()),
                (StatusCode::SEE_OTHER, Some(&*expected)),
                "{method} {path}"
            );
            assert_eq!(response.headers[CACHE_CONTROL], "no-store");
            assert!(
                [SET_COOKIE, WWW_AUTHENTICATE, CONTENT_TYPE].iter().all(|name| !response.headers.contains_key(name))
            );
            assert!(response.body.is_empty(), "{}", response.body);
            let after_login = send(&address, Method::GET, &expected, browser).await;
            assert_eq!((after_login.status, &*after_login.body), (StatusCode::OK, rd.map_or("none", |_| path)));
        }
    }
    let long = format!("/page?{}", "x".repeat(2100));
    assert_eq!(send(&address, Method::GET, &long, NAVIGATION).await.location(), Some("/sign-in"));
}

#[tokio::test]
async fn a_program_gets_401_and_so_does_a_browser_by_default() {
    let with_page = serve(Some("/sign-in")).await;
    let without_page = serve(None).await;
    let script: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("accept", "text/html")];
    let json: &[(&str, &str)] = &[("accept", "application/json")];
    for (address, fields) in
        [(&with_page, script), (&with_page, json), (&with_page, &[][..]), (&without_page, NAVIGATION)]
    {
        for path in ["/page", "/below/a"] {
            let response = send(address, Method::GET, path, fields).await;
            assert_eq!((response.status, response.location()), (StatusCode::UNAUTHORIZED, None), "{fields:?} {path}");
            assert_eq!(response.headers[CONTENT_TYPE], "application/problem+json");
            assert!(response.headers.contains_key(WWW_AUTHENTICATE));
            assert!(response.body.contains(r#""reason":"missing""#), "{}", response.body);
        }
    }
    let response = send(&with_page, Method::GET, "/stale", NAVIGATION).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "a login would not help");
}

#[tokio::test]
async fn a_protected_sign_in_page_causes_no_redirect_loop() {
    let address = serve(Some("/closed")).await;
    let response = send(&address, Method::GET, "/page", NAVIGATION).await;
    let target = response.location().unwrap().to_owned();
    assert_eq!(target, "/closed?rd=%2Fpage");
    assert_eq!(send(&address, Method::GET, &target, NAVIGATION).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_handler_that_fails_after_a_login_logs_nobody_in() {
    let address = serve(Some("/sign-in")).await;
    let response = send(&address, Method::GET, "/late", NAVIGATION).await;
    assert_eq!((response.status, response.location()), (StatusCode::SEE_OTHER, Some("/sign-in?rd=%2Flate")));
    assert!(response.headers.get(SET_COOKIE).is_none(), "the redirect sets no cookie, like the 401 for a program");
    let response = send(&address, Method::GET, "/late", &[]).await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    assert!(response.headers.get(SET_COOKIE).is_none());
}

#[tokio::test]
async fn a_return_path_never_leads_to_another_host() {
    let address = serve(Some("/sign-in")).await;
    for refused in [
        "https%3A%2F%2Fevil.example%2F",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%2F%252Fevil.example",
        "%2Fa%2F..%2F%2Fevil.example",
        "%2Fa%250D%250AX%3A+b",
        "page",
        "",
        "%2F%C3%A4",
    ] {
        let response = send(&address, Method::GET, &format!("/sign-in?rd={refused}"), &[]).await;
        assert_eq!(response.body, "none", "{refused}");
    }
    // A path that begins with two slashes does not become a return path.
    let response = send(&address, Method::GET, "//evil.example/%5c", NAVIGATION).await;
    assert_eq!(response.location(), Some("/sign-in"));
}

#[test]
fn a_sign_in_page_is_a_path_on_this_host() {
    for path in
        ["", "sign-in", "https://evil.example/", "//evil.example", "/sign-in?a=b", "/sign-in#a", "/a\r\nb", "/\u{e4}"]
    {
        let outcome = Settings::new("shop", ["https://app.example.com"]).sign_in_at(path).in_memory();
        assert!(matches!(outcome, Err(OpenError::Setting(text)) if text.contains("sign-in page")), "{path:?}");
    }
}

#[test]
fn error_texts_do_not_reveal_the_cause_of_a_refusal() {
    let causes = [
        Cause::Malformed,
        Cause::UnknownKey,
        Cause::RevokedKey,
        Cause::NotAuthentic,
        Cause::BadClaims,
        Cause::WrongSite,
        Cause::FromTheFuture,
    ];
    let texts: Vec<String> = causes
        .into_iter()
        .flat_map(|cause| {
            let refusal = Refusal::Invalid(cause);
            let problem = Problem::Session(refusal);
            assert_eq!(
                (refusal.reason(), problem.reason(), problem.status()),
                ("invalid", "invalid", StatusCode::UNAUTHORIZED)
            );
            let source = problem.source().expect("the refusal").to_string();
            [problem.to_string(), refusal.to_string(), source.clone(), source]
        })
        .collect();
    assert!(texts.chunks(4).all(|chunk| chunk == &texts[..4]), "{texts:?}");
    for (refusal, reason) in [
        (Refusal::Missing, "missing"),
        (Refusal::Expired, "expired"),
        (Refusal::Revoked, "revoked"),
        (Refusal::Stale, "stale"),
    ] {
        assert_eq!((refusal.reason(), Problem::Session(refusal).reason()), (reason, reason));
    }
    assert!(Problem::NoHoop.advice().is_some_and(|advice| advice.contains("Jar::hoop")));
    assert!(Problem::Session(Refusal::Missing).advice().is_none());
}

//! The pages, as a browser without scripts sees them. A real browser is in `tests/web`.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client};

/// What a browser sends when it navigates.
fn navigate(request: RequestBuilder) -> RequestBuilder {
    let request = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    request
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-dest", "document")
}

async fn open(server: &Server<'_>, path: &str, cookie: &str) -> Answer {
    let request = navigate(client().get(server.url(path))).header("cookie", cookie);
    Answer::of(request.send().await.expect("an answer")).await
}

async fn submit(server: &Server<'_>, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
    let request = navigate(client().post(server.url(path))).header("cookie", cookie).header("origin", server.url(""));
    Answer::of(request.form(fields).send().await.expect("an answer")).await
}

/// The cookie and the token of a sign-in form.
async fn sign_in_form(server: &Server<'_>, path: &str) -> (String, String) {
    let page = open(server, path, "").await;
    (form_cookie(&page), page.hidden("csrf_token"))
}

fn form_cookie(page: &Answer) -> String {
    let set = page.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("ASCII"));
    let mut ours = set.filter(|value| value.starts_with("__Host-sealjar-form="));
    let (cookie, attributes) = ours.next().and_then(|value| value.split_once(';')).expect("a form cookie");
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600");
    cookie.to_owned()
}

#[tokio::test]
async fn signing_in_shows_the_error_beside_its_field_keeps_what_was_typed_and_ends_at_the_return_url() {
    let home = Home::new();
    let server = home.start();
    let page = open(&server, "/auth/login?rd=%2Fapp%3Fx%3D%22y%22", "").await;
    let (status, html) = page.page();
    assert_eq!(status, 200);
    assert!(html.contains("<h1>Sign in</h1>") && html.contains("autocomplete=\"current-password\""));
    assert!(!html.contains("role=\"alert\"") && !html.contains("<script") && !html.contains(" style="));
    assert!(html.contains("value=\"/app?x=&#34;y&#34;\""), "the return URL is kept and escaped");
    let cookie = form_cookie(&page);
    let fields = |token, login, password| {
        [("csrf_token", token), ("rd", "/app?x=y"), ("remember", "true"), ("login", login), ("password", password)]
    };

    let token = page.hidden("csrf_token");
    let wrong = submit(&server, "/auth/login", &cookie, &fields(&*token, "alice", "wrong <password>")).await;
    let (status, html) = wrong.page();
    assert_eq!((status, wrong.session.is_none()), (401, true));
    assert!(
        html.contains("id=\"password-error\" role=\"alert\">The login name and the password do not belong together")
    );
    assert!(html.contains("name=\"login\" value=\"alice\"") && html.contains(" checked"));
    assert!(!html.contains("wrong"), "the password is not repeated");
    assert_eq!(wrong.hidden("rd"), "/app?x=y");
    assert!(wrong.header("www-authenticate").is_none() || wrong.status == 401);

    let token = wrong.hidden("csrf_token");
    let odd = submit(&server, "/auth/login", &cookie, &fields(&*token, "al <b>ice", "x")).await;
    let (status, html) = odd.page();
    assert_eq!(status, 422);
    assert!(
        html.contains("id=\"login-error\" role=\"alert\">Login must be")
            && html.contains("value=\"al &#60;b&#62;ice\"")
    );

    let token = odd.hidden("csrf_token");
    let right = submit(&server, "/auth/login", &cookie, &fields(&*token, "alice", PASSWORD)).await;
    assert_eq!((right.status, right.header("location")), (303, Some("/app?x=y")));
    let session = right.session.expect("a session");
    let (status, html) = open(&server, "/auth/status", &session.cookie()).await.page_owned();
    assert_eq!(status, 200);
    assert!(html.contains("You are signed in") && html.contains("<dd>alice</dd>") && html.contains("<dd>staff</dd>"));
    assert!(html.contains("You stay signed in"), "remembered");
}

#[tokio::test]
async fn an_unknown_user_a_wrong_password_and_a_disabled_user_see_the_same_page() {
    let home = Home::new();
    home.add_user("mallory");
    home.ok(&["users", "disable", "mallory"]);
    let server = home.start();
    let mut seen = Vec::new();
    for (login, password) in [("nobody", PASSWORD), ("alice", "wrong password"), ("mallory", PASSWORD)] {
        let (cookie, token) = sign_in_form(&server, "/auth/login").await;
        let fields = [("csrf_token", &*token), ("login", login), ("password", password)];
        let answer = submit(&server, "/auth/login", &cookie, &fields).await;
        let token = answer.hidden("csrf_token");
        seen.push((answer.status, answer.body.replace(&token, "").replace(login, "")));
    }
    assert_eq!(seen[0].0, 401);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
}

#[tokio::test]
async fn two_tabs_with_sign_in_forms_both_work_and_a_lost_form_cookie_shows_the_form_again() {
    let home = Home::new();
    let server = home.start();
    let first = open(&server, "/auth/login", "").await;
    let cookie = form_cookie(&first);
    let second = open(&server, "/auth/login", &cookie).await;
    let newer = form_cookie(&second);
    for (cookie, token) in [(&newer, first.hidden("csrf_token")), (&cookie, second.hidden("csrf_token"))] {
        let fields = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD)];
        assert_eq!(submit(&server, "/auth/login", cookie, &fields).await.status, 303);
    }
    let token = first.hidden("csrf_token");
    let fields = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD), ("rd", "/app")];
    let lost = submit(&server, "/auth/login", "", &fields).await;
    let (status, html) = lost.page();
    assert_eq!(status, 403);
    assert!(html.contains("does not keep this site&#39;s cookies") && html.contains("value=\"alice\""), "{html}");
    let (cookie, token) = (form_cookie(&lost), lost.hidden("csrf_token"));
    let fields = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD), ("rd", "/app")];
    assert_eq!(submit(&server, "/auth/login", &cookie, &fields).await.header("location"), Some("/app"));
    // Another browser's form, with a cookie of one's own.
    let (_, foreign) = sign_in_form(&server, "/auth/login").await;
    let fields = [("csrf_token", &*foreign), ("login", "alice"), ("password", PASSWORD)];
    let stale = submit(&server, "/auth/login", &cookie, &fields).await;
    assert_eq!((stale.status, stale.session.is_none()), (403, true));
    assert!(stale.body.contains("This form was out of date"));
}

#[tokio::test]
async fn a_session_cookie_is_no_form_cookie_and_the_other_way_round() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let (cookie, token) = sign_in_form(&server, "/auth/login").await;
    let as_session = cookie.replace("__Host-sealjar-form=", "__Host-sealjar=");
    assert_eq!(server.get("/auth/status", &as_session).await.verdict(), "401 invalid");
    let as_form = session.cookie().replace("__Host-sealjar=", "__Host-sealjar-form=");
    let fields = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD)];
    assert_eq!(submit(&server, "/auth/login", &as_form, &fields).await.status, 403);
}

#[tokio::test]
async fn who_is_signed_in_may_go_on_from_the_sign_in_page_without_a_loop() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let page = open(&server, "/auth/login?rd=%2Fapp", &session.cookie()).await;
    let (status, html) = page.page();
    assert_eq!((status, page.header("location")), (200, None));
    assert!(html.contains("You are signed in as <b>alice</b>") && html.contains("href=\"/app\""));
}

#[tokio::test]
async fn a_return_url_that_leads_away_is_dropped_from_query_and_form() {
    let home = Home::new();
    let server = home.start();
    for bad in [
        "//evil.example",
        "/\\evil.example",
        "https:evil",
        "https://good@evil",
        "/%250d%250a".replace("%25", "%").as_str(),
    ] {
        let query: String = format!("/auth/login?rd={}", bad.replace('%', "%25").replace('\\', "%5C"));
        let page = open(&server, &query, "").await;
        assert_eq!(page.hidden("rd"), "/auth/status", "{bad}");
        let (cookie, token) = (form_cookie(&page), page.hidden("csrf_token"));
        let fields = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD), ("rd", bad)];
        let answer = submit(&server, "/auth/login", &cookie, &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/auth/status")), "{bad}");
    }
}

#[tokio::test]
async fn a_return_url_of_escaped_characters_makes_no_long_page() {
    /// As long as a return URL may be, and a quarter of it.
    const MOST_MORE: usize = 2560;
    let home = Home::new();
    let server = home.start();
    let usual = open(&server, "/auth/login?rd=/", "").await.body.len();
    for special in ["%26", "%22", "%27", "%3C", "%3E"] {
        for count in [128, 512, 640, 2047] {
            let page = open(&server, &format!("/auth/login?rd=/{}", special.repeat(count)), "").await;
            let more = page.body.len().saturating_sub(usual);
            assert!(more <= MOST_MORE, "{count} of {special} make the page {more} bytes longer");
        }
    }
    let most = open(&server, &format!("/auth/login?rd=/{}", "%26".repeat(128)), "").await;
    assert!(most.hidden("rd").starts_with("/&"), "a usual number is kept");
}

#[tokio::test]
async fn signing_out_by_form_ends_at_the_sign_in_page_and_then_nothing_of_the_session_is_shown() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let page = open(&server, "/auth/status", &session.cookie()).await;
    assert_eq!(page.header("cache-control"), Some("no-store"), "so the back button asks again");
    let token = page.hidden("csrf_token");
    let answer = submit(&server, "/auth/logout", &session.cookie(), &[("csrf_token", &token)]).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/auth/login?signed-out")));
    assert!(open(&server, "/auth/login?signed-out", "").await.body.contains("You are signed out."));
    let (status, html) = open(&server, "/auth/status", &session.cookie()).await.page_owned();
    assert_eq!(status, 401);
    assert!(
        html.contains("Your session has ended") && html.contains("href=\"/auth/login\"") && !html.contains("alice")
    );
    let answer = submit(&server, "/auth/logout", "", &[("csrf_token", &token), ("rd", "/bye")]).await;
    assert_eq!(answer.header("location"), Some("/bye"));
}

#[tokio::test]
async fn browsers_without_a_session_are_sent_to_sign_in_and_programs_get_401() {
    let home = Home::new();
    let server = home.start();
    for (path, there) in [
        ("/protected", "/auth/login?rd=%2Fprotected"),
        ("/protected?view=all", "/auth/login?rd=%2Fprotected%3Fview%3Dall"),
        ("/auth/password", "/auth/login?rd=%2Fauth%2Fpassword"),
        ("/auth/reauthenticate?rd=/x", "/auth/login?rd=%2Fx"),
    ] {
        let answer = open(&server, path, "").await;
        assert_eq!((answer.status, answer.header("location")), (302, Some(there)));
        assert_eq!(server.get(path, "").await.verdict(), "401 missing");
    }
}

#[tokio::test]
async fn errors_are_pages_for_navigations_and_problems_for_the_rest() {
    let home = Home::new();
    let server = home.start();
    for (path, status, says) in [
        ("/nothing", 404, "There is nothing here"),
        ("/auth/logout", 405, "Method Not Allowed"),
        ("/auth/status", 401, "You are not signed in"),
    ] {
        let page = open(&server, path, "").await;
        assert_eq!(page.page().0, status);
        assert!(page.body.contains(says), "{}", page.body);
        let fetched = client().get(server.url(path)).header("accept", "text/html").header("sec-fetch-mode", "cors");
        let fetched = Answer::of(fetched.send().await.expect("an answer")).await;
        assert_eq!((fetched.status, fetched.header("content-type")), (status, Some("application/problem+json")));
    }
    let cross = navigate(client().post(server.url("/auth/logout"))).header("sec-fetch-site", "cross-site");
    let cross = Answer::of(cross.form(&[("x", "y")]).send().await.expect("an answer")).await;
    assert_eq!(cross.page().0, 403);
    assert!(cross.body.contains("Another site sent this request"));
}

#[tokio::test]
async fn every_answer_carries_the_policy_and_https_origins_strict_transport_security() {
    let home = Home::new();
    let server =
        home.start_with(&["--public-origin", "https://app.example.com", "--public-origin", "http://localhost:1"], &[]);
    for path in ["/auth/login", "/auth/status", "/nothing", "/auth/verify", "/auth/style.css", "/auth/logout"] {
        for (host, hsts, method) in [
            ("app.example.com", true, Method::GET),
            ("localhost:1", false, Method::GET),
            ("app.example.com", true, Method::HEAD),
        ] {
            let request = client().request(method, server.url(path)).header("host", host);
            let answer = Answer::of(request.send().await.expect("an answer")).await;
            assert_eq!(answer.header("strict-transport-security").is_some(), hsts, "{path}");
            let policy = answer.header("content-security-policy").expect("a policy");
            assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"));
            assert!(!policy.contains("unsafe"));
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "same-origin"),
                ("x-frame-options", "DENY"),
                ("cross-origin-opener-policy", "same-origin"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{path} {name}");
            }
            let kept = path == "/auth/style.css";
            assert_eq!(answer.header("cache-control") == Some("no-store"), !kept, "{path}");
        }
    }
}

#[tokio::test]
async fn pages_have_one_stylesheet_and_it_is_there() {
    let home = Home::new();
    let server = home.start();
    let page = open(&server, "/auth/login", "").await;
    let (_, rest) = page.body.split_once("<link rel=\"stylesheet\" href=\"").expect("a stylesheet");
    let (href, _) = rest.split_once('"').expect("the address ends");
    let style = server.get(href, "").await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(style.body.contains("prefers-color-scheme: dark") && style.body.len() < 5_000);
}

#[tokio::test]
async fn plain_http_is_loud_and_its_cookie_goes_where_secure_ones_do_not() {
    let home = Home::with_settings(&["cookie.plain_http=true"]);
    let mut server = home.start_with(&[], &[]);
    let page = open(&server, "/auth/login", "").await;
    assert!(page.body.contains("Development mode:"));
    let set = page.header("set-cookie").expect("a cookie");
    assert!(set.starts_with("sealjar-insecure-form=") && !set.contains("Secure"), "{set}");
    let body = json!({ "login": "alice", "password": PASSWORD });
    let response = client().post(server.url("/auth/login")).json(&body).send().await.expect("an answer");
    let set = response.headers()["set-cookie"].to_str().expect("ASCII").to_owned();
    let (cookie, attributes) = set.split_once(';').expect("attributes");
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(server.get("/auth/status", cookie).await.status, 200);
    let posing = Session(cookie.split_once('=').expect("a value").1.to_owned());
    assert_eq!(server.status(&posing).await, "401 missing", "no cookie of the real name is looked for");
    server.signal("TERM");
    server.wait_for("stopped");
}

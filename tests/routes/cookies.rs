//! Tests of invalid session cookies. The response is never a 5xx, never shows another session, and has one of four reasons.

use super::fixture::{PASSWORD, Site, login_body};
use super::response::Session;

#[tokio::test]
async fn refuses_truncated_changed_and_re_encoded_tokens() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let token = &session.0;
    let mut bad: Vec<String> = (0..token.len()).map(|end| token[..end].to_owned()).collect();
    for index in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            // A separator, or a byte that a header field cannot contain, would change the request instead of the token.
            if bytes[index].is_ascii_graphic() && !b";,\"".contains(&bytes[index]) {
                bad.push(String::from_utf8(bytes).expect("ASCII"));
            }
        }
    }
    let percent = |byte: u8| format!("%{byte:02X}");
    bad.extend([
        format!("{token}="),
        format!("{token}=="),
        format!("{token}A"),
        format!("\"{token}\""),
        format!(" {token} x"),
        token.bytes().map(percent).collect(),
        format!("{}{}", percent(token.as_bytes()[0]), &token[1..]),
        token.replace('-', "+").replace('_', "/") + "+",
        "A".repeat(4096),
        "A".repeat(20_000),
        "=".to_owned(),
    ]);
    for token in bad {
        let response = site.get("/auth/status").session(&Session(token.clone())).send().await;
        assert_eq!(response.verdict(), "401 invalid", "{token}");
        assert!(response.header("set-cookie").is_none());
    }
    assert_eq!(site.status(&session).await, "200");
}

/// Returns `count` cookies that name a key of the server, but cannot be opened. A sibling host can plant them before the real
/// cookie.
fn invalid_cookies(name: &str, session: &Session, count: usize) -> String {
    let head = &session.0[..12];
    (0..count).map(|number| format!("{name}={head}{number:A>55}; ")).collect()
}

/// Number of such cookies that fill the head of a request.
const FULL_HEAD: usize = 370;

#[tokio::test]
async fn finds_the_session_behind_any_number_of_cookies() {
    const NAME: &str = "__Host-sealjar";
    let site = Site::new().await;
    for count in [4, 10, 100, FULL_HEAD] {
        let session = site.login("alice").await;
        let cookies = invalid_cookies(NAME, &session, count) + &session.cookie();
        assert_eq!(site.get("/auth/status").cookie(&cookies).send().await.verdict(), "200", "{count}");
        assert_eq!(site.post("/auth/logout").cookie(&cookies).send().await.verdict(), "200", "{count}");
        assert_eq!(site.status(&session).await, "401 revoked", "{count}");

        let session = site.login("alice").await;
        let other = site.login("alice").await;
        let cookies = invalid_cookies(NAME, &session, count) + &session.cookie();
        assert_eq!(site.post("/auth/logout/all").cookie(&cookies).send().await.verdict(), "200", "{count}");
        assert_eq!(site.status(&other).await, "401 revoked", "{count}");

        let session = site.login("alice").await;
        let cookies = invalid_cookies(NAME, &session, count) + &session.cookie();
        let view = site.get("/auth/status").cookie(&cookies).send().await.json();
        let form = [("csrf_token", view["csrf_token"].as_str().expect("text"))];
        let request = site.post("/auth/logout").cookie(&cookies).form(&form);
        let response = request.header("sec-fetch-site", "same-origin").send().await;
        assert_eq!((response.status, response.header("location")), (303, Some("/auth/login?signed-out")), "{count}");
        assert_eq!(site.status(&session).await, "401 revoked", "{count}");

        let session = site.login("alice").await;
        let cookies = invalid_cookies(NAME, &session, count) + &session.cookie();
        let response = site.post("/auth/login").cookie(&cookies).json(&login_body("alice", PASSWORD)).send().await;
        assert_eq!(response.verdict(), "200", "{count}");
        assert_eq!(site.status(&session).await, "401 revoked", "{count}: a login ends the session in the request");
    }
}

#[tokio::test]
async fn finds_the_form_cookie_behind_any_number_of_cookies() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for count in [4, 10, 100, 300] {
        let page = site.get("/auth/login").header("accept", "text/html").send().await;
        let cookies = invalid_cookies("__Host-sealjar-form", &session, count) + page.set_cookie();
        let token = page.hidden("csrf_token");
        let form = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD)];
        let request = site.post("/auth/login").cookie(&cookies).form(&form);
        let response = request.header("sec-fetch-site", "same-origin").send().await;
        assert_eq!(response.status, 303, "{count}: {}", response.body);
        assert!(response.session.is_some(), "{count}");
    }
}

#[tokio::test]
async fn reports_the_reason_of_the_token_that_passed_most_checks() {
    let site = Site::new().await;
    let live = site.login("alice").await.cookie();
    let ended = site.login("alice").await;
    assert_eq!(site.logout(&ended).await, "200");
    let ended = ended.cookie();
    let bad = "__Host-sealjar=nonsense";
    let other = "x=y";
    let cases: [(&[&str], &str); 5] = [
        (&[other], "401 missing"),
        (&[other, bad], "401 invalid"),
        (&[&ended, bad], "401 revoked"),
        (&[bad, &ended], "401 revoked"),
        (&[bad, &ended, &live, other], "200"),
    ];
    for (cookies, verdict) in cases {
        let response = site.get("/auth/status").cookie(&cookies.join("; ")).send().await;
        assert_eq!(response.verdict(), verdict, "{cookies:?}");
    }
}

#[tokio::test]
async fn a_token_is_valid_only_on_its_host_and_with_its_key() {
    let origins = "http.public_origins=http://localhost,http://127.0.0.1,https://other.example";
    let site = Site::with(&[origins]).await;
    let session = site.login_at("localhost", "alice").await;
    for (host, verdict) in [("localhost", "200"), ("127.0.0.1", "401 invalid"), ("other.example", "401 invalid")] {
        let response = site.get("/auth/status").header("host", host).session(&session).send().await;
        assert_eq!(response.verdict(), verdict, "{host}");
    }
    let foreign = Site::with(&["http.public_origins=http://localhost"]).await;
    let response = foreign.get("/auth/status").header("host", "localhost").session(&session).send().await;
    assert_eq!(response.verdict(), "401 invalid", "the other site has another key ring");
}

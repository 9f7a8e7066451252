//! Tests of `POST /auth/login` by programs and by forms of clients that do not show pages. `pages.rs` tests it with pages.

use std::time::Duration;

use serde_json::json;

use super::fixture::{ORIGIN, PASSWORD, Site, login_body};
use super::response::Response;
use crate::account::password::checker::PANICKING_PASSWORD;
use crate::store::records::Change;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// Password hash whose memory cost (256 MiB) is more than a password thread has.
const LARGE_HASH: &str =
    "$argon2id$v=19$m=262144,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn post(site: &Site, media_type: &str, body: &str) -> Response {
    site.post("/auth/login").body(media_type, body.to_owned()).send().await
}

#[tokio::test]
async fn a_json_login_sets_a_host_cookie_without_max_age() {
    let site = Site::new().await;
    let body = login_body("ALICE", PASSWORD).to_string();
    let response = post(&site, "application/json; charset=utf-8", &body).await;
    assert_eq!(response.verdict(), "200");
    let cookie = response.header("set-cookie").expect("a cookie");
    let (token, attributes) = cookie.split_once(';').expect("attributes");
    assert!(token.starts_with("__Host-sealjar="));
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax");
    let view = response.json();
    assert_eq!(
        (&view["login_name"], &view["roles"], &view["remembered"]),
        (&json!("alice"), &json!(["staff"]), &json!(false))
    );
    assert_eq!(view["authenticated_at"], site.now().wall.0);
    for (name, value) in [("cache-control", "no-store"), ("vary", "Cookie"), ("x-content-type-options", "nosniff")] {
        assert_eq!(response.header(name), Some(value));
    }
}

#[tokio::test]
async fn a_form_login_redirects_and_can_be_remembered() {
    let site = Site::with(&["session.remembered_idle=20m", "session.remembered_absolute=40m"]).await;
    let response =
        site.post("/auth/login").form(&[("login", "alice"), ("remember", "true"), ("password", PASSWORD)]).send().await;
    assert_eq!((response.status, response.header("location")), (303, Some("/")));
    let cookie = response.header("set-cookie").expect("a cookie");
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=1200"), "{cookie}");
    let session = response.session.expect("a session");
    let view = site.get("/auth/status").session(&session).send().await.json();
    assert_eq!(view["remembered"], true);
    let now = site.now().wall.0;
    let times = ["authenticated_at", "idle_deadline", "absolute_deadline"].map(|name| view[name].as_u64());
    assert_eq!(times, [Some(now), Some(now + 1200), Some(now + 2400)]);
    site.advance(Duration::from_secs(1199));
    assert_eq!(site.status(&session).await, "200");
    site.advance(Duration::from_secs(1));
    assert_eq!(site.status(&session).await, "401 expired");
}

#[tokio::test]
async fn unknown_disabled_and_wrong_logins_get_the_same_response() {
    let site = Site::new().await;
    site.add_user("mallory", &["staff"]).await;
    site.change("mallory", Change::Disable).await;
    // Two accounts with unusable hashes: one that cannot be parsed, and one that needs too much memory.
    for (login, hash) in [("ursula", "no hash"), ("victor", LARGE_HASH)] {
        site.add_user(login, &["staff"]).await;
        site.change(login, Change::Password { hash: hash.to_owned(), must_change: false }).await;
    }
    let mut responses = Vec::new();
    for (login, password) in [
        ("nobody", PASSWORD),
        ("alice", "wrong password"),
        ("mallory", PASSWORD),
        ("mallory", "x"),
        ("ursula", PASSWORD),
        ("victor", PASSWORD),
    ] {
        let response = site.post("/auth/login").json(&login_body(login, password)).send().await;
        assert_eq!(response.verdict(), "401 credentials");
        assert!(response.session.is_none() && response.header("www-authenticate").is_some());
        let mut headers = response.headers.clone();
        headers.remove("x-request-id");
        responses.push((headers, response.body));
    }
    assert!(responses.windows(2).all(|pair| pair[0] == pair[1]), "{responses:#?}");
}

#[tokio::test]
async fn a_panic_in_the_check_is_500_and_the_next_sign_in_works() {
    let site = Site::new().await;
    // More requests than password threads, and more than the failures that the throttle allows.
    for _ in 0..20 {
        let response = site.post("/auth/login").json(&login_body("alice", PANICKING_PASSWORD)).send().await;
        assert_eq!(response.verdict(), "500 error");
    }
    let response = tokio::time::timeout(Duration::from_secs(60), site.login("alice")).await;
    assert_eq!(site.status(&response.expect("a password thread is still running")).await, "200");
}

#[tokio::test]
async fn a_login_revokes_presented_sessions_and_reuses_none() {
    let site = Site::new().await;
    site.add_user("bob", &["staff"]).await;
    let planted = site.login("bob").await;
    let other = site.login("alice").await;
    let cookies = format!("{}; {}", planted.cookie(), other.cookie());
    let response = site.post("/auth/login").cookie(&cookies).json(&login_body("alice", PASSWORD)).send().await;
    let fresh = response.session.clone().expect("a session");
    assert!(fresh != planted && fresh != other);
    assert_eq!(site.status(&planted).await, "401 revoked");
    assert_eq!(site.status(&other).await, "401 revoked");
    let view = site.get("/auth/status").session(&fresh).send().await.json();
    assert_eq!(view["login_name"], "alice");
    assert_eq!(view["sid"], response.json()["sid"]);
}

#[tokio::test]
async fn a_failed_login_does_not_end_the_presented_session() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let body = login_body("alice", "wrong password");
    assert_eq!(site.post("/auth/login").session(&session).json(&body).send().await.verdict(), "401 credentials");
    assert_eq!(site.status(&session).await, "200");
}

#[tokio::test]
async fn an_invalid_body_gets_the_status_of_its_error() {
    let site = Site::new().await;
    let long = "x".repeat(20_000);
    let cases = [
        (JSON, "{", "400 malformed"),
        (JSON, "", "400 malformed"),
        (JSON, "login=alice&password=x", "400 malformed"),
        (JSON, "[]", "422 fields"),
        (JSON, r#"["alice","correct horse battery"]"#, "422 fields"),
        (JSON, r#"{"login":"alice"}"#, "422 fields"),
        (JSON, r#"{"login":"alice","password":1}"#, "422 fields"),
        (JSON, r#"{"login":"alice","password":"x","more":1}"#, "422 fields"),
        (JSON, r#"{"login":"al ice","password":"x"}"#, "422 fields"),
        (FORM, "login=alice", "422 fields"),
        (FORM, "", "422 fields"),
        (FORM, r#"{"login":"alice","password":"x"}"#, "422 fields"),
        ("text/plain", "login=alice&password=x", "415 media-type"),
        ("", "login=alice&password=x", "415 media-type"),
        ("multipart/form-data; boundary=x", "--x--", "415 media-type"),
        ("application/jsonx", "{}", "415 media-type"),
        (JSON, &long, "413 too-large"),
        (FORM, &long, "413 too-large"),
    ];
    for (media_type, body, verdict) in cases {
        let response = post(&site, media_type, body).await;
        assert_eq!(response.verdict(), verdict, "{media_type}: {body:.40}");
        assert!(response.session.is_none());
    }
    let empty = site.post("/auth/login").header("content-type", "").body("", "login=alice&password=x").send().await;
    assert_eq!(empty.verdict(), "415 media-type", "an empty field counts as missing");
}

#[tokio::test]
async fn a_browser_may_log_in_with_json_only_from_our_origin() {
    let site = Site::new().await;
    let cases = [
        ("sec-fetch-site", "same-origin", "200"),
        ("sec-fetch-site", "cross-site", "403 cross-site"),
        ("sec-fetch-site", "same-site", "403 cross-site"),
        ("origin", ORIGIN, "200"),
        ("origin", "null", "403 cross-site"),
        ("origin", "https://evil.example", "403 cross-site"),
    ];
    for (name, value, verdict) in cases {
        let request = site.post("/auth/login").header(name, value).json(&login_body("alice", PASSWORD));
        assert_eq!(request.send().await.verdict(), verdict, "{name}: {value}");
    }
}

/// The change happens before the password check. In half of the cases, this server has already read the change.
#[tokio::test]
async fn an_account_change_during_the_check_refuses_the_login() {
    let site = Site::new().await;
    let password = site.password("alice", "another password", false).await;
    for is_read in [true, false] {
        for change in [Change::EndSessions, Change::Disable, password.clone()] {
            let held_thread = site.app.passwords.hold_thread();
            let sign_in = site.post("/auth/login").json(&login_body("alice", PASSWORD)).send();
            let meanwhile = async {
                site.until_password_waits().await;
                if is_read {
                    site.change("alice", change.clone()).await;
                } else {
                    site.app
                        .store
                        .change_account(&"alice".parse().expect("a name"), &change)
                        .await
                        .expect("an account");
                }
                drop(held_thread);
            };
            let (response, ()) = tokio::join!(sign_in, meanwhile);
            assert_eq!(response.verdict(), "401 credentials", "{change:?}");
            assert!(response.session.is_none());
            site.change("alice", Change::Enable).await;
            let original = site.password("alice", PASSWORD, false).await;
            site.change("alice", original).await;
        }
    }
}

//! Tests of the pages, as a browser without scripts receives them. `tests/web/pages/` has tests with a real browser.

use std::time::Duration;

use super::fixture::{ORIGIN, PASSWORD, Site, login_body};
use super::response::{Response, Session};
use crate::account::Roles;
use crate::store::records::Change;

async fn open(site: &Site, path: &str, cookie: &str) -> Response {
    site.get(path).cookie(cookie).navigate().send().await
}

async fn submit(site: &Site, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Response {
    site.post(path).cookie(cookie).navigate().header("origin", ORIGIN).form(fields).send().await
}

/// Submits a form like an old browser that sends no `Sec-Fetch-*` fields.
async fn submit_from_old_browser(site: &Site, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Response {
    let request = site.post(path).cookie(cookie).header("accept", "text/html").header("origin", ORIGIN);
    request.form(fields).send().await
}

/// Opens the login page, and returns the cookie and the token of its form.
async fn sign_in_form(site: &Site) -> (String, String) {
    let page = open(site, "/auth/login", "").await;
    (form_cookie(&page), page.hidden("csrf_token"))
}

/// Asserts the attributes of the form cookie that a page sets, and returns the cookie.
fn form_cookie(page: &Response) -> String {
    let fields = page.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("ASCII"));
    let mut form_cookies = fields.filter(|value| value.starts_with("__Host-sealjar-form="));
    let (cookie, attributes) = form_cookies.next().and_then(|value| value.split_once(';')).expect("a form cookie");
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600");
    cookie.to_owned()
}

fn sign_in_fields<'a>(token: &'a str, login: &'a str, password: &'a str) -> [(&'a str, &'a str); 3] {
    [("csrf_token", token), ("login", login), ("password", password)]
}

#[tokio::test]
async fn the_login_form_keeps_its_input_and_redirects_back() {
    let site = Site::new().await;
    let page = open(&site, "/auth/login?rd=%2Fapp%3Fx%3D%22y%22", "").await;
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
    let wrong = submit(&site, "/auth/login", &cookie, &fields(&*token, "alice", "wrong <password>")).await;
    let (status, html) = wrong.page();
    assert_eq!((status, wrong.session.is_none()), (401, true));
    assert!(html.contains("id=\"password-error\" role=\"alert\">The login name or the password is wrong."));
    assert!(html.contains("name=\"login\" value=\"alice\"") && html.contains(" checked"));
    assert!(!html.contains("wrong &#60;") && !html.contains("wrong <"), "the password is not repeated");
    assert_eq!(wrong.hidden("rd"), "/app?x=y");

    let token = wrong.hidden("csrf_token");
    let invalid = submit(&site, "/auth/login", &cookie, &fields(&*token, "al <b>ice", "x")).await;
    let (status, html) = invalid.page();
    assert_eq!(status, 422);
    assert!(html.contains("id=\"login-error\" role=\"alert\">This is not a login name."));
    assert!(html.contains("value=\"al &#60;b&#62;ice\""));

    let token = invalid.hidden("csrf_token");
    let right = submit(&site, "/auth/login", &cookie, &fields(&*token, "alice", PASSWORD)).await;
    assert_eq!((right.status, right.header("location")), (303, Some("/app?x=y")));
    let page = open(&site, "/auth/status", &right.session.expect("a session").cookie()).await;
    let (status, html) = page.page();
    assert_eq!(status, 200);
    assert!(html.contains("You are signed in") && html.contains("<dd>alice</dd>") && html.contains("<dd>staff</dd>"));
    assert!(html.contains("You stay signed in"), "the session is remembered");
}

#[tokio::test]
async fn unknown_disabled_and_wrong_logins_get_the_same_page() {
    let site = Site::new().await;
    site.add_user("mallory", &["staff"]).await;
    site.change("mallory", Change::Disable).await;
    let mut responses = Vec::new();
    for (login, password) in [("nobody", PASSWORD), ("alice", "wrong password"), ("mallory", PASSWORD)] {
        let (cookie, token) = sign_in_form(&site).await;
        let response = submit(&site, "/auth/login", &cookie, &sign_in_fields(&token, login, password)).await;
        let token = response.hidden("csrf_token");
        responses.push((response.status, response.body.replace(&token, "").replace(login, "")));
    }
    assert_eq!(responses[0].0, 401);
    assert!(responses.windows(2).all(|pair| pair[0] == pair[1]), "{responses:#?}");
}

#[tokio::test]
async fn two_tabs_with_sign_in_forms_both_work() {
    let site = Site::new().await;
    let first = open(&site, "/auth/login", "").await;
    let cookie = form_cookie(&first);
    let second = open(&site, "/auth/login", &cookie).await;
    let newer = form_cookie(&second);
    for (cookie, token) in [(&newer, first.hidden("csrf_token")), (&cookie, second.hidden("csrf_token"))] {
        let fields = sign_in_fields(&token, "alice", PASSWORD);
        assert_eq!(submit(&site, "/auth/login", cookie, &fields).await.status, 303);
    }
}

/// A browser opens all three pages without a cookie, and stores the cookie of the last response.
#[tokio::test]
async fn three_sign_in_pages_opened_at_once_all_work() {
    let site = Site::new().await;
    let (_, first) = sign_in_form(&site).await;
    let (_, second) = sign_in_form(&site).await;
    let (cookie, third) = sign_in_form(&site).await;
    for token in [&first, &second, &third] {
        let fields = sign_in_fields(token, "alice", PASSWORD);
        assert_eq!(submit(&site, "/auth/login", &cookie, &fields).await.status, 303);
    }
}

#[tokio::test]
async fn a_login_page_still_works_after_hours() {
    let site = Site::new().await;
    let (_, token) = sign_in_form(&site).await;
    site.advance(Duration::from_secs(8 * 3600));
    let fields = sign_in_fields(&token, "alice", PASSWORD);
    assert_eq!(submit(&site, "/auth/login", "", &fields).await.status, 303, "without the cookie, which has expired");
}

#[tokio::test]
async fn a_missing_or_foreign_form_cookie_shows_the_form_again() {
    let site = Site::new().await;
    let (_, token) = sign_in_form(&site).await;
    let fields = |token| [("csrf_token", token), ("login", "alice"), ("password", PASSWORD), ("rd", "/app")];
    let without_cookie = submit_from_old_browser(&site, "/auth/login", "", &fields(&*token)).await;
    let (status, html) = without_cookie.page();
    assert_eq!(status, 403);
    assert!(
        html.contains("your browser blocks the cookies of this site") && html.contains("value=\"alice\""),
        "{html}"
    );
    let cookie = form_cookie(&without_cookie);
    let token = without_cookie.hidden("csrf_token");
    let again = submit_from_old_browser(&site, "/auth/login", &cookie, &fields(&*token)).await;
    assert_eq!(again.header("location"), Some("/app"));
    // The token of another browser's form, with the cookie of this browser.
    let (_, foreign) = sign_in_form(&site).await;
    let fields = sign_in_fields(&foreign, "alice", PASSWORD);
    let out_of_date = submit_from_old_browser(&site, "/auth/login", &cookie, &fields).await;
    assert_eq!((out_of_date.status, out_of_date.session.is_none()), (403, true));
    assert!(out_of_date.body.contains("This page was out of date"));
}

#[tokio::test]
async fn session_and_form_cookies_are_not_interchangeable() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let (cookie, token) = sign_in_form(&site).await;
    let as_session = cookie.replace("__Host-sealjar-form=", "__Host-sealjar=");
    assert_eq!(site.get("/auth/status").cookie(&as_session).send().await.verdict(), "401 invalid");
    let as_form = session.cookie().replace("__Host-sealjar=", "__Host-sealjar-form=");
    let fields = sign_in_fields(&token, "alice", PASSWORD);
    assert_eq!(submit_from_old_browser(&site, "/auth/login", &as_form, &fields).await.status, 403);
}

#[tokio::test]
async fn the_login_page_of_a_live_session_links_to_the_return_url() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let page = open(&site, "/auth/login?rd=%2Fapp", &session.cookie()).await;
    let (status, html) = page.page();
    assert_eq!((status, page.header("location")), (200, None), "a redirect could cause a loop");
    assert!(html.contains("You are signed in as <b>alice</b>") && html.contains("href=\"/app\""));
}

#[tokio::test]
async fn external_return_urls_are_dropped_from_query_and_form() {
    let site = Site::new().await;
    for bad in ["//evil.example", "/\\evil.example", "https:evil", "https://good@evil", "/%0d%0a"] {
        let query = format!("/auth/login?rd={}", bad.replace('%', "%25").replace('\\', "%5C"));
        let page = open(&site, &query, "").await;
        assert_eq!(page.hidden("rd"), "/", "{bad}");
        let token = page.hidden("csrf_token");
        let fields = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD), ("rd", bad)];
        let response = submit(&site, "/auth/login", &form_cookie(&page), &fields).await;
        assert_eq!((response.status, response.header("location")), (303, Some("/")), "{bad}");
    }
}

/// ingress-nginx sends absolute return URLs. Their scheme is the scheme of the connection to ingress-nginx, so `http` must be
/// accepted.
#[tokio::test]
async fn an_absolute_return_url_of_this_host_becomes_a_path() {
    let site = Site::with(&["http.public_origins=https://app.example.com,https://b.example.com"]).await;
    for (rd, kept) in [
        ("https://app.example.com/a?b=%2Fc#d", "/a?b=%2Fc#d"),
        ("http://app.example.com/a", "/a"),
        ("https://app.example.com", "/"),
        ("https://b.example.com/a", "/"),
        ("https://app.example.com//evil.example", "/"),
        ("https://app.example.com@evil.example/a", "/"),
        ("https://app.example.com\\@evil.example/a", "/"),
    ] {
        let query: String = form_urlencoded::byte_serialize(rd.as_bytes()).collect();
        let page = site.get(&format!("/auth/login?rd={query}")).header("host", "app.example.com").navigate();
        let page = page.send().await;
        assert_eq!(page.hidden("rd"), kept, "{rd}");
        let fields =
            [("csrf_token", &*page.hidden("csrf_token")), ("login", "alice"), ("password", PASSWORD), ("rd", rd)];
        let request = site.post("/auth/login").header("host", "app.example.com").cookie(&form_cookie(&page)).navigate();
        let response = request.form(&fields).send().await;
        assert_eq!((response.status, response.header("location")), (303, Some(kept)), "{rd}");
        let session = response.session.expect("a session");
        let renew = site.get(&format!("/auth/renew?rd={query}")).header("host", "app.example.com").session(&session);
        let renewed = renew.send().await;
        let back =
            renewed.header("location").map(|url| url.replace("?sealjar-renewed", "").replace("&sealjar-renewed", ""));
        assert_eq!(back.as_deref(), Some(kept).filter(|kept| *kept != "/" || rd == "https://app.example.com"), "{rd}");
    }

    // The host of the request decides which return URLs are accepted.
    let page = site.get("/auth/login").header("host", "b.example.com").navigate().send().await;
    for (rd, kept) in [("https://b.example.com/a", "/a"), ("https://app.example.com/a", "/")] {
        let fields =
            [("csrf_token", &*page.hidden("csrf_token")), ("login", "alice"), ("password", PASSWORD), ("rd", rd)];
        let request = site.post("/auth/login").header("host", "b.example.com").cookie(&form_cookie(&page)).navigate();
        assert_eq!(request.form(&fields).send().await.header("location"), Some(kept), "{rd}");
    }
}

/// A form without `action` is submitted to the address of its page. The browser then keeps the fragment of that address.
#[tokio::test]
async fn a_form_may_be_submitted_to_the_address_of_its_page() {
    let site = Site::new().await;
    for query in ["?rd=%2Fx", "?signed-out", "?rd=https%3A%2F%2Fevil.example%2F", "?"] {
        let page = open(&site, &format!("/auth/login{query}"), "").await;
        let token = page.hidden("csrf_token");
        let fields = |password| [("csrf_token", &*token), ("rd", "/y"), ("login", "alice"), ("password", password)];
        let path = format!("/auth/login{query}");
        let wrong = submit(&site, &path, &form_cookie(&page), &fields("wrong")).await;
        assert_eq!((wrong.page().0, wrong.hidden("rd")), (401, "/y".to_owned()), "{path}");
        assert!(!wrong.body.contains("You are signed out"));
        let right = submit(&site, &path, &form_cookie(&page), &fields(PASSWORD)).await;
        assert_eq!((right.status, right.header("location")), (303, Some("/y")), "{path}");

        let session = right.session.expect("a session").cookie();
        let path = format!("/auth/reauthenticate{query}");
        let page = open(&site, &path, &session).await;
        let token = page.hidden("csrf_token");
        let fields = |password| [("csrf_token", &*token), ("rd", "/y"), ("password", password)];
        let wrong = submit(&site, &path, &session, &fields("wrong")).await;
        assert_eq!((wrong.page().0, wrong.hidden("rd")), (401, "/y".to_owned()), "{path}");
        let right = submit(&site, &path, &session, &fields(PASSWORD)).await;
        assert_eq!((right.status, right.header("location")), (303, Some("/y")), "{path}");
    }
}

/// A redirect without a fragment inherits the fragment of the request's URL ([RFC 9110 section
/// 10.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2)). A redirect with a fragment would replace it.
#[tokio::test]
async fn no_redirect_back_to_the_return_url_has_a_fragment() {
    let site = Site::new().await;
    let (cookie, token) = sign_in_form(&site).await;
    let fields = [("csrf_token", &*token), ("rd", "/x"), ("login", "alice"), ("password", PASSWORD)];
    let signed_in = submit(&site, "/auth/login", &cookie, &fields).await;
    let session = signed_in.session.clone().expect("a session").cookie();
    let again = open(&site, "/auth/reauthenticate?rd=%2Fx", &session).await;
    let token = again.hidden("csrf_token");
    let fields = [("csrf_token", &*token), ("rd", "/x"), ("password", PASSWORD)];
    let redirects = [
        open(&site, "/protected", "").await,
        open(&site, "/auth/verify/redirect", "").await,
        open(&site, "/auth/renew?rd=%2Fx", "").await,
        open(&site, "/auth/renew?rd=%2Fx", &session).await,
        open(&site, "/auth/reauthenticate?rd=%2Fx", "").await,
        submit(&site, "/auth/reauthenticate?rd=%2Fx", &session, &fields).await,
        signed_in,
    ];
    for response in redirects {
        assert!(matches!(response.status, 302 | 303), "{}", response.status);
        assert!(!response.header("location").expect("a Location field").contains('#'));
    }
    let page = open(&site, "/auth/login?rd=%2Fx%23there", "").await;
    assert_eq!(page.hidden("rd"), "/x#there", "a link may contain a fragment");
}

#[tokio::test]
async fn home_may_be_any_page_and_needs_no_return_url() {
    let site = Site::with(&["pages.home=https://portal.example.com/start?a=b"]).await;
    let home = "https://portal.example.com/start?a=b";
    for path in ["/auth/reauthenticate", "/auth/renew", "/auth/reauthenticate?rd=//evil.example"] {
        assert_eq!(open(&site, path, "").await.header("location"), Some("/auth/login"), "{path}");
    }
    let page = open(&site, "/auth/login", "").await;
    assert_eq!(page.hidden("rd"), home.replace('&', "&#38;"));
    let token = page.hidden("csrf_token");
    for rd in [home, "", "https://portal.example.com/other", "//evil.example"] {
        let fields = [("csrf_token", &*token), ("rd", rd), ("login", "alice"), ("password", PASSWORD)];
        let response = submit(&site, "/auth/login", &form_cookie(&page), &fields).await;
        assert_eq!((response.status, response.header("location")), (303, Some(home)), "{rd}");
        let session = response.session.expect("a session").cookie();
        let again = open(&site, "/auth/reauthenticate", &session).await;
        let token = again.hidden("csrf_token");
        let fields = [("csrf_token", &*token), ("rd", rd), ("password", PASSWORD)];
        let response = submit(&site, "/auth/reauthenticate", &session, &fields).await;
        assert_eq!((response.status, response.header("location")), (303, Some(home)), "{rd}");
    }
}

#[tokio::test]
async fn short_addresses_redirect_to_a_page() {
    let site = Site::new().await;
    let session = site.login("alice").await.cookie();
    for (path, target) in [
        ("/", "/auth/status"),
        ("/?x", "/auth/status"),
        ("/auth", "/auth/status"),
        ("/auth/", "/auth/status"),
        ("/.well-known/change-password", "/auth/password"),
    ] {
        for cookie in ["", &session] {
            for response in [open(&site, path, cookie).await, site.get(path).cookie(cookie).send().await] {
                // A proxy that sends a verify request here by mistake must not take the response for a success.
                assert_eq!((response.status, response.header("location")), (302, Some(target)), "{path}");
                assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
                assert!(response.header("set-cookie").is_none(), "{path}");
            }
        }
        assert_eq!(open(&site, target, &session).await.page().0, 200, "{target}");
        assert_eq!(site.post(path).send().await.verdict(), "405 method", "{path}");
    }
    let page = open(&site, "/auth/status", "").await;
    assert!(page.page().1.contains("href=\"/auth/login?rd=%2Fauth%2Fstatus\""), "that page links to the login");
    let missing = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200";
    assert_eq!(site.get(missing).send().await.status, 404, "a password manager checks this first");
}

#[tokio::test]
async fn escaped_return_urls_do_not_make_a_page_long() {
    /// Maximum number of added bytes: the maximum length of a return URL, and a quarter of it.
    const MAX_ADDED_BYTES: usize = 2560;
    let site = Site::new().await;
    let usual = open(&site, "/auth/login?rd=/", "").await.body.len();
    for special in ["%26", "%22", "%27", "%3C", "%3E"] {
        for count in [128, 512, 640, 2047] {
            let page = open(&site, &format!("/auth/login?rd=/{}", special.repeat(count)), "").await;
            let added = page.body.len().saturating_sub(usual);
            assert!(added <= MAX_ADDED_BYTES, "{count} of {special} make the page {added} bytes longer");
        }
    }
    let kept = open(&site, &format!("/auth/login?rd=/{}", "%26".repeat(128)), "").await;
    assert!(kept.hidden("rd").starts_with("/&"), "a return URL with 128 special characters is kept");
}

#[tokio::test]
async fn after_a_form_logout_no_page_shows_the_session() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let page = open(&site, "/auth/status", &session.cookie()).await;
    assert_eq!(page.header("cache-control"), Some("no-store"), "the back button must request the page again");
    let token = page.hidden("csrf_token");
    let response = submit(&site, "/auth/logout", &session.cookie(), &[("csrf_token", &token)]).await;
    assert_eq!((response.status, response.header("location")), (303, Some("/auth/login?signed-out")));
    assert!(open(&site, "/auth/login?signed-out", "").await.body.contains("You are signed out."));
    let page = open(&site, "/auth/status", &session.cookie()).await;
    let (status, html) = page.page();
    assert_eq!(status, 401);
    assert!(html.contains("Your session has ended") && html.contains("href=\"/auth/login?rd=%2Fauth%2Fstatus\""));
    assert!(!html.contains("alice"));
    let response = submit(&site, "/auth/logout", "", &[("csrf_token", &token), ("rd", "/bye")]).await;
    assert_eq!(response.header("location"), Some("/bye"));
}

#[tokio::test]
async fn without_a_session_browsers_are_redirected_to_the_login() {
    let site = Site::new().await;
    for (path, login_url) in [
        ("/protected", "/auth/login?rd=%2Fprotected"),
        ("/protected?view=all", "/auth/login?rd=%2Fprotected%3Fview%3Dall"),
        ("/auth/password", "/auth/login?rd=%2Fauth%2Fpassword"),
        ("/auth/reauthenticate?rd=/x", "/auth/login?rd=%2Fx"),
    ] {
        let response = open(&site, path, "").await;
        assert_eq!((response.status, response.header("location")), (302, Some(login_url)));
        assert_eq!(site.get(path).send().await.verdict(), "401 missing", "a program gets a problem");
    }
}

#[tokio::test]
async fn errors_are_pages_for_navigations_and_problems_for_the_rest() {
    let site = Site::new().await;
    for (path, status, expected_text) in [
        ("/nothing", 404, "There is no such page"),
        ("/auth/logout", 405, "This page cannot be opened directly"),
        ("/auth/status", 401, "You are not signed in"),
    ] {
        let page = open(&site, path, "").await;
        assert_eq!(page.page().0, status);
        assert!(page.body.contains(expected_text), "{}", page.body);
        let fetched = site.get(path).header("accept", "text/html").header("sec-fetch-mode", "cors").send().await;
        assert_eq!((fetched.status, fetched.header("content-type")), (status, Some("application/problem+json")));
    }
    let nothing = open(&Site::with(&["pages.home=/start"]).await, "/nothing", "").await;
    assert!(nothing.body.contains("href=\"/start\">Go to the home page</a>"), "{}", nothing.body);
    let at_home = Site::with(&["pages.home=/auth/status"]).await;
    let session = at_home.login("alice").await.cookie();
    let page = open(&at_home, "/auth/status", &session).await;
    assert!(
        page.page().0 == 200 && !page.body.contains("Go to the home page"),
        "the home page does not link to itself"
    );
    let cross = site.post("/auth/logout").header("accept", "text/html").header("sec-fetch-mode", "navigate");
    let cross = cross.header("sec-fetch-site", "cross-site").form(&[("x", "y")]).send().await;
    assert_eq!(cross.page().0, 403);
    assert!(cross.body.contains("Another site sent this request"));
}

#[tokio::test]
async fn the_page_for_an_unknown_host_names_the_host() {
    let site = Site::with(&["http.public_origins=https://app.example.com"]).await;
    let page = site.get("/auth/login").header("host", "other.example.com:8443").navigate().send().await;
    let (status, html) = page.page();
    assert_eq!(status, 421);
    assert!(
        html.contains("<h1>This address is not set up</h1>\n<p class=\"host\">other.example.com:8443</p>"),
        "{html}"
    );
    assert!(html.contains("For the operator") && html.contains("http.public_origins"));
    assert!(!html.contains("app.example.com"), "the page does not reveal the configured origins");
    assert!(!html.contains("<a "), "a link would lead to the unknown host again");
    for path in ["/auth/style.css", "/auth/icon.svg"] {
        assert!(html.contains(&format!("href=\"{path}?v=")));
        assert_eq!(site.get(path).header("host", "other.example.com:8443").send().await.status, 200, "{path}");
    }
    let unusual = site.get("/auth/login").header("host", &"<b>".repeat(400)).navigate().send().await;
    assert!(
        unusual.status == 421 && unusual.body.contains("&#60;b&#62;") && unusual.body.len() < 4096,
        "{}",
        unusual.body
    );
}

#[tokio::test]
async fn pages_show_the_title_and_logo_of_the_service() {
    let home = tempfile::tempdir().expect("a directory");
    let logo = home.path().join("logo.svg");
    std::fs::write(&logo, "<svg xmlns='http://www.w3.org/2000/svg'/>").expect("a writable directory");
    let logo = format!("pages.logo={}", logo.display());
    let settings = ["pages.title=Café & Söhne", "http.public_origins=https://app.example.com", &logo];
    let site = Site::with(&settings).await;
    let page = site.get("/auth/login").header("host", "app.example.com").navigate().send().await;
    assert!(page.body.contains("<title>Sign in · Café &#38; Söhne</title>"), "{}", page.body);
    assert!(page.body.contains("<p class=\"host\">app.example.com</p>"));
    let (_, rest) = page.body.split_once("<img src=\"").expect("a logo");
    let (href, _) = rest.split_once('"').expect("the address has an end");
    assert!(page.body.contains(&format!("<link rel=\"icon\" href=\"{href}\">")));
    let image = site.get(href).send().await;
    assert_eq!((image.status, image.header("content-type")), (200, Some("image/svg+xml")));
    let policy = image.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("sandbox"),
        "an image cannot run scripts or load anything: {policy}"
    );
    assert_eq!(Site::new().await.get("/auth/logo").send().await.verdict(), "404 not-found");
}

#[tokio::test]
async fn the_login_page_states_why_a_session_has_ended() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let status_text = async |session: &Session| {
        let page = open(&site, "/auth/login?rd=%2Fapp", &session.cookie()).await;
        let (_, rest) = page.body.split_once("role=\"status\">").unwrap_or_default();
        rest.split_once('<').unwrap_or_default().0.to_owned()
    };
    assert_eq!(status_text(&session).await, "", "the session is live");
    site.change("alice", Change::Roles(Roles::default())).await;
    let changed = "Your session has ended because you signed out, your account was changed, or the session was used in two places.";
    assert!(status_text(&session).await.starts_with(changed));
    let session = site.login("alice").await;
    site.advance(Duration::from_secs(30 * 60));
    assert!(
        status_text(&session).await.starts_with("You were signed out automatically after some time."),
        "the session was not used"
    );
    assert_eq!(status_text(&Session("x".repeat(100))).await, "", "an invalid token has no reason");

    let (cookie, token) = sign_in_form(&site).await;
    let both = format!("{cookie}; {}", session.cookie());
    let wrong = submit(&site, "/auth/login", &both, &sign_in_fields(&token, "alice", "wrong password")).await;
    assert!(
        wrong.body.contains("role=\"alert\"") && !wrong.body.contains("You were signed out automatically"),
        "the page shows one message at a time"
    );
}

#[tokio::test]
async fn the_login_page_warns_if_the_browser_blocks_cookies() {
    let site = Site::new().await;
    let (cookie, _) = sign_in_form(&site).await;
    let session = site.login("alice").await.cookie();
    for (referer, cookie, is_warned) in [
        ("/auth/login?rd=%2Fapp", "", true),
        ("/auth/login", "", true),
        ("/auth/login?rd=%2Fapp", &*cookie, false),
        ("/auth/login?rd=%2Fapp", &*session, false),
        ("/auth/status", "", false),
        ("/app", "", false),
    ] {
        let request = site.get("/auth/login?rd=%2Fapp").cookie(cookie).navigate();
        let page = request.header("referer", &format!("{ORIGIN}{referer}")).send().await;
        assert_eq!(page.page().1.contains("your browser blocks the cookies"), is_warned, "{referer} {cookie}");
    }
    let from_another_site =
        site.get("/auth/login").navigate().header("referer", "https://evil.example/auth/login").send().await;
    assert!(!from_another_site.body.contains("your browser blocks the cookies"));
}

#[tokio::test]
async fn a_password_change_needs_the_new_password_twice() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let page = open(&site, "/auth/password", &session.cookie()).await;
    let token = page.hidden("csrf_token");
    let change = async |again: &str| {
        let fields = [
            ("csrf_token", &*token),
            ("old_password", PASSWORD),
            ("new_password", "gr\u{fc}n another horse"),
            ("new_password_again", again),
        ];
        submit(&site, "/auth/password", &session.cookie(), &fields).await
    };
    for other in ["", "green another horse", "gr\u{fc}n another horse "] {
        let differs = change(other).await;
        let (status, html) = differs.page();
        let message_at_field = "id=\"new-error\" role=\"alert\">The two new passwords are not the same.";
        assert!(status == 422 && html.contains(message_at_field), "{other:?}: {html}");
    }
    assert_eq!(site.status(&session).await, "200");
    let equivalent = change("gru\u{308}n another horse").await;
    assert_eq!(equivalent.status, 303, "the same password in another spelling");
}

#[tokio::test]
async fn every_response_has_the_csp_and_over_https_hsts() {
    let site = Site::with(&["http.public_origins=https://app.example.com,http://localhost:1"]).await;
    for path in ["/auth/login", "/auth/status", "/nothing", "/auth/verify", "/auth/style.css", "/auth/logout"] {
        for (host, hsts, method) in
            [("app.example.com", true, "GET"), ("localhost:1", false, "GET"), ("app.example.com", true, "HEAD")]
        {
            let response = site.request(method, path).header("host", host).send().await;
            assert_eq!(response.header("strict-transport-security").is_some(), hsts, "{path}");
            let policy = response.header("content-security-policy").expect("a policy");
            assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"));
            assert!(policy.contains("form-action 'self' https: http:;") && !policy.contains("unsafe"));
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "same-origin"),
                ("x-frame-options", "DENY"),
                ("cross-origin-opener-policy", "same-origin"),
            ] {
                assert_eq!(response.header(name), Some(value), "{path} {name}");
            }
            let is_cached = path == "/auth/style.css";
            assert_eq!(response.header("cache-control") == Some("no-store"), !is_cached, "{path}");
        }
    }
}

/// Browsers also apply `form-action` to redirects after a form. An application may redirect to another origin after a login.
#[tokio::test]
async fn the_csp_allows_http_form_targets_only_with_http_origins() {
    for (settings, targets) in [
        (&["http.public_origins=https://app.example.com"][..], "'self' https:"),
        (&["http.public_origins=https://app.example.com:8443", "cookie.domain=example.com"], "'self' https:"),
        (&["http.public_origins=https://app.example.com,http://localhost:1"], "'self' https: http:"),
        (&[], "'self' https: http:"),
    ] {
        let site = Site::with(settings).await;
        let host = site.app.hosts.first().map_or("127.0.0.1".to_owned(), ToString::to_string);
        let host = host.split_once("://").map_or(&*host, |(_, authority)| authority);
        let page = site.get("/auth/login").header("host", host).send().await;
        let policy = page.header("content-security-policy").expect("a policy");
        let actual = policy.split("; ").find_map(|part| part.strip_prefix("form-action "));
        assert_eq!((page.status, actual), (200, Some(targets)), "{settings:?}");
    }
}

#[tokio::test]
async fn pages_have_one_stylesheet_that_exists() {
    let site = Site::new().await;
    let page = open(&site, "/auth/login", "").await;
    let (_, rest) = page.body.split_once("<link rel=\"stylesheet\" href=\"").expect("a stylesheet");
    let (href, _) = rest.split_once('"').expect("the address has an end");
    let style = site.get(href).send().await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(style.body.contains("prefers-color-scheme: dark") && style.body.len() < 5_000);
}

#[tokio::test]
async fn pages_and_cookies_indicate_plain_http() {
    let site = Site::with(&["cookie.plain_http=true"]).await;
    let page = open(&site, "/auth/login", "").await;
    assert!(page.body.contains("Development mode:"));
    let set = page.header("set-cookie").expect("a cookie");
    assert!(set.starts_with("sealjar-insecure-form=") && !set.contains("Secure"), "{set}");
    let response = site.post("/auth/login").json(&login_body("alice", PASSWORD)).send().await;
    let (cookie, attributes) = response.header("set-cookie").and_then(|set| set.split_once(';')).expect("attributes");
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(site.get("/auth/status").cookie(cookie).send().await.status, 200);
    let renamed = Session(cookie.split_once('=').expect("a value").1.to_owned());
    assert_eq!(site.status(&renamed).await, "401 missing", "this site does not read a cookie with the secure name");
}

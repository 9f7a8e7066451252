//! Tests of the application in `examples/embed.rs`, over HTTP as from a browser, with `kill -9` and key rotation.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

#[path = "server/clock_file.rs"]
#[allow(dead_code, reason = "the tests of the server use the rest")]
mod clock_file;
#[path = "embed/copies.rs"]
mod copies;
#[path = "embed/failures.rs"]
mod failures;
#[path = "embed/handlers.rs"]
mod handlers;
#[path = "embed/navigation.rs"]
mod navigation;

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// Maximum time to wait for a condition. It is long, because the machine may be loaded.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Key directory of the example. It is separate from the key directory of a server.
const KEYS: &str = "shop-keys";
const COOKIE_NAME: &str = "__Host-sealjar-app-shop";
const CART: &str = "/cart";
const SIGN_IN: &str = "/sign-in";
const SIGN_OUT: &str = "/sign-out";
const CODE: &[(&str, &str)] = &[("code", "2718")];

/// Returns the path of the example's binary. `cargo test` builds it before it runs any test.
fn example_binary() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_sealjar")).with_file_name("examples").join("embed");
    assert!(built.exists(), "to run a single test, first run: cargo build --example embed");
    built
}

/// The running application, and the directory with its keys. The process is killed on drop.
struct Shop {
    home: TempDir,
    address: String,
    variables: Vec<(&'static str, &'static OsStr)>,
    process: Option<Child>,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(tempfile::tempdir().unwrap(), Vec::new()).await
    }

    /// Starts the application with these environment variables in this empty directory.
    async fn open_with(home: TempDir, variables: Vec<(&'static str, &'static OsStr)>) -> Self {
        let mut shop = Self { home, address: String::new(), variables, process: None };
        shop.sealjar(&["keys", "init"]);
        shop.start().await;
        shop
    }

    /// Runs a command of `sealjar` with the keys of the application.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealjar"));
        command.args(arguments).args(["--keys", KEYS]).current_dir(&self.home).output().unwrap()
    }

    /// Runs a command of `sealjar` that must succeed, and returns its output.
    fn sealjar(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the application on a new port. The port of a process that was killed may not be free yet. Cookies do not depend on
    /// the port.
    async fn start(&mut self) {
        self.address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new(example_binary());
        command.arg(&self.address).current_dir(&self.home).stdout(Stdio::null()).envs(self.variables.clone());
        let process = self.process.insert(command.spawn().unwrap());
        let started = Instant::now();
        let url = format!("http://{}{CART}", self.address);
        while Client::new().get(&url).send().await.is_err() {
            assert_eq!(process.try_wait().unwrap(), None, "the application exited");
            assert!(started.elapsed() < TIMEOUT, "the application does not listen");
        }
    }

    /// Kills the process with SIGKILL, so that it cannot write anything more.
    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Sends SIGINT, and asserts that the process shuts down cleanly.
    async fn interrupt(&mut self) {
        let mut process = self.process.take().unwrap();
        let sent = Command::new("sh").args(["-c", "kill -INT \"$0\"", &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = tokio::task::spawn_blocking(move || process.wait().unwrap());
        let status = tokio::time::timeout(TIMEOUT, ended).await.expect("the process exits in time").unwrap();
        assert!(status.success(), "{status}");
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// A browser that stores only the session cookie. A clone has a copy of the cookie.
#[derive(Clone, Default)]
struct Browser {
    cookie: Option<String>,
}

impl Browser {
    async fn send(&mut self, shop: &Shop, method: Method, path: &str, form: &[(&str, &str)]) -> Response {
        self.send_with(shop, method, path, form, HeaderMap::new()).await
    }

    async fn send_with(
        &mut self,
        shop: &Shop,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
        headers: HeaderMap,
    ) -> Response {
        let mut request = Client::new().request(method.clone(), shop.url(path)).headers(headers);
        if method == Method::POST {
            request = request.form(form);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let response = request.send().await.unwrap();
        assert!(response.headers().get(LOCATION).is_none());
        let set_cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
        assert!(set_cookies.len() <= 1, "{set_cookies:?}");
        for value in set_cookies {
            let value = value.to_str().unwrap();
            assert!(value.starts_with(&format!("{COOKIE_NAME}=")), "{value}");
            assert!(value.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{value}");
            assert_eq!(response.headers()["cache-control"], "no-store");
            let pair = value.split(';').next().unwrap().to_owned();
            self.cookie = if value.contains("Max-Age=0") { None } else { Some(pair) };
        }
        response
    }

    async fn signed_in(shop: &Shop) -> Self {
        let mut browser = Self::default();
        assert_eq!(browser.send(shop, Method::POST, SIGN_IN, CODE).await.status(), StatusCode::OK);
        assert!(browser.cookie.is_some());
        browser
    }

    async fn cart(&mut self, shop: &Shop) -> Result<String, (StatusCode, String)> {
        outcome_of(self.send(shop, Method::GET, CART, &[]).await).await
    }
}

/// Returns the body of a success, or the status and reason of a problem.
async fn outcome_of(response: Response) -> Result<String, (StatusCode, String)> {
    let status = response.status();
    let has_challenge = response.headers().contains_key("www-authenticate");
    let body = response.text().await.unwrap();
    if status.is_success() {
        return Ok(body);
    }
    assert_eq!(status == StatusCode::UNAUTHORIZED, has_challenge);
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    Err((status, problem["reason"].as_str().unwrap().to_owned()))
}

/// Returns the outcome 401 with this reason.
fn refused(reason: &str) -> Result<String, (StatusCode, String)> {
    Err((StatusCode::UNAUTHORIZED, reason.to_owned()))
}

#[tokio::test]
async fn carries_its_own_data_and_protects_its_route() {
    let shop = Shop::open().await;
    let mut browser = Browser::default();
    assert_eq!(browser.cart(&shop).await, refused("missing"));
    assert_eq!(browser.send(&shop, Method::POST, SIGN_IN, &[("code", "1")]).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.cookie, None, "nobody is signed in");

    let mut browser = Browser::signed_in(&shop).await;
    assert_eq!(browser.cart(&shop).await.as_deref(), Ok("Ada: \n"));
    for item in ["tea", "J\u{f6}rg"] {
        assert_eq!(browser.send(&shop, Method::POST, CART, &[("item", item)]).await.status(), StatusCode::OK);
    }
    assert_eq!(browser.cart(&shop).await.as_deref(), Ok("Ada: tea, J\u{f6}rg\n"));
    let before = browser.cookie.clone();
    let large = "x".repeat(4000);
    let response = browser.send(&shop, Method::POST, CART, &[("item", &large)]).await;
    assert_eq!(outcome_of(response).await, Err((StatusCode::INTERNAL_SERVER_ERROR, "does-not-fit".to_owned())));
    assert_eq!(browser.cookie, before, "the session is unchanged");

    let cookie = browser.cookie.as_mut().unwrap();
    let last = cookie.pop().unwrap();
    cookie.push(if last == 'A' { 'Q' } else { 'A' });
    assert_eq!(browser.cart(&shop).await, refused("invalid"), "one character of the token was changed");
}

#[tokio::test]
async fn a_logout_ends_every_copy_and_survives_kill_9() {
    let mut shop = Shop::open().await;
    let mut browser = Browser::signed_in(&shop).await;
    let mut other = Browser::signed_in(&shop).await;
    let mut copy = browser.clone();
    assert_eq!(browser.send(&shop, Method::POST, SIGN_OUT, &[]).await.status(), StatusCode::OK);
    assert_eq!(browser.cookie, None);
    shop.kill();
    shop.start().await;
    assert_eq!(copy.cart(&shop).await, refused("revoked"));
    assert!(other.cart(&shop).await.is_ok(), "other sessions survive a restart");

    let mut third = Browser::signed_in(&shop).await;
    assert_eq!(third.send(&shop, Method::POST, "/sign-out/everywhere", &[]).await.status(), StatusCode::OK);
    for restarted in [false, true] {
        if restarted {
            shop.kill();
            shop.start().await;
        }
        for browser in [&mut copy, &mut other, &mut third] {
            assert_eq!(browser.cart(&shop).await, refused("revoked"));
        }
        assert!(Browser::signed_in(&shop).await.cart(&shop).await.is_ok(), "a new login works");
    }
    let mut newest = Browser::signed_in(&shop).await;
    let mut earlier = Browser::signed_in(&shop).await;
    assert_eq!(newest.send(&shop, Method::POST, "/sign-out/everywhere", &[]).await.status(), StatusCode::OK);
    assert_eq!(earlier.cart(&shop).await, refused("revoked"), "a second logout everywhere ends newer sessions, too");
}

#[tokio::test]
async fn a_login_ends_a_planted_session() {
    let shop = Shop::open().await;
    let mut attacker = Browser::signed_in(&shop).await;
    let mut victim = attacker.clone();
    assert_eq!(victim.send(&shop, Method::POST, SIGN_IN, CODE).await.status(), StatusCode::OK);
    assert_ne!(victim.cookie, attacker.cookie);
    assert!(victim.cart(&shop).await.is_ok());
    assert_eq!(attacker.cart(&shop).await, refused("revoked"));
}

#[tokio::test]
async fn refuses_logins_and_logouts_from_another_site() {
    let shop = Shop::open().await;
    let mut browser = Browser::signed_in(&shop).await;
    let own_origin = shop.url("");
    for (name, value, is_accepted) in [
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("origin", "https://evil.example", false),
        ("origin", "null", false),
        ("sec-fetch-site", "same-origin", true),
        ("origin", own_origin.as_str(), true),
    ] {
        for path in [CART, SIGN_IN, SIGN_OUT] {
            let mut other = Browser::signed_in(&shop).await;
            let headers: HeaderMap = [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            let before = other.cookie.clone();
            let outcome = outcome_of(other.send_with(&shop, Method::POST, path, CODE, headers).await).await;
            if is_accepted {
                assert!(outcome.is_ok(), "{name}: {value} to {path}");
            } else {
                assert_eq!(outcome, Err((StatusCode::FORBIDDEN, "cross-site".to_owned())), "{name}: {value} to {path}");
                assert_eq!(other.cookie, before);
                assert!(other.cart(&shop).await.is_ok(), "the session is unchanged");
            }
        }
    }
    let foreign: HeaderMap = [("host".parse().unwrap(), "evil.example".parse().unwrap())].into_iter().collect();
    let response = browser.send_with(&shop, Method::GET, CART, &[], foreign).await;
    assert_eq!(outcome_of(response).await, Err((StatusCode::MISDIRECTED_REQUEST, "misdirected".to_owned())));
}

#[tokio::test]
async fn a_rotation_ends_no_session_and_the_new_key_seals_at_once() {
    let shop = Shop::open().await;
    let mut browser = Browser::signed_in(&shop).await;
    let kid = |browser: &Browser| browser.cookie.as_ref().unwrap()[COOKIE_NAME.len() + 1..][..12].to_owned();
    shop.sealjar(&["keys", "rotate", "--activate-in", "0s"]);
    let started = Instant::now();
    while kid(&Browser::signed_in(&shop).await) == kid(&browser) {
        assert!(started.elapsed() < TIMEOUT, "the new key does not seal");
    }
    assert!(browser.cart(&shop).await.is_ok());
}

#[tokio::test]
async fn a_logout_keeps_the_cookie_while_its_key_is_unknown() {
    let shop = Shop::open().await;
    let other_shop = Shop::open().await;
    let mut browser = Browser::signed_in(&other_shop).await;
    let before = browser.cookie.clone();
    let response = browser.send(&shop, Method::POST, SIGN_OUT, &[]).await;
    assert_eq!(outcome_of(response).await, Err((StatusCode::SERVICE_UNAVAILABLE, "key-elsewhere".to_owned())));
    assert_eq!(browser.cookie, before, "the browser can repeat the logout");

    // A login succeeds in spite of the unknown key. It replaces the cookie of the browser.
    let mut signed_in_again = browser.clone();
    assert_eq!(signed_in_again.send(&shop, Method::POST, SIGN_IN, CODE).await.status(), StatusCode::OK);
    assert!(signed_in_again.cart(&shop).await.is_ok());
    // A logout with both cookies fails because of the unknown key, but ends the live session.
    let mut both =
        Browser { cookie: Some(format!("{}; {}", signed_in_again.cookie.clone().unwrap(), before.unwrap())) };
    let response = both.send(&shop, Method::POST, SIGN_OUT, &[]).await;
    assert_eq!(outcome_of(response).await, Err((StatusCode::SERVICE_UNAVAILABLE, "key-elsewhere".to_owned())));
    assert_eq!(signed_in_again.cart(&shop).await, refused("revoked"));

    for key in std::fs::read_dir(other_shop.home.path().join(KEYS)).unwrap() {
        let key = key.unwrap();
        std::fs::copy(key.path(), shop.home.path().join(KEYS).join(key.file_name())).unwrap();
    }
    let mut copy = browser.clone();
    assert_eq!(browser.send(&shop, Method::POST, SIGN_OUT, &[]).await.status(), StatusCode::OK);
    assert_eq!(browser.cookie, None);
    assert_eq!(copy.cart(&shop).await, refused("revoked"));
}

#[tokio::test]
async fn a_logout_fails_until_the_store_has_the_revoked_key() {
    let shop = Shop::open().await;
    let mut browser = Browser::signed_in(&shop).await;
    let keys: Value = serde_json::from_str(&shop.sealjar(&["keys", "list", "--json"])).unwrap();
    let kid = keys[0]["kid"].as_str().unwrap();
    assert_eq!(
        shop.run(&["keys", "revoke", kid, "--replace"]).status.code(),
        Some(1),
        "no Sealjar store is configured"
    );
    let started = Instant::now();
    while browser.cart(&shop).await != refused("invalid") {
        assert!(started.elapsed() < TIMEOUT, "the key still opens tokens");
    }
    let response = browser.send(&shop, Method::POST, SIGN_OUT, &[]).await;
    assert_eq!(outcome_of(response).await, Err((StatusCode::SERVICE_UNAVAILABLE, "key-elsewhere".to_owned())));
    shop.sealjar(&["keys", "revoke", kid, "--store", "sqlite://sign-outs.db"]);
    while browser.send(&shop, Method::POST, SIGN_OUT, &[]).await.status() != StatusCode::OK {
        assert!(started.elapsed() < TIMEOUT, "the logout still fails");
    }
    assert_eq!(browser.cookie, None);
}

#[tokio::test]
async fn shuts_down_cleanly_on_sigint() {
    let mut shop = Shop::open().await;
    shop.interrupt().await;
}

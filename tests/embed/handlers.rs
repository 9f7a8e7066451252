//! Tests of an application whose handlers use sessions in unusual or incorrect ways, unlike the example.

use std::task::Poll;

use reqwest::header::{CACHE_CONTROL, VARY};
use salvo::prelude::*;
use sealjar::embed::{Claims, Jar, OpenError, Problem, Session, Settings};
use tempfile::TempDir;

use super::{Browser, COOKIE_NAME, KEYS, Shop, TIMEOUT, outcome_of};

/// Starts a session for the subject in the form, replaces its data, and returns the subject and the data.
#[handler]
async fn sign_in(request: &mut Request, depot: &mut Depot, response: &mut Response) -> Result<String, Problem> {
    let subject: String = request.form("sub").await.unwrap_or_default();
    let login_name: String = request.form("login").await.unwrap_or_default();
    response.headers_mut().insert("cache-control", "public, max-age=600".parse().unwrap());
    let jar = Jar::of(depot)?;
    jar.sign_in(request, depot, &subject, Claims { login_name: &login_name, roles: &[&subject], ..Claims::of(1) })
        .await?;
    jar.replace_data(request, depot, &2)?;
    let session: Session<u8> = Session::of(depot)?;
    session.require_role(&subject)?;
    Ok(format!("{} {}", session.sub, session.data))
}

#[handler]
async fn sign_out(request: &mut Request, depot: &mut Depot, response: &mut Response) -> Result<(), Problem> {
    response.headers_mut().insert("cache-control", "public, max-age=600".parse().unwrap());
    Jar::of(depot)?.sign_out(request, depot).await
}

#[handler]
async fn sign_out_everywhere(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
    let subject: String = request.form("sub").await.unwrap_or_default();
    Jar::of(depot)?.sign_out_everywhere(&subject).await
}

#[handler]
async fn subject_and_data(session: Session<u8>) -> String {
    format!("{} {}", session.sub, session.data)
}

/// Polls a future at most as many times as the form field `polls` specifies, and then drops it, as if the client had
/// disconnected.
async fn poll_times(request: &mut Request, change: impl AsyncFnOnce(&Request) -> Result<(), Problem>) -> &'static str {
    let mut remaining_polls: usize = request.form("polls").await.unwrap();
    let mut change = std::pin::pin!(change(request));
    std::future::poll_fn(|cx| match change.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map_or("failed", |()| "done")),
        Poll::Pending => {
            remaining_polls -= 1;
            if remaining_polls == 0 { Poll::Ready("dropped") } else { Poll::Pending }
        }
    })
    .await
}

#[handler]
async fn drop_sign_in(request: &mut Request, depot: &mut Depot) -> Result<&'static str, Problem> {
    let jar = Jar::of(depot)?;
    Ok(poll_times(request, async |request| jar.sign_in(request, depot, "b", Claims::of(1)).await.map(drop)).await)
}

#[handler]
async fn drop_sign_out(request: &mut Request, depot: &mut Depot) -> Result<&'static str, Problem> {
    let jar = Jar::of(depot)?;
    Ok(poll_times(request, async |request| jar.sign_out(request, depot).await).await)
}

#[handler]
async fn drop_sign_out_everywhere(request: &mut Request, depot: &mut Depot) -> Result<&'static str, Problem> {
    let jar = Jar::of(depot)?;
    Ok(poll_times(request, async |_| jar.sign_out_everywhere("a").await).await)
}

/// Starts an application with keys and a store on disk.
async fn serve() -> (Shop, Jar) {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let shop = Shop { home: tempfile::tempdir().unwrap(), address, variables: Vec::new(), process: None };
    shop.sealjar(&["keys", "init"]);
    let jar = open(&shop.home, &shop.address).await.unwrap();
    let routes = Router::with_hoop(jar.hoop())
        .push(Router::with_path("sign-in").post(sign_in))
        .push(Router::with_path("sign-out").post(sign_out))
        .push(Router::with_path("end").post(sign_out_everywhere))
        .push(Router::with_path("dropped/sign-in").post(drop_sign_in))
        .push(Router::with_path("dropped/sign-out").post(drop_sign_out))
        .push(Router::with_path("dropped/end").post(drop_sign_out_everywhere))
        .push(Router::with_path("cart").get(subject_and_data));
    let listening = TcpListener::new(shop.address.clone()).bind().await;
    tokio::spawn(Server::new(listening).serve(routes));
    (shop, jar)
}

async fn open(home: &TempDir, address: &str) -> Result<Jar, OpenError> {
    let store = format!("sqlite://{}", home.path().join("sign-outs.db").display());
    Settings::new("shop", [format!("http://{address}")]).open(home.path().join(KEYS), &store).await
}

async fn sign_in_as(browser: &mut Browser, shop: &Shop, subject: &str) -> reqwest::Response {
    browser.send(shop, reqwest::Method::POST, "/sign-in", &[("sub", subject)]).await
}

#[tokio::test]
async fn a_response_that_changes_the_cookie_is_not_cached() {
    let (shop, _jar) = serve().await;
    let mut browser = Browser::default();
    let signed_in = sign_in_as(&mut browser, &shop, "a").await;
    let signed_out = browser.send(&shop, reqwest::Method::POST, "/sign-out", &[]).await;
    assert_eq!(browser.cookie, None);
    for response in [signed_in, signed_out] {
        let cache: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(cache, ["no-store"]);
        assert_eq!(response.headers()[VARY], "Cookie");
    }
}

#[tokio::test]
async fn after_a_login_the_request_has_the_new_session() {
    let (shop, _jar) = serve().await;
    let mut browser = Browser::default();
    for subject in ["a", "b"] {
        let response = sign_in_as(&mut browser, &shop, subject).await;
        assert_eq!(outcome_of(response).await, Ok(format!("{subject} 2")), "in the same request");
        assert_eq!(browser.cart(&shop).await, Ok(format!("{subject} 2")), "in the next request");
    }
}

#[tokio::test]
async fn an_invalid_subject_does_not_block_other_logouts() {
    let (shop, jar) = serve().await;
    let mut browser = Browser::default();
    assert!(sign_in_as(&mut browser, &shop, "a").await.status().is_success());
    let refused = Err((reqwest::StatusCode::INTERNAL_SERVER_ERROR, "subject".to_owned()));
    let long = "x".repeat(65);
    for subject in ["", "a\0b", "a b", "J\u{f6}rg", &long] {
        assert_eq!(jar.sign_out_everywhere(subject).await, Err(Problem::Subject));
        let response = browser.send(&shop, reqwest::Method::POST, "/end", &[("sub", subject)]).await;
        assert_eq!(outcome_of(response).await, refused, "{subject:?}");
        assert_eq!(outcome_of(sign_in_as(&mut browser, &shop, subject).await).await, refused, "{subject:?}");
        assert!(browser.cart(&shop).await.is_ok(), "the session of the request is unchanged");
    }
    let response = browser.send(&shop, reqwest::Method::POST, "/end", &[("sub", "a")]).await;
    assert!(response.status().is_success());
    assert!(browser.cart(&shop).await.is_err());
    assert_eq!(jar.close().await, Ok(()), "all logouts are on disk");
    assert_eq!(jar.close().await, Ok(()), "a second call has nothing to do");
}

#[tokio::test]
async fn a_change_dropped_at_any_poll_still_completes() {
    let (shop, jar) = serve().await;
    for path in ["/dropped/sign-out", "/dropped/end", "/dropped/sign-in"] {
        for polls in 1.. {
            assert!(polls < 100, "{path} does not complete within 100 polls");
            let mut browser = Browser::default();
            let started = tokio::time::Instant::now();
            // An earlier logout everywhere is still running, and may end the new session.
            while !sign_in_as(&mut browser, &shop, "a").await.status().is_success() {
                assert!(started.elapsed() < TIMEOUT, "no login after {polls} polls of {path}");
            }
            let mut copy = browser.clone();
            let form = [("polls", &*polls.to_string())];
            let outcome = outcome_of(browser.send(&shop, reqwest::Method::POST, path, &form).await).await;
            // A login reads the store first, and revokes the sessions of the request only after that.
            let ends_session = !(path == "/dropped/sign-in" && outcome.as_deref() == Ok("dropped"));
            while ends_session && copy.cart(&shop).await.is_ok() {
                assert!(started.elapsed() < TIMEOUT, "the session is still live after {polls} polls of {path}");
            }
            match outcome.as_deref() {
                Ok("done") => break,
                outcome => assert_eq!(outcome, Ok("dropped"), "{path}"),
            }
        }
    }
    assert_eq!(jar.close().await, Ok(()), "all logouts are on disk");
}

#[tokio::test]
async fn a_logout_everywhere_ends_sessions_from_before_its_commit() {
    use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};

    let (shop, jar) = serve().await;
    let mut browser = Browser::default();
    assert!(sign_in_as(&mut browser, &shop, "a").await.status().is_success());
    let database = SqliteConnectOptions::new().filename(shop.home.path().join("sign-outs.db"));
    let mut other = database.connect().await.unwrap();
    // Another process holds the write lock and adds an entry. Later logins have a higher generation, and the logout waits for the
    // lock.
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    other.execute("INSERT INTO revocation (sid, expires_at) VALUES (randomblob(16), 9999999999)").await.unwrap();
    let logout = tokio::spawn(async move { jar.sign_out_everywhere("a").await });
    let started = tokio::time::Instant::now();
    while browser.cart(&shop).await.is_ok() {
        assert!(started.elapsed() < TIMEOUT, "the session is still accepted");
    }
    other.execute("COMMIT").await.unwrap();
    assert_eq!(logout.await.unwrap(), Ok(()));
    let query = "SELECT seq + global_generation, below FROM revocation, state WHERE sub = 'a'";
    let (generation, below): (i64, i64) = sqlx::query_as(query).fetch_one(&mut other).await.unwrap();
    assert_eq!(below, generation, "the generation of the first login after the commit");
}

#[tokio::test]
async fn the_next_close_continues_a_dropped_close() {
    let (shop, jar) = serve().await;
    let mut browser = Browser::default();
    assert!(sign_in_as(&mut browser, &shop, "a").await.status().is_success());
    let [file, moved_file] = ["sign-outs.db", "moved.db"].map(|name| shop.home.path().join(name));
    // Without its file, the database cannot store anything.
    std::fs::rename(&file, &moved_file).unwrap();
    let started = tokio::time::Instant::now();
    // If all open connections are in use, the logout opens a new one. This fails without the file, and then nothing was done.
    let outcome = loop {
        match jar.sign_out_everywhere("a").await {
            Err(Problem::Store) => assert!(started.elapsed() < TIMEOUT, "no open connection is free"),
            outcome => break outcome,
        }
    };
    assert_eq!(outcome, Err(Problem::NotDurable));
    for _ in 0..2 {
        let closed = tokio::time::timeout(std::time::Duration::from_millis(200), jar.close()).await;
        assert!(closed.is_err(), "the jar is closed, although the logout is not stored: {closed:?}");
    }
    std::fs::rename(&moved_file, &file).unwrap();
    assert_eq!(jar.close().await, Ok(()), "the logout is stored");
}

#[tokio::test]
async fn a_logout_with_more_than_200_session_cookies_fails() {
    let (shop, _jar) = serve().await;
    let mut browser = Browser::default();
    assert!(sign_in_as(&mut browser, &shop, "a").await.status().is_success());
    let live = browser.cookie.clone().unwrap();
    let browser_with_cookies = |count: usize| Browser {
        cookie: Some(format!("{}{live}", format!("{COOKIE_NAME}={}; ", "A".repeat(70)).repeat(count - 1))),
    };
    let refused = Err((reqwest::StatusCode::BAD_REQUEST, "too-many-cookies".to_owned()));
    for path in ["/sign-out", "/sign-in"] {
        let response = browser_with_cookies(201).send(&shop, reqwest::Method::POST, path, &[("sub", "b")]).await;
        assert_eq!(outcome_of(response).await, refused, "{path}");
        assert_eq!(browser.cart(&shop).await.as_deref(), Ok("a 2"), "{path}: nothing was ended");
    }
    assert_eq!(browser_with_cookies(200).cart(&shop).await.as_deref(), Ok("a 2"));
    assert!(browser_with_cookies(201).cart(&shop).await.is_err(), "the last cookie is not verified");
    assert!(browser_with_cookies(200).send(&shop, reqwest::Method::POST, "/sign-out", &[]).await.status().is_success());
    assert!(browser.cart(&shop).await.is_err());
}

#[tokio::test]
async fn a_login_that_cannot_be_sealed_ends_no_session() {
    let (shop, _jar) = serve().await;
    let mut browser = Browser::default();
    assert!(sign_in_as(&mut browser, &shop, "a").await.status().is_success());
    let form = [("sub", "b"), ("login", &"x".repeat(65))];
    let response = browser.send(&shop, reqwest::Method::POST, "/sign-in", &form).await;
    assert_eq!(
        outcome_of(response).await,
        Err((reqwest::StatusCode::INTERNAL_SERVER_ERROR, "does-not-fit".to_owned()))
    );
    assert_eq!(browser.cart(&shop).await.as_deref(), Ok("a 2"), "the session of the request is unchanged");
}

#[tokio::test]
async fn refuses_tokens_of_a_server_with_the_same_keys() {
    use sealjar::clock::Now;
    use sealjar::id::Site;
    use sealjar::revocation::{Freshness, RevocationList, WhenStale};
    use sealjar::session::claims::Methods;
    use sealjar::session::{Identity, Lifetimes, Sessions};
    use std::{sync::Arc, time::Duration};

    let (shop, _jar) = serve().await;
    let now = Now::read();
    let site = Site::of_host("127.0.0.1");
    let list = Arc::new(RevocationList::new(Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse }));
    list.mark_synced(now);
    let cookie = |name| sealjar::seal::CookieName::new(name).unwrap();
    for (name, is_accepted) in [("__Host-sealjar", false), (COOKIE_NAME, true)] {
        let ring = sealjar::keyring::KeyRing::load(&shop.home.path().join(KEYS)).unwrap();
        let sessions = Sessions::new(ring, list.clone(), cookie(name), Lifetimes::default());
        let identity = Identity {
            sub: "a",
            account_generation: u64::MAX,
            global_generation: u64::MAX,
            login_name: "",
            display_name: "",
            email: "",
            roles: "",
        };
        let sealed = sessions.sign_in(&identity, Methods::PASSWORD, false, b"1", site, now).unwrap();
        for sent_as in ["__Host-sealjar", COOKIE_NAME] {
            let mut browser = Browser { cookie: Some(format!("{sent_as}={}", sealed.token.expose())) };
            let outcome = browser.cart(&shop).await;
            assert_eq!(outcome.is_ok(), is_accepted && sent_as == COOKIE_NAME, "{name} as {sent_as}: {outcome:?}");
        }
        // A server does not accept a token of the application either.
        let mut browser = Browser::default();
        assert!(sign_in_as(&mut browser, &shop, "a").await.status().is_success());
        let token = browser.cookie.unwrap().split_once('=').unwrap().1.to_owned();
        let field = format!("{name}={token}");
        assert_eq!(sessions.verify([field.as_bytes()], site, Now::read(), |_| ()).is_ok(), is_accepted, "{name}");
    }
}

#[tokio::test]
async fn refuses_a_store_that_has_accounts() {
    let (shop, jar) = serve().await;
    jar.close().await.unwrap();
    assert!(open(&shop.home, &shop.address).await.is_ok());
    let command_line = "echo 'correct horse battery' | \"$0\" users add alice --store sqlite://sign-outs.db";
    let mut command = std::process::Command::new("sh");
    let added =
        command.args(["-c", command_line, env!("CARGO_BIN_EXE_sealjar")]).current_dir(&shop.home).output().unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let error = open(&shop.home, &shop.address).await.unwrap_err();
    assert!(matches!(error, OpenError::Setting(_)) && error.to_string().contains("accounts"), "{error}");
}

#[test]
fn every_error_type_implements_error() {
    fn is_error<E: std::error::Error + Send + Sync + 'static>() {}
    is_error::<Problem>();
    is_error::<OpenError>();
    is_error::<sealjar::account::BadField>();
    is_error::<sealjar::account::BadPassword>();
    is_error::<sealjar::account::credentials::BadBody>();
    is_error::<sealjar::keyring::KeyFileError>();
    is_error::<sealjar::keyring::NoKey>();
    is_error::<sealjar::keyring::RingError>();
    is_error::<sealjar::keyring::rotate::ChangeError>();
    is_error::<sealjar::seal::TooLarge>();
    is_error::<sealjar::seal::token::Malformed>();
    is_error::<sealjar::session::Refusal>();
    is_error::<sealjar::session::SealError>();
    is_error::<sealjar::session::claims::BadClaims>();
}

#[tokio::test]
async fn debug_output_contains_no_key_and_no_token() {
    let (shop, jar) = serve().await;
    let mut browser = Browser::default();
    assert!(sign_in_as(&mut browser, &shop, "a").await.status().is_success());
    let token = browser.cookie.unwrap().split_once('=').unwrap().1.to_owned();
    let mut files = std::fs::read_dir(shop.home.path().join(KEYS)).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|extension| extension == "key")).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let secret = text.split_once("secret = \"").unwrap().1.split('"').next().unwrap();
    let ring = sealjar::keyring::KeyRing::load(&shop.home.path().join(KEYS)).unwrap();
    let shown = format!("{jar:?}{jar:#?}{ring:?}{:?}", jar.hoop());
    assert!(shown.len() > 200, "the output is too short: {shown}");
    assert!(!shown.contains(secret) && !shown.contains(&token), "{shown}");
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(secret).unwrap();
    // The key must not be in the output as a list of numbers either.
    let compact: String = shown.split_whitespace().collect();
    let numbers = format!("{:?}", &bytes[..4]).replace(' ', "");
    assert!(!compact.contains(numbers.trim_matches(['[', ']'])), "{shown}");
}

//! Tests of handlers that change a session and then fail, and of two applications with the same keys.

use reqwest::Method;
use salvo::catch_panic::CatchPanic;
use salvo::prelude::*;
use sealjar::embed::{Claims, Jar, OpenError, Problem, Session, Settings};

use super::{Browser, KEYS, Shop, refused};

/// Changes the session as the form field `do` specifies, and then creates the response that the form field `then` specifies.
#[handler]
async fn change(request: &mut Request, depot: &mut Depot, response: &mut Response) -> Result<(), Problem> {
    let jar = Jar::of(depot)?;
    let action: String = request.form("do").await.unwrap();
    let then: String = request.form("then").await.unwrap();
    match &*action {
        "sign in" => drop(jar.sign_in(request, depot, "b", Claims::of("new")).await?),
        "replace" => jar.replace_data(request, depot, &"new")?,
        "sign out" => jar.sign_out(request, depot).await?,
        _ => drop(jar.sign_in(request, depot, "a", Claims::of("old")).await?),
    }
    match &*then {
        "panic" => panic!("for the test"),
        "problem" => return Err(Problem::Role),
        "error" => response.render(StatusError::internal_server_error()),
        "nothing" => {}
        status => drop(response.status_code(StatusCode::from_u16(status.parse().unwrap()).unwrap())),
    }
    Ok(())
}

#[handler]
async fn subject_and_data(session: Session<String>) -> String {
    format!("{} {}", session.sub, session.data)
}

/// Starts an application. At `/change`, a panic is caught outside the middleware, and at `/inside/change` inside it.
async fn serve() -> Shop {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let shop = Shop { home: tempfile::tempdir().unwrap(), address, variables: Vec::new(), process: None };
    let jar = Settings::new("shop", [format!("http://{}", shop.address)]).in_memory().unwrap();
    let inside = Router::with_path("inside").hoop(CatchPanic::new()).push(Router::with_path("change").post(change));
    let routes = Router::with_hoop(CatchPanic::new())
        .hoop(jar.hoop())
        .push(Router::with_path("change").post(change))
        .push(inside)
        .push(Router::with_path("cart").get(subject_and_data));
    let listening = TcpListener::new(shop.address.clone()).bind().await;
    tokio::spawn(Server::new(listening).serve(routes));
    shop
}

#[tokio::test]
async fn a_failed_handler_changes_the_cookie_only_for_a_logout() {
    let shop = serve().await;
    let succeeds = ["nothing", "200", "201", "303"];
    for path in ["/change", "/inside/change"] {
        for then in ["nothing", "200", "201", "303", "400", "403", "500", "problem", "error", "panic"] {
            let is_success = succeeds.contains(&then);
            // After a panic outside the middleware, the response does not remove the cookie. But its session is revoked.
            let is_removed = !(then == "panic" && path == "/change");
            for (action, outcome, copy_outcome) in [
                ("sign in", if is_success { Ok("b new") } else { Err("revoked") }, Err("revoked")),
                ("replace", Ok(if is_success { "a new" } else { "a old" }), Ok("a old")),
                ("sign out", Err(if is_removed { "missing" } else { "revoked" }), Err("revoked")),
            ] {
                let expected = |outcome: Result<&str, &str>| match outcome {
                    Ok(body) => Ok(body.to_owned()),
                    Err(reason) => refused(reason),
                };
                let mut browser = Browser::default();
                browser.send(&shop, Method::POST, path, &[("do", "begin"), ("then", "nothing")]).await;
                let mut copy = browser.clone();
                let response = browser.send(&shop, Method::POST, path, &[("do", action), ("then", then)]).await;
                assert!(is_success || response.status().as_u16() >= 400, "{then}");
                assert_eq!(browser.cart(&shop).await, expected(outcome), "{action}, then {then} at {path}");
                assert_eq!(
                    copy.cart(&shop).await,
                    expected(copy_outcome),
                    "copy of the old cookie: {action}, then {then} at {path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn refuses_a_session_of_another_application_with_its_keys() {
    let shop = serve().await;
    shop.sealjar(&["keys", "init"]);
    let [keys, store] = [KEYS, "sign-outs.db"].map(|name| shop.home.path().join(name).display().to_string());
    let mut addresses = Vec::new();
    for name in ["shop", "forum"] {
        let listening = TcpListener::new("127.0.0.1:0").bind().await;
        let address = listening.local_addr().unwrap().to_string();
        let jar = Settings::new(name, [format!("http://{address}")]).open(&keys, &format!("sqlite://{store}")).await;
        let routes = Router::with_hoop(jar.unwrap().hoop())
            .push(Router::with_path("change").post(change))
            .push(Router::with_path("cart").get(subject_and_data));
        tokio::spawn(Server::new(listening).serve(routes));
        addresses.push(address);
    }
    let shop_at = |address: &str| Shop {
        home: tempfile::tempdir().unwrap(),
        address: address.to_owned(),
        variables: Vec::new(),
        process: None,
    };
    let [shop, forum] = [shop_at(&addresses[0]), shop_at(&addresses[1])];
    let mut browser = Browser::default();
    browser.send(&shop, Method::POST, "/change", &[("do", "begin"), ("then", "nothing")]).await;
    assert_eq!(browser.cart(&shop).await.as_deref(), Ok("a old"));
    assert_eq!(browser.cart(&forum).await, refused("missing"));
    let renamed = browser.cookie.unwrap().replace("-shop=", "-forum=");
    assert_eq!(Browser { cookie: Some(renamed) }.cart(&forum).await, refused("invalid"));
}

#[tokio::test]
async fn refuses_an_application_name_that_is_invalid_in_a_cookie() {
    for name in ["", "Shop", "a-b", "a b", "\u{e9}", &"a".repeat(33)] {
        let outcome = Settings::new(name, ["https://app.example.com"]).in_memory();
        assert!(matches!(outcome, Err(OpenError::Setting(_))), "{name:?}");
    }
    for name in ["a", "shop_2", &"a".repeat(32)] {
        assert!(Settings::new(name, ["https://app.example.com"]).in_memory().is_ok(), "{name:?}");
    }
}

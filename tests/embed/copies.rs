//! Tests of copy detection and renewals in an application whose clock the test moves.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::clock_file::{wall_clock, write_clock};
use super::{Browser, CART, COOKIE_NAME, SIGN_IN, Shop, refused};

const INTERVAL_MINUTES: u32 = 5;

/// The application, and the file that moves its clock.
struct ClockedShop {
    shop: Shop,
    clock: PathBuf,
    minutes: u32,
}

impl ClockedShop {
    async fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = home.path().join("clock");
        write_clock(&clock, "+0m");
        let variables = wall_clock(&clock).to_vec();
        Self { shop: Shop::open_with(home, variables).await, clock, minutes: 0 }
    }

    /// Moves the clock forward.
    fn advance(&mut self, minutes: u32) {
        self.minutes += minutes;
        write_clock(&self.clock, &format!("+{}m", self.minutes));
    }

    /// Adds to the cart, which changes the data of the session. Returns the status and whether the cookie changed.
    async fn add(&self, browser: &mut Browser, item: &str) -> (StatusCode, bool) {
        let before = browser.cookie.clone();
        let response = browser.send(&self.shop, Method::POST, CART, &[("item", item)]).await;
        (response.status(), browser.cookie != before)
    }
}

#[tokio::test]
async fn a_get_renews_when_due_and_a_post_in_the_last_third() {
    let mut clocked = ClockedShop::open().await;
    let mut browser = Browser::signed_in(&clocked.shop).await;
    clocked.advance(INTERVAL_MINUTES - 1);
    let first = browser.cookie.clone();
    assert!(browser.cart(&clocked.shop).await.is_ok());
    assert_eq!(browser.cookie, first, "the session is not due");
    clocked.advance(1);
    assert!(browser.cart(&clocked.shop).await.is_ok());
    assert_ne!(browser.cookie, first, "the session is due");
    // A POST that changes nothing renews only in the last third of the idle time.
    let renewed = browser.cookie.clone();
    clocked.advance(19);
    let wrong_code = [("code", "wrong")];
    assert_eq!(browser.send(&clocked.shop, Method::POST, SIGN_IN, &wrong_code).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.cookie, renewed);
    clocked.advance(1);
    assert_eq!(browser.send(&clocked.shop, Method::POST, SIGN_IN, &wrong_code).await.status(), StatusCode::FORBIDDEN);
    assert_ne!(browser.cookie, renewed);
}

#[tokio::test]
async fn an_hour_of_data_changes_ends_no_session() {
    let mut clocked = ClockedShop::open().await;
    let mut browser = Browser::signed_in(&clocked.shop).await;
    for minute in 0..60 {
        clocked.advance(1);
        // If several tabs change the data at the same time, the browser keeps the cookie of the last response.
        let mut tabs = [browser.clone(), browser.clone(), browser.clone()];
        for (number, tab) in tabs.iter_mut().enumerate() {
            let item = format!("{minute}.{number}");
            assert_eq!(clocked.add(tab, &item).await, (StatusCode::OK, true), "minute {minute}, tab {number}");
        }
        let [.., last] = tabs;
        browser = last;
    }
    let cart = browser.cart(&clocked.shop).await.unwrap();
    let items: Vec<String> = (0..60).map(|minute| format!("{minute}.2")).collect();
    assert_eq!(cart, format!("Ada: {}\n", items.join(", ")));
}

#[tokio::test]
async fn unchanged_data_sets_no_cookie() {
    let clocked = ClockedShop::open().await;
    let mut browser = Browser::signed_in(&clocked.shop).await;
    // A form without an item leaves the cart as it is.
    let before = browser.cookie.clone();
    let response = browser.send(&clocked.shop, Method::POST, CART, &[]).await;
    assert_eq!((response.status(), &browser.cookie), (StatusCode::OK, &before));
    assert_eq!(clocked.add(&mut browser, "tea").await, (StatusCode::OK, true));
}

#[tokio::test]
async fn a_copy_used_next_to_the_original_ends_both() {
    let mut clocked = ClockedShop::open().await;
    let mut owner = Browser::signed_in(&clocked.shop).await;
    let mut thief = owner.clone();
    for _ in 0..2 {
        clocked.advance(INTERVAL_MINUTES);
        assert!(owner.cart(&clocked.shop).await.is_ok());
        assert!(thief.cart(&clocked.shop).await.is_ok());
    }
    clocked.advance(INTERVAL_MINUTES);
    let outcomes = [owner.cart(&clocked.shop).await, thief.cart(&clocked.shop).await];
    assert!(outcomes.contains(&refused("revoked")), "{outcomes:?}");
    clocked.shop.interrupt().await;
    clocked.shop.start().await;
    for browser in [&mut owner, &mut thief] {
        assert_eq!(browser.cart(&clocked.shop).await, refused("revoked"), "after a restart, too");
    }
}

/// A request that adds to the cart, and whose body has not been sent yet.
struct SlowRequest(BufReader<TcpStream>);

const SLOW_BODY: &str = "item=tea";

impl SlowRequest {
    /// Sends the head of the request. Returns when the handler waits for the body, which is after the session was verified.
    async fn begin(shop: &Shop, browser: &Browser) -> Self {
        let mut connection = BufReader::new(TcpStream::connect(&shop.address).await.unwrap());
        let head = format!(
            "POST {CART} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            shop.address,
            browser.cookie.as_deref().unwrap_or_default(),
            SLOW_BODY.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut line = String::new();
        connection.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 100"), "{line}");
        Self(connection)
    }

    /// Sends the body. Stores the cookie in the browser, and returns the status.
    async fn finish(mut self, browser: &mut Browser) -> String {
        self.0.write_all(SLOW_BODY.as_bytes()).await.unwrap();
        let mut lines = self.0.lines();
        let mut status = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(status_line) = line.strip_prefix("HTTP/1.1 ")
                && status_line.len() > 3
            {
                status = status_line[..3].to_owned();
            }
            let cookie = line.strip_prefix("set-cookie: ").filter(|cookie| cookie.starts_with(COOKIE_NAME));
            browser.cookie =
                cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned()).or(browser.cookie.take());
        }
        status
    }
}

/// Runs three rounds in which the thief's token becomes due while a request waits for its body. The handler then replaces the
/// data. The owner opens a page, or sends such a request, too. Returns the statuses of all responses.
async fn statuses_with_late_bodies(owner_is_late: bool) -> Vec<String> {
    let mut clocked = ClockedShop::open().await;
    let mut owner = Browser::signed_in(&clocked.shop).await;
    let mut thief = owner.clone();
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        clocked.advance(INTERVAL_MINUTES - 1);
        let owner_request = if owner_is_late { Some(SlowRequest::begin(&clocked.shop, &owner).await) } else { None };
        let thief_request = SlowRequest::begin(&clocked.shop, &thief).await;
        clocked.advance(1);
        outcomes.push(match owner_request {
            Some(request) => request.finish(&mut owner).await,
            None => match owner.cart(&clocked.shop).await {
                Ok(_) => "200".to_owned(),
                Err((status, _)) => status.as_u16().to_string(),
            },
        });
        outcomes.push(thief_request.finish(&mut thief).await);
    }
    assert_eq!(owner.cart(&clocked.shop).await, refused("revoked"));
    assert_eq!(thief.cart(&clocked.shop).await, refused("revoked"));
    outcomes
}

#[tokio::test]
async fn notices_a_thief_whose_cookie_becomes_due_in_a_request() {
    for owner_is_late in [false, true] {
        let outcomes = statuses_with_late_bodies(owner_is_late).await;
        assert_eq!(outcomes[..4], ["200"; 4], "the first two renewals of both are accepted");
        assert!(outcomes[4..].contains(&"401".to_owned()), "{outcomes:?}");
    }
}

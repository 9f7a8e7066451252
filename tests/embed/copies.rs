//! Copy detection and renewals in an application, whose clock is moved.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::clock_file::{wall_clock, write_clock};
use super::{Browser, CART, COOKIE_NAME, SIGN_IN, Shop, refused};

const INTERVAL_MINUTES: u32 = 5;

/// A shop, and the file that moves its clock.
struct Clocked {
    shop: Shop,
    clock: PathBuf,
    minutes: u32,
}

impl Clocked {
    async fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = home.path().join("clock");
        write_clock(&clock, "+0m");
        let variables = wall_clock(&clock).to_vec();
        Self { shop: Shop::open_with(home, variables).await, clock, minutes: 0 }
    }

    fn pass(&mut self, minutes: u32) {
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
async fn reading_renews_after_five_minutes_and_writing_when_due() {
    let mut clocked = Clocked::open().await;
    let mut browser = Browser::signed_in(&clocked.shop).await;
    clocked.pass(INTERVAL_MINUTES - 1);
    let first = browser.cookie.clone();
    assert!(browser.cart(&clocked.shop).await.is_ok());
    assert_eq!(browser.cookie, first, "it is not due");
    clocked.pass(1);
    assert!(browser.cart(&clocked.shop).await.is_ok());
    assert_ne!(browser.cookie, first, "it is due");
    // A POST that changes nothing renews in the last third of the idle time only.
    let renewed = browser.cookie.clone();
    clocked.pass(19);
    let nothing = [("code", "wrong")];
    assert_eq!(browser.send(&clocked.shop, Method::POST, SIGN_IN, &nothing).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.cookie, renewed);
    clocked.pass(1);
    assert_eq!(browser.send(&clocked.shop, Method::POST, SIGN_IN, &nothing).await.status(), StatusCode::FORBIDDEN);
    assert_ne!(browser.cookie, renewed);
}

#[tokio::test]
async fn an_hour_of_new_data_on_each_request_signs_nobody_out() {
    let mut clocked = Clocked::open().await;
    let mut browser = Browser::signed_in(&clocked.shop).await;
    for minute in 0..60 {
        clocked.pass(1);
        // Of tabs that write at once, the last answer wins.
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
async fn data_that_does_not_change_sets_no_cookie() {
    let clocked = Clocked::open().await;
    let mut browser = Browser::signed_in(&clocked.shop).await;
    // A form without an item leaves the cart as it is.
    let before = browser.cookie.clone();
    let response = browser.send(&clocked.shop, Method::POST, CART, &[]).await;
    assert_eq!((response.status(), &browser.cookie), (StatusCode::OK, &before));
    assert_eq!(clocked.add(&mut browser, "tea").await, (StatusCode::OK, true));
}

#[tokio::test]
async fn a_copy_that_is_used_beside_the_original_ends_both() {
    let mut clocked = Clocked::open().await;
    let mut owner = Browser::signed_in(&clocked.shop).await;
    let mut thief = owner.clone();
    for _ in 0..2 {
        clocked.pass(INTERVAL_MINUTES);
        assert!(owner.cart(&clocked.shop).await.is_ok());
        assert!(thief.cart(&clocked.shop).await.is_ok());
    }
    clocked.pass(INTERVAL_MINUTES);
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
    /// Returns once the handler waits for the body, so after the session was looked for.
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

    /// Sends the body. Returns the status, and keeps the cookie.
    async fn finish(mut self, browser: &mut Browser) -> String {
        self.0.write_all(SLOW_BODY.as_bytes()).await.unwrap();
        let mut lines = self.0.lines();
        let mut status = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(answered) = line.strip_prefix("HTTP/1.1 ")
                && answered.len() > 3
            {
                status = answered[..3].to_owned();
            }
            let cookie = line.strip_prefix("set-cookie: ").filter(|cookie| cookie.starts_with(COOKIE_NAME));
            browser.cookie =
                cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned()).or(browser.cookie.take());
        }
        status
    }
}

/// Lets data be replaced whenever the thief's token has just become due, by a body that arrives late. The owner opens a page, or
/// does the same. Returns the statuses of three rounds.
async fn of_late_bodies(owner_is_late: bool) -> Vec<String> {
    let mut clocked = Clocked::open().await;
    let mut owner = Browser::signed_in(&clocked.shop).await;
    let mut thief = owner.clone();
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        clocked.pass(INTERVAL_MINUTES - 1);
        let of_owner = if owner_is_late { Some(SlowRequest::begin(&clocked.shop, &owner).await) } else { None };
        let of_thief = SlowRequest::begin(&clocked.shop, &thief).await;
        clocked.pass(1);
        outcomes.push(match of_owner {
            Some(request) => request.finish(&mut owner).await,
            None => match owner.cart(&clocked.shop).await {
                Ok(_) => "200".to_owned(),
                Err((status, _)) => status.as_u16().to_string(),
            },
        });
        outcomes.push(of_thief.finish(&mut thief).await);
    }
    assert_eq!(owner.cart(&clocked.shop).await, refused("revoked"));
    assert_eq!(thief.cart(&clocked.shop).await, refused("revoked"));
    outcomes
}

#[tokio::test]
async fn a_thief_who_never_shows_a_due_cookie_first_is_noticed() {
    for owner_is_late in [false, true] {
        let outcomes = of_late_bodies(owner_is_late).await;
        assert_eq!(outcomes[..4], ["200"; 4], "their first two renewals");
        assert!(outcomes[4..].contains(&"401".to_owned()), "{outcomes:?}");
    }
}

//! Tests of an application that embeds the library: two nodes of the application share a PostgreSQL database.

use std::task::Poll;

use reqwest::Method;
use reqwest::header::{COOKIE, SET_COOKIE};
use salvo::prelude::*;
use sealjar::embed::{Claims, Jar, OpenError, Problem, Session, Settings};

use crate::harness::{Home, WAIT_TIMEOUT, client};
use crate::postgres::Postgres;
use crate::{load_permit, nodes};

const BOUND: std::time::Duration = std::time::Duration::from_secs(1);

#[handler]
async fn sign_in(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
    Jar::of(depot)?.sign_in(request, depot, "customer-42", Claims::of(1)).await.map(drop)
}

#[handler]
async fn who(session: Session<u8>) -> String {
    session.sub
}

#[handler]
async fn sign_out(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
    Jar::of(depot)?.sign_out(request, depot).await
}

#[handler]
async fn sign_out_everywhere(session: Session<u8>, depot: &mut Depot) -> Result<(), Problem> {
    Jar::of(depot)?.sign_out_everywhere(&session.sub).await
}

/// Polls a future at most `polls` times. Returns whether it completed successfully.
async fn completes_within(polls: usize, future: impl Future<Output = Result<(), Problem>>) -> bool {
    let mut remaining = polls;
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.is_ok()),
        Poll::Pending => {
            remaining -= 1;
            if remaining == 0 { Poll::Ready(false) } else { Poll::Pending }
        }
    })
    .await
}

/// Node of the application.
struct Node {
    jar: Jar,
    address: String,
}

impl Node {
    async fn start(home: &Home, store: &str) -> Result<Self, OpenError> {
        // Sessions belong to a host, regardless of the port.
        let jar = Settings::new("shop", ["http://127.0.0.1"]).open(home.path("keys"), store).await?;
        let routes = Router::with_hoop(jar.hoop())
            .push(Router::with_path("sign-in").post(sign_in))
            .push(Router::with_path("who").get(who))
            .push(Router::with_path("sign-out").post(sign_out))
            .push(Router::with_path("sign-out/everywhere").post(sign_out_everywhere));
        let listening = TcpListener::new("127.0.0.1:0").bind().await;
        let address = listening.local_addr().expect("the listener has an address").to_string();
        tokio::spawn(Server::new(listening).serve(routes));
        Ok(Self { jar, address })
    }

    async fn send(&self, method: Method, path: &str, cookie: &str) -> reqwest::Response {
        let request = client().request(method, format!("http://{}{path}", self.address));
        request.header(COOKIE, cookie).header("host", "127.0.0.1").send().await.expect("an answer")
    }

    async fn sign_in(&self) -> String {
        let response = self.send(Method::POST, "/sign-in", "").await;
        assert_eq!(response.status(), 200);
        let cookie = response.headers()[SET_COOKIE].to_str().expect("text");
        cookie.split(';').next().expect("a pair").to_owned()
    }

    /// Sends a request. Returns `200`, or the status and reason of a refusal.
    async fn request_outcome(&self, method: Method, path: &str, cookie: &str) -> String {
        let response = self.send(method, path, cookie).await;
        let status = response.status();
        let body = response.text().await.expect("a body");
        match serde_json::from_str::<serde_json::Value>(&body) {
            Ok(problem) => format!("{} {}", status.as_str(), problem["reason"].as_str().unwrap_or_default()),
            Err(_) => status.as_str().to_owned(),
        }
    }

    /// Waits until the session is refused as revoked. Returns the time that it took.
    async fn until_revoked(&self, cookie: &str) -> std::time::Duration {
        let started = tokio::time::Instant::now();
        loop {
            let outcome = self.request_outcome(Method::GET, "/who", cookie).await;
            if outcome == "401 revoked" {
                return started.elapsed();
            }
            assert!(started.elapsed() < WAIT_TIMEOUT, "{outcome}");
        }
    }
}

#[tokio::test]
async fn sessions_end_on_both_nodes_even_after_an_outage() {
    let _permit = load_permit().await;
    let mut database = Postgres::start();
    let home = Home::new();
    let store = database.url("sealjar", "sslmode=disable");
    let a = Node::start(&home, &store).await.expect("opens");
    let b = Node::start(&home, &store).await.expect("opens");

    let first = a.sign_in().await;
    let second = b.sign_in().await;
    for session in [&first, &second] {
        assert_eq!(a.request_outcome(Method::GET, "/who", session).await, "200");
        assert_eq!(b.request_outcome(Method::GET, "/who", session).await, "200");
    }
    assert_eq!(b.request_outcome(Method::POST, "/sign-out", &first).await, "200");
    let lag = a.until_revoked(&first).await;
    assert!(lag < BOUND, "{lag:?}");
    let third = b.sign_in().await;
    assert_eq!(a.request_outcome(Method::POST, "/sign-out/everywhere", &second).await, "200");
    for session in [&second, &third] {
        b.until_revoked(session).await;
    }

    let session = a.sign_in().await;
    database.kill();
    assert_eq!(a.request_outcome(Method::POST, "/sign-out", &session).await, "503 not-durable");
    database.restart();
    b.until_revoked(&session).await;
    assert_eq!(a.jar.close().await, Ok(()));
    assert_eq!(b.jar.close().await, Ok(()));

    let after_a_restart = Node::start(&home, &store).await.expect("opens");
    for session in [&first, &second, &third, &session] {
        assert_eq!(after_a_restart.request_outcome(Method::GET, "/who", session).await, "401 revoked");
    }
    assert_eq!(after_a_restart.request_outcome(Method::GET, "/who", &after_a_restart.sign_in().await).await, "200");
}

#[tokio::test]
async fn a_logout_continues_when_its_future_is_dropped() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = Home::new();
    let node = Node::start(&home, &database.url("sealjar", "sslmode=disable")).await.expect("opens");
    for polls in 1.. {
        assert!(polls < 100, "the logout never completes");
        let session = node.sign_in().await;
        assert_eq!(node.request_outcome(Method::GET, "/who", &session).await, "200", "{polls} polls");
        let completed = completes_within(polls, node.jar.sign_out_everywhere("customer-42")).await;
        node.until_revoked(&session).await;
        if completed {
            break;
        }
        // Wait for another logout, because the dropped one could otherwise end the next session.
        node.jar.sign_out_everywhere("customer-42").await.expect("the dropped logout does not block this one");
    }
    assert_eq!(node.jar.close().await, Ok(()), "all revocations are stored");
}

#[tokio::test]
async fn the_database_of_a_sealjar_server_is_refused() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let refused =
        Node::start(&home, &database.url("sealjar", "sslmode=disable")).await.err().expect("refused").to_string();
    assert!(refused.contains("use a separate store for the application"), "{refused}");
}

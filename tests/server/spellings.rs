//! Spellings of paths over real connections: a route has exactly one. `tests/routes/spellings.rs` has more cases.

use reqwest::{Client, Method};

use crate::harness::{Home, Server, Session};

/// Spellings of `/auth/status` that have no route.
const WRONG_SPELLINGS: [&str; 10] = [
    "//auth/status",
    "/auth//status",
    "/auth/status/",
    "/%61uth/status",
    "/auth/statu%73",
    "/auth%2fstatus",
    "/AUTH/STATUS",
    "/auth/status;x",
    "/auth/status%00",
    "/auth/status%20",
];

/// Returns the status codes of GET and POST requests to a path, with and without a body.
async fn statuses(client: &Client, server: &Server<'_>, session: &Session, path: &str) -> Vec<u16> {
    let mut codes = Vec::new();
    for (method, body) in
        [(Method::GET, ""), (Method::HEAD, ""), (Method::GET, "x=y"), (Method::POST, ""), (Method::POST, "x=y")]
    {
        let request = client.request(method, server.url(path)).header("cookie", session.cookie()).body(body);
        codes.push(request.send().await.expect("a response").status().as_u16());
    }
    codes
}

#[tokio::test]
async fn only_the_exact_spelling_of_a_path_finds_its_route() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let http1 = Client::builder().http1_only().build().expect("a client");
    let http2 = Client::builder().http2_prior_knowledge().build().expect("a client");
    for client in [&http1, &http2] {
        assert_eq!(statuses(client, &server, &session, "/auth/status").await, [200, 200, 200, 405, 405]);
        for path in WRONG_SPELLINGS {
            assert_eq!(statuses(client, &server, &session, path).await, [404; 5], "{path}");
        }
    }
}

//! Changes of the password during a crash or a disk fault. `tests/routes/password.rs` tests everything else about these routes.

use serde_json::json;

use crate::harness::{Home, PASSWORD, Response, Server, Session, client};

/// Password after the change.
const NEW: &str = "another password";

async fn change(server: &Server<'_>, session: &Session, old: &str, new: &str) -> Response {
    let body = json!({ "old_password": old, "new_password": new });
    let request = client().post(server.url("/auth/password")).header("cookie", session.cookie()).json(&body);
    Response::of(request.send().await.expect("a response")).await
}

async fn login_verdict(server: &Server<'_>, password: &str) -> String {
    let request = client().post(server.url("/auth/login")).json(&Server::login_body("alice", password));
    Response::of(request.send().await.expect("a response")).await.verdict()
}

#[tokio::test]
async fn a_password_change_survives_kill_9() {
    let home = Home::new();
    let server = home.start();
    let mine = server.login("alice").await;
    let other = server.login("alice").await;
    let request = client().post(server.url("/auth/reauthenticate")).header("cookie", mine.cookie());
    let response = Response::of(request.json(&json!({ "password": PASSWORD })).send().await.expect("a response")).await;
    assert_eq!(response.verdict(), "200");
    let response = change(&server, &response.session.expect("a session"), PASSWORD, NEW).await;
    assert_eq!(response.verdict(), "200");
    let fresh = response.session.expect("a session");
    server.kill();
    let server = home.start();
    for revoked in [&mine, &other] {
        assert_eq!(server.status(revoked).await, "401 revoked");
    }
    assert_eq!(server.status(&fresh).await, "200");
    assert_eq!(login_verdict(&server, PASSWORD).await, "401 credentials");
    assert_eq!(login_verdict(&server, NEW).await, "200");
}

#[tokio::test]
async fn no_password_is_changed_when_the_disk_fails() {
    let home = Home::new();
    home.set_disk("works");
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("fail");
    assert_eq!(change(&server, &session, PASSWORD, NEW).await.verdict(), "503 store");
    home.set_disk("works");
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(change(&server, &session, PASSWORD, NEW).await.verdict(), "200");
    assert_eq!(login_verdict(&server, NEW).await, "200");
}

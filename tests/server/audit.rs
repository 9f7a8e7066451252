//! The audit events that `docs/reference/events.md` lists, and the secrets that they never contain.

use serde_json::{Value, json};

use crate::database;
use crate::harness::{Home, PASSWORD, Response, Server, client};

async fn post(server: &Server<'_>, path: &str, cookie: &str, body: Value) -> Response {
    let request = client().post(server.url(path)).header("cookie", cookie).json(&body);
    Response::of(request.send().await.expect("a response")).await
}

/// Returns the event without the fields that every log line has.
fn fields(mut event: Value) -> Value {
    let line = event.as_object_mut().expect("an object");
    assert_eq!(line.remove("level"), Some("INFO".into()));
    line.remove("span");
    for name in ["timestamp", "target", "message"] {
        assert!(line.remove(name).is_some(), "{name}");
    }
    event
}

#[tokio::test]
async fn each_step_of_a_session_writes_its_audit_event() {
    let home = Home::new();
    let mut server = home.start();
    let client = "127.0.0.0/24";
    let session = server.login("alice").await;
    let view = server.get("/auth/status", &session.cookie()).await.json();
    let sub = &view["sub"];
    let sid = &view["sid"];
    let expected = json!({ "event": "sign-in", "sub": sub, "sid": sid, "remembered": false, "client": client });
    assert_eq!(fields(server.event("sign-in")), expected);

    let response = post(&server, "/auth/reauthenticate", &session.cookie(), json!({ "password": PASSWORD })).await;
    let fresh = response.session.clone().expect("a session");
    let ended = json!({ "event": "revocation", "kind": "session", "cause": "step-up", "sub": sub, "sid": sid });
    assert_eq!(fields(server.event("revocation")), ended);
    let stepped_up = fields(server.event("step-up"));
    assert_eq!((&stepped_up["sid"], &stepped_up["sub"]), (&response.json()["sid"], sub));

    let change = json!({ "old_password": PASSWORD, "new_password": "another password" });
    let response = post(&server, "/auth/password", &fresh.cookie(), change).await;
    let changed = fields(server.event("password-change"));
    assert_eq!((&changed["sid"], &changed["sub"]), (&response.json()["sid"], sub));

    let last = response.session.expect("a session");
    assert_eq!(server.logout(&last).await, "200");
    let sid = &changed["sid"];
    let expected = json!({ "event": "sign-out", "sub": sub, "sid": sid, "client": client });
    assert_eq!(fields(server.event("sign-out")), expected);
    assert_eq!(server.status(&last).await, "401 revoked");
    let refused = json!({ "event": "token-refused", "cause": "revoked", "client": client, "left_out": 0 });
    assert_eq!(fields(server.event("token-refused")), refused);

    let response = post(&server, "/auth/login", "", Server::login_body("alice", "another password")).await;
    assert_eq!(
        post(&server, "/auth/logout/all", &response.session.expect("a session").cookie(), json!({})).await.status,
        200
    );
    let expected = json!({ "event": "sign-out-everywhere", "sub": sub, "client": client });
    assert_eq!(fields(server.event("sign-out-everywhere")), expected);
}

#[tokio::test]
async fn a_password_change_is_logged_even_if_no_session_can_begin() {
    let home = Home::new();
    home.add_user("bob");
    let mut server = home.start();
    let bob = server.login("bob").await;
    // The trigger allows the password change, which revokes the account's sessions by their account id. The trigger rejects the
    // revocation of bob's session, which has a session id.
    let trigger = "CREATE TRIGGER fails BEFORE INSERT ON revocation WHEN NEW.sid IS NOT NULL BEGIN SELECT RAISE(ABORT, 'no'); END";
    database::run(&mut database::open(&home, "sealjar.db").await, trigger).await;
    let change = json!({ "login": "alice", "old_password": PASSWORD, "new_password": "another password" });
    let response = post(&server, "/auth/password", &bob.cookie(), change).await;
    assert_eq!(response.verdict(), "503 not-durable");
    let changed = fields(server.event("password-change"));
    assert_eq!(changed.as_object().expect("an object").keys().collect::<Vec<_>>(), ["client", "event", "sub"]);
    assert_eq!(server.metric("sealjar_passwords_total{for=\"password-change\",outcome=\"error\"}").await, 1.0);
    for (password, verdict) in [(PASSWORD, "401 credentials"), ("another password", "200")] {
        let response = post(&server, "/auth/login", "", Server::login_body("alice", password)).await;
        assert_eq!(response.verdict(), verdict);
    }
}

#[tokio::test]
async fn a_failed_login_event_has_the_reason_hidden_from_the_client() {
    let home = Home::new();
    for login in ["disabled", "temporary", "unusable"] {
        home.add_user(login);
    }
    let damage_hash = "UPDATE account SET password_hash = 'x' WHERE login_name = 'unusable'";
    database::run(&mut database::open(&home, "sealjar.db").await, damage_hash).await;
    home.run_ok(&["users", "disable", "disabled"]);
    assert!(home.run_with_input(&["users", "passwd", "temporary", "--must-change"], "for one day\n").status.success());
    let mut server = home.start();
    for (login, password, reason) in [
        ("nobody", PASSWORD, "unknown-account"),
        ("alice", "hunter2hunter3", "wrong-password"),
        ("disabled", PASSWORD, "disabled"),
        ("unusable", PASSWORD, "hash-unusable"),
        ("temporary", "for one day", "must-change"),
    ] {
        assert!(post(&server, "/auth/login", "", Server::login_body(login, password)).await.session.is_none());
        let event = fields(server.event("sign-in-failed"));
        assert_eq!((&event["reason"], &event["during"]), (&json!(reason), &json!("sign-in")));
        assert_eq!(event.get("sub").is_some(), login != "nobody", "{event}");
        for secret in [login, password, "127.0.0.1"] {
            assert!(!event.to_string().replace(reason, "").contains(secret), "{event}");
        }
    }
    for _ in 0..9 {
        post(&server, "/auth/login", "", Server::login_body("alice", "wrong")).await;
    }
    assert_eq!(post(&server, "/auth/login", "", Server::login_body("alice", "wrong")).await.status, 429);
    let event = fields(server.event("throttled"));
    assert_eq!((&event["limit"], &event["left_out"]), (&json!("account-and-network"), &json!(0)));
}

#[tokio::test]
async fn the_server_logs_commands_that_affect_sessions_and_keys() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    let view = server.get("/auth/status", &session.cookie()).await.json();
    home.run_ok(&["revoke", "--session", view["sid"].as_str().expect("text")]);
    let event = fields(server.event("revocation"));
    assert_eq!((&event["kind"], &event["cause"], &event["sid"]), (&json!("session"), &json!("store"), &view["sid"]));
    home.run_ok(&["users", "disable", "alice"]);
    let event = fields(server.event("revocation"));
    assert_eq!((&event["kind"], &event["sub"]), (&json!("account"), &view["sub"]));
    home.run_ok(&["revoke", "--everyone"]);
    assert_eq!(fields(server.event("revocation"))["kind"], "everyone");

    let first = home.keys()[0]["kid"].clone();
    let second = home.run_ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
    assert_eq!(fields(server.event("key-published"))["kid"], second);
    assert_eq!(fields(server.event("key-activated"))["kid"], second);
    home.run_ok(&["keys", "revoke", first.as_str().expect("text")]);
    assert_eq!(fields(server.event("key-revoked"))["kid"], first);
    std::fs::remove_file(home.path(&format!("keys/{}.key", first.as_str().expect("text")))).expect("removes");
    assert_eq!(fields(server.event("key-removed"))["kid"], first);
}

#[tokio::test]
async fn refused_tokens_are_logged_with_a_cause_and_sampled() {
    let home = Home::new();
    let mut server = home.start();
    let mut sent = 0;
    let mut logged = 0;
    let mut left_out = 0;
    // A line of a later second has the number of events that were left out.
    while left_out == 0 {
        assert_eq!(server.get("/auth/status", "__Host-sealjar=garbage").await.verdict(), "401 invalid");
        sent += 1;
        while let Some(event) = server.try_event("token-refused") {
            assert_eq!(event["cause"], "malformed");
            logged += 1;
            left_out += event["left_out"].as_u64().expect("a number");
        }
    }
    assert!(logged + left_out <= sent && logged < sent, "{logged} logged and {left_out} left out of {sent}");
}

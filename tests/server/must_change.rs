//! Passwords that an operator sets with a command. With `--must-change`, the user has to choose a new one at the next login.

use serde_json::{Value, json};

use crate::harness::{Home, PASSWORD, Response, Server, client, text};

/// Password that the operator sets.
const TEMPORARY: &str = "for the first day";
/// Password that the user chooses.
const NEW: &str = "a password of my own";

async fn post(server: &Server<'_>, path: &str, body: Value) -> String {
    Response::of(client().post(server.url(path)).json(&body).send().await.expect("a response")).await.verdict()
}

#[tokio::test]
async fn must_change_makes_the_user_choose_a_new_password() {
    let home = Home::new();
    let run = |arguments: &[&str], password: &str| {
        let output = home.run_with_input(arguments, &format!("{password}\n"));
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    run(&["users", "add", "bob", "--must-change"], TEMPORARY);
    let server = home.start();
    let before = server.login("alice").await;
    run(&["users", "passwd", "alice", "--must-change"], TEMPORARY);
    server.until_status(&before, "401 revoked").await;
    let login_verdict = async |login, password| post(&server, "/auth/login", Server::login_body(login, password)).await;
    assert_eq!(login_verdict("alice", PASSWORD).await, "401 credentials");
    assert_eq!(login_verdict("alice", TEMPORARY).await, "403 must-change");
    assert_eq!(login_verdict("bob", TEMPORARY).await, "403 must-change");
    assert!(home.run_ok(&["users", "list"]).contains("must change"));
    let change = json!({ "login": "alice", "old_password": TEMPORARY, "new_password": NEW });
    assert_eq!(post(&server, "/auth/password", change).await, "200");
    assert_eq!(login_verdict("alice", NEW).await, "200");
    run(&["users", "passwd", "bob"], NEW);
    assert_eq!(login_verdict("bob", NEW).await, "200");
    assert!(!home.run_ok(&["users", "list"]).contains("must change"));
}

#[tokio::test]
async fn a_common_password_is_refused_by_the_command_line_too() {
    let home = Home::new();
    for (arguments, password) in [
        (&["users", "add", "carol"][..], "password1"),
        (&["users", "add", "winterbottom"], "winterbottom"),
        (&["users", "passwd", "alice"], "iloveyou"),
    ] {
        let output = home.run_with_input(arguments, &format!("{password}\n"));
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("too common"), "{}", text(&output.stderr));
    }
    let server = home.start();
    assert_eq!(post(&server, "/auth/login", Server::login_body("alice", PASSWORD)).await, "200");
}

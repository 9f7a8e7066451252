//! Passwords that an operator sets: the commands for it, and what they lead to.

use serde_json::{Value, json};

use crate::harness::{Answer, Home, PASSWORD, Server, client, text};

const TEMPORARY: &str = "for the first day";
const NEW: &str = "a password of my own";

async fn post(server: &Server<'_>, path: &str, body: Value) -> String {
    Answer::of(client().post(server.url(path)).json(&body).send().await.expect("an answer")).await.verdict()
}

#[tokio::test]
async fn a_password_is_set_that_must_be_changed_or_not() {
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
    let sign_in = async |login, password| post(&server, "/auth/login", Server::login_body(login, password)).await;
    assert_eq!(sign_in("alice", PASSWORD).await, "401 credentials");
    assert_eq!(sign_in("alice", TEMPORARY).await, "403 must-change");
    assert_eq!(sign_in("bob", TEMPORARY).await, "403 must-change");
    assert!(home.ok(&["users", "list"]).contains("must change"));
    let change = json!({ "login": "alice", "old_password": TEMPORARY, "new_password": NEW });
    assert_eq!(post(&server, "/auth/password", change).await, "200");
    assert_eq!(sign_in("alice", NEW).await, "200");
    run(&["users", "passwd", "bob"], NEW);
    assert_eq!(sign_in("bob", NEW).await, "200");
    assert!(!home.ok(&["users", "list"]).contains("must change"));
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

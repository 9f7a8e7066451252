//! A password that somebody else set leads nowhere but to the change of it.

use serde_json::{Value, json};

use crate::harness::{Answer, Home, PASSWORD, Server, client, text};

const TEMPORARY: &str = "for the first day";
const NEW: &str = "a password of my own";

fn reset(home: &Home) {
    let output = home.run_with_input(&["users", "passwd", "alice", "--must-change"], &format!("{TEMPORARY}\n"));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

async fn post(server: &Server<'_>, path: &str, body: Value) -> Answer {
    Answer::of(client().post(server.url(path)).json(&body).send().await.expect("an answer")).await
}

#[tokio::test]
async fn the_sign_in_after_a_reset_leads_only_to_the_change() {
    let home = Home::new();
    let server = home.start();
    let before = server.login("alice").await;
    reset(&home);
    server.until_status(&before, "401 revoked").await;
    assert_eq!(post(&server, "/auth/login", Server::login_body("alice", PASSWORD)).await.verdict(), "401 credentials");
    let answer = post(&server, "/auth/login", Server::login_body("alice", TEMPORARY)).await;
    assert_eq!(answer.verdict(), "403 must-change");
    assert_eq!(answer.header("set-cookie"), None, "there is no session of any kind");
    let change = |old: &str, new: &str| json!({ "login": "alice", "old_password": old, "new_password": new });
    for (old, new, verdict) in [
        (PASSWORD, NEW, "401 credentials"),
        (TEMPORARY, "short", "422 fields"),
        (TEMPORARY, "password1", "422 fields"),
        (TEMPORARY, TEMPORARY, "422 fields"),
    ] {
        let answer = post(&server, "/auth/password", change(old, new)).await;
        assert_eq!((answer.verdict().as_str(), answer.header("set-cookie")), (verdict, None), "{old} {new}");
    }
    let answer = post(&server, "/auth/password", change(TEMPORARY, NEW)).await;
    assert_eq!(answer.verdict(), "200");
    assert_eq!(answer.json()["login_name"], "alice");
    assert_eq!(server.status(&answer.session.expect("a session")).await, "200");
    assert_eq!(post(&server, "/auth/login", Server::login_body("alice", NEW)).await.verdict(), "200");
    assert_eq!(post(&server, "/auth/login", Server::login_body("alice", TEMPORARY)).await.verdict(), "401 credentials");
}

#[tokio::test]
async fn a_browser_is_shown_the_form_and_goes_on_to_where_it_wanted() {
    let home = Home::new();
    let server = home.start();
    reset(&home);
    let page = client().get(server.url("/auth/login?rd=/protected")).header("accept", "text/html");
    let page = page.send().await.expect("an answer");
    let cookie = page.headers()["set-cookie"].to_str().expect("ASCII").split(';').next().expect("a cookie").to_owned();
    let token = Answer::of(page).await.hidden("csrf_token");
    let submit = async |path: &'static str, fields: &[(&str, &str)], cookie: &str| {
        let request = client().post(server.url(path)).header("accept", "text/html").header("cookie", cookie);
        let request = request.header("origin", server.url("")).header("sec-fetch-site", "same-origin");
        Answer::of(request.form(fields).send().await.expect("an answer")).await
    };
    let sign_in = [
        ("login", "alice"),
        ("password", TEMPORARY),
        ("remember", "true"),
        ("rd", "/protected"),
        ("csrf_token", &token),
    ];
    let answer = submit("/auth/login", &sign_in, &cookie).await;
    assert!(answer.session.is_none());
    let (status, html) = answer.page();
    assert!(status == 403 && html.contains("<h1>Choose a new password</h1>"), "{status} {html}");
    let (token, rd, remember) = (answer.hidden("csrf_token"), answer.hidden("rd"), answer.hidden("remember"));
    let change = |token: &str, old: &'static str, new: &'static str| {
        let fields = [("login", "alice"), ("old_password", old), ("new_password", new), ("csrf_token", token)];
        let more = [("rd", rd.as_str()), ("remember", remember.as_str())];
        fields.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let submit_change = async |token: &str, old: &'static str, new: &'static str| {
        let fields = change(token, old, new);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        submit("/auth/password", &fields, &cookie).await
    };
    let (status, html) = submit_change("forged", TEMPORARY, NEW).await.page_owned();
    assert!(status == 403 && html.contains("<h1>Choose a new password</h1>"), "{status} {html}");
    let (status, html) = submit_change(&token, TEMPORARY, TEMPORARY).await.page_owned();
    assert!(status == 422 && html.contains("The new password is the old one; choose another."), "{status} {html}");
    let answer = submit_change(&token, TEMPORARY, NEW).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/protected")));
    let view = server.get("/auth/status", &answer.session.expect("a session").cookie()).await.json();
    assert_eq!(view["remembered"], true);
}

#[tokio::test]
async fn without_a_session_anybody_who_knows_the_password_may_change_it() {
    let home = Home::new();
    let server = home.start();
    let other = server.login("alice").await;
    let body = json!({ "login": "ALICE", "old_password": PASSWORD, "new_password": NEW, "remember": true });
    let answer = post(&server, "/auth/password", body).await;
    assert_eq!((answer.verdict().as_str(), &answer.json()["remembered"]), ("200", &json!(true)));
    assert_eq!(server.status(&other).await, "401 revoked");
    assert_eq!(server.status(&answer.session.expect("a session")).await, "200");
}

#[tokio::test]
async fn an_account_can_begin_like_that_and_an_ordinary_reset_ends_it() {
    let home = Home::new();
    let add = home.run_with_input(&["users", "add", "bob", "--must-change"], &format!("{TEMPORARY}\n"));
    assert!(add.status.success(), "{}", text(&add.stderr));
    let server = home.start();
    let sign_in = async |password| post(&server, "/auth/login", Server::login_body("bob", password)).await.verdict();
    assert_eq!(sign_in(TEMPORARY).await, "403 must-change");
    assert_eq!(sign_in("wrong").await, "401 credentials", "only who knows the password is told");
    assert!(home.ok(&["users", "list"]).contains("must change"));
    assert!(home.run_with_input(&["users", "passwd", "bob"], &format!("{NEW}\n")).status.success());
    assert_eq!(sign_in(NEW).await, "200");
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
        assert!(text(&output.stderr).contains("among the first that are guessed"), "{}", text(&output.stderr));
    }
    let server = home.start();
    assert_eq!(post(&server, "/auth/login", Server::login_body("alice", PASSWORD)).await.verdict(), "200");
}

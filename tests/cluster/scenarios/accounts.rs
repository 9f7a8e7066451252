//! Changes and imports of accounts on PostgreSQL, and missing privileges of the database user.

use std::fs;

use crate::harness::{Home, PASSWORD, Response, Server, client, text};
use crate::nodes;
use crate::postgres::Postgres;

#[tokio::test]
async fn a_change_of_a_profile_is_followed_by_every_node() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    home.add_user("bob");
    let [first, second] = [home.start(), home.start()];
    let session = first.login("alice").await;
    let bob = first.login("bob").await;
    let set = |arguments: &[&str]| home.run(&[&["users", "set"], arguments].concat());
    assert!(set(&["alice", "--email", ""]).status.success(), "nothing to change");
    assert_eq!(first.status(&session).await, "200");
    let renamed = set(&["alice", "--login", "ann", "--email", "ann@example.com"]);
    assert!(renamed.status.success(), "{}", text(&renamed.stderr));
    for node in [&first, &second] {
        node.until_status(&session, "401 revoked").await;
        assert_eq!(node.status(&bob).await, "200");
    }
    let status = second.get("/auth/status", &second.login("ann").await.cookie()).await.json();
    assert_eq!((&status["login_name"], &status["email"]), (&"ann".into(), &"ann@example.com".into()));
    let taken = set(&["bob", "--login", "ann"]);
    assert!(text(&taken.stderr).contains("there is an account named ann already"), "{}", text(&taken.stderr));
    assert_eq!(first.status(&bob).await, "200", "a failed change ends no session");
}

async fn sign_in(server: &Server<'_>, login: &str) -> String {
    let body = Server::login_body(login, PASSWORD);
    let response = client().post(server.url("/auth/login")).json(&body).send().await.expect("an answer");
    Response::of(response).await.verdict()
}

#[tokio::test]
async fn accounts_are_imported_all_or_none() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let hash = database.sql("SELECT password_hash FROM account");
    let line = |login: &str| serde_json::json!({ "login": login, "password_hash": hash }).to_string();
    let mut lines: Vec<String> = (0..1_201).map(|number| line(&format!("user{number}"))).collect();
    lines.push(line("alice"));
    let import = |lines: &[String]| {
        fs::write(home.path("new.jsonl"), lines.join("\n")).expect("writes");
        home.run(&["users", "import", "new.jsonl"])
    };
    let refused = import(&lines);
    assert!(text(&refused.stderr).contains("line 1202: login: the store already has an account named alice"));
    assert_eq!(database.sql("SELECT count(*) FROM account"), "1");
    lines.pop();
    let done = import(&lines);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(database.sql("SELECT count(*) FROM account"), "1202");
    let server = home.start();
    for login in ["alice", "user0", "user1200"] {
        assert_eq!(sign_in(&server, login).await, "200", "{login}");
    }
}

#[test]
fn a_missing_privilege_is_reported_with_its_grant() {
    let database = Postgres::start();
    let home: Home = nodes::home(&database, &[]);
    database.sql_in("postgres", "CREATE DATABASE other OWNER postgres");
    let store = format!("store={}", database.url("other", "sslmode=disable"));
    let add = || home.run_with_input(&["users", "add", "bob", "--set", &store], &format!("{PASSWORD}\n"));
    let refused = add();
    let message = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(74), "{message}");
    assert!(message.contains("permission denied for schema public"), "{message}");
    let hint = message.split_once("run in it: ").expect("the hint").1;
    let grant = hint.split(';').next().expect("a statement");
    assert_eq!(grant, "GRANT USAGE, CREATE ON SCHEMA public TO \"sealjar\"");
    database.sql_in("other", grant);
    let added = add();
    assert!(added.status.success(), "{}", text(&added.stderr));
}

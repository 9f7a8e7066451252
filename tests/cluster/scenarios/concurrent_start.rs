//! Nodes and commands that start at the same time on a database without tables: one of them creates the tables, and all of
//! them succeed.

use crate::harness::{Home, PASSWORD, Server, Session, text};
use crate::nodes::until_all;
use crate::postgres::Postgres;

const CONCURRENT: usize = 5;

#[tokio::test]
async fn all_nodes_start_concurrently_on_an_empty_database() {
    let database = Postgres::start();
    let home = Home::new();
    for name in ["first", "second", "third"] {
        database.create_database(name);
        let store = database.url(name, "sslmode=disable");
        let nodes: Vec<Server<'_>> = run_concurrently(|_| home.start_with(&["--store", &store], &[]));
        add(&home, &store, "bob");
        let session: Session = nodes[0].login("bob").await;
        until_all(&nodes, &session, "200").await;
        assert_eq!(nodes[1].logout(&session).await, "200");
        until_all(&nodes, &session, "401 revoked").await;
    }
}

#[test]
fn concurrently_added_accounts_are_all_stored() {
    let database = Postgres::start();
    let home = Home::new();
    let store = database.url("sealjar", "sslmode=disable");
    run_concurrently(|number| add(&home, &store, &format!("user{number}")));
    let accounts = home.run_ok(&["users", "list", "--store", &store]);
    for number in 0..CONCURRENT {
        assert!(accounts.contains(&format!("user{number}")), "{accounts}");
    }
}

fn add(home: &Home, store: &str, login: &str) {
    let output = home.run_with_input(&["users", "add", login, "--store", store], &format!("{PASSWORD}\n"));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn run_concurrently<T: Send>(one: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = (0..CONCURRENT).map(|number| scope.spawn(move || one(number))).collect();
        all.into_iter().map(|each| each.join().expect("the thread does not panic")).collect()
    })
}

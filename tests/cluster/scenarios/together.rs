//! Nodes and commands that start at once on a database without tables: one makes them, all go on.

use crate::harness::{Home, PASSWORD, Server, Session, text};
use crate::nodes::until_all;
use crate::postgres::Postgres;

const AT_ONCE: usize = 5;

#[tokio::test]
async fn nodes_that_start_at_once_on_an_empty_database_all_come_up() {
    let database = Postgres::start();
    let home = Home::new();
    for name in ["first", "second", "third"] {
        database.create_database(name);
        let store = database.url(name, "sslmode=disable");
        let nodes: Vec<Server<'_>> = at_once(|_| home.start_with(&["--store", &store], &[]));
        add(&home, &store, "bob");
        let session: Session = nodes[0].login("bob").await;
        until_all(&nodes, &session, "200").await;
        assert_eq!(nodes[1].logout(&session).await, "200");
        until_all(&nodes, &session, "401 revoked").await;
    }
}

#[test]
fn accounts_added_at_once_to_an_empty_database_are_all_there() {
    let database = Postgres::start();
    let home = Home::new();
    let store = database.url("sealjar", "sslmode=disable");
    at_once(|number| add(&home, &store, &format!("user{number}")));
    let accounts = home.ok(&["users", "list", "--store", &store]);
    for number in 0..AT_ONCE {
        assert!(accounts.contains(&format!("user{number}")), "{accounts}");
    }
}

fn add(home: &Home, store: &str, login: &str) {
    let output = home.run_with_input(&["users", "add", login, "--store", store], &format!("{PASSWORD}\n"));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn at_once<T: Send>(one: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = (0..AT_ONCE).map(|number| scope.spawn(move || one(number))).collect();
        all.into_iter().map(|each| each.join().expect("it came up")).collect()
    })
}

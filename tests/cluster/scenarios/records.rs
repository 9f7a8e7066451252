//! What a node records and prunes once a minute, beside its polls: it makes no list stale, however long a commit takes, and costs
//! what is deleted, not what is there.

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Home, Server, until};
use crate::nodes;
use crate::postgres::Postgres;
use crate::turn;

/// The node's clock before and after almost a minute has passed, both near enough to PostgreSQL's. The rest of it passes.
const BEFORE: &str = "-29s";
const AFTER: &str = "+29s";

#[tokio::test]
async fn a_commit_that_hangs_makes_no_list_stale() {
    let _turn = turn().await;
    let database = Postgres::start();
    // Less than the commit will take.
    let home = nodes::home(&database, &["revocation.max_staleness=3s", "postgres.statement_timeout=4s"]);
    let mut node = start(&home);
    let live = node.login("alice").await;
    let mut writer = database.connection();
    writer.run("BEGIN; SELECT 1 FROM state FOR UPDATE;");
    pass_a_minute(&home);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sealjar' AND wait_event_type = 'Lock'";
    until("the node waits for the lock", || database.sql(waiting) != "0");
    node.until_status(&live, "200").await;
    let mut verdicts = Vec::new();
    while database.sql(waiting) != "0" {
        verdicts.push(node.status(&live).await);
    }
    node.wait_for("cannot record session lifetimes");
    assert!(verdicts.len() > 10 && verdicts.iter().all(|verdict| verdict == "200"), "{verdicts:?}");
    writer.run("COMMIT;");
    let recorded = "SELECT count(*) FROM lifetime_in_use WHERE used_until > extract(epoch FROM now()) + 3600";
    until("it is recorded after all", || database.sql(recorded) != "0");
}

#[tokio::test]
async fn pruning_reads_what_it_deletes_and_not_the_whole_table() {
    const DEAD: u32 = 20_000;
    const LIVE: u32 = 60_000;
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    nodes::fill(&database, 0, DEAD);
    database.sql("UPDATE revocation SET expires_at = 1");
    nodes::fill(&database, DEAD, LIVE);
    database.sql("VACUUM ANALYZE revocation");
    let node = start(&home);
    let counted = |what: &str| -> u64 {
        let statistics = format!("SELECT {what} FROM pg_stat_user_tables WHERE relname = 'revocation'");
        database.sql(&statistics).parse().expect("a number")
    };
    let (deleted, whole_scans) = (counted("n_tup_del"), counted("seq_scan"));
    pass_a_minute(&home);
    until("all that is dead is deleted", || counted("n_tup_del") == deleted + u64::from(DEAD));
    assert_eq!(counted("seq_scan"), whole_scans);
    assert_eq!(database.sql("SELECT count(*) FROM revocation"), LIVE.to_string());
    assert_eq!(nodes::readyz(&node).await["revocations"], LIVE, "the list has let go of them first");
}

fn start(home: &Home) -> Server<'_> {
    write_clock(&home.path("clock"), BEFORE);
    home.start_with(&[], &every_clock(&home.path("clock")))
}

fn pass_a_minute(home: &Home) {
    write_clock(&home.path("clock"), AFTER);
}

//! Recording and pruning, which a node does once a minute in addition to its polls. They do not make the list stale, even if
//! a commit takes long. The cost of pruning depends on the number of deleted rows, not on the size of the table.

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Home, Server, wait_until};
use crate::load_permit;
use crate::nodes;
use crate::postgres::Postgres;

/// Offset of the node's clock at its start. It is within the allowed difference from PostgreSQL's clock.
const BEFORE: &str = "-29s";
/// Offset of the node's clock after almost a minute, also within the allowed difference. The last seconds pass in real time.
const AFTER: &str = "+29s";

#[tokio::test]
async fn a_commit_that_hangs_makes_no_list_stale() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    // The commit takes longer than the maximum staleness.
    let home = nodes::home(&database, &["revocation.max_staleness=3s", "postgres.statement_timeout=4s"]);
    let mut node = start(&home);
    let live = node.login("alice").await;
    let mut writer = database.connection();
    writer.run("BEGIN; SELECT 1 FROM state FOR UPDATE;");
    pass_a_minute(&home);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sealjar' AND wait_event_type = 'Lock'";
    wait_until("the node waits for the lock", || database.sql(waiting) != "0");
    node.until_status(&live, "200").await;
    let mut verdicts = Vec::new();
    while database.sql(waiting) != "0" {
        verdicts.push(node.status(&live).await);
    }
    node.wait_for("cannot record session lifetimes");
    assert!(verdicts.len() > 10 && verdicts.iter().all(|verdict| verdict == "200"), "{verdicts:?}");
    writer.run("COMMIT;");
    let recorded = "SELECT count(*) FROM lifetime_in_use WHERE used_until > extract(epoch FROM now()) + 3600";
    wait_until("the lifetimes are recorded", || database.sql(recorded) != "0");
}

#[tokio::test]
async fn pruning_does_not_scan_the_whole_table() {
    const EXPIRED: u32 = 20_000;
    const LIVE: u32 = 60_000;
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    nodes::fill(&database, 0, EXPIRED);
    database.sql("UPDATE revocation SET expires_at = 1");
    nodes::fill(&database, EXPIRED, LIVE);
    database.sql("VACUUM ANALYZE revocation");
    let node = start(&home);
    let statistic = |column: &str| -> u64 {
        let query = format!("SELECT {column} FROM pg_stat_user_tables WHERE relname = 'revocation'");
        database.sql(&query).parse().expect("a number")
    };
    let deleted = statistic("n_tup_del");
    let whole_scans = statistic("seq_scan");
    pass_a_minute(&home);
    wait_until("all expired rows are deleted", || statistic("n_tup_del") == deleted + u64::from(EXPIRED));
    assert_eq!(statistic("seq_scan"), whole_scans);
    assert_eq!(database.sql("SELECT count(*) FROM revocation"), LIVE.to_string());
    assert_eq!(nodes::readyz(&node).await["revocations"], LIVE, "the entries were removed from the list first");
}

fn start(home: &Home) -> Server<'_> {
    write_clock(&home.path("clock"), BEFORE);
    home.start_with(&[], &every_clock(&home.path("clock")))
}

fn pass_a_minute(home: &Home) {
    write_clock(&home.path("clock"), AFTER);
}

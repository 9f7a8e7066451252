//! Faults of the store under a steady load: PostgreSQL is killed, suspended, or disconnected from one node. Sessions are
//! checked for `max_staleness` and then refused (fail closed). No confirmed logout is lost. A logout with the response 503
//! also takes effect. Every node recovers automatically.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::Server;
use crate::load::{Load, ORIGIN, Record};
use crate::postgres::{Postgres, ServerOptions};
use crate::{load_permit, namespace, nodes, reduced_or_stated};

const MAX_STALENESS: Duration = Duration::from_secs(3);
const STALENESS: &str = "revocation.max_staleness=3s";
/// Maximum time from a node's last poll to the fault. A node polls four times a second, but a loaded machine is slower.
const MAX_POLL_AGE: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_killed_and_restarted_under_load() {
    let _permit = load_permit().await;
    let mut database = Postgres::start();
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let nodes = nodes::start_three(&home, &[]);
    let load = Load::start(&nodes).await;
    let mut fault = Fault::new("killed", &[0, 1, 2], &load);
    database.kill();
    fault.wait_for_effects(&load).await;
    database.restart();
    fault.assert_recovery(load, &nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_killed_and_restarted_again_and_again_under_load() {
    let _permit = load_permit().await;
    let times = reduced_or_stated(4, 25);
    let mut database = Postgres::start();
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let nodes = nodes::start_three(&home, &[]);
    let load = Load::start(&nodes).await;
    for _ in 0..times {
        database.kill();
        database.restart();
        load.until_signed_out(10).await;
    }
    for node in 0..nodes.len() {
        load.until_live_session_is(node, "200").await;
    }
    let record = load.stop().await;
    assert_no_confirmed_logout_was_lost(&record);
    assert_all_logouts_take_effect_on_all_nodes(&record, &nodes).await;
    let not_durable = record.endings.iter().filter(|ending| ending.sign_out.verdict != "200").count();
    let refused = record.checks.iter().filter(|check| check.verdict != "200").count();
    println!(
        "PostgreSQL killed and restarted {times} times: {} sign-outs, {not_durable} answered 503, all in force everywhere; \
         {refused} of {} verifications of a live session answered 503",
        record.endings.len(),
        record.checks.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_paused_under_load() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let nodes = nodes::start_three(&home, &[]);
    let load = Load::start(&nodes).await;
    let mut fault = Fault::new("paused", &[0, 1, 2], &load);
    database.pause();
    fault.wait_for_effects(&load).await;
    database.resume();
    fault.assert_recovery(load, &nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_cut_off_from_postgresql_under_load() {
    let _permit = load_permit().await;
    if !namespace::entered("scenarios::faults::one_node_cut_off_from_postgresql_under_load") {
        return;
    }
    let spoke = namespace::Spoke::new();
    let database = Postgres::start_with_options(&ServerOptions { address: namespace::HUB, ..ServerOptions::default() });
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let address = format!("{}:0", namespace::SPOKE);
    let third = home.start_through(|serve| spoke.command(serve), &["--listen", &address, "--admin-listen", &address]);
    let nodes = [home.start(), home.start(), third];
    let load = Load::start(&nodes).await;
    let mut fault = Fault::new("cut off from the third node", &[2], &load);
    spoke.disconnect_from(database.port());
    fault.wait_for_effects(&load).await;
    spoke.reconnect();
    fault.assert_recovery(load, &nodes).await;
}

/// Record of a fault of the store: the affected nodes, and the times of the fault.
struct Fault {
    description: &'static str,
    affected: &'static [usize],
    not_durable_before: usize,
    /// Time just before the fault was caused.
    began: Instant,
    /// Time at which the fault was in force.
    in_force: Instant,
    /// Time just before the fault was repaired.
    ended: Instant,
}

impl Fault {
    /// Creates the record of a fault. Must be called just before the fault is caused.
    fn new(description: &'static str, affected: &'static [usize], load: &Load) -> Self {
        let began = Instant::now();
        Self { description, affected, not_durable_before: load.not_durable(), began, in_force: began, ended: began }
    }

    /// Waits until the fault has had its effects. Must be called when the fault is in force. The caller then repairs it.
    async fn wait_for_effects(&mut self, load: &Load) {
        self.in_force = Instant::now();
        for node in self.affected {
            load.until_live_session_is(*node, "503 stale").await;
        }
        load.until_not_durable(self.not_durable_before).await;
        // This sleep is the minimum duration of the fault. It does not wait for a result.
        let min_duration = reduced_or_stated(MAX_STALENESS + MAX_POLL_AGE, Duration::from_secs(30));
        tokio::time::sleep(min_duration.saturating_sub(self.in_force.elapsed())).await;
        self.ended = Instant::now();
    }

    /// Checks the record of the load. Must be called after the fault was repaired.
    async fn assert_recovery(self, load: Load, nodes: &[Server<'_>]) {
        let repaired = Instant::now();
        for node in 0..nodes.len() {
            load.until_live_session_is(node, "200").await;
        }
        let recovery_time = repaired.elapsed();
        load.until_signed_out(20).await;
        let record = load.stop().await;
        self.assert_checks_succeed_and_then_fail_closed(&record);
        assert_no_confirmed_logout_was_lost(&record);
        assert_all_logouts_take_effect_on_all_nodes(&record, nodes).await;
        let count = |verdict: &str| record.endings.iter().filter(|ending| ending.sign_out.verdict == verdict).count();
        let mut sign_ins: BTreeMap<&str, usize> = BTreeMap::new();
        record.sign_ins.iter().for_each(|sign_in| *sign_ins.entry(&sign_in.verdict).or_default() += 1);
        println!(
            "PostgreSQL {} for {:.1} s: {} verifications of live sessions, none refused; {} sign-outs answered 200 and {} \
             answered 503, all in force everywhere; sign-ins {sign_ins:?}; all nodes recovery_time {:.1} s after it",
            self.description,
            (self.ended - self.in_force).as_secs_f64(),
            record.checks.len(),
            count("200"),
            count("503 not-durable"),
            recovery_time.as_secs_f64(),
        );
    }

    /// Asserts that checks of the live session succeed until `max_staleness`, and fail with 503 after it.
    fn assert_checks_succeed_and_then_fail_closed(&self, record: &Record) {
        let mut accepted = 0;
        let mut failed_closed = 0;
        for check in &record.checks {
            if !self.affected.contains(&check.node) || check.answered < self.began + MAX_STALENESS - MAX_POLL_AGE {
                assert_eq!(check.verdict, "200", "this node is not affected yet: {check:?}");
                accepted += usize::from(check.begun > self.in_force && self.affected.contains(&check.node));
            } else if check.begun > self.in_force + MAX_STALENESS && check.answered < self.ended {
                assert_eq!(check.verdict, "503 stale", "the list is stale: {check:?}");
                failed_closed += 1;
            }
        }
        assert!(
            accepted > 10 && failed_closed > 10,
            "{accepted} checks before and {failed_closed} after max_staleness"
        );
    }
}

/// Asserts that confirmed logouts are in force on each node after `max_staleness`. A node that accepts a session has read the
/// list within that time.
fn assert_no_confirmed_logout_was_lost(record: &Record) {
    let answered = record.endings.iter().filter(|ending| ending.sign_out.verdict == "200");
    for (ending, replay) in answered.flat_map(|ending| ending.replays.iter().map(move |replay| (ending, replay))) {
        let bound = ending.sign_out.answered + MAX_STALENESS;
        assert!(replay.verdict != "200" || replay.begun <= bound, "{replay:?} after {:?}", ending.sign_out);
    }
}

/// Asserts that all nodes refuse all logged-out sessions, including those whose logout had the response 503.
async fn assert_all_logouts_take_effect_on_all_nodes(record: &Record, nodes: &[Server<'_>]) {
    for ending in &record.endings {
        crate::load::until_revoked(&ending.session, nodes).await;
    }
}

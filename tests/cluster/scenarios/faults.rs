//! The store goes away under a steady load: killed, paused, or cut off from one node. Verification goes on for `max_staleness` and
//! then fails closed; no sign-out that was answered is lost; one that was told to have failed takes effect as well; every node
//! comes back by itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::Server;
use crate::load::{Load, ORIGIN, Record};
use crate::postgres::{Postgres, Special};
use crate::{namespace, nodes, reduced_or_stated, turn};

const MAX_STALENESS: Duration = Duration::from_secs(3);
const STALENESS: &str = "revocation.max_staleness=3s";
/// A node polls four times a second. Its last poll before the fault may have begun this long ago, on a loaded machine.
const LAST_POLL: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_killed_and_restarted_under_load() {
    let _turn = turn().await;
    let mut database = Postgres::start();
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let nodes = nodes::three(&home, &[]);
    let load = Load::start(&nodes).await;
    let mut fault = Fault::begins("killed", &[0, 1, 2], &load);
    database.kill();
    fault.lasts(&load).await;
    database.restart();
    fault.passes(load, &nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_killed_and_restarted_again_and_again_under_load() {
    let _turn = turn().await;
    let times = reduced_or_stated(4, 25);
    let mut database = Postgres::start();
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let nodes = nodes::three(&home, &[]);
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
    no_answered_sign_out_was_lost(&record);
    every_sign_out_takes_effect_everywhere(&record, &nodes).await;
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
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let nodes = nodes::three(&home, &[]);
    let load = Load::start(&nodes).await;
    let mut fault = Fault::begins("paused", &[0, 1, 2], &load);
    database.pause();
    fault.lasts(&load).await;
    database.resume();
    fault.passes(load, &nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_cut_off_from_postgresql_under_load() {
    let _turn = turn().await;
    if !namespace::entered("scenarios::faults::one_node_cut_off_from_postgresql_under_load") {
        return;
    }
    let spoke = namespace::Spoke::new();
    let database = Postgres::start_special(&Special { address: namespace::HUB, ..Special::default() });
    let home = nodes::home(&database, &[ORIGIN, STALENESS]);
    let there = format!("{}:0", namespace::SPOKE);
    let third = home.start_by(|serve| spoke.there(serve), &["--listen", &there, "--admin-listen", &there]);
    let nodes = [home.start(), home.start(), third];
    let load = Load::start(&nodes).await;
    let mut fault = Fault::begins("cut off from the third node", &[2], &load);
    spoke.cut_off_from(database.port());
    fault.lasts(&load).await;
    spoke.mend();
    fault.passes(load, &nodes).await;
}

/// One fault: which nodes it befalls, and when.
struct Fault {
    what: &'static str,
    befalls: &'static [usize],
    not_durable_before: usize,
    /// Before it began; once it was in force; before it was ended.
    began: Instant,
    in_force: Instant,
    ended: Instant,
}

impl Fault {
    /// To be called just before it begins.
    fn begins(what: &'static str, befalls: &'static [usize], load: &Load) -> Self {
        let began = Instant::now();
        Self { what, befalls, not_durable_before: load.not_durable(), began, in_force: began, ended: began }
    }

    /// To be called when it is in force; returns when it is to be ended.
    async fn lasts(&mut self, load: &Load) {
        self.in_force = Instant::now();
        for node in self.befalls {
            load.until_live_session_is(*node, "503 stale").await;
        }
        load.until_not_durable(self.not_durable_before).await;
        // That is the fault, and nothing that is waited for.
        let least = reduced_or_stated(MAX_STALENESS + LAST_POLL, Duration::from_secs(30));
        tokio::time::sleep(least.saturating_sub(self.in_force.elapsed())).await;
        self.ended = Instant::now();
    }

    /// To be called when it has been ended.
    async fn passes(self, load: Load, nodes: &[Server<'_>]) {
        let up = Instant::now();
        for node in 0..nodes.len() {
            load.until_live_session_is(node, "200").await;
        }
        let back = up.elapsed();
        load.until_signed_out(20).await;
        let record = load.stop().await;
        self.verification_went_on_and_then_failed_closed(&record);
        no_answered_sign_out_was_lost(&record);
        every_sign_out_takes_effect_everywhere(&record, nodes).await;
        let count = |verdict: &str| record.endings.iter().filter(|ending| ending.sign_out.verdict == verdict).count();
        let mut sign_ins: BTreeMap<&str, usize> = BTreeMap::new();
        record.sign_ins.iter().for_each(|asked| *sign_ins.entry(&asked.verdict).or_default() += 1);
        println!(
            "PostgreSQL {} for {:.1} s: {} verifications of live sessions, none refused; {} sign-outs answered 200 and {} \
             answered 503, all in force everywhere; sign-ins {sign_ins:?}; all nodes back {:.1} s after it",
            self.what,
            (self.ended - self.in_force).as_secs_f64(),
            record.checks.len(),
            count("200"),
            count("503 not-durable"),
            back.as_secs_f64(),
        );
    }

    fn verification_went_on_and_then_failed_closed(&self, record: &Record) {
        let (mut went_on, mut failed_closed) = (0, 0);
        for check in &record.checks {
            if !self.befalls.contains(&check.node) || check.answered < self.began + MAX_STALENESS - LAST_POLL {
                assert_eq!(check.verdict, "200", "nothing keeps this node from vouching: {check:?}");
                went_on += usize::from(check.begun > self.in_force && self.befalls.contains(&check.node));
            } else if check.begun > self.in_force + MAX_STALENESS && check.answered < self.ended {
                assert_eq!(check.verdict, "503 stale", "the list is older than it may be: {check:?}");
                failed_closed += 1;
            }
        }
        assert!(went_on > 10 && failed_closed > 10, "{went_on} checks before and {failed_closed} after max_staleness");
    }
}

/// A node that accepts a session has read the list within `max_staleness`, so whatever was committed earlier is in force there.
fn no_answered_sign_out_was_lost(record: &Record) {
    let answered = record.endings.iter().filter(|ending| ending.sign_out.verdict == "200");
    for (ending, replay) in answered.flat_map(|ending| ending.replays.iter().map(move |replay| (ending, replay))) {
        let bound = ending.sign_out.answered + MAX_STALENESS;
        assert!(replay.verdict != "200" || replay.begun <= bound, "{replay:?} after {:?}", ending.sign_out);
    }
}

/// Those that were told to have failed, too.
async fn every_sign_out_takes_effect_everywhere(record: &Record, nodes: &[Server<'_>]) {
    for ending in &record.endings {
        crate::load::until_dead(&ending.session, nodes).await;
    }
}

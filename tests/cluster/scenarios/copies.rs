//! A cookie that is used in two places, and one that is not, on two nodes that share the requests. Each node remembers what it saw
//! itself, so detection takes longer than on one node.

use std::time::Duration;

use crate::clock_file::{wall_clock, write_clock};
use crate::harness::{Home, Server, Session};
use crate::postgres::Postgres;
use crate::{nodes, turn};

/// Within this time, one node refuses what another one noticed.
const BOUND: Duration = Duration::from_secs(1);
/// From one renewal to the next.
const INTERVAL: u32 = 5;
/// On which node the owner and the thief are at each renewal, again and again; and the last renewal at which the copy is noticed.
const SCHEDULES: [(&[[usize; 2]], usize); 4] = [
    (&[[0, 0]], 3),
    // Each on the other's node, in turn.
    (&[[0, 1], [1, 0]], 3),
    // The thief moves half as often as the owner.
    (&[[0, 0], [1, 0], [0, 1], [1, 1]], 3),
    (&[[0, 1], [1, 1], [0, 1], [0, 0], [1, 0]], 4),
];

/// The wall clock of the nodes.
struct Clock<'h> {
    home: &'h Home,
    minutes: u32,
}

impl Clock<'_> {
    fn pass(&mut self, minutes: u32) {
        self.minutes += minutes;
        write_clock(&self.home.path("clock"), &format!("+{}m", self.minutes));
    }
}

/// Two nodes under one wall clock, and that clock. It may go ahead of PostgreSQL's while they run.
fn two(home: &Home) -> ([Server<'_>; 2], Clock<'_>) {
    let mut clock = Clock { home, minutes: 0 };
    clock.pass(0);
    let variables = wall_clock(&home.path("clock"));
    ([(); 2].map(|()| home.start_with(&[], &variables)), clock)
}

/// Opens a page, and keeps the cookie that its answer sets. Returns the verdict.
async fn visit(node: &Server<'_>, session: &mut Session) -> String {
    let answer = node.get("/auth/status", &session.cookie()).await;
    let verdict = answer.verdict();
    *session = answer.session.unwrap_or_else(|| session.clone());
    verdict
}

async fn noticed(nodes: &[Server<'_>; 2]) -> f64 {
    const NAME: &str = "sealjar_copied_sessions_total";
    nodes[0].metric(NAME).await + nodes[1].metric(NAME).await
}

#[tokio::test]
async fn a_copy_that_one_node_notices_is_refused_by_both() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let (nodes, mut clock) = two(&home);
    for (schedule, last) in SCHEDULES {
        let before = noticed(&nodes).await;
        let session = nodes[0].login("alice").await;
        nodes[1].until_status(&session, "200").await;
        let mut holders = [session.clone(), session];
        let mut renewals = 0;
        for places in schedule.iter().cycle().take(last) {
            renewals += 1;
            clock.pass(INTERVAL);
            for (holder, place) in holders.iter_mut().zip(places) {
                visit(&nodes[*place], holder).await;
            }
            if noticed(&nodes).await > before {
                break;
            }
        }
        assert!(noticed(&nodes).await > before, "{schedule:?}: not within {last} renewals");
        let mut worst = Duration::ZERO;
        for holder in &holders {
            let [a, b] = nodes.each_ref().map(|node| node.until_status(holder, "401 revoked"));
            let (a, b) = tokio::join!(a, b);
            worst = worst.max(a).max(b);
        }
        println!("{schedule:?}: noticed at renewal {renewals}, refused by both nodes within {worst:?}");
        assert!(worst < BOUND, "{worst:?}");
    }
}

#[tokio::test]
async fn a_lone_client_of_two_nodes_keeps_its_session() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let (nodes, mut clock) = two(&home);
    let mut session = nodes[0].login("alice").await;
    nodes[1].until_status(&session, "200").await;
    for turn in 0..36 {
        clock.pass(INTERVAL);
        // One after the other on the same token, as if at the same time: siblings. The answers of every fifth turn are lost.
        let before = session.clone();
        for place in [turn % 3 % 2, (turn + 1) % 2, turn % 2] {
            let mut sibling = before.clone();
            assert_eq!(visit(&nodes[place], &mut sibling).await, "200", "turn {turn}");
            assert_ne!(sibling, before, "turn {turn}: renewed");
            if turn % 5 > 0 {
                session = sibling;
            }
        }
    }
    assert_eq!(noticed(&nodes).await, 0.0);
}

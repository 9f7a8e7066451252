//! Copy detection on two nodes that share the requests. Each node stores only the tokens that it received itself, so the
//! detection of a copy takes longer than on one node. The session of a single client is not ended.

use std::time::Duration;

use crate::clock_file::{wall_clock, write_clock};
use crate::harness::{Home, Server, Session};
use crate::postgres::Postgres;
use crate::{load_permit, nodes};

/// Maximum time from the detection on one node to the refusal on the other.
const BOUND: Duration = Duration::from_secs(1);
/// Minutes between two renewals.
const INTERVAL: u32 = 5;
/// Schedules. Each has the nodes of the owner and of the thief at each renewal, which are repeated. The number is the last
/// renewal at which the copy must be detected.
const SCHEDULES: [(&[[usize; 2]], usize); 4] = [
    (&[[0, 0]], 3),
    // Owner and thief swap their nodes at each renewal.
    (&[[0, 1], [1, 0]], 3),
    // The thief changes the node half as often as the owner.
    (&[[0, 0], [1, 0], [0, 1], [1, 1]], 3),
    (&[[0, 1], [1, 1], [0, 1], [0, 0], [1, 0]], 4),
];

/// Wall clock of both nodes, which the test sets.
struct Clock<'h> {
    home: &'h Home,
    minutes: u32,
}

impl Clock<'_> {
    /// Moves the clock forward.
    fn pass(&mut self, minutes: u32) {
        self.minutes += minutes;
        write_clock(&self.home.path("clock"), &format!("+{}m", self.minutes));
    }
}

/// Starts two nodes with one wall clock, and returns them with the clock. The clock may be ahead of PostgreSQL's clock while
/// the nodes run.
fn start_two(home: &Home) -> ([Server<'_>; 2], Clock<'_>) {
    let mut clock = Clock { home, minutes: 0 };
    clock.pass(0);
    let variables = wall_clock(&home.path("clock"));
    ([(); 2].map(|()| home.start_with(&[], &variables)), clock)
}

/// Requests a page, and stores the cookie that the response sets. Returns the verdict.
async fn visit(node: &Server<'_>, session: &mut Session) -> String {
    let response = node.get("/auth/status", &session.cookie()).await;
    let verdict = response.verdict();
    *session = response.session.unwrap_or_else(|| session.clone());
    verdict
}

/// Returns the number of copies that the two nodes have detected.
async fn detected_copies(nodes: &[Server<'_>; 2]) -> f64 {
    const NAME: &str = "sealjar_copied_sessions_total";
    nodes[0].metric(NAME).await + nodes[1].metric(NAME).await
}

#[tokio::test]
async fn a_copy_that_one_node_notices_is_refused_by_both() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let (nodes, mut clock) = start_two(&home);
    for (schedule, last) in SCHEDULES {
        let before = detected_copies(&nodes).await;
        let session = nodes[0].login("alice").await;
        nodes[1].until_status(&session, "200").await;
        let mut holders = [session.clone(), session];
        let mut renewals = 0;
        for node_indexes in schedule.iter().cycle().take(last) {
            renewals += 1;
            clock.pass(INTERVAL);
            for (holder, node_index) in holders.iter_mut().zip(node_indexes) {
                visit(&nodes[*node_index], holder).await;
            }
            if detected_copies(&nodes).await > before {
                break;
            }
        }
        assert!(
            detected_copies(&nodes).await > before,
            "{schedule:?}: the copy was not detected within {last} renewals"
        );
        let mut worst = Duration::ZERO;
        for holder in &holders {
            let [a, b] = nodes.each_ref().map(|node| node.until_status(holder, "401 revoked"));
            let (a, b) = tokio::join!(a, b);
            worst = worst.max(a).max(b);
        }
        println!("{schedule:?}: detected at renewal {renewals}, refused by both nodes within {worst:?}");
        assert!(worst < BOUND, "{worst:?}");
    }
}

#[tokio::test]
async fn a_lone_client_of_two_nodes_keeps_its_session() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let (nodes, mut clock) = start_two(&home);
    let mut session = nodes[0].login("alice").await;
    nodes[1].until_status(&session, "200").await;
    for round in 0..36 {
        clock.pass(INTERVAL);
        // The requests have the same token, as if they were sent at the same time. The responses of every fifth round are lost.
        let before = session.clone();
        for node_index in [round % 3 % 2, (round + 1) % 2, round % 2] {
            let mut sibling = before.clone();
            assert_eq!(visit(&nodes[node_index], &mut sibling).await, "200", "round {round}");
            assert_ne!(sibling, before, "round {round}: the session was not renewed");
            if round % 5 > 0 {
                session = sibling;
            }
        }
    }
    assert_eq!(detected_copies(&nodes).await, 0.0);
}

//! Simulations of an embedding application that replaces its data in each response, within the bound of the proof and beyond
//! it.

use super::holder::{CLICKS, Habit};
use super::request::{Front, GET, POST, RequestTemplate};
use super::tally::Tally;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, full_or_reduced};

/// Request whose response contains new application data.
const WRITES: RequestTemplate = GET.writing();
/// Long poll: a request that takes up to 25 seconds, and is repeated at once.
const LONG_POLL: Habit = Habit::after(WRITES.taking((24 * SECOND, 25 * SECOND)), 5, 5);

fn setup(nodes: usize) -> Setup {
    let skews = [-30_000, 30_000, 0][..nodes].to_vec();
    let max_duration = 85 * SECOND;
    Setup { skews: if nodes == 1 { vec![0] } else { skews }, front: Front::Embedded, max_duration, ..Setup::default() }
}

/// Runs single browsers with these habits, `sessions` times for `hours` hours each, and returns the counts.
fn measure(setup: &Setup, habits: &[Habit], sessions: u64, hours: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..sessions {
        let setup = Setup { is_strict: false, ..setup.clone() };
        tally.add(&World::new(seed, setup, habits).run(hours * HOUR).tally);
    }
    tally
}

/// In each simulation of two hours, every response contains new data.
#[test]
fn an_application_that_writes_data_on_each_request_is_safe() {
    let page = WRITES.taking((50, 5 * SECOND));
    let clicks = Habit { template: page, ..CLICKS };
    let page_loads = Habit { parallel: (50, 50), ..Habit::page_loads(page, 50, 20 * SECOND, 60 * SECOND) };
    let slow = Habit::after(WRITES.taking((30 * SECOND, 80 * SECOND)), 2 * SECOND, 40 * SECOND);
    let polls = Habit::every(WRITES.taking((50, 500)), 5 * SECOND, 5 * SECOND);
    let posts = Habit::after(POST.writing(), 2 * SECOND, 40 * SECOND);
    let variants: [(&str, &[Habit]); 6] = [
        ("sequential requests", &[clicks]),
        ("page loads", &[page_loads]),
        ("three tabs", &[clicks, clicks, posts]),
        ("two tabs that poll", &[polls, polls]),
        ("a long poll and clicks", &[LONG_POLL, clicks]),
        ("slow handlers", &[slow]),
    ];
    for (name, habits) in variants {
        for nodes in 1..=3 {
            let tally = measure(&setup(nodes), habits, full_or_reduced(100, 1), 2);
            assert_eq!(tally.copies, 0, "{name}, {nodes} nodes");
            assert!(tally.writes > 50, "{name}, {nodes} nodes: {tally}");
        }
    }
}

/// Beyond the bound: if two requests always overlap, each of them keeps its own token chain, like an owner and a thief.
#[test]
fn responses_with_data_that_always_overlap_look_like_copies() {
    let at_once = Habit::after(WRITES.taking((500, 3 * SECOND)), 5, 5);
    let silent = Habit { template: GET.taking((24 * SECOND, 25 * SECOND)), ..LONG_POLL };
    let slow = Habit::after(WRITES.taking((30 * SECOND, MINUTE)), 2 * SECOND, 40 * SECOND);
    let clicks = Habit { template: WRITES.taking((50, 5 * SECOND)), ..CLICKS };
    // `Some` states whether copies are expected in this time. `None` means that they are too rare to assert.
    let rows: [(&str, &[Habit], Option<bool>); 5] = [
        ("slow clicks (30 to 60 s) in three tabs", &[slow; 3], None),
        ("two tabs that poll without a delay", &[at_once; 2], None),
        ("two long polls without a delay", &[LONG_POLL; 2], Some(true)),
        ("two long polls and clicks", &[LONG_POLL, LONG_POLL, clicks], Some(true)),
        ("two long polls without data, and clicks", &[silent, silent, clicks], Some(false)),
    ];
    let sessions = full_or_reduced(20, 1);
    println!("logouts of single users in {} hours, on 1, 2, 3 nodes", sessions * full_or_reduced(5, 1));
    for (name, habits, is_expected) in rows {
        let counts = [1, 2, 3].map(|nodes| measure(&setup(nodes), habits, sessions, full_or_reduced(5, 1)).copies);
        println!("{counts:4?}  {name}");
        let is_as_expected = |count: &u64| is_expected.is_none_or(|is_expected| is_expected == (*count > 0));
        assert!(counts.iter().all(is_as_expected), "{counts:?}, {name}");
    }
}

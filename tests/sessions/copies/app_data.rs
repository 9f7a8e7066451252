//! An embedding application that replaces its data with each answer, as far as this is within the bound, and beyond it.

use super::holder::{CLICKS, Habit};
use super::request::{Ask, Front, GET, POST};
use super::tally::Tally;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, stated_or};

/// A request whose answer has new data.
const WRITES: Ask = GET.writing();
/// A request that is held for 25 seconds, and again at once.
const LONG_POLL: Habit = Habit::after(WRITES.taking((24 * SECOND, 25 * SECOND)), 5, 5);

fn setup(nodes: usize) -> Setup {
    let skews = [-30_000, 30_000, 0][..nodes].to_vec();
    let longest = 85 * SECOND;
    Setup { skews: if nodes == 1 { vec![0] } else { skews }, front: Front::Embedded, longest, ..Setup::default() }
}

/// Counts what happens to lone browsers with these habits in so many sessions of so many hours.
fn measured(setup: &Setup, habits: &[Habit], sessions: u64, hours: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..sessions {
        let setup = Setup { is_strict: false, ..setup.clone() };
        tally.add(&World::new(seed, setup, habits).run(hours * HOUR).tally);
    }
    tally
}

/// An hour and more in which each answer has new data, and pauses come now and then.
#[test]
fn an_application_that_reseals_on_each_request_is_safe() {
    let page = WRITES.taking((50, 5 * SECOND));
    let clicks = Habit { ask: page, ..CLICKS };
    let loads = Habit { parallel: (50, 50), ..Habit::page_loads(page, 50, 20 * SECOND, 60 * SECOND) };
    let slow = Habit::after(WRITES.taking((30 * SECOND, 80 * SECOND)), 2 * SECOND, 40 * SECOND);
    let polls = Habit::every(WRITES.taking((50, 500)), 5 * SECOND, 5 * SECOND);
    let posts = Habit::after(POST.writing(), 2 * SECOND, 40 * SECOND);
    let variants: [(&str, &[Habit]); 6] = [
        ("one after the other", &[clicks]),
        ("page loads", &[loads]),
        ("three tabs", &[clicks, clicks, posts]),
        ("two tabs that poll", &[polls, polls]),
        ("a long poll beside clicks", &[LONG_POLL, clicks]),
        ("slow handlers", &[slow]),
    ];
    for (name, habits) in variants {
        for nodes in 1..=3 {
            let tally = measured(&setup(nodes), habits, stated_or(100, 1), 2);
            assert_eq!(tally.copies, 0, "{name}, {nodes} nodes");
            assert!(tally.writes > 50, "{name}, {nodes} nodes: {tally}");
        }
    }
}

/// Beyond the bound: each of two requests that are always under way keeps a line of tokens of its own, as an owner and a thief do.
#[test]
fn answers_with_data_that_always_overlap_look_like_copies() {
    let at_once = Habit::after(WRITES.taking((500, 3 * SECOND)), 5, 5);
    let silent = Habit { ask: GET.taking((24 * SECOND, 25 * SECOND)), ..LONG_POLL };
    let slow = Habit::after(WRITES.taking((30 * SECOND, MINUTE)), 2 * SECOND, 40 * SECOND);
    let clicks = Habit { ask: WRITES.taking((50, 5 * SECOND)), ..CLICKS };
    // Whether that is expected in so few hours; `None` if it is too rare to say.
    let rows: [(&str, &[Habit], Option<bool>); 5] = [
        ("slow clicks (30 to 60 s) in three tabs", &[slow; 3], None),
        ("two tabs that poll, again at once", &[at_once; 2], None),
        ("two long polls, again at once", &[LONG_POLL; 2], Some(true)),
        ("two long polls and clicks", &[LONG_POLL, LONG_POLL, clicks], Some(true)),
        ("two long polls without data, and clicks", &[silent, silent, clicks], Some(false)),
    ];
    let sessions = stated_or(20, 1);
    println!("sign-outs of lone users in {} hours, on 1, 2, 3 nodes", sessions * stated_or(5, 1));
    for (name, habits, is_expected) in rows {
        let counts = [1, 2, 3].map(|nodes| measured(&setup(nodes), habits, sessions, stated_or(5, 1)).copies);
        println!("{counts:4?}  {name}");
        let fits = |count: &u64| is_expected.is_none_or(|is_expected| is_expected == (*count > 0));
        assert!(counts.iter().all(fits), "{counts:?}, {name}");
    }
}

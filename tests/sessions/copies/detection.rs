//! How long it takes until a copy is found, on one node and on several with each request at any of them.

use super::holder::{Habit, POLLS};
use super::request::GET;
use super::rng::Rng;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, stated_or};

/// Median and 95th percentile in minutes.
fn detection_time(nodes: usize, owner: Habit, thief: Habit, schedules: u64) -> (u64, u64) {
    let mut times: Vec<u64> = (0..schedules)
        .map(|seed| {
            let mut rng = Rng::new(seed);
            let skews = (0..nodes).map(|_| rng.below(MINUTE) as i64 - 30_000).collect();
            let setup = Setup { skews, ..Setup::default() };
            let mut world = World::new(seed, setup, &[owner]);
            world.thief(HOUR / 2 + rng.below(HOUR / 2), 0, &[thief]);
            world.run(9 * HOUR);
            let (stolen, _) = world.stolen.expect("the thief came");
            world.caught.map_or(u64::MAX, |at| (at - stolen) / MINUTE)
        })
        .collect();
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

/// Numbers of nodes, and minutes in which 95 of 100 copies are found at worst.
const NODES: [usize; 4] = [1, 2, 3, 8];
const PROMISED: [u64; 4] = [20, 55, 71, 102];
/// In lockstep, a thief renews as seldom as the owner. With a request in four minutes that is every eight minutes.
const PROMISED_IN_LOCKSTEP: [u64; 4] = [26, 55, 71, 102];

#[test]
fn a_copy_is_found_in_the_promised_time_on_several_nodes() {
    let schedules = stated_or(400, 4);
    let owners = [
        ("every 5 s", Habit::every(GET, 2 * SECOND, 8 * SECOND)),
        ("every 30 s", Habit::every(GET, 10 * SECOND, 50 * SECOND)),
        ("every 2 min", Habit::every(GET, MINUTE, 3 * MINUTE)),
        ("every 4 min", Habit::every(GET, 3 * MINUTE, 5 * MINUTE)),
    ];
    let thieves = [
        ("polls", POLLS, PROMISED),
        ("is one step ahead", Habit::when_due(GET), PROMISED),
        ("in lockstep", Habit::with_owner(GET), PROMISED_IN_LOCKSTEP),
    ];
    println!("minutes until found, median/95th percentile, on {NODES:?} nodes");
    let mut late = Vec::new();
    for (thief_name, thief, promised) in thieves {
        for (name, owner) in owners.into_iter().skip(stated_or(0, 1) as usize) {
            let mut row = String::new();
            for (nodes, promised) in NODES.into_iter().zip(promised) {
                let (median, percentile) = detection_time(nodes, owner, thief, schedules);
                row += &format!("{median:5}/{percentile:3}");
                if percentile > promised {
                    late.push((thief_name, name, nodes, percentile));
                }
            }
            println!("{row}   owner {name}, thief {thief_name}");
        }
    }
    assert!(late.is_empty(), "later than promised (thief, owner, nodes, minutes): {late:?}");
}

//! Simulations of the time until a copy is found, on one node and on several nodes that share the requests.

use super::holder::{Habit, POLLS};
use super::request::GET;
use super::rng::Rng;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, full_or_reduced};

/// Returns the median and the 95th percentile of the detection time in minutes.
fn detection_time(nodes: usize, owner: Habit, thief: Habit, schedules: u64) -> (u64, u64) {
    let mut times: Vec<u64> = (0..schedules)
        .map(|seed| {
            let mut rng = Rng::new(seed);
            let skews = (0..nodes).map(|_| rng.below(MINUTE) as i64 - 30_000).collect();
            let setup = Setup { skews, ..Setup::default() };
            let mut world = World::new(seed, setup, &[owner]);
            world.add_thief(HOUR / 2 + rng.below(HOUR / 2), 0, &[thief]);
            world.run(9 * HOUR);
            let (stolen, _) = world.stolen.expect("the cookie was copied");
            world.caught.map_or(u64::MAX, |at| (at - stolen) / MINUTE)
        })
        .collect();
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

/// Numbers of nodes.
const NODES: [usize; 4] = [1, 2, 3, 8];
/// Maximum of the 95th percentile in minutes, for each number of nodes.
const MAX_MINUTES: [u64; 4] = [20, 55, 71, 102];
/// Maximum for a thief in lockstep, who renews only when the owner does. With a request every four minutes, this is every eight
/// minutes.
const MAX_MINUTES_IN_LOCKSTEP: [u64; 4] = [26, 55, 71, 102];

#[test]
fn a_copy_is_found_within_the_stated_time_on_several_nodes() {
    let schedules = full_or_reduced(400, 4);
    let owners = [
        ("every 5 s", Habit::every(GET, 2 * SECOND, 8 * SECOND)),
        ("every 30 s", Habit::every(GET, 10 * SECOND, 50 * SECOND)),
        ("every 2 min", Habit::every(GET, MINUTE, 3 * MINUTE)),
        ("every 4 min", Habit::every(GET, 3 * MINUTE, 5 * MINUTE)),
    ];
    let thieves = [
        ("polls", POLLS, MAX_MINUTES),
        ("is one step ahead", Habit::when_due(GET), MAX_MINUTES),
        ("in lockstep", Habit::with_owner(GET), MAX_MINUTES_IN_LOCKSTEP),
    ];
    println!("minutes until found, median/95th percentile, on {NODES:?} nodes");
    let mut late = Vec::new();
    for (thief_name, thief, maximums) in thieves {
        for (name, owner) in owners.into_iter().skip(full_or_reduced(0, 1) as usize) {
            let mut row = String::new();
            for (nodes, maximum) in NODES.into_iter().zip(maximums) {
                let (median, percentile) = detection_time(nodes, owner, thief, schedules);
                row += &format!("{median:5}/{percentile:3}");
                if percentile > maximum {
                    late.push((thief_name, name, nodes, percentile));
                }
            }
            println!("{row}   owner {name}, thief {thief_name}");
        }
    }
    assert!(late.is_empty(), "later than stated (thief, owner, nodes, minutes): {late:?}");
}

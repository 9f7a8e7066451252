//! Thieves beside the owner on one node: each who renews is found at the third renewal of both at the latest (`World::due`
//! asserts it), and all of these are found in the end.

use super::holder::{CLICKS, Habit, POLLS, SPARSE};
use super::request::{Front, GET, POST, UNTRUSTED};
use super::rng::Rng;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, stated_or};

/// Runs schedules in which a thief with these habits takes the owner's cookie, and returns the detection times in minutes.
fn caught(setup: &Setup, owner: &[Habit], thief: &[Habit], again_after: u64, schedules: u64) -> Vec<u64> {
    (0..schedules)
        .map(|seed| {
            let later = HOUR / 2 + Rng::new(seed).below(HOUR);
            let mut world = World::new(seed, setup.clone(), owner);
            world.thief(later, again_after, thief);
            world.run(8 * HOUR);
            let (stolen, _) = world.stolen.expect("the thief came");
            match world.caught {
                Some(at) => (at - stolen) / MINUTE,
                None => world.fail("the thief was not found"),
            }
        })
        .collect()
}

fn finds_in_time(setup: &Setup, owner: &[Habit], thief: &[Habit], minutes: u64) {
    let times = caught(setup, owner, thief, 0, stated_or(400, 10));
    let longest = times.iter().max().expect("some");
    assert!(*longest <= minutes, "found after {longest} minutes");
}

#[test]
fn a_thief_who_polls_is_found_in_three_renewals() {
    finds_in_time(&Setup::default(), &[CLICKS], &[POLLS], 20);
    finds_in_time(&Setup::default(), &[SPARSE], &[POLLS], 25);
}

#[test]
fn a_thief_in_lockstep_is_found_in_three_renewals() {
    for owner in [CLICKS, SPARSE, POLLS] {
        finds_in_time(&Setup::default(), &[owner], &[Habit::with_owner(GET)], 30);
    }
}

#[test]
fn a_thief_one_step_ahead_is_found_in_three_renewals() {
    for owner in [CLICKS, SPARSE, POLLS] {
        finds_in_time(&Setup::default(), &[owner], &[Habit::when_due(GET)], 25);
    }
}

#[test]
fn a_thief_behind_a_busy_owner_is_found_when_it_comes() {
    let seldom = Habit::every(GET, 25 * MINUTE, 25 * MINUTE);
    finds_in_time(&Setup::default(), &[CLICKS], &[seldom], 27);
}

#[test]
fn a_thief_who_takes_the_cookie_each_hour_is_found() {
    let times = caught(&Setup::default(), &[CLICKS], &[POLLS], HOUR, stated_or(400, 10));
    assert!(times.iter().all(|minutes| *minutes <= 20), "{times:?}");
}

#[test]
fn a_thief_who_only_posts_is_found() {
    for owner in [CLICKS, SPARSE] {
        let posts = Habit::every(POST, MINUTE, MINUTE);
        finds_in_time(&Setup::default(), &[owner], &[posts], 80);
        finds_in_time(&Setup { front: UNTRUSTED, ..Setup::default() }, &[owner], &[posts], 80);
    }
}

/// The thief makes the application write data with each answer, as the owner does.
#[test]
fn a_thief_in_lockstep_who_has_data_written_is_found() {
    let setup = Setup { front: Front::Embedded, longest: 85 * SECOND, ..Setup::default() };
    for thief in
        [Habit::with_owner(GET.writing()), Habit::when_due(GET.writing()), Habit { ask: GET.writing(), ..POLLS }]
    {
        for owner in [Habit { ask: GET.writing(), ..CLICKS }, Habit { ask: GET.writing(), ..SPARSE }] {
            finds_in_time(&setup, &[owner], &[thief], 40);
        }
    }
}

#[test]
fn a_thief_who_never_shows_a_due_cookie_is_not_found() {
    let mut world = World::new(1, Setup::default(), &[CLICKS]);
    world.thief(HOUR, 0, &[]);
    world.run(8 * HOUR);
    assert_eq!(world.caught, None);
}
